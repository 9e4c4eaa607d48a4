#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "cache/redis.h"
#include "cache/redis_server.h"

#define TIMEOUT_MS 100    /* the default is 20; the machine may be busy with other tests */
#define PATIENCE_MS 10000 /* a busy machine; nothing waits for it in vain */
#define MAX_ENTRY_BYTES 65536

static uv_loop_t loop;
static struct redis_server server;
static struct hw_cache_redis *redis;
static bool closed;

struct answer {
    int calls;
    enum hw_cache_redis_result result;
    char text[64];
    uint64_t expires_ms;
    uint64_t took_ms, asked_ns;
    bool close_in_callback;
};

static void
on_closed(void *ctx)
{
    *(bool *)ctx = true;
}

static void
on_answer(void *ctx, enum hw_cache_redis_result result, struct hw_cache_entry *entry)
{
    struct answer *answer = ctx;

    answer->calls++;
    answer->result = result;
    answer->took_ms = (uv_hrtime() - answer->asked_ns) / 1000000;
    assert_int_equal(entry != NULL, result == HW_REDIS_HIT);
    if (entry != NULL) {
        snprintf(answer->text, sizeof(answer->text), "%.*s", (int)entry->len,
                 (const char *)entry->bytes);
        answer->expires_ms = entry->expires_ms;
        hw_cache_entry_unref(entry);
    }
    if (answer->close_in_callback)
        hw_cache_redis_close(redis, on_closed, &closed);
}

static struct hw_cache_key
key_of(uint64_t number)
{
    struct hw_cache_key_builder builder;
    struct hw_cache_key key;

    hw_cache_key_begin(&builder);
    hw_cache_key_add_u64(&builder, number);
    hw_cache_key_end(&builder, &key);
    return key;
}

static bool
is_up(void *ctx)
{
    (void)ctx;
    return hw_cache_redis_is_up(redis);
}

static bool
is_down(void *ctx)
{
    return !is_up(ctx);
}

static bool
is_answered(void *ctx)
{
    return ((struct answer *)ctx)->calls > 0;
}

static bool
is_closed(void *ctx)
{
    (void)ctx;
    return closed;
}

static bool
never(void *ctx)
{
    (void)ctx;
    return false;
}

static void
wait_ms(uint64_t ms)
{
    run_until(&loop, never, NULL, ms);
}

static void
open_store(const char *host, const char *password)
{
    struct hw_cache_redis_conf conf = {.host = host,
                                       .port = server.port,
                                       .password = password,
                                       .timeout_ms = TIMEOUT_MS,
                                       .max_entry_bytes = MAX_ENTRY_BYTES};
    redis = hw_cache_redis_create(&loop, &conf);
    assert_non_null(redis);
    closed = false;
}

static void
close_store(void)
{
    hw_cache_redis_close(redis, on_closed, &closed);
    assert_false(closed);
    assert_true(run_until(&loop, is_closed, NULL, PATIENCE_MS));
}

static struct hw_cache_redis_get *
ask(uint64_t number, struct answer *answer)
{
    struct hw_cache_key key = key_of(number);

    uv_update_time(&loop);
    *answer =
        (struct answer){.asked_ns = uv_hrtime(), .close_in_callback = answer->close_in_callback};
    struct hw_cache_redis_get *get = hw_cache_redis_get(redis, &key, on_answer, answer);
    assert_int_equal(answer->calls, 0); /* never from within */
    return get;
}

static struct answer
answered(uint64_t number)
{
    struct answer answer = {0};

    assert_non_null(ask(number, &answer));
    assert_true(run_until(&loop, is_answered, &answer, PATIENCE_MS));
    assert_int_equal(answer.calls, 1);
    return answer;
}

static void
put(uint64_t number, const char *text, uint64_t ttl_ms)
{
    struct hw_cache_key key = key_of(number);
    uint64_t now_ms = wall_clock_ms();
    struct hw_cache_entry *entry = hw_cache_entry_create(text, strlen(text), now_ms + ttl_ms);

    hw_cache_redis_put(redis, &key, entry, now_ms);
    hw_cache_entry_unref(entry);
}

