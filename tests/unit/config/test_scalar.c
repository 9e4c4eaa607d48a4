/* The small languages of values, and their edges. */
#include "help.h"

#include "config/scalar.h"

static void
durations(void **state)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } good[] = {{"0", 0},        {"250ms", 250},    {"30s", 30000},   {"10m", 600000},
                {"1h", 3600000}, {"7d", 604800000}, {"1 h", 3600000}, {"1S", 1000}};
    static const char *const bad[] = {"",
                                      "s",
                                      "1",
                                      "-1s",
                                      "1.5s",
                                      "1w",
                                      "1ss",
                                      " 1s",
                                      "1h30m",
                                      "99999999999999999999s",
                                      "9999999999999999d"};
    uint64_t ms = 7;
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(hw_scalar_duration(good[i].text, &ms));
        assert_int_equal(ms, good[i].ms);
    }
    ms = 7;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(hw_scalar_duration(bad[i], &ms));
    assert_int_equal(ms, 7);
}

static void
sizes(void **state)
{
    uint64_t n = 7;
    (void)state;
    assert_true(hw_scalar_size("0", &n));
    assert_int_equal(n, 0);
    assert_true(hw_scalar_size("64KiB", &n));
    assert_int_equal(n, 65536);
    assert_true(hw_scalar_size("64KB", &n));
    assert_int_equal(n, 64000);
    assert_true(hw_scalar_size("256MiB", &n));
    assert_int_equal(n, 256 * 1024 * 1024);
    assert_true(hw_scalar_size("2GiB", &n));
    assert_int_equal(n, 2147483648u);
    assert_false(hw_scalar_size("64K", &n));
    assert_false(hw_scalar_size("-1", &n));
    assert_false(hw_scalar_size("99999999999GiB", &n));
    assert_false(hw_scalar_size("", &n));
}

static void
ranges(void **state)
{
    static const struct {
        const char *text;
        uint64_t min, max;
    } good[] = {{">8192", 8193, UINT64_MAX},
                {">=8192", 8192, UINT64_MAX},
                {"<100", 0, 99},
                {"<=100", 0, 100},
                {"10..20", 10, 20},
                {"512", 512, 512},
                {"> 5", 6, UINT64_MAX},
                {"7..7", 7, 7}};
    static const char *const bad[] = {"",   ">",       "<0",   "20..10",
                                      "a",  "10..",    "..10", ">18446744073709551615",
                                      "=5", "10...20", "5 6",  ">5x"};
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct hw_conf_range range = {0};
        assert_true(hw_scalar_range(good[i].text, &range));
        assert_true(range.present);
        assert_true(range.min == good[i].min && range.max == good[i].max);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct hw_conf_range range = {0};
        assert_false(hw_scalar_range(bad[i], &range));
        assert_false(range.present);
    }
}

static void
keys_and_names(void **state)
{
    uint8_t hash[32];
    char name[66];
    (void)state;
    assert_true(hw_scalar_sha256(
        "sha256:00ff10AB00000000000000000000000000000000000000000000000000000001", hash));
    assert_int_equal(hash[1], 0xff);
    assert_int_equal(hash[3], 0xab);
    assert_int_equal(hash[31], 1);
    assert_false(hw_scalar_sha256("sha256:00ff", hash));
    assert_false(
        hw_scalar_sha256("00ff10AB00000000000000000000000000000000000000000000000000000001", hash));
    assert_false(hw_scalar_sha256(
        "sha256:zzff10AB00000000000000000000000000000000000000000000000000000001", hash));
    assert_true(hw_scalar_is_name("llama3.1:8b/x_y-Z"));
    assert_false(hw_scalar_is_name(""));
    assert_false(hw_scalar_is_name("a b"));
    assert_false(hw_scalar_is_name("a\"b"));
    memset(name, 'n', sizeof(name));
    name[64] = '\0';
    assert_true(hw_scalar_is_name(name));
    name[64] = 'n';
    name[65] = '\0';
    assert_false(hw_scalar_is_name(name));
}

static void
numbers(void **state)
{
    int n = 0;
    uint64_t u = 0;
    bool b = false;
    (void)state;
    assert_true(hw_scalar_int("-10", &n));
    assert_int_equal(n, -10);
    assert_false(hw_scalar_int("--1", &n));
    assert_false(hw_scalar_int("2147483648", &n));
    assert_true(hw_scalar_uint("18446744073709551615", &u));
    assert_false(hw_scalar_uint("18446744073709551616", &u));
    assert_false(hw_scalar_uint("0x10", &u));
    assert_true(hw_scalar_bool("yes", &b) && b);
    assert_true(hw_scalar_bool("false", &b) && !b);
    assert_false(hw_scalar_bool("1", &b));
}

static void
nearest(void **state)
{
    static const char *const words[] = {"backends", "listen", "loops", "to", NULL};
    (void)state;
    assert_string_equal(hw_nearest_word("bakends", words), "backends");
    assert_string_equal(hw_nearest_word("lisetn", words), "listen");
    assert_string_equal(hw_nearest_word("loop", words), "loops");
    assert_null(hw_nearest_word("whatever", words));
    assert_null(hw_nearest_word("", words));
    assert_null(hw_nearest_word("x", words));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations), cmocka_unit_test(sizes),   cmocka_unit_test(ranges),
        cmocka_unit_test(numbers),   cmocka_unit_test(nearest), cmocka_unit_test(keys_and_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
