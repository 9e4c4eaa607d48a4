/* Kinds of words: the lists are sound, endings are seen through, numbers are numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policies/features.h"
#include "policies/kinds.h"

static struct hw_kinds *lists;

/* Words lie in a text, with more behind them. */
static void
kinds_of(const char *word, size_t len, uint8_t out[static HW_KINDS_OF_A_WORD])
{
    uint8_t text[64 + HW_WORD_PADDING];

    memset(text, 'x', sizeof(text));
    memcpy(text, word, len);
    uint32_t hash = hw_word_hash(text, len);
    hw_kinds_prefetch(lists, text, len, hash);
    size_t count = hw_kinds_of(lists, text, len, hash, out);
    for (size_t i = 0; i < HW_KINDS_OF_A_WORD; i++)
        assert_int_equal(out[i] != 0, i < count);
}

static bool
of_one_kind(const char *a, const char *b)
{
    uint8_t x[HW_KINDS_OF_A_WORD], y[HW_KINDS_OF_A_WORD];

    kinds_of(a, strlen(a), x);
    kinds_of(b, strlen(b), y);
    for (size_t i = 0; i < HW_KINDS_OF_A_WORD && x[i] != 0; i++)
        if (memchr(y, x[i], sizeof(y)) != NULL)
            return true;
    return false;
}

static void
words_of_one_kind_are_alike(void **state)
{
    (void)state;
    assert_true(of_one_kind("monday", "friday"));
    assert_true(of_one_kind("delete", "cancel"));
    assert_false(of_one_kind("monday", "delete"));
    assert_false(of_one_kind("zyzzyva", "zyzzyva")); /* in no list */
    assert_true(!of_one_kind("Monday", "friday"));   /* lists are in lower case */
}

static void
endings_and_numbers(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"songs", "song"},     {"playing", "play"},  {"making", "make"}, {"running", "run"},
        {"deleted", "delete"}, {"watched", "watch"}, {"taxes", "tax"},   {"mother's", "mother"},
        {"2024", "seven"},     {"7", "seven"}};

    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
        if (!of_one_kind(pairs[i][0], pairs[i][1]))
            fail_msg("%s is not of the kind of %s", pairs[i][0], pairs[i][1]);
    assert_false(of_one_kind("2024th", "seven"));
    assert_false(of_one_kind("s", "song"));
    assert_false(of_one_kind("playingplayingplayingplaying", "play"));
}

/* Every word of the lists is found, in lower case; reading them asserts the other bounds. */
static void
every_word_is_found(void **state)
{
    (void)state;
    uint8_t kinds[HW_KINDS_OF_A_WORD];

    for (const char *p = hw_kinds_words; *p != '\0';) {
        size_t len = strcspn(p, " \n");
        assert_in_range(len, 1, 20);
        kinds_of(p, len, kinds);
        assert_int_not_equal(kinds[0], 0);
        for (size_t i = 0; i < len; i++)
            assert_false(p[i] >= 'A' && p[i] <= 'Z');
        p += len + (p[len] != '\0');
    }
}

/* Models and decision logs hold what the lists said. */
static void
other_lists_are_another_version(void **state)
{
    (void)state;
    uint32_t hash = 0x811c9dc5u;

    for (const char *p = hw_kinds_words; *p != '\0'; p++)
        hash = (hash ^ (uint8_t)*p) * 0x01000193u;
    if (HW_FEATURES_VERSION != 3 || hash != 0x47e9c2e9u)
        fail_msg("the lists are others (0x%08x): raise HW_FEATURES_VERSION, then mend this", hash);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_of_one_kind_are_alike),
        cmocka_unit_test(endings_and_numbers),
        cmocka_unit_test(every_word_is_found),
        cmocka_unit_test(other_lists_are_another_version),
    };
    lists = hw_kinds_create();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(lists);
    return failed;
}
