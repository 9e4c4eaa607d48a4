#include "policies/snapshot_builder.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "policies/words.h"

static struct built built;

static struct hw_classifier *
compiled(void)
{
    struct hw_classifier *classifier = NULL;
    struct hw_err err;

    assert_int_equal(hw_classifier_create(&built.snapshot, &classifier, &err), 0);
    return classifier;
}

static struct hw_traits
classified(const char *text)
{
    struct hw_classifier *classifier = compiled();
    struct hw_traits traits = traits_of(text);

    hw_classify(classifier, &traits);
    hw_classifier_destroy(&classifier);
    assert_null(classifier);
    return traits;
}

static int
setup(void **state)
{
    (void)state;
    built_init(&built);
    built_role(&built, "trading", "market, hedge, hedge fund, stop loss order, $");
    built_role(&built, "legal", "contract, court, non-disclosure agreement");
    built_role(&built, "code", "c++, c#, segfault");
    built_role(&built, "email", "inbox, market");
    built_role(&built, "helper", "");
    return 0;
}

static void
whole_words_in_any_case(void **state)
{
    (void)state;
    struct hw_traits traits = classified("How is the MARKET today?");
    assert_int_equal(traits.role, 0);
    assert_int_equal(traits.role_source, HW_ROLE_BY_KEYWORD);
    assert_string_equal(traits.matched_keyword, "market");
    assert_int_equal(classified("supermarket").role, -1);
    assert_int_equal(classified("marketplace").role, -1);
    assert_int_equal(classified("the market's mood").role, 0);
    assert_int_equal(classified("'court'").role, 1);
    assert_int_equal(classified("\xe2\x80\x9c"
                                "court\xe2\x80\x9d\xe2\x80\xa6")
                         .role,
                     1);
    assert_int_equal(classified("c\xc3\xb4urt").role, -1);
    assert_int_equal(classified("costs 5$?").role, 0);
    struct hw_traits none = classified("nothing of the kind");
    assert_int_equal(none.role, -1);
    assert_int_equal(none.role_source, HW_ROLE_NONE);
    assert_string_equal(none.matched_keyword, "");
    assert_int_equal(classified("").role, -1);
}

static void
signs_can_be_keywords(void **state)
{
    (void)state;
    assert_string_equal(classified("Is C++ dead?").matched_keyword, "c++");
    assert_string_equal(classified("or C#").matched_keyword, "c#");
    assert_int_equal(classified("vitamin C").role, -1);
}

static void
phrases_weigh_more(void **state)
{
    (void)state;
    struct hw_traits traits = classified("to court over a stop-loss order");
    assert_int_equal(traits.role, 0);
    assert_string_equal(traits.matched_keyword, "stop loss order");
    assert_true(traits.confidence > 0.66f && traits.confidence < 0.67f);        /* 2 of 3 */
    assert_int_equal(classified("court, inbox, contract, hedge fund").role, 0); /* with "hedge" */
    assert_int_equal(classified("court, contract, non-disclosure").role, 1);
    assert_int_equal(classified("stop the loss order").role, -1);
    assert_string_equal(classified("a hedge  fund").matched_keyword, "hedge fund");
    assert_string_equal(classified("Non-Disclosure\nAgreement").matched_keyword,
                        "non-disclosure agreement");
}

static void
a_long_keyword_is_cut_between_characters(void **state)
{
    (void)state;
    static const char keyword[] = "a very long keyword that goes on for 47 bytes \xc3\xa9t\xc3\xa9";
    built_role(&built, "long", keyword);
    struct hw_traits traits = classified(keyword);
    assert_int_equal(traits.role, 5);
    assert_int_equal(strlen(traits.matched_keyword), 46);
}

static void
ties_go_to_the_first_role(void **state)
{
    (void)state;
    struct hw_traits traits = classified("market"); /* a keyword of trading and of email */
    assert_int_equal(traits.role, 0);
    assert_true(traits.confidence > 0.49f && traits.confidence < 0.51f);
    assert_int_equal(classified("market market inbox").role, 3);
}

static void
the_asked_role_wins(void **state)
{
    (void)state;
    built_alias(&built, "lawyer", "legal");
    struct hw_classifier *classifier = compiled();
    struct hw_traits traits = traits_of("market");
    traits.asked_role = 1;
    hw_classify(classifier, &traits);
    assert_int_equal(traits.role, 1);
    assert_int_equal(traits.role_source, HW_ROLE_BY_HEADER);
    traits.model = "llama3.1:8b";
    hw_classify(classifier, &traits);
    assert_int_equal(traits.role_source, HW_ROLE_BY_HEADER);
    traits.model = "lawyer";
    hw_classify(classifier, &traits);
    assert_int_equal(traits.role_source, HW_ROLE_BY_MODEL);
    traits.model = "legal";
    hw_classify(classifier, &traits);
    assert_int_equal(traits.role_source, HW_ROLE_BY_MODEL);
    assert_true(traits.confidence > 0.99f);
    hw_classifier_destroy(&classifier);
}

/* 512 bytes at the start and 255 at the end are read; what the cut leaves of a word is no word. */
static void
long_texts_are_windowed(void **state)
{
    (void)state;
    char text[4097];

    memset(text, ' ', 4096);
    text[4096] = '\0';
    memcpy(text + 2000, "court", 5);
    assert_int_equal(classified(text).role, -1);
    memcpy(text + 4096 - 255, "court", 5);
    assert_int_equal(classified(text).role, 1);
    memcpy(text + 4096 - 256, "xcourt", 6);
    assert_int_equal(classified(text).role, -1);
    memcpy(text + 507, "court", 5);
    assert_int_equal(classified(text).role, 1);
    text[512] = 's';
    assert_int_equal(classified(text).role, -1);
    memset(text, ' ', 4096);
    memcpy(text + 507, "hedge",
           5); /* the last word of the head, and "fund" the first of the tail */
    memcpy(text + 4096 - 255, "fund", 4);
    assert_string_equal(classified(text).matched_keyword, "hedge");
}

