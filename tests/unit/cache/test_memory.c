#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cache/memory.h"

#define MIB (UINT64_C(1) << 20)
#define FOREVER UINT64_MAX

/* Keys spread as BLAKE2b's do. */
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

static uint64_t
next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* An answer whose bytes tell its number, so that a mix-up shows. */
static void
put(struct hw_cache_memory *memory, uint64_t number, size_t len, uint64_t expires_ms)
{
    static const char zeros[1 << 20];
    struct hw_cache_key key = key_of(number);
    struct hw_cache_entry *entry = hw_cache_entry_create(zeros, len, expires_ms);

    assert_non_null(entry);
    if (len >= sizeof(number))
        memcpy(entry->bytes, &number, sizeof(number));
    hw_cache_memory_put(memory, &key, entry);
    hw_cache_entry_unref(entry);
}

static bool
has(struct hw_cache_memory *memory, uint64_t number, uint64_t now_ms)
{
    struct hw_cache_key key = key_of(number);
    struct hw_cache_entry *entry = hw_cache_memory_get(memory, &key, now_ms);

    if (entry == NULL)
        return false;
    if (entry->len >= sizeof(number))
        assert_memory_equal(entry->bytes, &number, sizeof(number));
    hw_cache_entry_unref(entry);
    return true;
}

static void
entries_count_their_readers(void **state)
{
    (void)state;
    struct hw_cache_entry *entry = hw_cache_entry_create("answer", 6, 5);
    assert_int_equal(entry->len, 6);
    assert_int_equal(entry->expires_ms, 5);
    assert_ptr_equal(hw_cache_entry_ref(entry), entry);
    hw_cache_entry_unref(entry);
    assert_memory_equal(entry->bytes, "answer", 6);
    hw_cache_entry_unref(entry);
    hw_cache_entry_unref(NULL);
    assert_null(hw_cache_entry_create("", SIZE_MAX, 0));
    entry = hw_cache_entry_create(NULL, 0, 0);
    hw_cache_entry_unref(entry);
}

static void
put_get_replace_expire(void **state)
{
    (void)state;
    struct hw_cache_memory *memory = hw_cache_memory_create(MIB);
    struct hw_cache_memory_stats stats;
    assert_false(has(memory, 1, 0));
    put(memory, 1, 100, 1000);
    assert_true(has(memory, 1, 999));
    put(memory, 1, 5000, 2000);
    assert_true(has(memory, 1, 1999));
    hw_cache_memory_stats(memory, &stats);
    assert_int_equal(stats.entries, 1);
    assert_false(has(memory, 1, 2000));
    hw_cache_memory_stats(memory, &stats);
    assert_int_equal(stats.entries, 0);
    assert_int_equal(stats.expirations, 1);
    hw_cache_memory_destroy(&memory);
    assert_null(memory);
    hw_cache_memory_destroy(&memory);
}

static void
a_reader_outlives_the_store(void **state)
{
    (void)state;
    struct hw_cache_memory *memory = hw_cache_memory_create(MIB);
    struct hw_cache_key key = key_of(9);
    put(memory, 9, 64, FOREVER);
    struct hw_cache_entry *entry = hw_cache_memory_get(memory, &key, 0);
    hw_cache_memory_destroy(&memory);
    assert_int_equal(entry->bytes[0], 9);
    hw_cache_entry_unref(entry);
}

static void
too_large_is_not_kept(void **state)
{
    (void)state;
    struct hw_cache_memory *memory = hw_cache_memory_create(MIB);
    put(memory, 1, MIB / 8 + 1, FOREVER);
    assert_false(has(memory, 1, 0));
    put(memory, 1, MIB / 16, FOREVER);
    assert_true(has(memory, 1, 0));
    put(memory, 1, MIB / 8 + 1, FOREVER); /* what was there is stale */
    assert_false(has(memory, 1, 0));
    hw_cache_memory_destroy(&memory);
    memory = hw_cache_memory_create(64 * MIB); /* the default: the largest answers do fit */
    put(memory, 1, 256 << 10, FOREVER);
    assert_true(has(memory, 1, 0));
    hw_cache_memory_destroy(&memory);
    memory = hw_cache_memory_create(0);
    put(memory, 1, 1, FOREVER);
    assert_false(has(memory, 1, 0));
    hw_cache_memory_destroy(&memory);
}

static void
never_over_budget(void **state)
{
    (void)state;
    const uint64_t budgets[] = {64 << 10, MIB, 16 * MIB};
    uint64_t seed = 88172645463325252u;

    for (size_t b = 0; b < 3; b++) {
        struct hw_cache_memory *memory = hw_cache_memory_create(budgets[b]);
        struct hw_cache_memory_stats stats;
        for (int i = 0; i < 100000; i++) {
            uint64_t number = next_random(&seed) % 20000;
            put(memory, number, next_random(&seed) % (i % 100 == 0 ? 65536 : 2048), FOREVER);
            if (i % 3 == 0)
                has(memory, next_random(&seed) % 20000, 0);
            if (i % 16 == 0) {
                hw_cache_memory_stats(memory, &stats);
                assert_true(stats.bytes <= budgets[b]);
            }
        }
        hw_cache_memory_stats(memory, &stats);
        assert_true(stats.evictions > 0);
        assert_true(stats.bytes > budgets[b] / 10 * 7); /* and it is used */
        hw_cache_memory_destroy(&memory);
    }
}

