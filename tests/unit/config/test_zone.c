/* Local time, compared with what glibc says of the same zone. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "config/zone.h"

static struct hw_conf_arena arena;

static int
teardown(void **state)
{
    (void)state;
    unsetenv("TZ");
    tzset();
    hw_conf_arena_free(&arena);
    return 0;
}

static struct hw_zone *
zone_of(const char *name)
{
    struct hw_zone *zone = NULL;
    struct hw_err err = {{0}};
    if (hw_zone_load(&arena, name, &zone, &err) != 0)
        fail_msg("%s: %s", name != NULL ? name : "TZ", err.msg);
    return zone;
}

/* Every 7 hours and some from 1960 to 2120: in the table, and far behind it. */
static void
agrees_with_glibc(void **state)
{
    static const char *const names[] = {"Europe/Berlin", "America/New_York",  "Australia/Lord_Howe",
                                        "Asia/Kolkata",  "America/Sao_Paulo", "Europe/Dublin",
                                        "Pacific/Apia",  "America/St_Johns"};
    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct hw_zone *zone = zone_of(names[i]);
        setenv("TZ", names[i], 1);
        tzset();
        for (int64_t at = -315619200; at < 4733510400; at += 7 * 3600 * 5 + 61) {
            struct tm tm;
            time_t t = (time_t)at;
            localtime_r(&t, &tm);
            struct hw_local_time mine = hw_zone_local(zone, at);
            if ((int)mine.weekday != tm.tm_wday || (int)mine.minute != tm.tm_hour * 60 + tm.tm_min)
                fail_msg("%s at %lld: %u %u:%u, glibc %d %d:%d", names[i], (long long)at,
                         mine.weekday, mine.minute / 60, mine.minute % 60, tm.tm_wday, tm.tm_hour,
                         tm.tm_min);
        }
    }
}

static void
names(void **state)
{
    static const char *const wrong[] = {
        "",       "Europe/Berln", "../../etc/passwd", "/etc/localtime", "Europe//Berlin",
        "Europe", "posixrules\n"};
    struct hw_zone *zone = NULL;
    struct hw_err err;
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_not_equal(hw_zone_load(&arena, wrong[i], &zone, &err), 0);
    assert_int_equal(hw_zone_offset(zone_of("UTC"), 1700000000), 0);
    setenv("TZ", "Asia/Kolkata", 1);
    assert_int_equal(hw_zone_offset(zone_of(NULL), 1700000000), 19800);
    setenv("TZ", "Nowhere/At_All", 1);
    assert_int_equal(hw_zone_offset(zone_of(NULL), 1700000000), 0);
}

/* Whatever the bytes: an answer or an error, nothing else (ASan watches). */
static void
damaged_files(void **state)
{
    uint8_t bytes[8192];
    struct hw_err err;
    (void)state;
    FILE *f = fopen("/usr/share/zoneinfo/Europe/Berlin", "rb");
    assert_non_null(f);
    size_t len = fread(bytes, 1, sizeof(bytes), f);
    fclose(f);
    uint32_t dice = 1;
    for (size_t i = 0; i < 4000; i++) {
        size_t cut = i < len ? i : len;
        uint8_t *copy = malloc(cut + 1);
        struct hw_zone *zone = NULL;
        memcpy(copy, bytes, cut);
        for (size_t j = 0; j < 4 && cut > 0; j++) {
            dice = dice * 1664525 + 1013904223;
            copy[(dice >> 8) % (j < 2 && cut > 60 ? 60 : cut)] = (uint8_t)dice;
        }
        if (hw_zone_parse(&arena, copy, cut, &zone, &err) == 0)
            hw_zone_local(zone, (int64_t)dice * 4);
        free(copy);
        hw_conf_arena_free(&arena);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(agrees_with_glibc, teardown),
        cmocka_unit_test_teardown(names, teardown),
        cmocka_unit_test_teardown(damaged_files, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
