/* https calls against Python's own TLS server, with a certificate made for this run. */
#include <stdio.h>
#include <sys/wait.h>

#include "client_fixture.h"

#define LARGE (8u << 20)

static struct {
    char dir[64];
    pid_t pid;
    int keep_alive_fd; /* the peer ends when it closes */
    int stdout_fd;
    uint16_t port;
} peer_program = {.port = 0};

struct world {
    uv_loop_t loop;
    struct hw_client *client;
    struct seen_call seen;
};

static void
begin(struct world *w)
{
    memset(w, 0, sizeof(*w));
    if (peer_program.port == 0)
        skip(); /* said why at the start */
    alarm(30);
    assert_int_equal(uv_loop_init(&w->loop), 0);
    w->client = hw_client_create(&w->loop);
    seen_init(&w->seen, &w->loop, w->client);
}

static void
end(struct world *w)
{
    client_close(w->client, &w->loop);
    hw_buf_free(&w->seen.body);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    alarm(0);
}

static struct hw_call_request
request_of(const char *method, const char *path)
{
    return (struct hw_call_request){
        .https = true,
        .host = "localhost",
        .port = peer_program.port,
        .method = method,
        .path = path,
        .connect_ms = 3000,
        .first_byte_ms = 5000,
        .idle_ms = 5000,
    };
}

static void
again(struct world *w, const struct hw_call_request *request)
{
    hw_buf_clear(&w->seen.body);
    w->seen.heads = w->seen.dones = w->seen.errors = 0;
    seen_send(&w->seen, request);
    seen_wait(&w->seen);
}

static void
get(struct world *w, const char *path)
{
    struct hw_call_request request = request_of("GET", path);

    again(w, &request);
}

static void
test_answers(void **state)
{
    struct world w;

    (void)state;
    begin(&w);
    get(&w, "/chunks");
    assert_int_equal(w.seen.dones, 1);
    assert_int_equal(w.seen.status, 200);
    assert_string_equal(w.seen.type, "text/event-stream");
    assert_string_equal(w.seen.body.data, "one two three");
    get(&w, "/connections");
    int connections = atoi(w.seen.body.data);
    get(&w, "/connections");
    assert_int_equal(atoi(w.seen.body.data), connections); /* kept alive */
    get(&w, "/redirect");
    assert_int_equal(w.seen.status, 302);
    struct hw_call_request request = request_of("HEAD", "/x");
    again(&w, &request);
    assert_int_equal(w.seen.dones, 1);
    assert_int_equal(w.seen.body.len, 0);
    end(&w);
}

static void
test_posts_segments(void **state)
{
    struct world w;
    size_t len = 3 << 20;
    struct hw_body *body = calloc(1, sizeof(*body));
    struct hw_http_field fields[] = {{"X-Agent", "email", 5}, {"Host", "evil", 4}};

    (void)state;
    body->refs = 1;
    body->bytes = malloc(len);
    body->len = len;
    memset(body->bytes, 'q', len);
    begin(&w);
    char edited[] = "edited";
    struct hw_call_request request = request_of("POST", "/echo");
    request.body = body;
    request.segments[0] = (struct hw_call_segment){body->bytes, 10};
    request.segments[1] = (struct hw_call_segment){edited, 6};
    request.segments[2] = (struct hw_call_segment){body->bytes + 10, len - 10};
    request.segment_count = 3;
    seen_send(&w.seen, &request);
    memset(edited, '!', 6); /* it was copied */
    seen_wait(&w.seen);
    assert_int_equal(w.seen.dones, 1);
    assert_int_equal(w.seen.body.len, len + 6);
    assert_memory_equal(w.seen.body.data + 8, "qqeditedqq", 10);
    assert_int_equal(body->refs, 1);
    hw_body_unref(body);

    request = request_of("POST", "/fields");
    request.fields = fields;
    request.field_count = 2;
    again(&w, &request);
    assert_non_null(strstr(w.seen.body.data, "X-Agent: email"));
    assert_null(strstr(w.seen.body.data, "evil"));
    assert_null(strstr(w.seen.body.data, "Expect"));
    assert_null(strstr(w.seen.body.data, "Content-Type"));
    end(&w);
}

static void
test_failures(void **state)
{
    struct world w;

    (void)state;
    begin(&w);
    get(&w, "/cut");
    assert_int_equal(w.seen.failure, HW_CALL_RESET);
    assert_string_equal(w.seen.body.data, "half");
    get(&w, "/nonsense");
    assert_int_equal(w.seen.failure, HW_CALL_PROTOCOL);
    struct hw_call_request request = request_of("GET", "/large");
    request.max_response_bytes = 1000;
    again(&w, &request);
    assert_int_equal(w.seen.failure, HW_CALL_PROTOCOL);
    request = request_of("GET", "/hang");
    request.first_byte_ms = 100;
    again(&w, &request);
    assert_int_equal(w.seen.failure, HW_CALL_TIMEOUT);
    assert_int_equal(w.seen.heads, 0);
    request = request_of("GET", "/stall");
    request.idle_ms = 100;
    again(&w, &request);
    assert_int_equal(w.seen.failure, HW_CALL_TIMEOUT);
    assert_string_equal(w.seen.body.data, "half");
    request = request_of("GET", "/");
    request.port = 1;
    again(&w, &request);
    assert_int_equal(w.seen.failure, HW_CALL_CONNECT);
    request = request_of("GET", "/");
    request.host = "127.0.0.1"; /* the certificate is localhost's */
    again(&w, &request);
    assert_int_equal(w.seen.failure, HW_CALL_CONNECT);
    end(&w);
}