/* A hundred hot answers, asked for now and then, outlive a flood of a hundred thousand others. */
static void
floods_pass_the_hot_by(void **state)
{
    (void)state;
    struct hw_cache_memory *memory = hw_cache_memory_create(MIB);
    unsigned kept = 0;

    for (uint64_t hot = 0; hot < 100; hot++)
        put(memory, hot, 1000, FOREVER);
    for (uint64_t hot = 0; hot < 100; hot++)
        assert_true(has(memory, hot, 0));
    for (uint64_t i = 0; i < 100000; i++) {
        put(memory, 1000 + i, 1000, FOREVER);
        if (i % 10 == 0)
            has(memory, i / 10 % 100, 0);
    }
    for (uint64_t hot = 0; hot < 100; hot++)
        kept += has(memory, hot, 0);
    assert_int_equal(kept, 100);
    hw_cache_memory_destroy(&memory);
}

/* Evicted too soon, asked for again: the second time it enters the main queue. */
static void
who_comes_back_soon_stays(void **state)
{
    (void)state;
    struct hw_cache_memory *memory = hw_cache_memory_create(MIB);
    uint64_t next = 1000;

    for (int i = 0; i < 2000; i++) /* full */
        put(memory, next++, 1000, FOREVER);
    put(memory, 1, 1000, FOREVER);
    for (int i = 0; i < 1500; i++)
        put(memory, next++, 1000, FOREVER);
    assert_false(has(memory, 1, 0));
    put(memory, 1, 1000, FOREVER);
    for (int i = 0; i < 500; i++)
        put(memory, next++, 1000, FOREVER);
    assert_true(has(memory, 1, 0));
    hw_cache_memory_destroy(&memory);
}

struct stress {
    struct hw_cache_memory *memory;
    uint64_t seed;
    unsigned hits;
};

static void *
stress_thread(void *arg)
{
    struct stress *stress = arg;

    for (int i = 0; i < 40000; i++) {
        uint64_t number = next_random(&stress->seed) % 3000;
        uint64_t now_ms = (uint64_t)i;
        struct hw_cache_key key = key_of(number);
        struct hw_cache_entry *entry = hw_cache_memory_get(stress->memory, &key, now_ms);
        if (entry == NULL) {
            size_t len = 8 + next_random(&stress->seed) % 2000;
            char *bytes = malloc(len);
            memset(bytes, (int)(number & 0xff), len);
            entry =
                hw_cache_entry_create(bytes, len, now_ms + 1 + next_random(&stress->seed) % 9999);
            hw_cache_memory_put(stress->memory, &key, entry);
            free(bytes);
        } else {
            stress->hits++;
            for (size_t at = 0; at < entry->len; at++) {
                if (entry->bytes[at] != (uint8_t)number)
                    abort(); /* cmocka's assertions belong to the first thread */
            }
        }
        hw_cache_entry_unref(entry);
    }
    return NULL;
}

static void
many_threads(void **state)
{
    (void)state;
    struct stress stress[4];
    pthread_t threads[4];
    struct hw_cache_memory_stats stats;
    struct hw_cache_memory *memory = hw_cache_memory_create(2 * MIB);

    for (uint64_t i = 0; i < 4; i++) {
        stress[i] = (struct stress){.memory = memory, .seed = 12345 + i * 777};
        assert_int_equal(pthread_create(&threads[i], NULL, stress_thread, &stress[i]), 0);
    }
    for (int i = 0; i < 50; i++) {
        hw_cache_memory_stats(memory, &stats);
        assert_true(stats.bytes <= 2 * MIB);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_true(stress[i].hits > 0);
    }
    hw_cache_memory_destroy(&memory);
}

/* Not a limit: prints what a hit costs one thread. */
static void
cost_of_a_hit(void **state)
{
    (void)state;
    struct hw_cache_memory *memory = hw_cache_memory_create(64 * MIB);
    static struct hw_cache_key keys[1024];
    struct timespec from, to;

    for (uint64_t i = 0; i < 1024; i++) {
        keys[i] = key_of(i);
        put(memory, i, 1000, FOREVER);
    }
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (size_t i = 0; i < 1000000; i++)
        hw_cache_entry_unref(hw_cache_memory_get(memory, &keys[i * 7 % 1024], 1));
    clock_gettime(CLOCK_MONOTONIC, &to);
    print_message("cache: %.0f ns a hit\n",
                  ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) /
                      1e6);
    hw_cache_memory_destroy(&memory);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_count_their_readers),
        cmocka_unit_test(put_get_replace_expire),
        cmocka_unit_test(a_reader_outlives_the_store),
        cmocka_unit_test(too_large_is_not_kept),
        cmocka_unit_test(never_over_budget),
        cmocka_unit_test(floods_pass_the_hot_by),
        cmocka_unit_test(who_comes_back_soon_stays),
        cmocka_unit_test(many_threads),
        cmocka_unit_test(cost_of_a_hit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