static void
hostile_texts(void **state)
{
    (void)state;
    char text[20001];

    for (int round = 0; round < 300; round++) {
        size_t len = (size_t)(round * 67 % 20000);
        for (size_t i = 0; i < len; i++)
            text[i] = (char)(1 + (i * 7 + (size_t)round * 31) % 255);
        text[len] = '\0';
        classified(text);
    }
    for (int c = 0x80; c < 0x100; c++) { /* a lead byte and nothing behind it */
        char one[2] = {(char)c, '\0'};
        char *exact = malloc(2);
        memcpy(exact, one, 2);
        classified(exact);
        free(exact);
    }
    memset(text, '$', 20000);
    text[20000] = '\0';
    assert_int_equal(classified(text).role, 0);
}

static void
keywords_without_words_are_refused(void **state)
{
    (void)state;
    struct hw_classifier *classifier = NULL;
    struct hw_err err;

    built_role(&built, "odd", "--");
    assert_int_equal(hw_classifier_create(&built.snapshot, &classifier, &err), HW_EINVAL);
    assert_string_equal(err.msg, "roles.odd: keyword needs a letter or a digit, got '--'");
    assert_null(classifier);
}

static void
text_has_keyword(void **state)
{
    (void)state;
    const char *text = "Please, re-run the Stop Loss; order!";
    size_t len = strlen(text);
    assert_true(hw_text_has_keyword(text, len, "please"));
    assert_true(hw_text_has_keyword(text, len, "RE-RUN"));
    assert_true(hw_text_has_keyword(text, len, "stop loss order"));
    assert_false(hw_text_has_keyword(text, len, "loss stop"));
    assert_false(hw_text_has_keyword(text, len, "order now"));
    assert_false(hw_text_has_keyword(text, 3, "please"));
    assert_false(hw_text_has_keyword(text, len, ""));
    assert_false(hw_text_has_keyword("", 0, "x"));
}

/* What the sieve lets go is in no text; what it keeps is searched for. */
static void
sieve_keeps_what_the_text_has(void **state)
{
    const char *text = "Please, re-run the Stop Loss; order!";
    struct hw_sieve sieve;
    unsigned kept = 0;
    char word[16];

    (void)state;
    hw_sieve_fill(&sieve, text, strlen(text));
    assert_true(hw_sieve_may_have(&sieve, "please"));
    assert_true(hw_sieve_may_have(&sieve, "ORDER"));
    assert_true(hw_sieve_may_have(&sieve, "stop loss order"));
    assert_true(hw_sieve_may_have(&sieve, "stop at nothing")); /* its first word is there */
    assert_false(hw_sieve_may_have(&sieve, "unheard"));
    assert_false(hw_sieve_may_have(&sieve, ""));
    for (int i = 0; i < 1000; i++) {
        snprintf(word, sizeof(word), "word%d", i);
        kept += hw_sieve_may_have(&sieve, word);
    }
    assert_true(kept < 20); /* 7 of 16,384 bits are set */
}

static void
tokens_are_about_four_bytes(void **state)
{
    (void)state;
    assert_int_equal(hw_estimate_tokens(0), 0);
    assert_int_equal(hw_estimate_tokens(1), 1);
    assert_int_equal(hw_estimate_tokens(400), 100);
    assert_int_equal(hw_estimate_tokens(UINT64_MAX), UINT32_MAX);
}

/* Not a limit: prints what a classification costs, with 64 roles of eight keywords. */
static void
cost(void **state)
{
    (void)state;
    char keywords[128], name[16], text[500];
    struct timespec from, to;
    unsigned found = 0;

    built_init(&built);
    for (int i = 0; i < 64; i++) {
        snprintf(name, sizeof(name), "role%d", i);
        snprintf(keywords, sizeof(keywords), "k%da, k%db, k%dc, k%d d, k%d e f, word%d, xx%d, yy%d",
                 i, i, i, i, i, i, i, i);
        built_role(&built, name, keywords);
    }
    struct hw_classifier *classifier = compiled();
    memset(text, 0, sizeof(text));
    while (strlen(text) + 40 < sizeof(text))
        strcat(text, "what is the mood of word7 today, then? ");
    struct hw_traits traits = traits_of(text);
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (int i = 0; i < 100000; i++) {
        hw_classify(classifier, &traits);
        found += traits.role == 7;
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    assert_int_equal(found, 100000);
    print_message("classify: %.2f us for %zu bytes\n",
                  ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) /
                      1e8,
                  traits.text_len);
    hw_classifier_destroy(&classifier);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(whole_words_in_any_case, setup),
        cmocka_unit_test_setup(signs_can_be_keywords, setup),
        cmocka_unit_test_setup(phrases_weigh_more, setup),
        cmocka_unit_test_setup(a_long_keyword_is_cut_between_characters, setup),
        cmocka_unit_test_setup(ties_go_to_the_first_role, setup),
        cmocka_unit_test_setup(the_asked_role_wins, setup),
        cmocka_unit_test_setup(long_texts_are_windowed, setup),
        cmocka_unit_test_setup(hostile_texts, setup),
        cmocka_unit_test_setup(keywords_without_words_are_refused, setup),
        cmocka_unit_test(text_has_keyword),
        cmocka_unit_test(sieve_keeps_what_the_text_has),
        cmocka_unit_test(tokens_are_about_four_bytes),
        cmocka_unit_test(cost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
