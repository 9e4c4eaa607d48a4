/* The own client against scripted peers. */
#include "client_fixture.h"

struct world {
    uv_loop_t loop;
    struct hw_client *client;
    struct peer peer;
    struct seen_call seen;
};

static void
begin(struct world *w, peer_script *script)
{
    memset(w, 0, sizeof(*w));
    alarm(30); /* a test that hangs is a test that failed */
    assert_int_equal(uv_loop_init(&w->loop), 0);
    w->client = hw_client_create(&w->loop);
    peer_start(&w->peer, script);
    seen_init(&w->seen, &w->loop, w->client);
}

static void
end(struct world *w)
{
    client_close(w->client, &w->loop);
    peer_stop(&w->peer);
    hw_buf_free(&w->peer.seen);
    hw_buf_free(&w->seen.body);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    alarm(0);
}

static struct hw_call_request
post(const struct world *w, const char *text)
{
    return (struct hw_call_request){
        .host = "127.0.0.1",
        .port = w->peer.port,
        .method = "POST",
        .path = "/v1/chat",
        .segments = {{text, strlen(text)}},
        .segment_count = 1,
        .connect_ms = 1000,
        .first_byte_ms = 5000,
        .idle_ms = 5000,
    };
}

/* Sends again on the same record. */
static void
again(struct world *w, const struct hw_call_request *request)
{
    hw_buf_clear(&w->seen.body);
    w->seen.heads = w->seen.dones = w->seen.errors = 0;
    seen_send(&w->seen, request);
    seen_wait(&w->seen);
}

static void
answers_always(struct peer *peer, int fd, int nth)
{
    (void)nth;
    while (peer_read_request(peer, fd))
        peer_say(fd,
                 "HTTP/1.1 200 OK\r\nContent-Type:  text/plain \r\nContent-Length: 5\r\n\r\nhello");
}

static void
test_keeps_the_connection(void **state)
{
    struct world w;
    struct hw_http_field fields[] = {{"X-Agent", "email", 5}, {"Host", "evil", 4}};

    (void)state;
    begin(&w, answers_always);
    struct hw_call_request request = post(&w, "question");
    request.fields = fields;
    request.field_count = 2;
    for (int i = 0; i < 3; i++) {
        again(&w, &request);
        assert_int_equal(w.seen.dones, 1);
        assert_int_equal(w.seen.status, 200);
        assert_string_equal(w.seen.type, "text/plain");
        assert_string_equal(w.seen.body.data, "hello");
    }
    assert_int_equal(w.peer.accepted, 1);
    end(&w);
}

static void
test_writes_the_request(void **state)
{
    struct world w;
    struct hw_http_field fields[] = {{"X-Agent", "email", 5}, {"Host", "evil", 4}};
    char expected[256];

    (void)state;
    begin(&w, answers_always);
    struct hw_call_request request = post(&w, "question");
    request.fields = fields;
    request.field_count = 2;
    again(&w, &request);
    snprintf(expected, sizeof(expected),
             "POST /v1/chat HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nX-Agent: email\r\n"
             "Content-Length: 8\r\n\r\nquestion",
             (unsigned)w.peer.port);
    client_close(w.client, &w.loop);
    peer_stop(&w.peer);
    assert_string_equal(w.peer.seen.data, expected);
    w.client = hw_client_create(&w.loop);
    hw_buf_free(&w.peer.seen);
    peer_start(&w.peer, answers_always);
    end(&w);
}

static void
answers_byte_by_byte(struct peer *peer, int fd, int nth)
{
    static const char answer[] = "HTTP/1.1 100 Continue\r\n\r\n"
                                 "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                                 "Transfer-Encoding: chunked\r\n\r\n"
                                 "3\r\nabc\r\n4;ext=1\r\ndefg\r\n0\r\nTrailer: x\r\n\r\n";
    int on = 1;

    (void)nth;
    setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &on, sizeof(on));
    while (peer_read_request(peer, fd)) {
        for (const char *p = answer; *p != '\0'; p++) {
            char one[2] = {*p, '\0'};
            peer_say(fd, one);
            usleep(100);
        }
    }
}

