/* The request reader: what it takes, what it refuses and with which status, and that neither
 * depends on how the bytes are cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "router/http/request.h"

#define HOST "Host: a\r\n"

static const struct hw_http_limits limits = {.body = 1000, .header_bytes = 2048, .headers = 10};

/* Feeds text up to `cut`, then the rest; returns what was used of both together. */
static size_t
feed_cut(struct hw_request_reader *reader, const char *text, size_t len, size_t cut)
{
    hw_request_begin(reader, &limits);
    size_t used = cut > 0 ? hw_request_feed(reader, text, cut) : 0;
    if (used == cut && cut < len)
        used += hw_request_feed(reader, text + cut, len - cut);
    return used;
}

static size_t
feed_bytewise(struct hw_request_reader *reader, const char *text, size_t len)
{
    size_t used = 0;
    hw_request_begin(reader, &limits);
    while (used < len && reader->state != HW_REQUEST_DONE && reader->state != HW_REQUEST_FAILED) {
        char *one = malloc(1); /* so that a sanitizer sees a step outside of it */
        one[0] = text[used];
        used += hw_request_feed(reader, one, 1);
        free(one);
    }
    return used;
}

struct refused {
    int status;
    const char *text;
};

static const struct refused refused[] = {
    /* request line */
    {400, "GARBAGE\r\n\r\n"},
    {400, "\x16\x03\x01\x02 hello tls"},
    {400, "get / HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET  / HTTP/1.1\r\n" HOST "\r\n"},
    {400, " GET / HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET http://a/ HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET * HTTP/1.1\r\n" HOST "\r\n"},
    {400, "CONNECT a:80 HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET /a\x01z HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET /a\x7fz HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET /a#b HTTP/1.1\r\n" HOST "\r\n"},
    {400, "\n\nGET / HTTP/1.1\r\n" HOST "\r\n"},
    {400, "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n"},
    {505, "GET / HTTP/2.0\r\n" HOST "\r\n"},
    {505, "GET / HTTP/0.9\r\n\r\n"},
    {505, "GET / HTTP/1.7\r\n" HOST "\r\n"},
    {505, "GET / RTSP/1.0\r\n" HOST "\r\n"},
    {505, "SOURCE / ICE/1.0\r\n" HOST "\r\n"},
    {505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
    /* lines and fields */
    {400, "GET / HTTP/1.1\n" HOST "\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a\n\r\n"},
    {400, "GET / HTTP/1.1\r\n" HOST "A: b\r\n c\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\n" HOST "A:\r\n\tc\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\n A: b\r\n" HOST "\r\n"},
    {400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\n" HOST ": b\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\n" HOST "A\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\n" HOST "A: b\rc\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\n" HOST "A: b\x01\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\n" HOST "A(: b\r\n\r\n"},
    /* Host */
    {400, "GET / HTTP/1.1\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\n" HOST HOST "\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"},
    {400, "GET / HTTP/1.0\r\n" HOST "hOST: b\r\n\r\n"},
    /* smuggling */
    {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"},
    {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"},
    {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 5, 5\r\n\r\nhello"},
    {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: +5\r\n\r\nhello"},
    {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: -5\r\n\r\nhello"},
    {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 0x5\r\n\r\nhello"},
    {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 5 5\r\n\r\nhello"},
    {400, "POST / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\nhello"},
    {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999999\r\n\r\nhello"},
    {400,
     "POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
    {400,
     "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" HOST
          "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"},
    {400, "POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"},
    {501, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\nhello"},
    {501, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"},
    {501, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"},
    /* chunks */
    {400, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nx\r\n"},
    {400, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n-1\r\n"},
    {400, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n"},
    {413, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3e9\r\n"},
    {413, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"},
    {413, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3e6\r\n"},
    /* limits */
    {413, "POST / HTTP/1.1\r\n" HOST "Content-Length: 1001\r\n\r\n"},
    {413, "POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 1001\r\n\r\n"},
    {417, "POST / HTTP/1.1\r\n" HOST "Expect: a pony\r\nContent-Length: 1\r\n\r\n"},
    {431,
     "GET / HTTP/1.1\r\n" HOST "b:1\r\nc:\r\nd:\r\ne:\r\nf:\r\ng:\r\nh:\r\ni:\r\nj:\r\nk:\r\n\r\n"},
};

static void
test_refused(void **state)
{
    (void)state;
    struct hw_request_reader reader;
    hw_request_init(&reader);
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        const char *text = refused[i].text;
        size_t len = strlen(text);
        for (size_t cut = 0; cut <= len; cut++) {
            feed_cut(&reader, text, len, cut);
            if (reader.state != HW_REQUEST_FAILED || reader.status != refused[i].status)
                fail_msg("%s\ncut at %zu: state %d, status %d (%s), wanted %d", text, cut,
                         (int)reader.state, reader.status, reader.what, refused[i].status);
            assert_non_null(reader.what);
        }
        feed_bytewise(&reader, text, len);
        if (reader.status != refused[i].status)
            fail_msg("%s\nbytewise: status %d, wanted %d", text, reader.status, refused[i].status);
    }
    hw_request_free(&reader);
}

struct taken {
    const char *text;
    enum hw_http_method method;
    const char *path, *query, *body;
    size_t fields;
    bool keep_alive;
};

static const struct taken taken[] = {
    {"GET / HTTP/1.1\r\n" HOST "\r\n", HW_HTTP_GET, "/", "", NULL, 1, true},
    {"\r\nGET / HTTP/1.1\r\n" HOST "\r\n", HW_HTTP_GET, "/", "", NULL, 1, true},
    {"HEAD /a?b=c?d HTTP/1.1\r\nhost:a\r\nX: \t y z \t \r\nEmpty:\r\n\r\n", HW_HTTP_HEAD, "/a",
     "b=c?d", NULL, 3, true},
    {"OPTIONS * HTTP/1.1\r\n" HOST "\r\n", HW_HTTP_OPTIONS, "*", "", NULL, 1, true},
    {"DELETE /x HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", HW_HTTP_DELETE, "/x", "", NULL, 2,
     false},
    {"PATCH /x HTTP/1.1\r\n" HOST "\r\n", HW_HTTP_OTHER, "/x", "", NULL, 1, true},
    {"GET / HTTP/1.0\r\n\r\n", HW_HTTP_GET, "/", "", NULL, 0, false},
    {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", HW_HTTP_GET, "/", "", NULL, 1, true},
    {"GET / HTTP/1.1\r\n" HOST "Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n", HW_HTTP_GET,
     "/", "", NULL, 3, true},
    {"POST /p HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello", HW_HTTP_POST, "/p", "", "hello",
     2, true},
    {"POST /p HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", HW_HTTP_POST, "/p", "", NULL, 2,
     true},
    {"POST /p HTTP/1.1\r\n" HOST "\r\n", HW_HTTP_POST, "/p", "", NULL, 1, true},
    {"POST /p HTTP/1.1\r\n" HOST
     "Transfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n",
     HW_HTTP_POST, "/p", "", "hello!", 2, true},
    {"POST /p HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
     "005;a=\"b\"\r\nhello\r\n0\r\nTrailer: x\r\nHost: b\r\n\r\n",
     HW_HTTP_POST, "/p", "", "hello", 2, true},
    {"POST /p HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", HW_HTTP_POST, "/p",
     "", NULL, 2, true},
};

static void
check_taken(const struct hw_request_reader *reader, const struct taken *want, size_t used)
{
    const struct hw_http_request *request = &reader->request;
    if (reader->state != HW_REQUEST_DONE)
        fail_msg("%s\nstate %d, status %d (%s)", want->text, (int)reader->state, reader->status,
                 reader->what);
    assert_int_equal(used, strlen(want->text));
    assert_int_equal(request->method, want->method);
    assert_true(hw_http_slice_is(&request->path, want->path));
    assert_true(hw_http_slice_is(&request->query, want->query));
    assert_int_equal(request->head.count, want->fields);
    assert_int_equal(reader->keep_alive, want->keep_alive);
    if (want->body == NULL) {
        assert_null(request->body);
    } else {
        assert_non_null(request->body);
        assert_string_equal(request->body->bytes, want->body);
        assert_int_equal(request->body->len, strlen(want->body));
    }
    const struct hw_http_slice *x = hw_http_head_find(&request->head, "x");
    if (x != NULL)
        assert_true(hw_http_slice_is(x, "y z"));
    const struct hw_http_slice *empty = hw_http_head_find(&request->head, "empty");
    if (empty != NULL)
        assert_int_equal(empty->len, 0);
}

/* Each with the beginning of a next request behind it, of which nothing may be taken. */
static void
test_taken(void **state)
{
    (void)state;
    struct hw_request_reader reader;
    hw_request_init(&reader);
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
        char text[1024];
        snprintf(text, sizeof(text), "%sGET /next", taken[i].text);
        size_t len = strlen(text);
        for (size_t cut = 0; cut <= len; cut++) {
            size_t used = feed_cut(&reader, text, len, cut);
            check_taken(&reader, &taken[i], used);
        }
        check_taken(&reader, &taken[i], feed_bytewise(&reader, text, len));
    }
    hw_request_free(&reader);
}

/* Nothing that is cut short may count as complete or crash; it only waits. */
static void
test_unfinished(void **state)
{
    (void)state;
    struct hw_request_reader reader;
    hw_request_init(&reader);
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
        for (size_t len = 0; len < strlen(taken[i].text); len++) {
            hw_request_begin(&reader, &limits);
            assert_int_equal(hw_request_feed(&reader, taken[i].text, len), len);
            assert_true(reader.state < HW_REQUEST_DONE);
        }
    }
    hw_request_free(&reader);
}

static void
test_header_limits(void **state)
{
    (void)state;
    struct hw_request_reader reader;
    char text[20000];
    hw_request_init(&reader);

    memset(text, 'a', sizeof(text));
    memcpy(text, "GET /", 5);
    for (size_t cut = 1; cut < 4000; cut += 37) {
        feed_cut(&reader, text, sizeof(text), cut);
        assert_int_equal(reader.status, 414);
    }
    memcpy(text, "GET /path HTTP/1.1\r\nX: ", 23);
    for (size_t cut = 1; cut < 4000; cut += 37) {
        feed_cut(&reader, text, sizeof(text), cut);
        assert_int_equal(reader.status, 431);
        if (cut > 20)
            assert_true(hw_http_slice_is(&reader.request.path, "/path"));
    }
    /* a long target under a large limit of the header */
    struct hw_http_limits large = limits;
    large.header_bytes = 65536;
    memset(text, 'a', sizeof(text));
    memcpy(text, "GET /", 5);
    hw_request_begin(&reader, &large);
    hw_request_feed(&reader, text, sizeof(text));
    assert_int_equal(reader.status, 414);
    hw_request_free(&reader);
}

/* What stands around the chunks is bounded as well: extensions, trailers, zeroes. */
static void
test_chunk_overhead(void **state)
{
    (void)state;
    static const char head[] = "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n";
    static const char *const endless[] = {"1;aaaaaaaaaaaaaaaaaaaaaaaaaaaa=b\r\nx\r\n",
                                          "1;a=\"bbbbbbbbbbbbbbbbbbbbbbbbbb\"\r\nx\r\n", "T: t\r\n",
                                          "0"};
    static const int statuses[] = {400, 400, 431, 400};
    struct hw_request_reader reader;
    hw_request_init(&reader);
    for (size_t i = 0; i < 4; i++) {
        size_t total = 0;
        hw_request_begin(&reader, &limits);
        hw_request_feed(&reader, head, sizeof(head) - 1);
        assert_int_equal(reader.state, HW_REQUEST_BODY);
        if (i == 2)
            hw_request_feed(&reader, "0\r\n", 3);
        while (reader.state == HW_REQUEST_BODY && total < 100000)
            total += hw_request_feed(&reader, endless[i], strlen(endless[i]));
        assert_int_equal(reader.state, HW_REQUEST_FAILED);
        assert_int_equal(reader.status, statuses[i]);
    }
    hw_request_free(&reader);
}

/* A promise of megabytes costs nothing until they come, and little more than them then. */
static void
test_body_memory(void **state)
{
    (void)state;
    struct hw_http_limits large = limits;
    large.body = 8 << 20;
    struct hw_request_reader reader;
    char block[7777];
    memset(block, 'b', sizeof(block));
    hw_request_init(&reader);

    static const char *const heads[] = {
        "POST / HTTP/1.1\r\n" HOST "Content-Length: 8388608\r\n\r\n",
        "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n800000\r\n"};
    for (size_t i = 0; i < 2; i++) {
        hw_request_begin(&reader, &large);
        hw_request_feed(&reader, heads[i], strlen(heads[i]));
        hw_request_feed(&reader, "b", 1);
        assert_true(reader.body->cap <= 16384);
        size_t sent = 1;
        while (sent < 8388608) {
            size_t n = 8388608 - sent < sizeof(block) ? 8388608 - sent : sizeof(block);
            sent += hw_request_feed(&reader, block, n);
            assert_true(reader.body->cap <= 2 * sent + 16384);
        }
        if (i == 1)
            hw_request_feed(&reader, "\r\n0\r\n\r\n", 7);
        assert_int_equal(reader.state, HW_REQUEST_DONE);
        assert_int_equal(reader.request.body->len, 8388608);
        assert_true(reader.body->cap <= 8388608 + 8388608 / 4);
    }
    /* whoever took a reference keeps the bytes */
    struct hw_body *kept = hw_body_ref(reader.request.body);
    hw_request_begin(&reader, &large);
    assert_null(reader.body);
    assert_int_equal(kept->bytes[8388607], 'b');
    hw_body_unref(kept);
    hw_request_free(&reader);
}

static void
test_expect(void **state)
{
    (void)state;
    struct hw_request_reader reader;
    hw_request_init(&reader);
    static const struct {
        const char *text;
        bool expects;
    } cases[] = {
        {"POST / HTTP/1.1\r\n" HOST "Expect: 100-Continue\r\nContent-Length: 5\r\n\r\n", true},
        {"POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n",
         true},
        {"POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 0\r\n\r\n", false},
        {"POST / HTTP/1.0\r\n" HOST "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", false},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        hw_request_begin(&reader, &limits);
        hw_request_feed(&reader, cases[i].text, strlen(cases[i].text));
        assert_true(reader.state == HW_REQUEST_BODY || reader.state == HW_REQUEST_DONE);
        assert_int_equal(reader.expects_continue, cases[i].expects);
    }
    hw_request_free(&reader);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),        cmocka_unit_test(test_taken),
        cmocka_unit_test(test_unfinished),     cmocka_unit_test(test_header_limits),
        cmocka_unit_test(test_chunk_overhead), cmocka_unit_test(test_body_memory),
        cmocka_unit_test(test_expect),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
