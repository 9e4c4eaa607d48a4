/* The HTTP server over real sockets: the test is both the agent (non-blocking sockets) and the
 * loop, which it turns by hand, so that "within a turn" can be said exactly. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "router/http/server.h"

#define HOST "Host: a\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"

static const struct hw_http_limits usual = {.body = 1 << 20,
                                            .header_bytes = 16384,
                                            .headers = 50,
                                            .connections = 20,
                                            .header_timeout_ms = 5000,
                                            .body_timeout_ms = 5000,
                                            .keepalive_ms = 5000,
                                            .write_timeout_ms = 5000};

static uv_loop_t loop;
static struct hw_http_server *server;
static bool server_closed;

/* What the handler saw, and the last stream it left open. */
static int requests, gone, drained, errors;
static struct hw_http_stream *held;
static char last_path[256];
static int depth, deepest;

static void
on_gone(void *ctx)
{
    (void)ctx;
    gone++;
    held = NULL;
}

/* What on_drain still has to write before it finishes the stream; 0: it only counts. */
static size_t to_write;

static void
on_drain(void *ctx)
{
    static char block[64 * 1024];
    (void)ctx;
    drained++;
    if (to_write == 0)
        return;
    while (to_write > 0 && !hw_http_congested(held)) {
        hw_http_write(held, block, sizeof(block));
        to_write -= sizeof(block);
    }
    if (to_write == 0) {
        hw_http_finish(held);
        held = NULL;
    }
}

static const struct hw_http_watcher watcher = {.on_gone = on_gone, .on_drain = on_drain};

/* Paths say what to do: /echo, /hold (the test answers), /blind (held without a watcher), /stream
 * (three chunks at once), others 200 with the path. */
static void
on_request(void *ctx, struct hw_http_stream *stream)
{
    (void)ctx;
    const struct hw_http_request *request = hw_http_stream_request(stream);
    requests++;
    deepest = ++depth > deepest ? depth : deepest;
    snprintf(last_path, sizeof(last_path), "%.*s", (int)request->path.len, request->path.p);
    assert_true(request->peer_is_loopback);
    assert_string_equal(request->peer, "127.0.0.1");
    assert_true(request->received_ns > 0);
    if (strcmp(last_path, "/hold") == 0) {
        hw_http_stream_watch(stream, &watcher);
        held = stream;
    } else if (strcmp(last_path, "/blind") == 0) {
        held = stream;
    } else if (strcmp(last_path, "/echo") == 0) {
        const struct hw_body *body = request->body;
        hw_http_respond(stream, 200, NULL, 0, body == NULL ? "" : body->bytes,
                        body == NULL ? 0 : body->len);
    } else if (strcmp(last_path, "/stream") == 0) {
        hw_http_start(stream, 200, NULL, 0);
        hw_http_write(stream, "one", 3);
        hw_http_write(stream, "", 0);
        hw_http_write(stream, "two and three", 13);
        hw_http_finish(stream);
    } else {
        static const struct hw_http_field fields[] = {
            {"X-Good", "yes", 3}, {"X-Evil", "a\r\nInjected: 1", 14}, {"X-Nul", "a\0b", 3}};
        hw_http_respond(stream, 200, fields, 3, last_path, strlen(last_path));
    }
    depth--;
}

static void
on_error(void *ctx, int status, const char *what, struct hw_http_slice path, struct hw_buf *body,
         const char **content_type)
{
    (void)ctx;
    errors++;
    *content_type = "text/plain";
    hw_buf_printf(body, "%d %s [%.*s]", status, what, (int)path.len, path.p);
}

static void
start(const struct hw_http_limits *limits)
{
    static const struct hw_http_handler handler = {.on_request = on_request, .on_error = on_error};
    struct hw_err err = {{0}};

    requests = gone = drained = errors = depth = deepest = 0;
    held = NULL;
    server_closed = false;
    assert_int_equal(uv_loop_init(&loop), 0);
    if (hw_http_server_create(&loop, "127.0.0.1", 0, limits, &handler, &server, &err) != 0)
        fail_msg("%s", err.msg);
    assert_true(hw_http_server_port(server) > 0);
}