static void
test_reads_in_pieces(void **state)
{
    struct world w;

    (void)state;
    begin(&w, answers_byte_by_byte);
    struct hw_call_request request = post(&w, "x");
    for (int i = 0; i < 2; i++) {
        again(&w, &request);
        assert_int_equal(w.seen.dones, 1);
        assert_string_equal(w.seen.type, "text/event-stream");
        assert_string_equal(w.seen.body.data, "abcdefg");
    }
    assert_int_equal(w.peer.accepted, 1);
    end(&w);
}

static void
answers_until_close(struct peer *peer, int fd, int nth)
{
    (void)nth;
    peer_read_request(peer, fd);
    peer_say(fd, "HTTP/1.1 200 OK\r\n\r\nuntil the end");
}

static void
test_body_until_close(void **state)
{
    struct world w;

    (void)state;
    begin(&w, answers_until_close);
    struct hw_call_request request = post(&w, "x");
    for (int i = 0; i < 2; i++) {
        again(&w, &request);
        assert_int_equal(w.seen.dones, 1);
        assert_string_equal(w.seen.body.data, "until the end");
    }
    assert_int_equal(w.peer.accepted, 2);
    end(&w);
}

/* --- failures -------------------------------------------------------------------------------- */

static void
cuts_the_body(struct peer *peer, int fd, int nth)
{
    (void)nth;
    peer_read_request(peer, fd);
    peer_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
}

static void
closes_at_once(struct peer *peer, int fd, int nth)
{
    (void)nth;
    peer_read_request(peer, fd);
}

static void
talks_nonsense(struct peer *peer, int fd, int nth)
{
    (void)nth;
    peer_read_request(peer, fd);
    peer_say(fd, "SSH-2.0-OpenSSH_9.2\r\n");
}

static void
sends_many_fields(struct peer *peer, int fd, int nth)
{
    (void)nth;
    peer_read_request(peer, fd);
    peer_say(fd, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 201; i++)
        peer_say(fd, "A: b\r\n");
    peer_say(fd, "\r\n");
}

static void
sends_a_long_field(struct peer *peer, int fd, int nth)
{
    (void)nth;
    peer_read_request(peer, fd);
    peer_say(fd, "HTTP/1.1 200 OK\r\nA: ");
    for (int i = 0; i < 80; i++) {
        char kib[1025];
        memset(kib, nth == 0 ? 'a' : ' ', 1024);
        kib[1024] = '\0';
        peer_say(fd, kib);
    }
    peer_wait_for_end(peer, fd);
}

static void
sends_a_large_body(struct peer *peer, int fd, int nth)
{
    (void)nth;
    peer_read_request(peer, fd);
    peer_say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                 "10\r\n0123456789abcdef\r\n10\r\n0123456789abcdef\r\n");
    peer_wait_for_end(peer, fd);
}

static void
upgrades(struct peer *peer, int fd, int nth)
{
    (void)nth;
    peer_read_request(peer, fd);
    peer_say(fd, "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n");
    peer_wait_for_end(peer, fd);
}

