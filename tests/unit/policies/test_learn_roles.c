/* How keywords and the learned classifier share the work. */
#include "policies/snapshot_builder.h"

#include <stdio.h>

static struct built built;
static struct hw_classifier *classifier;
static struct hw_err err;

static int
setup(void **state)
{
    (void)state;
    built_init(&built);
    built.snapshot.classifier.learned = true;
    built.snapshot.classifier.abstain = 0.02;
    built_role(&built, "trading", "hedge, stop loss")->examples =
        built_list(&built, "is the spread on gold widening, sell half of the futures, "
                           "close the short before earnings, what does the option cost now, "
                           "where is the oil price going, buy silver when it dips");
    built_role(&built, "legal", "court")->examples = built_list(
        &built, "review this contract for me, who is liable for the damage, "
                "draft a licence agreement, does the clause hold, is consent needed for tracking, "
                "what notice period has the lease");
    built_role(&built, "odd", "")->examples = built_list(&built, "one, two"); /* too few */
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    hw_classifier_destroy(&classifier);
    return 0;
}

static struct hw_traits
classified(const char *text)
{
    struct hw_traits traits = traits_of(text);

    if (classifier == NULL)
        assert_int_equal(hw_classifier_create(&built.snapshot, &classifier, &err), 0);
    hw_classify(classifier, &traits);
    return traits;
}

static void
a_query_without_keywords_is_told_by_examples(void **state)
{
    (void)state;
    struct hw_traits traits = classified("are the gold futures widening?");
    assert_int_equal(traits.role, 0);
    assert_int_equal(traits.role_source, HW_ROLE_BY_LEARNED);
    assert_true(traits.confidence > 0.0f && traits.confidence <= 1.0f);
    assert_string_equal(traits.matched_keyword, "");
    assert_int_equal(classified("please review the lease contract").role, 1);
}

static void
keywords_win(void **state)
{
    (void)state;
    struct hw_traits traits = classified("will the gold futures stand up in court?");
    assert_int_equal(traits.role, 1);
    assert_int_equal(traits.role_source, HW_ROLE_BY_KEYWORD);
}

static void
what_is_like_no_example_has_no_role(void **state)
{
    (void)state;
    built.snapshot.classifier.confidence = 0.5; /* a dozen examples teach no threshold */
    struct hw_traits traits = classified("xyzzy plugh qwrtz");
    assert_int_equal(traits.role, -1);
    assert_int_equal(traits.role_source, HW_ROLE_NONE);
    assert_true(traits.confidence < 0.01f);
    assert_int_equal(classified("").role, -1);
    for (int i = 0; i < 3; i++) /* a role with too few examples is not guessed */
        assert_int_not_equal(classified("one two one two").role, 2);
}

static void
it_can_be_switched_off(void **state)
{
    (void)state;
    built.snapshot.classifier.learned = false;
    assert_int_equal(classified("are the gold futures widening?").role, -1);
    assert_int_equal(classified("hedge").role, 0);
}

static void
one_role_alone_cannot_be_told_apart(void **state)
{
    (void)state;
    built.roles[1].examples.count = 4;
    assert_int_equal(classified("are the gold futures widening?").role, -1);
}

static void
its_words_are_named(void **state)
{
    (void)state;
    char words[64], few[8];
    struct hw_traits traits = classified("Tell me: are Gold futures widening?");

    hw_classify_explain(classifier, &traits, words, sizeof(words));
    assert_non_null(strstr(words, "Gold"));
    assert_non_null(strstr(words, "futures"));
    hw_classify_explain(classifier, &traits, few, sizeof(few)); /* too small for all of them */
    assert_true(strlen(few) < sizeof(few));
    traits = classified("hedge");
    hw_classify_explain(classifier, &traits, words, sizeof(words));
    assert_string_equal(words, "");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_query_without_keywords_is_told_by_examples, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(keywords_win, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_like_no_example_has_no_role, setup, teardown),
        cmocka_unit_test_setup_teardown(it_can_be_switched_off, setup, teardown),
        cmocka_unit_test_setup_teardown(one_role_alone_cannot_be_told_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(its_words_are_named, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