/* "SET hw:1:<hex> VALUE" and the like, written by somebody else. */
static char
tell(const char *command, uint64_t number, const char *value, size_t len)
{
    struct hw_cache_key key = key_of(number);
    size_t size = len + 512, at;
    char *text = malloc(size);

    at = (size_t)snprintf(text, size, "*3\r\n$%zu\r\n%s\r\n$69\r\nhw:1:", strlen(command), command);
    for (size_t i = 0; i < 32; i++)
        at += (size_t)snprintf(text + at, size - at, "%02x", key.bytes[i]);
    at += (size_t)snprintf(text + at, size - at, "\r\n$%zu\r\n", len);
    memcpy(text + at, value, len);
    memcpy(text + at + len, "\r\n", 2);
    char reply = redis_server_tell(&server, text, at + len + 2);
    free(text);
    return reply;
}

static int
setup(void **state)
{
    (void)state;
    if (!redis_server_installed())
        return 0;
    uv_loop_init(&loop);
    server.port = free_port();
    redis_server_start(&server, NULL);
    open_store("127.0.0.1", NULL);
    assert_true(run_until(&loop, is_up, NULL, PATIENCE_MS));
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    if (!redis_server_installed())
        return 0;
    if (!closed)
        close_store();
    redis_server_kill(&server);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&loop), 0); /* nothing of ours is left in it */
    return 0;
}

static void
skip_without_server(void)
{
    if (!redis_server_installed()) {
        print_message("redis-server is not installed\n");
        skip();
    }
}

static void
miss_put_hit_expire(void **state)
{
    (void)state;
    skip_without_server();
    assert_int_equal(answered(1).result, HW_REDIS_MISS);
    put(1, "gold widens", 60000);
    struct answer answer = answered(1);
    assert_int_equal(answer.result, HW_REDIS_HIT);
    assert_string_equal(answer.text, "gold widens");
    assert_true(answer.expires_ms > wall_clock_ms() + 50000);
    put(1, "gold narrows", 300);
    assert_string_equal(answered(1).text, "gold narrows");
    wait_ms(350);
    assert_int_equal(answered(1).result, HW_REDIS_MISS);
    put(2, "too late", 0);
    assert_int_equal(answered(2).result, HW_REDIS_MISS);
}

static void
many_at_once(void **state)
{
    (void)state;
    static struct answer answers[500];

    skip_without_server();
    for (uint64_t i = 0; i < 500; i++)
        put(i, i % 2 ? "odd" : "even", 60000);
    answered(0);
    for (uint64_t i = 0; i < 500; i++)
        assert_non_null(ask(i, &answers[i]));
    assert_true(run_until(&loop, is_answered, &answers[499], PATIENCE_MS));
    for (uint64_t i = 0; i < 500; i++) {
        assert_int_equal(answers[i].calls, 1);
        if (answers[i].result == HW_REDIS_HIT)
            assert_string_equal(answers[i].text, i % 2 ? "odd" : "even");
    }
}

static void
large_values(void **state)
{
    (void)state;
    char *text;

    skip_without_server();
    text = malloc(MAX_ENTRY_BYTES + 1);
    memset(text, 'x', MAX_ENTRY_BYTES);
    text[MAX_ENTRY_BYTES] = '\0';
    put(1, text, 60000);
    assert_int_equal(answered(1).result, HW_REDIS_HIT);
    free(text);
    size_t huge = 20u << 20; /* somebody else's: not even read */
    text = malloc(huge);
    memset(text, 1, huge);
    assert_int_equal(tell("SET", 1, text, huge), '+');
    free(text);
    assert_int_equal(answered(1).result, HW_REDIS_MISS);
    assert_true(is_up(NULL));
}

static void
hostile_values(void **state)
{
    (void)state;
    struct hw_cache_redis_stats stats;

    skip_without_server();
    assert_int_equal(tell("SET", 1, "", 0), '+');
    assert_int_equal(answered(1).result, HW_REDIS_MISS);
    assert_int_equal(tell("SET", 1, "\1\0\0\0", 4), '+');
    assert_int_equal(answered(1).result, HW_REDIS_MISS);
    assert_int_equal(tell("SET", 1, "\7\0\0\0\0\0\1\0\0blob", 13), '+');
    assert_int_equal(answered(1).result, HW_REDIS_MISS);
    assert_int_equal(tell("RPUSH", 2, "a list", 6), ':');
    assert_int_equal(answered(2).result, HW_REDIS_MISS);
    hw_cache_redis_stats(redis, &stats);
    assert_int_equal(stats.errors, 1); /* WRONGTYPE */
    assert_true(is_up(NULL));
}

