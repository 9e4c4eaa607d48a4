/* A server that is no Redis, in the same loop: it answers SELECT as scripted, then each read with
 * the same bytes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "cache/redis.h"
#include "cache/redis_server.h"

#define PATIENCE_MS 5000

struct fake {
    const char *hello, *reply;
    size_t reply_len;
    bool flood, trickle, hang_up;
    size_t trickled;
    int connections;
    uv_tcp_t listener;
    uv_tcp_t peers[32];
    uv_timer_t timer;
    bool greeted[32];
};

static uv_loop_t loop;
static struct fake fake;
static struct hw_cache_redis *redis;
static bool closed;
static int calls;
static enum hw_cache_redis_result last;

static void
say(uv_tcp_t *peer, const char *bytes, size_t len)
{
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)bytes, (unsigned)len);

    uv_try_write((uv_stream_t *)peer, &buf, 1);
}

static void
on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    static char input[65536];

    (void)handle;
    (void)suggested;
    *buf = uv_buf_init(input, sizeof(input));
}

static void
on_timer(uv_timer_t *timer)
{
    static char zeros[65536];
    uv_tcp_t *peer = timer->data;

    if (uv_is_closing((uv_handle_t *)peer))
        return;
    if (fake.flood)
        say(peer, zeros, sizeof(zeros));
    else if (fake.trickled < fake.reply_len)
        say(peer, fake.reply + fake.trickled++, 1);
}

static void
on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    uv_tcp_t *peer = (uv_tcp_t *)stream;
    size_t i = (size_t)(peer - fake.peers);

    (void)buf;
    if (nread < 0) {
        uv_close((uv_handle_t *)stream, NULL);
        return;
    }
    if (!fake.greeted[i]) {
        fake.greeted[i] = true;
        say(peer, fake.hello, strlen(fake.hello));
        if (fake.hang_up)
            uv_close((uv_handle_t *)stream, NULL);
        return;
    }
    if (!fake.trickle)
        say(peer, fake.reply, fake.reply_len);
    if (fake.trickle || fake.flood) {
        fake.timer.data = peer;
        uv_timer_start(&fake.timer, on_timer, 0, 1);
    }
}

static void
on_connection(uv_stream_t *listener, int status)
{
    assert_int_equal(status, 0);
    assert_true(fake.connections < 32);
    uv_tcp_t *peer = &fake.peers[fake.connections++];
    uv_tcp_init(&loop, peer);
    assert_int_equal(uv_accept(listener, (uv_stream_t *)peer), 0);
    uv_read_start((uv_stream_t *)peer, on_alloc, on_read);
}

static void
on_answer(void *ctx, enum hw_cache_redis_result result, struct hw_cache_entry *entry)
{
    (void)ctx;
    calls++;
    last = result;
    hw_cache_entry_unref(entry);
}

static void
on_closed(void *ctx)
{
    (void)ctx;
    closed = true;
}

static bool
is_up(void *ctx)
{
    (void)ctx;
    return hw_cache_redis_is_up(redis);
}

static bool
is_answered(void *ctx)
{
    (void)ctx;
    return calls > 0;
}

static bool
has_come_again(void *ctx)
{
    return fake.connections > *(int *)ctx;
}

static int
setup(void **state)
{
    (void)state;
    struct sockaddr_in address;
    struct hw_cache_redis_conf conf = {
        .host = "127.0.0.1", .port = free_port(), .timeout_ms = 1000, .max_entry_bytes = 1000};

    memset(&fake, 0, sizeof(fake));
    fake.hello = "+OK\r\n";
    closed = false;
    calls = 0;
    uv_loop_init(&loop);
    uv_ip4_addr("127.0.0.1", conf.port, &address);
    uv_tcp_init(&loop, &fake.listener);
    uv_timer_init(&loop, &fake.timer);
    assert_int_equal(uv_tcp_bind(&fake.listener, (const struct sockaddr *)&address, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&fake.listener, 8, on_connection), 0);
    redis = hw_cache_redis_create(&loop, &conf);
    return 0;
}

static void
close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static int
teardown(void **state)
{
    (void)state;
    hw_cache_redis_close(redis, on_closed, NULL);
    while (!closed)
        uv_run(&loop, UV_RUN_ONCE);
    uv_walk(&loop, close_handle, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    return 0;
}

static void
expect_answer(const char *reply, size_t len, enum hw_cache_redis_result expected)
{
    struct hw_cache_key key = {{0}};

    fake.reply = reply;
    fake.reply_len = len;
    assert_true(run_until(&loop, is_up, NULL, PATIENCE_MS));
    assert_non_null(hw_cache_redis_get(redis, &key, on_answer, NULL));
    assert_true(run_until(&loop, is_answered, NULL, PATIENCE_MS));
    assert_int_equal(calls, 1);
    assert_int_equal(last, expected);
}

static void
expect_text(const char *reply, enum hw_cache_redis_result expected)
{
    expect_answer(reply, strlen(reply), expected);
}

static void
expect_come_again(void)
{
    int before = fake.connections;

    assert_true(run_until(&loop, has_come_again, &before, PATIENCE_MS));
}

static void
other_types_are_a_miss(void **state)
{
    (void)state;
    const char *replies[] = {":1\r\n", "$-1\r\n", "+QUEUED\r\n", "-ERR no\r\n", "$0\r\n\r\n"};
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        calls = 0;
        expect_text(replies[i], HW_REDIS_MISS);
    }
    assert_int_equal(fake.connections, 1);
}

static void
arrays_end_it(void **state)
{
    (void)state;
    expect_text("*1000000000\r\n$1\r\nx\r\n", HW_REDIS_DOWN);
    expect_come_again();
}

static void
nonsense_ends_it(void **state)
{
    (void)state;
    expect_text("HTTP/1.1 400 Bad Request\r\n\r\n", HW_REDIS_DOWN);
    calls = 0;
    expect_text("$-7\r\n", HW_REDIS_DOWN);
    expect_come_again();
}

static void
more_than_was_asked_ends_it(void **state)
{
    (void)state;
    fake.flood = true;
    expect_text("$999999999\r\n", HW_REDIS_DOWN);
    fake.flood = false;
    uv_timer_stop(&fake.timer);
    expect_come_again();
}

static void
absurd_lengths_end_it(void **state)
{
    (void)state;
    fake.flood = true;
    expect_text("$9223372036854775807\r\n", HW_REDIS_DOWN);
}

static void
endless_lines_end_it(void **state)
{
    (void)state;
    fake.flood = true;
    expect_text("+", HW_REDIS_DOWN);
}

static void
unasked_replies_end_it(void **state)
{
    (void)state;
    expect_text("+one\r\n+two\r\n+three\r\n", HW_REDIS_MISS);
    expect_come_again();
}

static void
slow_bytes_make_a_value(void **state)
{
    (void)state;
    char reply[] = "$13\r\n\1\0\0\0\0\0\0\0\0blob\r\n";
    uint64_t expires_ms = wall_clock_ms() + 60000;

    for (int i = 0; i < 8; i++)
        reply[6 + i] = (char)(expires_ms >> (8 * i));
    fake.trickle = true;
    expect_answer(reply, sizeof(reply) - 1, HW_REDIS_HIT);
}

static void
refused_select(void **state)
{
    (void)state;
    fake.hello = "-NOAUTH Authentication required.\r\n";
    expect_come_again();
    expect_come_again();
    assert_false(is_up(NULL));
    fake.hello = "+OK\r\n";
    assert_true(run_until(&loop, is_up, NULL, PATIENCE_MS));
}

static void
hangs_up_after_the_greeting(void **state)
{
    (void)state;
    fake.hang_up = true;
    for (int i = 0; i < 4; i++)
        expect_come_again();
    fake.hang_up = false;
    expect_come_again();
    expect_text("$-1\r\n", HW_REDIS_MISS);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(other_types_are_a_miss, setup, teardown),
        cmocka_unit_test_setup_teardown(arrays_end_it, setup, teardown),
        cmocka_unit_test_setup_teardown(nonsense_ends_it, setup, teardown),
        cmocka_unit_test_setup_teardown(more_than_was_asked_ends_it, setup, teardown),
        cmocka_unit_test_setup_teardown(absurd_lengths_end_it, setup, teardown),
        cmocka_unit_test_setup_teardown(endless_lines_end_it, setup, teardown),
        cmocka_unit_test_setup_teardown(unasked_replies_end_it, setup, teardown),
        cmocka_unit_test_setup_teardown(slow_bytes_make_a_value, setup, teardown),
        cmocka_unit_test_setup_teardown(refused_select, setup, teardown),
        cmocka_unit_test_setup_teardown(hangs_up_after_the_greeting, setup, teardown),
    };
    signal(SIGPIPE, SIG_IGN); /* as the gateway does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
