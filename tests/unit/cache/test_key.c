#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "cache/key.h"

static struct hw_cache_key
key_of(const char *a, const char *b, uint64_t number)
{
    struct hw_cache_key_builder builder;
    struct hw_cache_key key;

    hw_cache_key_begin(&builder);
    hw_cache_key_add(&builder, a, a == NULL ? 0 : strlen(a));
    hw_cache_key_add(&builder, b, b == NULL ? 0 : strlen(b));
    hw_cache_key_add_u64(&builder, number);
    hw_cache_key_end(&builder, &key);
    return key;
}

static bool
same(struct hw_cache_key a, struct hw_cache_key b)
{
    return memcmp(&a, &b, sizeof(a)) == 0;
}

static void
the_same_fields_make_the_same_key(void **state)
{
    (void)state;
    assert_true(same(key_of("gold", "silver", 7), key_of("gold", "silver", 7)));
    assert_true(same(key_of(NULL, "", 0), key_of("", NULL, 0)));
}

static void
fields_do_not_run_into_each_other(void **state)
{
    (void)state;
    assert_false(same(key_of("gold", "silver", 7), key_of("golds", "ilver", 7)));
    assert_false(same(key_of("gold", "", 7), key_of("", "gold", 7)));
    assert_false(same(key_of("gold", "silver", 7), key_of("gold", "silver", 8)));
}

/* Keys are shared through Redis by gateways of any byte order and build: the bytes are fixed.
 * Worked out with Python's hashlib.blake2b(digest_size=32). */
static void
the_bytes_are_fixed(void **state)
{
    (void)state;
    static const uint8_t expected[32] = {0xa5, 0xf0, 0xc2, 0x94, 0xd2, 0xac, 0x21, 0x33,
                                         0x92, 0xcb, 0xcf, 0xef, 0xc1, 0xce, 0x6b, 0xcd,
                                         0x77, 0xbc, 0x10, 0xb6, 0xfc, 0xe8, 0x11, 0x01,
                                         0x75, 0x21, 0xc7, 0x50, 0xe4, 0x37, 0x42, 0xec};
    struct hw_cache_key key = key_of("gold", "silver", 7);
    assert_memory_equal(key.bytes, expected, sizeof(expected));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_fields_make_the_same_key),
        cmocka_unit_test(fields_do_not_run_into_each_other),
        cmocka_unit_test(the_bytes_are_fixed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