static void
errors_of_the_server_only_count(void **state)
{
    (void)state;
    static const char full[] = "*4\r\n$6\r\nCONFIG\r\n$3\r\nSET\r\n$9\r\nmaxmemory\r\n$1\r\n1\r\n";
    struct hw_cache_redis_stats stats;

    skip_without_server();
    put(1, "before", 60000);
    answered(1);
    assert_int_equal(redis_server_tell(&server, full, sizeof(full) - 1), '+');
    put(2, "no room", 60000);
    assert_string_equal(answered(1).text, "before");
    assert_int_equal(answered(2).result, HW_REDIS_MISS);
    hw_cache_redis_stats(redis, &stats);
    assert_int_equal(stats.errors, 1);
    assert_int_equal(stats.connections_lost, 0);
}

static void
a_stopped_server_costs_three_timeouts(void **state)
{
    (void)state;
    struct answer answer = {0};
    struct hw_cache_redis_stats stats;

    skip_without_server();
    put(1, "kept", 60000);
    answered(1);
    kill(server.pid, SIGSTOP);
    for (int i = 0; i < 3; i++) {
        answer = answered(1);
        assert_int_equal(answer.result, HW_REDIS_TIMEOUT);
        assert_true(answer.took_ms >= TIMEOUT_MS - 1);
        assert_true(answer.took_ms < TIMEOUT_MS + 100);
    }
    assert_true(run_until(&loop, is_down, NULL, PATIENCE_MS));
    assert_null(ask(1, &answer)); /* from now on it costs nothing */
    wait_ms(300);                 /* its kernel accepts connects; that is not being up */
    assert_true(is_down(NULL));
    hw_cache_redis_stats(redis, &stats);
    assert_int_equal(stats.timeouts, 3);
    assert_int_equal(stats.connections_lost, 1);
    kill(server.pid, SIGCONT);
    assert_true(run_until(&loop, is_up, NULL, PATIENCE_MS));
    assert_string_equal(answered(1).text, "kept");
}

static void
a_busy_loop_is_not_a_late_server(void **state)
{
    (void)state;
    struct answer answer = {0};

    skip_without_server();
    assert_non_null(ask(1, &answer));
    uv_run(&loop, UV_RUN_NOWAIT); /* sent */
    usleep(3 * TIMEOUT_MS * 1000);
    assert_true(run_until(&loop, is_answered, &answer, PATIENCE_MS));
    assert_int_equal(answer.result, HW_REDIS_MISS);
}

static void
killed_and_back(void **state)
{
    (void)state;
    struct answer answers[3] = {{0}};

    skip_without_server();
    kill(server.pid, SIGSTOP); /* so that nothing is answered before it dies */
    for (uint64_t i = 0; i < 3; i++)
        assert_non_null(ask(i, &answers[i]));
    redis_server_kill(&server);
    assert_true(run_until(&loop, is_answered, &answers[2], PATIENCE_MS));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(answers[i].calls, 1);
        assert_int_equal(answers[i].result, HW_REDIS_DOWN);
    }
    assert_null(ask(1, &answers[0]));
    put(1, "nobody there", 1000);
    wait_ms(250); /* refused, and again */
    assert_true(is_down(NULL));
    redis_server_start(&server, NULL);
    assert_true(run_until(&loop, is_up, NULL, PATIENCE_MS));
    assert_int_equal(answered(1).result, HW_REDIS_MISS);
}

static void
cancelled_gets_are_silent(void **state)
{
    (void)state;
    struct answer first = {0}, second = {0};

    skip_without_server();
    struct hw_cache_redis_get *get = ask(1, &first);
    assert_non_null(ask(1, &second));
    hw_cache_redis_cancel(get);
    assert_true(run_until(&loop, is_answered, &second, PATIENCE_MS));
    assert_int_equal(first.calls, 0);
}

