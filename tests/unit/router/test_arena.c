/* The arena: zeroed, aligned, bounded, and pieces never overlap. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "router/arena.h"

static void
test_pieces(void **state)
{
    (void)state;
    struct hw_arena arena;
    unsigned char *pieces[200];
    size_t sizes[200];
    hw_arena_init(&arena, 1 << 20);
    for (size_t i = 0; i < 200; i++) {
        sizes[i] = i * i % 3001; /* small, block-sized and larger than a block's half, mixed */
        pieces[i] = hw_arena_alloc(&arena, sizes[i]);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % 16, 0);
        for (size_t k = 0; k < sizes[i]; k++)
            assert_int_equal(pieces[i][k], 0);
        memset(pieces[i], (int)i + 1, sizes[i]);
    }
    for (size_t i = 0; i < 200; i++)
        for (size_t k = 0; k < sizes[i]; k++)
            assert_int_equal(pieces[i][k], (unsigned char)(i + 1));
    hw_arena_free(&arena);
    assert_non_null(hw_arena_alloc(&arena, 10)); /* good for the next exchange */
    hw_arena_free(&arena);
}

static void
test_bounds(void **state)
{
    (void)state;
    struct hw_arena arena;
    hw_arena_init(&arena, 1000);
    assert_null(hw_arena_alloc(&arena, 1001));
    assert_null(hw_arena_alloc(&arena, SIZE_MAX));
    assert_null(hw_arena_alloc(&arena, SIZE_MAX - 15));
    assert_null(hw_arena_copy(&arena, "", SIZE_MAX));
    assert_non_null(hw_arena_alloc(&arena, 900));
    assert_null(hw_arena_alloc(&arena, 100));
    assert_non_null(hw_arena_alloc(&arena, 80));
    hw_arena_free(&arena);
}

static void
test_grow(void **state)
{
    (void)state;
    struct hw_arena arena;
    hw_arena_init(&arena, 100000);
    unsigned char *p = hw_arena_alloc(&arena, 100), *other = hw_arena_alloc(&arena, 3000);
    memset(p, 7, 100);
    memset(other, 9, 3000);
    for (size_t size = 100; size < 50000; size *= 2) {
        p = hw_arena_grow(&arena, p, size, size * 2);
        assert_non_null(p);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(p[i], 7);
        memset(p, 7, size * 2);
        assert_non_null(hw_arena_alloc(&arena, 24)); /* others go on */
    }
    for (size_t i = 0; i < 3000; i++)
        assert_int_equal(other[i], 9);
    assert_null(hw_arena_grow(&arena, p, 51200, 102400)); /* what it held counts once, not twice */
    assert_non_null(hw_arena_grow(&arena, p, 51200, 90000));
    hw_arena_free(&arena);
}

static void
test_copy(void **state)
{
    (void)state;
    struct hw_arena arena;
    hw_arena_init(&arena, 1 << 16);
    char *text = hw_arena_copy(&arena, "hatchway and more", 8);
    assert_string_equal(text, "hatchway");
    assert_string_equal(hw_arena_copy(&arena, NULL, 0), "");
    hw_arena_free(&arena);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_grow),
        cmocka_unit_test(test_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
