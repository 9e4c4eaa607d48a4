/* Hosts, ports, URLs, and which of them stay at home. */
#include "help.h"

#include "config/address.h"

static struct hw_conf_arena arena;

static int
drop_arena(void **state)
{
    (void)state;
    hw_conf_arena_free(&arena);
    return 0;
}

static void
addresses(void **state)
{
    struct hw_conf_address a;
    struct hw_err err;
    (void)state;
    assert_int_equal(hw_conf_address_parse(&arena, "gpu-1.lan:80", 12, -1, &a, &err), 0);
    assert_string_equal(a.host, "gpu-1.lan");
    assert_int_equal(a.port, 80);
    assert_int_equal(hw_conf_address_parse(&arena, "[::1]:8080", 10, -1, &a, &err), 0);
    assert_string_equal(a.host, "::1");
    assert_int_equal(a.port, 8080);
    assert_int_equal(hw_conf_address_parse(&arena, "host", 4, 443, &a, &err), 0);
    assert_int_equal(a.port, 443);
    static const char *const bad[] = {"",      ":80",    "host",    "host:",  "host:65536",
                                      "::1:8", "[::1:8", "[zz]:80", "a b:80", "[::1]80",
                                      "-x:80", "h:8a",   "h:-1",    "[]:80"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(hw_conf_address_parse(&arena, bad[i], strlen(bad[i]), -1, &a, &err),
                         HW_EINVAL);
}

static void
urls(void **state)
{
    struct hw_conf_url url;
    struct hw_err err;
    (void)state;
    assert_int_equal(hw_conf_url_parse(&arena, "http://127.0.0.1", &url, &err), 0);
    assert_false(url.https);
    assert_int_equal(url.address.port, 80);
    assert_string_equal(url.path, "");
    assert_int_equal(hw_conf_url_parse(&arena, "HTTPS://api.x.org/v1//", &url, &err), 0);
    assert_true(url.https);
    assert_int_equal(url.address.port, 443);
    assert_string_equal(url.address.host, "api.x.org");
    assert_string_equal(url.path, "/v1");
    assert_int_equal(hw_conf_url_parse(&arena, "http://[fe80::1%eth0]:9/", &url, &err), 0);
    assert_string_equal(url.address.host, "fe80::1%eth0");
    assert_string_equal(url.path, "");
    static const char *const bad[] = {"",
                                      "ftp://x",
                                      "http://",
                                      "http:///v1",
                                      "http://u:p@h/",
                                      "http://h/?q=1",
                                      "http://h/#f",
                                      "http://h/a b",
                                      "http://h/\r\nx: y",
                                      "http://h:0",
                                      "http://h\xc3\xa9",
                                      "127.0.0.1:80"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(hw_conf_url_parse(&arena, bad[i], &url, &err), HW_EINVAL);
}

static void
redis_urls(void **state)
{
    struct hw_conf_redis_url url;
    struct hw_err err;
    (void)state;
    assert_int_equal(hw_conf_redis_url_parse(&arena, "redis://10.0.0.1", &url, &err), 0);
    assert_string_equal(url.address.host, "10.0.0.1");
    assert_int_equal(url.address.port, 6379);
    assert_int_equal(url.db, 0);
    assert_null(url.password);
    assert_int_equal(hw_conf_redis_url_parse(&arena, "redis://:p@s/s@[::1]:7/3", &url, &err), 0);
    assert_string_equal(url.password, "p@s/s");
    assert_string_equal(url.address.host, "::1");
    assert_int_equal(url.address.port, 7);
    assert_int_equal(url.db, 3);
    static const char *const bad[] = {"rediss://h",    "redis://u:p@h", "redis://:@h",
                                      "redis://h/x",   "redis://h:0",   "redis://",
                                      "redis://h/1/2", "h:6379"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(hw_conf_redis_url_parse(&arena, bad[i], &url, &err), HW_EINVAL);
}

static void
reach(void **state)
{
    static const struct {
        const char *host;
        enum hw_conf_reach reach;
    } cases[] = {
        {"127.0.0.1", HW_CONF_REACH_LOCAL},
        {"127.255.0.1", HW_CONF_REACH_LOCAL},
        {"localhost", HW_CONF_REACH_LOCAL},
        {"LOCALHOST", HW_CONF_REACH_LOCAL},
        {"10.255.255.255", HW_CONF_REACH_LOCAL},
        {"11.0.0.0", HW_CONF_REACH_PUBLIC},
        {"172.16.0.1", HW_CONF_REACH_LOCAL},
        {"172.31.255.255", HW_CONF_REACH_LOCAL},
        {"172.32.0.1", HW_CONF_REACH_PUBLIC},
        {"172.15.0.1", HW_CONF_REACH_PUBLIC},
        {"192.168.1.1", HW_CONF_REACH_LOCAL},
        {"192.169.1.1", HW_CONF_REACH_PUBLIC},
        {"169.254.3.4", HW_CONF_REACH_LOCAL},
        {"100.64.0.1", HW_CONF_REACH_SHARED},
        {"100.127.255.1", HW_CONF_REACH_SHARED},
        {"100.128.0.1", HW_CONF_REACH_PUBLIC},
        {"0.0.0.0", HW_CONF_REACH_PUBLIC},
        {"8.8.8.8", HW_CONF_REACH_PUBLIC},
        {"::1", HW_CONF_REACH_LOCAL},
        {"::", HW_CONF_REACH_PUBLIC},
        {"fd12::1", HW_CONF_REACH_LOCAL},
        {"fc00::1", HW_CONF_REACH_LOCAL},
        {"fe00::1", HW_CONF_REACH_PUBLIC},
        {"fe80::1", HW_CONF_REACH_LOCAL},
        {"febf::1%eth0", HW_CONF_REACH_LOCAL},
        {"fec0::1", HW_CONF_REACH_PUBLIC},
        {"2001:db8::1", HW_CONF_REACH_PUBLIC},
        {"::ffff:10.0.0.1", HW_CONF_REACH_LOCAL},
        {"::ffff:8.8.8.8", HW_CONF_REACH_PUBLIC},
        {"gpu1.lan", HW_CONF_REACH_NAME},
        {"localhost.", HW_CONF_REACH_NAME},
        {"localhost.evil.org", HW_CONF_REACH_NAME},
        /* What some resolvers take for 127.0.0.1 is a name to us. */
        {"127.1", HW_CONF_REACH_NAME},
        {"0x7f000001", HW_CONF_REACH_NAME},
        {"2130706433", HW_CONF_REACH_NAME},
        {"010.0.0.1", HW_CONF_REACH_NAME},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (hw_conf_host_reach(cases[i].host) != cases[i].reach)
            fail_msg("%s: %d", cases[i].host, (int)hw_conf_host_reach(cases[i].host));
    assert_true(hw_conf_host_is_loopback("127.0.0.9"));
    assert_true(hw_conf_host_is_loopback("::1"));
    assert_true(hw_conf_host_is_loopback("::ffff:127.0.0.1"));
    assert_false(hw_conf_host_is_loopback("0.0.0.0"));
    assert_false(hw_conf_host_is_loopback("::"));
    assert_false(hw_conf_host_is_loopback("10.0.0.1"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses),
        cmocka_unit_test(urls),
        cmocka_unit_test(redis_urls),
        cmocka_unit_test(reach),
    };
    return cmocka_run_group_tests(tests, NULL, drop_arena);
}