static void
closing_is_silent_too(void **state)
{
    (void)state;
    static struct answer answers[100];

    skip_without_server();
    for (uint64_t i = 0; i < 100; i++) {
        assert_non_null(ask(i, &answers[i]));
        put(i, "unsent", 1000);
        if (i == 50)
            uv_run(&loop, UV_RUN_NOWAIT);
    }
    int before = answers[0].calls;
    close_store();
    for (uint64_t i = 51; i < 100; i++)
        assert_int_equal(answers[i].calls, 0);
    assert_int_equal(answers[0].calls, before);
}

static void
closed_from_a_callback(void **state)
{
    (void)state;
    struct answer first = {.close_in_callback = true}, second = {0};

    skip_without_server();
    assert_non_null(ask(1, &first));
    assert_non_null(ask(1, &second));
    assert_true(run_until(&loop, is_closed, NULL, PATIENCE_MS));
    assert_int_equal(first.calls, 1);
    assert_int_equal(second.calls, 0);
}

static void
closed_from_a_callback_of_a_lost_link(void **state)
{
    (void)state;
    struct answer first = {.close_in_callback = true}, second = {0};

    skip_without_server();
    kill(server.pid, SIGSTOP);
    assert_non_null(ask(1, &first));
    assert_non_null(ask(1, &second));
    redis_server_kill(&server);
    assert_true(run_until(&loop, is_closed, NULL, PATIENCE_MS));
    assert_int_equal(first.result, HW_REDIS_DOWN);
    assert_int_equal(second.calls, 0);
}

static void
a_stalled_server_bounds_what_is_unsent(void **state)
{
    (void)state;
    struct hw_cache_redis_stats stats;
    char *text;

    skip_without_server();
    text = malloc(MAX_ENTRY_BYTES + 1);
    memset(text, 'x', MAX_ENTRY_BYTES);
    text[MAX_ENTRY_BYTES] = '\0';
    kill(server.pid, SIGSTOP);
    for (uint64_t i = 0; i < 600; i++) {
        put(i, text, 60000);
        if (i % 8 == 0)
            uv_run(&loop, UV_RUN_NOWAIT);
    }
    free(text);
    hw_cache_redis_stats(redis, &stats);
    assert_true(stats.puts_dropped > 100);
    assert_true(run_until(&loop, is_down, NULL, PATIENCE_MS)); /* silent for two seconds */
    kill(server.pid, SIGCONT);
    assert_true(run_until(&loop, is_up, NULL, PATIENCE_MS));
}

static void
by_name_and_with_password(void **state)
{
    (void)state;
    struct hw_cache_redis_stats stats;

    skip_without_server();
    close_store();
    redis_server_kill(&server);
    redis_server_start(&server, "open sesame");
    open_store("localhost", "open sesame");
    assert_true(run_until(&loop, is_up, NULL, PATIENCE_MS));
    put(1, "inside", 1000);
    assert_string_equal(answered(1).text, "inside");
    close_store();
    open_store("127.0.0.1", "wrong");
    wait_ms(300);
    assert_true(is_down(NULL));
    hw_cache_redis_stats(redis, &stats);
    assert_in_range(stats.errors, 1, 4);
    close_store();
    open_store("no-such-host.invalid", NULL);
    wait_ms(50);
    assert_true(is_down(NULL));
    close_store();
    open_store("no-such-host.invalid", NULL); /* closed while the name is looked up */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(miss_put_hit_expire, setup, teardown),
        cmocka_unit_test_setup_teardown(many_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(large_values, setup, teardown),
        cmocka_unit_test_setup_teardown(hostile_values, setup, teardown),
        cmocka_unit_test_setup_teardown(errors_of_the_server_only_count, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stopped_server_costs_three_timeouts, setup, teardown),
        cmocka_unit_test_setup_teardown(a_busy_loop_is_not_a_late_server, setup, teardown),
        cmocka_unit_test_setup_teardown(killed_and_back, setup, teardown),
        cmocka_unit_test_setup_teardown(cancelled_gets_are_silent, setup, teardown),
        cmocka_unit_test_setup_teardown(closing_is_silent_too, setup, teardown),
        cmocka_unit_test_setup_teardown(closed_from_a_callback, setup, teardown),
        cmocka_unit_test_setup_teardown(closed_from_a_callback_of_a_lost_link, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stalled_server_bounds_what_is_unsent, setup, teardown),
        cmocka_unit_test_setup_teardown(by_name_and_with_password, setup, teardown),
    };
    signal(SIGPIPE, SIG_IGN); /* as the gateway does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