static void
on_server_closed(void *ctx)
{
    (void)ctx;
    server_closed = true;
}

static void
stop(void)
{
    hw_http_server_close(server, on_server_closed, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(server_closed);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void
turn(int times)
{
    for (int i = 0; i < times; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
}

static void
turn_for_ms(uint64_t ms)
{
    uint64_t until = uv_hrtime() + ms * 1000000;
    while (uv_hrtime() < until) {
        uv_run(&loop, UV_RUN_NOWAIT);
        usleep(1000);
    }
}

static int
dial(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons(hw_http_server_port(server)),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static void
say_bytes(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            return; /* the server hung up: what it said is the test's business */
        if (n > 0) {
            bytes += n;
            len -= (size_t)n;
        }
        turn(1);
    }
}

static void
say(int fd, const char *text)
{
    say_bytes(fd, text, strlen(text));
}

/* Everything that comes within ms, or until `until` was seen or the server closed; "<EOF>" or
 * "<RST>" is put behind when it did. */
static const char *
hear(int fd, const char *until, uint64_t ms)
{
    static char text[1 << 20];
    size_t len = 0;
    uint64_t end = uv_hrtime() + ms * 1000000;
    while (uv_hrtime() < end) {
        turn(1);
        ssize_t n = recv(fd, text + len, sizeof(text) - len - 8, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            strcpy(text + len, n == 0 ? "<EOF>" : "<RST>");
            return text;
        }
        len += n > 0 ? (size_t)n : 0;
        text[len] = '\0';
        if (until != NULL && strstr(text, until) != NULL)
            return text;
        if (n < 0)
            usleep(200);
    }
    text[len] = '\0';
    return text;
}

static void
expect(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("not found: %s\nin: %s", part, text);
}

static void
expect_not(const char *text, const char *part)
{
    if (strstr(text, part) != NULL)
        fail_msg("found: %s\nin: %s", part, text);
}

static int
count(const char *text, const char *part)
{
    int n = 0;
    for (const char *p = text; (p = strstr(p, part)) != NULL; p += strlen(part))
        n++;
    return n;
}

static void
test_answers(void **state)
{
    (void)state;
    start(&usual);
    int fd = dial();
    say(fd, GET("/a?b=c"));
    const char *text = hear(fd, "\r\n\r\n/a", 1000);
    assert_int_equal(strncmp(text, "HTTP/1.1 200 OK\r\nDate: ", 23), 0);
    expect(text, " GMT\r\nContent-Length: 2\r\nX-Good: yes\r\n\r\n/a");
    expect_not(text, "Evil");
    expect_not(text, "Connection:");

    say(fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello");
    expect(hear(fd, "\r\n\r\nhello", 1000), "Content-Length: 5\r\n");
    say(fd, "POST /echo HTTP/1.1\r\n" HOST
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    expect(hear(fd, "\r\n\r\nabcde", 1000), "Content-Length: 5\r\n");
    say(fd, GET("/stream"));
    expect(hear(fd, "0\r\n\r\n", 1000),
           "Transfer-Encoding: chunked\r\n\r\n3\r\none\r\nd\r\ntwo and three\r\n0\r\n\r\n");
    say(fd, "HEAD /xyz HTTP/1.1\r\n" HOST "\r\n");
    expect(hear(fd, NULL, 20), "Content-Length: 4\r\nX-Good: yes\r\n\r\n");
    say(fd, "HEAD /stream HTTP/1.1\r\n" HOST "\r\n");
    expect_not(hear(fd, NULL, 20), "one");
    say(fd, "GET /last HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    text = hear(fd, "<EOF>", 1000);
    expect(text, "Connection: close\r\n");
    expect(text, "\r\n\r\n/last<EOF>");
    assert_int_equal(requests, 7);
    turn(2);
    assert_int_equal(hw_http_server_connections(server), 0);
    assert_int_equal(hw_http_server_active(server), 0);
    close(fd);
    stop();
}

static void
test_http10(void **state)
{
    (void)state;
    start(&usual);
    int fd = dial();
    say(fd, "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    expect(hear(fd, "\r\n\r\n/a", 1000), "Connection: keep-alive\r\n");
    say(fd, "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    const char *text = hear(fd, "<EOF>", 1000);
    expect(text, "Connection: close\r\n\r\nonetwo and three<EOF>");
    expect_not(text, "chunked");
    close(fd);
    fd = dial();
    say(fd, "GET /b HTTP/1.0\r\n\r\n");
    expect(hear(fd, "<EOF>", 1000), "Connection: close\r\nX-Good: yes\r\n\r\n/b<EOF>");
    close(fd);
    stop();
}

/* The same dialogue whatever the cuts; each piece is its own read. */
static void
test_split_at_every_byte(void **state)
{
    (void)state;
    static const char text[] =
        "POST /echo HTTP/1.1\r\n" HOST
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" GET("/end");
    size_t len = sizeof(text) - 1;
    start(&usual);
    for (size_t cut = 1; cut < len; cut++) {
        int fd = dial();
        say_bytes(fd, text, cut);
        turn(2);
        say_bytes(fd, text + cut, len - cut);
        expect(hear(fd, "/end", 1000), "\r\n\r\nabcHTTP/1.1 200");
        close(fd);
        turn(2);
    }
    int fd = dial();
    for (size_t i = 0; i < len; i++)
        say_bytes(fd, text + i, 1);
    expect(hear(fd, "/end", 1000), "\r\n\r\nabcHTTP/1.1 200");
    close(fd);
    stop();
}

static void
test_pipelining(void **state)
{
    (void)state;
    char text[50 * 64] = "";
    start(&usual);
    for (int i = 0; i < 50; i++)
        sprintf(text + strlen(text), "GET /n%02d HTTP/1.1\r\n" HOST "\r\n", i);
    int fd = dial();
    say(fd, text);
    const char *answers = hear(fd, "/n49", 1000);
    assert_int_equal(count(answers, "HTTP/1.1 200 OK"), 50);
    const char *at = answers;
    for (int i = 0; i < 50; i++) {
        char path[16];
        snprintf(path, sizeof(path), "/n%02d", i);
        at = strstr(at, path);
        assert_non_null(at);
    }
    assert_int_equal(deepest, 1);

    /* an open stream keeps the ones behind it waiting, in order */
    say(fd, GET("/hold") GET("/two") GET("/hold") GET("/four"));
    turn(3);
    assert_string_equal(last_path, "/hold");
    assert_int_equal(requests, 51);
    hw_http_respond(held, 200, NULL, 0, "first", 5);
    assert_int_equal(requests, 51); /* never from within respond */
    turn(3);
    assert_int_equal(requests, 53);
    hw_http_start(held, 200, NULL, 0);
    hw_http_finish(held);
    answers = hear(fd, "/four", 1000);
    expect(answers, "\r\n\r\nfirstHTTP/1.1 200 OK");
    expect(answers, "\r\n\r\n/twoHTTP/1.1 200 OK");
    expect(answers, "\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK");
    assert_int_equal(deepest, 1);
    close(fd);
    stop();
}

/* More than the queue holds behind an open stream: reading stops, nothing is lost. */
static void
test_pending_is_bounded(void **state)
{
    (void)state;
    start(&usual);
    int fd = dial();
    say(fd, GET("/hold"));
    turn(2);
    char request[1024];
    memset(request, 'x', sizeof(request));
    memcpy(request, "GET /p HTTP/1.1\r\nHost: a\r\nPad: ", 31);
    memcpy(request + sizeof(request) - 4, "\r\n\r\n", 4);
    int sndbuf = 1 << 20;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof(sndbuf));
    for (int i = 0; i < 300; i++) {
        say_bytes(fd, request, sizeof(request));
    }
    turn(10);
    assert_int_equal(requests, 1);
    hw_http_respond(held, 200, NULL, 0, "first", 5);
    size_t answers = 0;
    for (int i = 0; i < 200 && answers < 301; i++)
        answers += (size_t)count(hear(fd, NULL, 10), "HTTP/1.1 200 OK");
    assert_int_equal(answers, 301);
    assert_int_equal(requests, 301);
    close(fd);
    stop();
}

static void
test_continue(void **state)
{
    (void)state;
    start(&usual);
    int fd = dial();
    say(fd, "POST /echo HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert_string_equal(hear(fd, "\r\n\r\n", 1000), "HTTP/1.1 100 Continue\r\n\r\n");
    say(fd, "hello");
    expect(hear(fd, "\r\n\r\nhello", 1000), "HTTP/1.1 200 OK");
    /* the body came along: no need to be told */
    say(fd, "POST /echo HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhel");
    assert_string_equal(hear(fd, NULL, 20), "");
    say(fd, "lo");
    expect_not(hear(fd, "\r\n\r\nhello", 1000), "100 Continue");
    say(fd,
        "POST /echo HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 9000000\r\n\r\n");
    const char *text = hear(fd, "<EOF>", 1000);
    assert_int_equal(strncmp(text, "HTTP/1.1 413 ", 13), 0);
    close(fd);
    stop();
}

static void
test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *text, *status, *path;
    } cases[] = {
        {"NONSENSE\r\n\r\n", "400", "[]"},
        {"GET /p HTTP/1.1\r\n\r\n", "400", "[/p]"},
        {"POST /p HTTP/1.1\r\n" HOST
         "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" GET("/smuggled"),
         "400", "[/p]"},
        {"POST /p HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n", "501", "[/p]"},
        {"GET /p HTTP/3.0\r\n" HOST "\r\n", "505", "[/p]"},
        {"POST /p HTTP/1.1\r\n" HOST "Expect: tea\r\nContent-Length: 1\r\n\r\n", "417", "[/p]"},
        {"POST /p HTTP/1.1\r\n" HOST "Content-Length: 1048577\r\n\r\n", "413", "[/p]"},
    };
    start(&usual);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int fd = dial();
        say(fd, cases[i].text);
        const char *text = hear(fd, "<EOF>", 1000);
        assert_int_equal(strncmp(text + 9, cases[i].status, 3), 0);
        expect(text, "Connection: close\r\n");
        expect(text, "Content-Type: text/plain\r\n");
        expect(text, cases[i].path);
        expect(text, "<EOF>");
        assert_int_equal(count(text, "Date: "), 1);
        close(fd);
    }
    assert_int_equal(requests, 0);
    assert_int_equal(errors, 7);
    stop();
}

/* An agent that goes on sending a body that is too large still reads the 413. */
static void
test_oversized_body_reads_its_413(void **state)
{
    (void)state;
    static char block[4 << 20];
    start(&usual);
    int fd = dial();
    say(fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 4194304\r\n\r\n");
    say_bytes(fd, block, sizeof(block));
    const char *text = hear(fd, "<EOF>", 1000);
    expect(text, "HTTP/1.1 413 ");
    expect(text, "<EOF>");
    close(fd);
    turn_for_ms(20);
    assert_int_equal(hw_http_server_connections(server), 0);
    stop();
}

static void
test_timeouts(void **state)
{
    (void)state;
    struct hw_http_limits limits = usual;
    limits.header_timeout_ms = limits.body_timeout_ms = limits.keepalive_ms = 120;
    start(&limits);
    /* slowloris: a byte now and then does not prolong it */
    int slow = dial(), body = dial(), idle = dial(), silent = dial();
    say(slow, "GET / HTTP/1.1\r\nX: ");
    say(body, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 100\r\n\r\n");
    say(idle, GET("/x"));
    expect(hear(idle, "\r\n\r\n/x", 1000), "200 OK");
    for (int i = 0; i < 4; i++) {
        turn_for_ms(20);
        say(slow, "x");
        say(body, "x");
    }
    const char *text = hear(slow, "<EOF>", 300);
    expect(text, "HTTP/1.1 408 ");
    expect(text, "<EOF>");
    expect(hear(body, "<EOF>", 300), "HTTP/1.1 408 ");
    assert_string_equal(hear(idle, "<EOF>", 300), "<EOF>");
    assert_string_equal(hear(silent, "<EOF>", 300), "<EOF>");
    assert_int_equal(errors, 2);
    close(slow);
    close(body);
    close(idle);
    close(silent);
    stop();
}

static void
test_agent_leaves(void **state)
{
    (void)state;
    start(&usual);
    /* before the answer began, and in the middle of it; by FIN and by RST */
    for (int i = 0; i < 4; i++) {
        int fd = dial();
        say(fd, GET("/hold"));
        turn(3);
        assert_non_null(held);
        assert_int_equal(hw_http_server_active(server), 1);
        if (i & 1) {
            hw_http_start(held, 200, NULL, 0);
            hw_http_write(held, "part", 4);
            expect(hear(fd, "part", 1000), "4\r\npart\r\n");
        }
        if (i & 2) {
            struct linger reset = {.l_onoff = 1};
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        }
        close(fd);
        for (int k = 0; k < 1000 && gone == i; k++) /* a busy kernel may deliver it late */
            turn_for_ms(1);
        assert_int_equal(gone, i + 1);
        assert_int_equal(hw_http_server_active(server), 0);
    }
    /* an owner that cannot be told may go on talking to the stream */
    int fd = dial();
    say(fd, GET("/blind"));
    turn(3);
    close(fd);
    turn(3);
    assert_int_equal(hw_http_server_active(server), 1);
    assert_int_equal(hw_http_server_connections(server), 0);
    hw_http_start(held, 200, NULL, 0);
    hw_http_write(held, "x", 1);
    hw_http_finish(held);
    assert_int_equal(hw_http_server_active(server), 0);
    turn(2);
    assert_int_equal(gone, 4);
    stop();
}

/* What a callback writes has left when that turn of the loop ends. */
static void
on_timer(uv_timer_t *timer)
{
    (void)timer;
    hw_http_write(held, "tick", 4);
}

static void
test_written_within_the_turn(void **state)
{
    (void)state;
    start(&usual);
    int fd = dial();
    say(fd, GET("/hold"));
    turn(3);
    hw_http_start(held, 200, NULL, 0);
    expect(hear(fd, "\r\n\r\n", 1000), "chunked");
    uv_timer_t timer;
    uv_timer_init(&loop, &timer);
    uv_timer_start(&timer, on_timer, 0, 0);
    turn(1);
    char text[64];
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&pollfd, 1, 1000), 1); /* without another turn */
    assert_int_equal(recv(fd, text, sizeof(text), MSG_DONTWAIT), 9);
    assert_memory_equal(text, "4\r\ntick\r\n", 9);
    uv_close((uv_handle_t *)&timer, NULL);
    hw_http_abort(held);
    expect(hear(fd, "<EOF>", 1000), "<EOF>");
    close(fd);

    /* an abort where nothing tells the end: RST, not FIN */
    fd = dial();
    say(fd, "GET /hold HTTP/1.0\r\n\r\n");
    turn(3);
    hw_http_start(held, 200, NULL, 0);
    hw_http_write(held, "half", 4);
    expect(hear(fd, "half", 1000), "half");
    hw_http_abort(held);
    expect(hear(fd, "<EOF>", 1000), "<RST>");
    close(fd);
    assert_int_equal(gone, 0);
    stop();
}

static void
test_back_pressure(void **state)
{
    (void)state;
    static char block[64 * 1024];
    start(&usual);
    int fd = dial();
    say(fd, GET("/hold"));
    turn(3);
    hw_http_start(held, 200, NULL, 0);
    size_t written = 0;
    for (int stuck = 0; stuck < 20; stuck++) {
        while (!hw_http_congested(held)) {
            hw_http_write(held, block, sizeof(block));
            written += sizeof(block);
            assert_true(written < 64 << 20);
            stuck = 0;
        }
        turn(1);
    }
    assert_true(hw_http_congested(held)); /* an agent that does not read holds us up */
    int before = drained;
    size_t heard = 0;
    for (int i = 0; i < 10000 && drained == before; i++) {
        static char sink[1 << 20];
        ssize_t n = recv(fd, sink, sizeof(sink), 0);
        heard += n > 0 ? (size_t)n : 0;
        turn(1);
    }
    assert_true(heard > 0);
    assert_int_equal(drained, before + 1);
    assert_false(hw_http_congested(held));
    hw_http_finish(held);
    while (heard < written) {
        static char sink[1 << 20];
        ssize_t n = recv(fd, sink, sizeof(sink), 0);
        assert_true(n > 0 || errno == EAGAIN);
        heard += n > 0 ? (size_t)n : 0;
        turn(1);
    }
    say(fd, GET("/after"));
    expect(hear(fd, "/after", 1000), "HTTP/1.1 200 OK");
    close(fd);
    stop();
}

static void *
read_to_end(void *arg)
{
    static char sink[1 << 20];
    int fd = *(int *)arg;
    size_t heard = 0;
    fcntl(fd, F_SETFL, 0);
    for (ssize_t n; (n = recv(fd, sink, sizeof(sink), 0)) > 0;)
        heard += (size_t)n;
    return (void *)heard;
}

/* A producer that only goes by on_drain, against an agent that reads as fast as it can: it neither
 * stalls nor holds the loop. */
static void
test_producer_follows_drain(void **state)
{
    (void)state;
    const size_t total = 64 << 20;
    start(&usual);
    int fd = dial();
    say(fd, "GET /hold HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    turn(3);
    hw_http_start(held, 200, NULL, 0);
    to_write = total;
    on_drain(NULL);
    pthread_t thread;
    void *heard;
    pthread_create(&thread, NULL, read_to_end, &fd);
    uint64_t began = uv_hrtime();
    int turns = 0;
    while (hw_http_server_connections(server) > 0) {
        uv_run(&loop, UV_RUN_ONCE);
        turns++;
    }
    pthread_join(thread, &heard);
    assert_true((size_t)heard > total);
    assert_int_equal(to_write, 0);
    assert_true(uv_hrtime() - began < 10000000000u);
    assert_true(turns > 100); /* 64 MiB at about 256 KiB a turn */
    close(fd);
    stop();
}

static void
test_agent_that_takes_nothing(void **state)
{
    (void)state;
    static char block[8 << 20];
    struct hw_http_limits limits = usual;
    limits.write_timeout_ms = 400;
    start(&limits);
    int fd = dial();
    say(fd, GET("/hold"));
    turn(3);
    hw_http_start(held, 200, NULL, 0);
    hw_http_write(held, block, sizeof(block));
    turn_for_ms(60);
    assert_int_equal(gone, 0);
    turn_for_ms(800);
    assert_int_equal(gone, 1);
    close(fd);
    /* nor may a producer pile up without end */
    fd = dial();
    say(fd, GET("/hold"));
    turn(3);
    hw_http_start(held, 200, NULL, 0);
    hw_http_write(held, block, sizeof(block));
    hw_http_write(held, block, sizeof(block));
    hw_http_write(held, block, sizeof(block));
    assert_int_equal(gone, 1);
    turn(1);
    assert_int_equal(gone, 2);
    close(fd);
    stop();
}

static void
test_large_answer(void **state)
{
    (void)state;
    static char block[3 << 20];
    memset(block, 'L', sizeof(block));
    start(&usual);
    int fd = dial();
    say(fd, GET("/hold") GET("/next"));
    turn(3);
    hw_http_respond(held, 200, NULL, 0, block, sizeof(block));
    memset(block, 'M', sizeof(block)); /* it was copied */
    size_t letters = 0;
    const char *text = "";
    for (int i = 0; i < 1000 && strstr(text, "/next") == NULL; i++) {
        text = hear(fd, "/next", 5);
        letters += strspn(text, "L");
        const char *head = strstr(text, "\r\n\r\nL");
        if (head != NULL)
            letters += strspn(head + 4, "L");
    }
    assert_int_equal(letters, sizeof(block));
    close(fd);
    stop();
}

static void
test_connection_limit(void **state)
{
    (void)state;
    struct hw_http_limits limits = usual;
    limits.connections = 2;
    start(&limits);
    int a = dial(), b = dial();
    turn(3);
    int c = dial();
    say(c, GET("/c"));
    const char *text = hear(c, "<EOF>", 1000);
    expect(text, "HTTP/1.1 503 Service Unavailable\r\n");
    expect(text, "Connection: close\r\n");
    expect(text, "<EOF>");
    close(c);
    close(a);
    turn(3);
    c = dial();
    say(c, GET("/c"));
    expect(hear(c, "\r\n\r\n/c", 1000), "200 OK");
    say(b, GET("/b"));
    expect(hear(b, "\r\n\r\n/b", 1000), "200 OK");
    close(b);
    close(c);
    stop();
}

/* Out of descriptors: no spinning, and service again when there are some. */
static void
test_descriptors_run_out(void **state)
{
    (void)state;
    struct rlimit old, tight;
    start(&usual);
    int fd = dial();
    getrlimit(RLIMIT_NOFILE, &old);
    tight = old;
    tight.rlim_cur = (rlim_t)fd + 1;
    setrlimit(RLIMIT_NOFILE, &tight);
    turn(50);
    assert_int_equal(hw_http_server_connections(server), 0);
    setrlimit(RLIMIT_NOFILE, &old);
    say(fd, GET("/x"));
    expect(hear(fd, "\r\n\r\n/x", 2000), "200 OK");
    close(fd);
    stop();
}

static void
test_drain(void **state)
{
    (void)state;
    start(&usual);
    int idle = dial(), busy = dial(), queued = dial();
    say(idle, GET("/idle"));
    expect(hear(idle, "/idle", 1000), "200 OK");
    say(busy, GET("/hold"));
    turn(3);
    close(queued);
    turn(2);
    queued = dial(); /* in the backlog: not yet accepted */
    hw_http_server_drain(server);
    hw_http_server_drain(server);
    assert_string_equal(hear(idle, "<EOF>", 1000), "<EOF>");
    say(queued, GET("/queued"));
    const char *text = hear(queued, "<EOF>", 1000);
    expect(text, "Connection: close\r\n");
    expect(text, "/queued<EOF>");
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons(hw_http_server_port(server)),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int late = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(late, (struct sockaddr *)&addr, sizeof(addr)), -1);
    close(late);
    assert_int_equal(hw_http_server_active(server), 1);
    hw_http_respond(held, 200, NULL, 0, "done", 4);
    expect(hear(busy, "<EOF>", 1000), "\r\n\r\ndone<EOF>");
    turn(2);
    assert_int_equal(hw_http_server_connections(server), 0);
    close(idle);
    close(busy);
    close(queued);
    stop();
}

/* Closed under connections in every state: nothing may leak or be touched again. */
static void
test_close_in_every_state(void **state)
{
    (void)state;
    static char block[8 << 20];
    start(&usual);
    int fds[8];
    for (int i = 0; i < 8; i++)
        fds[i] = dial();
    turn(2);
    say(fds[1], "GET /half HTTP/1.1\r\nHo");
    say(fds[2], "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 100\r\n\r\nhalf");
    say(fds[3], GET("/hold") GET("/pending"));
    turn(2);
    say(fds[4], GET("/hold"));
    turn(2);
    hw_http_start(held, 200, NULL, 0);
    hw_http_write(held, block, sizeof(block));
    turn(2);
    say(fds[5], "BAD\r\n\r\n"); /* lingering */
    say(fds[6], GET("/hold"));
    turn(2);
    hw_http_start(held, 200, NULL, 0);
    hw_http_write(held, "dirty", 5);
    say(fds[7], GET("/blind"));
    turn(2);
    close(fds[7]);
    turn(2);
    assert_int_equal(hw_http_server_active(server), 4);
    stop();
    assert_int_equal(gone, 3);
    for (int i = 0; i < 7; i++)
        close(fds[i]);
}

int
main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_http10),
        cmocka_unit_test(test_split_at_every_byte),
        cmocka_unit_test(test_pipelining),
        cmocka_unit_test(test_pending_is_bounded),
        cmocka_unit_test(test_continue),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_oversized_body_reads_its_413),
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_agent_leaves),
        cmocka_unit_test(test_written_within_the_turn),
        cmocka_unit_test(test_back_pressure),
        cmocka_unit_test(test_producer_follows_drain),
        cmocka_unit_test(test_agent_that_takes_nothing),
        cmocka_unit_test(test_large_answer),
        cmocka_unit_test(test_connection_limit),
        cmocka_unit_test(test_descriptors_run_out),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_close_in_every_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