static void
pause_it(struct seen_call *seen)
{
    hw_call_pause(seen->call);
}

static void
test_pause(void **state)
{
    struct world w;

    (void)state;
    begin(&w);
    struct hw_call_request request = request_of("GET", "/large");
    request.idle_ms = 400;
    w.seen.on_body_hook = pause_it;
    seen_send(&w.seen, &request);
    while (w.seen.body.len == 0 && w.seen.errors == 0)
        uv_run(&w.loop, UV_RUN_ONCE);
    size_t had = w.seen.body.len;
    run_for(&w.loop, 600); /* longer than idle_ms */
    assert_int_equal(w.seen.body.len, had);
    for (int i = 0; i < 10; i++) {
        hw_call_resume(w.seen.call);
        run_for(&w.loop, 2);
    }
    w.seen.on_body_hook = NULL;
    hw_call_resume(w.seen.call);
    seen_wait(&w.seen);
    assert_int_equal(w.seen.dones, 1);
    assert_int_equal(w.seen.body.len, LARGE);
    for (size_t at = 0; at < LARGE; at += 4096)
        assert_int_equal(w.seen.body.data[at], 'a' + (char)((at >> 16) % 26));
    end(&w);
}

static void
cancel_it(struct seen_call *seen)
{
    hw_call_cancel(seen->call);
    seen->call = NULL;
}

static void
test_cancel(void **state)
{
    struct world w;

    (void)state;
    begin(&w);
    get(&w, "/left");
    int left = atoi(w.seen.body.data);
    w.seen.dones = w.seen.heads = 0;
    struct hw_call_request request = request_of("GET", "/hang");
    seen_send(&w.seen, &request);
    hw_call_cancel(w.seen.call);
    seen_send(&w.seen, &request);
    run_for(&w.loop, 150);
    hw_call_cancel(w.seen.call);
    request = request_of("GET", "/stall");
    w.seen.on_body_hook = cancel_it;
    seen_send(&w.seen, &request);
    run_for(&w.loop, 200);
    assert_null(w.seen.call);
    assert_int_equal(w.seen.dones + w.seen.errors, 0);
    w.seen.on_body_hook = NULL;
    get(&w, "/left");
    assert_int_equal(atoi(w.seen.body.data), left + 2);
    w.seen.dones = w.seen.heads = 0;
    seen_send(&w.seen, &request); /* running when all is closed */
    run_for(&w.loop, 50);
    end(&w);
}

/* --- the peer's process ---------------------------------------------------------------------- */

static int
start_peer(void)
{
    char command[512], line[32] = "";
    int in[2], out[2];

    snprintf(peer_program.dir, sizeof(peer_program.dir), "/tmp/hw-test-https-XXXXXX");
    if (mkdtemp(peer_program.dir) == NULL)
        return -1;
    snprintf(command, sizeof(command),
             "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost "
             "-addext subjectAltName=DNS:localhost -keyout %s/key.pem -out %s/cert.pem "
             ">/dev/null 2>&1",
             peer_program.dir, peer_program.dir);
    if (system(command) != 0)
        return -1;
    snprintf(command, sizeof(command),
             "exec /usr/bin/python3 " HW_SOURCE_DIR "/tests/unit/router/https_peer.py "
             "%s/cert.pem %s/key.pem",
             peer_program.dir, peer_program.dir);
    if (pipe(in) != 0 || pipe(out) != 0)
        return -1;
    peer_program.pid = fork();
    if (peer_program.pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[0]);
        close(in[1]);
        close(out[0]);
        close(out[1]);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    peer_program.keep_alive_fd = in[1];
    if (read(out[0], line, sizeof(line) - 1) > 0)
        peer_program.port = (uint16_t)atoi(line);
    peer_program.stdout_fd = out[0]; /* kept: Python writes the line in two pieces */
    snprintf(command, sizeof(command), "%s/cert.pem", peer_program.dir);
    setenv("SSL_CERT_FILE", command, 1);
    return peer_program.port > 0 ? 0 : -1;
}

static void
stop_peer(void)
{
    char command[128];

    if (peer_program.pid > 0) {
        close(peer_program.keep_alive_fd);
        close(peer_program.stdout_fd);
        kill(peer_program.pid, SIGTERM);
        waitpid(peer_program.pid, NULL, 0);
    }
    snprintf(command, sizeof(command), "rm -rf %s", peer_program.dir);
    (void)!system(command);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),  cmocka_unit_test(test_posts_segments),
        cmocka_unit_test(test_failures), cmocka_unit_test(test_pause),
        cmocka_unit_test(test_cancel),
    };

    signal(SIGPIPE, SIG_IGN);
    setenv("https_proxy", "http://127.0.0.1:1", 1); /* must not be heeded */
    if (start_peer() != 0)
        printf("skipped: openssl or python3 is missing, so there is no https peer\n");
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    stop_peer();
    return failed;
}