static void
test_failures(void **state)
{
    static const struct {
        peer_script *script;
        enum hw_call_failure failure;
    } cases[] = {
        {cuts_the_body, HW_CALL_RESET},         {closes_at_once, HW_CALL_RESET},
        {talks_nonsense, HW_CALL_PROTOCOL},     {sends_many_fields, HW_CALL_PROTOCOL},
        {sends_a_long_field, HW_CALL_PROTOCOL}, {sends_a_large_body, HW_CALL_PROTOCOL},
        {upgrades, HW_CALL_PROTOCOL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world w;
        begin(&w, cases[i].script);
        struct hw_call_request request = post(&w, "x");
        request.max_response_bytes = 20;
        for (int n = 0; n < 2; n++) {
            again(&w, &request);
            assert_int_equal(w.seen.errors, 1);
            assert_int_equal(w.seen.failure, cases[i].failure);
        }
        assert_int_equal(w.peer.accepted, 2); /* no retry: the connections were fresh */
        end(&w);
    }
}

static void
test_nobody_there(void **state)
{
    struct world w;

    (void)state;
    begin(&w, answers_always);
    struct hw_call_request request = post(&w, "x");
    uint16_t port = w.peer.port;
    peer_stop(&w.peer);
    again(&w, &request);
    assert_int_equal(w.seen.errors, 1);
    assert_int_equal(w.seen.failure, HW_CALL_CONNECT);
    request.host = "no-such-name.invalid";
    again(&w, &request);
    assert_int_equal(w.seen.failure, HW_CALL_CONNECT);
    again(&w, &request); /* now from the kept failure */
    assert_int_equal(w.seen.failure, HW_CALL_CONNECT);
    assert_true(port > 0);
    peer_start(&w.peer, answers_always);
    request = post(&w, "x");
    request.host = "localhost"; /* ::1 refuses, or is not there; 127.0.0.1 answers */
    again(&w, &request);
    assert_int_equal(w.seen.dones, 1);
    end(&w);
}

static void
test_connect_timeout(void **state)
{
    struct world w;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address);
    int fillers[4];

    (void)state;
    begin(&w, answers_always);
    int full = socket(AF_INET, SOCK_STREAM, 0); /* a listener whose queue is full drops SYNs */
    assert_int_equal(bind(full, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(full, 0), 0);
    getsockname(full, (struct sockaddr *)&address, &len);
    for (int i = 0; i < 4; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(fillers[i], (struct sockaddr *)&address, len);
    }
    struct hw_call_request request = post(&w, "x");
    request.port = ntohs(address.sin_port);
    request.connect_ms = 150;
    uint64_t from = uv_hrtime();
    again(&w, &request);
    uint64_t took_ms = (uv_hrtime() - from) / 1000000;
    assert_int_equal(w.seen.failure, HW_CALL_CONNECT);
    assert_true(took_ms >= 140 && took_ms < 1000);
    for (int i = 0; i < 4; i++)
        close(fillers[i]);
    close(full);
    end(&w);
}

static void
test_refuses_broken_requests(void **state)
{
    struct world w;
    struct hw_call *call;
    struct hw_http_field field = {"X", "a\r\nEvil: 1", 10};

    (void)state;
    begin(&w, answers_always);
    struct hw_call_request request = post(&w, "x");
    request.fields = &field;
    request.field_count = 1;
    assert_int_equal(hw_client_send(w.client, &request, &seen_events, &w, &call, NULL), HW_EINVAL);
    request = post(&w, "x");
    request.path = "/a b";
    assert_int_equal(hw_client_send(w.client, &request, &seen_events, &w, &call, NULL), HW_EINVAL);
    request.path = "/a\nb";
    assert_int_equal(hw_client_send(w.client, &request, &seen_events, &w, &call, NULL), HW_EINVAL);
    end(&w);
}

/* --- kept connections that went stale -------------------------------------------------------- */

static void
answers_once_then_closes_on_ask(struct peer *peer, int fd, int nth)
{
    (void)nth;
    peer_read_request(peer, fd);
    peer_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    peer_read_request(peer, fd); /* and leaves it unanswered */
}

static void
test_stale_connection_is_tried_again_once(void **state)
{
    struct world w;

    (void)state;
    begin(&w, answers_once_then_closes_on_ask);
    struct hw_call_request request = post(&w, "x");
    for (int i = 0; i < 4; i++) {
        again(&w, &request);
        assert_int_equal(w.seen.dones, 1);
        assert_string_equal(w.seen.body.data, "ok");
    }
    assert_int_equal(w.peer.accepted, 4);
    end(&w);
}

static void
sends_too_much(struct peer *peer, int fd, int nth)
{
    (void)nth;
    peer_read_request(peer, fd);
    peer_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n");
    peer_wait_for_end(peer, fd);
}

static void
test_extra_bytes_close_the_connection(void **state)
{
    struct world w;

    (void)state;
    begin(&w, sends_too_much);
    struct hw_call_request request = post(&w, "x");
    for (int i = 0; i < 2; i++) {
        again(&w, &request);
        assert_int_equal(w.seen.dones, 1);
        assert_string_equal(w.seen.body.data, "ok");
    }
    assert_int_equal(w.peer.accepted, 2);
    end(&w);
}

/* --- time ------------------------------------------------------------------------------------ */

static void
stalls(struct peer *peer, int fd, int nth)
{
    peer_read_request(peer, fd);
    if (nth > 0)
        peer_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    peer_wait_for_end(peer, fd);
}

static void
test_timeouts(void **state)
{
    struct world w;

    (void)state;
    begin(&w, stalls);
    struct hw_call_request request = post(&w, "x");
    request.first_byte_ms = 60;
    again(&w, &request);
    assert_int_equal(w.seen.failure, HW_CALL_TIMEOUT);
    assert_int_equal(w.seen.heads, 0);
    request.first_byte_ms = 5000;
    request.idle_ms = 60;
    again(&w, &request);
    assert_int_equal(w.seen.failure, HW_CALL_TIMEOUT);
    assert_string_equal(w.seen.body.data, "half");
    end(&w);
}

static void
pause_it(struct seen_call *seen)
{
    hw_call_pause(seen->call);
    seen->on_body_hook = NULL;
}

static void
test_no_timeout_while_paused(void **state)
{
    struct world w;

    (void)state;
    begin(&w, stalls);
    w.peer.accepted = 1;
    struct hw_call_request request = post(&w, "x");
    request.idle_ms = 40;
    w.seen.on_body_hook = pause_it;
    seen_send(&w.seen, &request);
    run_for(&w.loop, 200);
    assert_int_equal(w.seen.errors, 0);
    hw_call_resume(w.seen.call);
    seen_wait(&w.seen);
    assert_int_equal(w.seen.failure, HW_CALL_TIMEOUT);
    end(&w);
}

/* --- back-pressure and cancelling ------------------------------------------------------------ */

#define LARGE (32u << 20)

static void
sends_large(struct peer *peer, int fd, int nth)
{
    static char block[65536];

    (void)nth;
    while (peer_read_request(peer, fd)) {
        peer_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 33554432\r\n\r\n");
        for (size_t at = 0; at < LARGE; at += sizeof(block)) {
            memset(block, (int)('a' + (at >> 16) % 26), sizeof(block));
            for (size_t sent = 0; sent < sizeof(block);) {
                ssize_t n = send(fd, block + sent, sizeof(block) - sent, MSG_NOSIGNAL);
                if (n <= 0)
                    return;
                sent += (size_t)n;
                peer->size += (size_t)n;
            }
        }
    }
}

static void
test_pause_holds_the_peer(void **state)
{
    struct world w;

    (void)state;
    begin(&w, sends_large);
    struct hw_call_request request = post(&w, "x");
    w.seen.on_body_hook = pause_it;
    seen_send(&w.seen, &request);
    run_for(&w.loop, 200);
    size_t had = w.seen.body.len;
    assert_true(had > 0 && had <= 65536);
    for (int i = 0; i < 20; i++) { /* stop and go, with nothing lost or swapped */
        w.seen.on_body_hook = pause_it;
        hw_call_resume(w.seen.call);
        run_for(&w.loop, 2);
    }
    hw_call_resume(w.seen.call);
    seen_wait(&w.seen);
    assert_int_equal(w.seen.dones, 1);
    assert_int_equal(w.seen.body.len, LARGE);
    for (size_t at = 0; at < LARGE; at += 4096)
        assert_int_equal(w.seen.body.data[at], 'a' + (char)((at >> 16) % 26));
    end(&w);
}

static void
pause_and_resume(struct seen_call *seen)
{
    hw_call_pause(seen->call);
    hw_call_resume(seen->call);
}

static void
test_pause_and_resume_in_a_callback(void **state)
{
    struct world w;

    (void)state;
    begin(&w, sends_large);
    struct hw_call_request request = post(&w, "x");
    w.seen.on_body_hook = pause_and_resume;
    for (int i = 0; i < 2; i++) {
        again(&w, &request);
        assert_int_equal(w.seen.body.len, LARGE);
        for (size_t at = 0; at < LARGE; at += 4096)
            assert_int_equal(w.seen.body.data[at], 'a' + (char)((at >> 16) % 26));
    }
    assert_int_equal(w.peer.accepted, 1);
    end(&w);
}

static void
cancel_it(struct seen_call *seen)
{
    hw_call_cancel(seen->call);
    seen->call = NULL;
}

static void
test_cancel_frees_the_peer(void **state)
{
    struct world w;

    (void)state;
    begin(&w, stalls);
    w.peer.accepted = -1;
    struct hw_call_request request = post(&w, "x");
    seen_send(&w.seen, &request);
    hw_call_cancel(w.seen.call); /* before it is connected */
    seen_send(&w.seen, &request);
    run_for(&w.loop, 50);
    hw_call_cancel(w.seen.call); /* before the first byte */
    run_for(&w.loop, 50);
    w.seen.on_body_hook = cancel_it; /* from within a callback */
    seen_send(&w.seen, &request);
    run_for(&w.loop, 100);
    assert_int_equal(w.seen.dones + w.seen.errors, 0);
    assert_null(w.seen.call);
    assert_true(w.peer.saw_end_ms > 0 && w.peer.saw_end_ms < 500);
    end(&w);
}

static void
send_next(struct seen_call *seen)
{
    struct world *w = (struct world *)((char *)seen - offsetof(struct world, seen));
    struct hw_call_request request = post(w, "again");

    if (seen->dones < 5)
        assert_int_equal(hw_client_send(w->client, &request, &seen_events, seen, &seen->call, NULL),
                         0);
}

static void
test_send_from_on_done_reuses(void **state)
{
    struct world w;

    (void)state;
    begin(&w, answers_always);
    struct hw_call_request request = post(&w, "x");
    w.seen.on_body_hook = NULL;
    w.seen.on_done_hook = send_next;
    seen_send(&w.seen, &request);
    while (w.seen.dones < 1)
        uv_run(&w.loop, UV_RUN_ONCE);
    end(&w); /* with a call on its way */
    assert_int_equal(w.peer.accepted, 1);
}

static void
answers_slowly_reading(struct peer *peer, int fd, int nth)
{
    (void)nth;
    usleep(50000);
    answers_always(peer, fd, nth);
}

static void
test_large_request(void **state)
{
    struct world w;
    size_t len = 8 << 20;
    struct hw_body *body = calloc(1, sizeof(*body));

    (void)state;
    body->refs = 1;
    body->bytes = malloc(len);
    body->len = len;
    for (size_t i = 0; i < len; i++)
        body->bytes[i] = (char)('a' + i % 23);
    begin(&w, answers_slowly_reading);
    struct hw_call_request request = post(&w, "");
    request.body = body;
    request.segments[0] = (struct hw_call_segment){body->bytes, 1000};
    request.segments[1] = (struct hw_call_segment){body->bytes + 1000, 0};
    request.segments[2] = (struct hw_call_segment){body->bytes + 1000, len - 1000};
    request.segment_count = 3;
    again(&w, &request);
    assert_int_equal(w.seen.dones, 1);
    again(&w, &request);
    assert_int_equal(body->refs, 1);
    seen_send(&(struct seen_call){.client = w.client}, &request);
    assert_int_equal(body->refs, 2);
    client_close(w.client, &w.loop);
    assert_int_equal(body->refs, 1);
    peer_stop(&w.peer);
    char *first = strstr(w.peer.seen.data, "\r\n\r\n") + 4;
    assert_memory_equal(first, body->bytes, len);
    w.client = hw_client_create(&w.loop);
    hw_buf_free(&w.peer.seen);
    peer_start(&w.peer, answers_always);
    end(&w);
    hw_body_unref(body);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keeps_the_connection),
        cmocka_unit_test(test_writes_the_request),
        cmocka_unit_test(test_reads_in_pieces),
        cmocka_unit_test(test_body_until_close),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_connect_timeout),
        cmocka_unit_test(test_refuses_broken_requests),
        cmocka_unit_test(test_stale_connection_is_tried_again_once),
        cmocka_unit_test(test_extra_bytes_close_the_connection),
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_no_timeout_while_paused),
        cmocka_unit_test(test_pause_holds_the_peer),
        cmocka_unit_test(test_pause_and_resume_in_a_callback),
        cmocka_unit_test(test_cancel_frees_the_peer),
        cmocka_unit_test(test_send_from_on_done_reuses),
        cmocka_unit_test(test_large_request),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
