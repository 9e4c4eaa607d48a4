#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "cache/redis_wire.h"

#define KEY_TEXT "hw:1:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static struct hw_cache_key
counting_key(void)
{
    struct hw_cache_key key;

    for (uint8_t i = 0; i < 32; i++)
        key.bytes[i] = i;
    return key;
}

static void
commands(void **state)
{
    (void)state;
    struct hw_cache_key key = counting_key();
    struct hw_buf out;

    hw_buf_init(&out, 4096);
    assert_int_equal(hw_redis_write_hello(&out, NULL, 0), 1);
    assert_string_equal(out.data, "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n");
    hw_buf_clear(&out);
    assert_int_equal(hw_redis_write_hello(&out, "pass word", 12), 2);
    assert_string_equal(out.data, "*2\r\n$4\r\nAUTH\r\n$9\r\npass word\r\n"
                                  "*2\r\n$6\r\nSELECT\r\n$2\r\n12\r\n");
    hw_buf_clear(&out);
    assert_int_equal(hw_redis_write_get(&out, &key, 1000), 0);
    assert_string_equal(out.data,
                        "*4\r\n$8\r\nGETRANGE\r\n$69\r\n" KEY_TEXT "\r\n$1\r\n0\r\n$4\r\n1009\r\n");
    hw_buf_clear(&out);
    struct hw_cache_entry *entry = hw_cache_entry_create("hello", 5, 0x0807060504030201);
    assert_int_equal(hw_redis_write_set(&out, &key, entry, 1500), 0);
    static const char expected[] =
        "*5\r\n$3\r\nSET\r\n$69\r\n" KEY_TEXT "\r\n$14\r\n\1\1\2\3\4\5\6\7\10hello\r\n"
        "$2\r\nPX\r\n$4\r\n1500\r\n";
    assert_int_equal(out.len, sizeof(expected) - 1);
    assert_memory_equal(out.data, expected, out.len);
    hw_buf_free(&out);
    hw_buf_init(&out, 200); /* no room: all or nothing */
    assert_int_equal(hw_redis_write_set(&out, &key, entry, 1500), HW_ELIMIT);
    assert_int_equal(out.len, 0);
    hw_cache_entry_unref(entry);
}

static bool
reads(const char *bytes, size_t len, uint64_t max, uint64_t now_ms)
{
    char *exact = malloc(len > 0 ? len : 1); /* so that ASan sees a byte too far */
    memcpy(exact, bytes, len);
    struct hw_cache_entry *entry = hw_redis_read_value(exact, len, max, now_ms);
    bool read = entry != NULL;

    hw_cache_entry_unref(entry);
    free(exact);
    return read;
}

static void
values_are_read_strictly(void **state)
{
    (void)state;
    const char value[] = "\1\350\3\0\0\0\0\0\0blob"; /* expires at 1000 */
    size_t len = sizeof(value) - 1;

    assert_true(reads(value, len, 4, 999));
    assert_false(reads(value, len, 4, 1000));
    assert_false(reads(value, len, 3, 0));
    assert_true(reads(value, 9, 4, 0));
    for (size_t cut = 0; cut < 9; cut++)
        assert_false(reads(value, cut, 100, 0));
    assert_false(reads("\2\350\3\0\0\0\0\0\0blob", len, 4, 0));
    assert_false(reads("\0\350\3\0\0\0\0\0\0blob", len, 4, 0));
    assert_false(
        reads("\1\377\377\377\377\377\377\377\377blob", len, 4, 0)); /* nobody keeps so long */
    assert_false(reads("<html>not ours</html>", 21, 100, 0));
}

static void
a_value_comes_back(void **state)
{
    (void)state;
    const char value[] = "\1\350\3\0\0\0\0\0\0bl\0b";
    struct hw_cache_entry *entry = hw_redis_read_value(value, sizeof(value) - 1, 100, 5);

    assert_non_null(entry);
    assert_int_equal(entry->expires_ms, 1000);
    assert_int_equal(entry->len, 4);
    assert_memory_equal(entry->bytes, "bl\0b", 4);
    hw_cache_entry_unref(entry);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands),
        cmocka_unit_test(values_are_read_strictly),
        cmocka_unit_test(a_value_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
