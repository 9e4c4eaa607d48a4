/* The learned difficulty: what it gains on recorded outcomes, and what it refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "config/jsonl.h"
#include "policies/classify.h"
#include "policies/difficulty.h"
#include "policies/route.h"
#include "snapshot_builder.h"

#define DATA HW_SOURCE_DIR "/bench/data/classify/"

static struct hw_err err;
static struct built built;

static struct hw_outcomes *
outcomes_of(const char *path, size_t most)
{
    struct hw_outcomes *outcomes = hw_outcomes_create();
    struct hw_jsonl *file = NULL;
    struct hw_jsonl_row row;

    assert_int_equal(hw_jsonl_open(path, &file, &err), 0);
    while (hw_outcomes_count(outcomes) < most && hw_jsonl_next(file, &row, &err) == 1)
        assert_int_equal(hw_outcomes_add(outcomes, row.text, strlen(row.text), (float)row.weak,
                                         (float)row.strong, &err),
                         0);
    hw_jsonl_close(&file);
    return outcomes;
}

static void
the_difficult_ones_gain_more_than_dice(void **state)
{
    (void)state;
    struct hw_outcomes *train = outcomes_of(DATA "difficulty_mmlu.train.jsonl", 9999);
    struct hw_outcomes *test = outcomes_of(DATA "difficulty_mmlu.test.jsonl", 9999);
    struct hw_difficulty *difficulty = NULL;
    struct hw_difficulty_report report;

    assert_int_equal(hw_difficulty_learn(train, &difficulty, &report, &err), 0);
    assert_int_equal(report.tried, 1500);
    assert_true(report.area > 0.55); /* told before anything is used */
    assert_int_equal(hw_difficulty_try(difficulty, test, &report, &err), 0);
    print_message("gain over all shares: %.3f\n", report.area);
    assert_true(report.area > 0.66);
    assert_true(report.at[0] == report.weak);
    assert_true(report.at[HW_DIFFICULTY_SHARES - 1] == report.strong);
    hw_difficulty_destroy(&difficulty);
    hw_outcomes_destroy(&train);
    hw_outcomes_destroy(&test);
}

/* The ranks of texts like the recorded ones are spread evenly: a share of 20 % is a fifth of them.
 */
static void
a_share_is_a_share_of_the_queries(void **state)
{
    (void)state;
    struct hw_outcomes *train = outcomes_of(DATA "difficulty_mmlu.train.jsonl", 9999);
    struct hw_difficulty *difficulty = NULL, *again = NULL;
    struct hw_jsonl *file = NULL;
    struct hw_jsonl_row row;
    size_t rows = 0, hard = 0;

    assert_int_equal(hw_difficulty_learn(train, &difficulty, NULL, &err), 0);
    assert_int_equal(hw_difficulty_learn(train, &again, NULL, &err), 0);
    assert_int_equal(hw_jsonl_open(DATA "difficulty_mmlu.test.jsonl", &file, &err), 0);
    while (hw_jsonl_next(file, &row, &err) == 1) {
        float rank = hw_difficulty_rank(difficulty, row.text, strlen(row.text));
        assert_true(rank >= 0.0f && rank <= 1.0f);
        assert_true(rank == hw_difficulty_rank(again, row.text, strlen(row.text)));
        rows++;
        hard += rank > 0.8f;
    }
    hw_jsonl_close(&file);
    assert_in_range(hard * 100 / rows, 13, 27);
    hw_difficulty_destroy(&difficulty);
    hw_difficulty_destroy(&again);
    hw_outcomes_destroy(&train);
}

static void
what_teaches_nothing_is_refused(void **state)
{
    (void)state;
    struct hw_outcomes *few = outcomes_of(DATA "difficulty_mmlu.train.jsonl", 49);
    struct hw_outcomes *same = hw_outcomes_create(), *none = hw_outcomes_create();
    struct hw_difficulty *difficulty = NULL;
    struct hw_difficulty_report report;

    assert_int_equal(hw_difficulty_learn(few, &difficulty, NULL, &err), HW_EINVAL);
    assert_non_null(strstr(err.msg, "from 50 outcomes on, got 49"));
    for (int i = 0; i < 60; i++)
        assert_int_equal(hw_outcomes_add(same, "the same", 8, 1.0f, 1.0f, &err), 0);
    assert_int_equal(hw_difficulty_learn(same, &difficulty, NULL, &err), HW_EINVAL);
    assert_non_null(strstr(err.msg, "no difficulty to learn"));
    assert_int_equal(hw_outcomes_add(same, "", 0, 0.0f, 1.0f, &err), 0); /* one empty text */
    assert_int_equal(hw_difficulty_learn(same, &difficulty, NULL, &err), 0);
    assert_in_range(hw_difficulty_rank(difficulty, "", 0), 0, 1);
    assert_int_equal(hw_difficulty_try(difficulty, none, &report, &err), HW_EINVAL);
    hw_difficulty_destroy(&difficulty);
    hw_outcomes_destroy(&few);
    hw_outcomes_destroy(&same);
    hw_outcomes_destroy(&none);
}

/* 30 easy rows and 30 hard ones, told apart by one word. */
static void
a_route_for_what_is_difficult(void **state)
{
    (void)state;
    static char easy[] = "What is the capital of a country?", hard[] = "Prove the lemma, please";
    struct hw_conf_outcome rows[60];
    struct hw_classifier *classifier = NULL;
    struct hw_traits traits = {.text = hard, .text_len = strlen(hard), .asked_role = -1};
    char why[200];

    for (size_t i = 0; i < 60; i++)
        rows[i] = (struct hw_conf_outcome){i < 30 ? easy : hard, i < 30 ? 1.0f : 0.0f, 1.0f};
    memset(&built, 0, sizeof(built));
    built.routes[0].name = (char *)"hard";
    built.routes[0].when = (struct hw_conf_when){.present = true, .difficult = HW_WANTED_TRUE};
    built.snapshot = (struct hw_snapshot){.routes = built.routes, .route_count = 1};
    built.snapshot.difficulty = (struct hw_conf_difficulty){rows, 60, 0.5};
    assert_int_equal(hw_classifier_create(&built.snapshot, &classifier, &err), 0);
    hw_classify(classifier, &traits);
    assert_true(traits.difficult && traits.difficulty > 0.5f);
    assert_int_equal(hw_route_match(&built.snapshot, &traits), 0);
    traits.text = easy;
    traits.text_len = strlen(easy);
    hw_classify(classifier, &traits);
    assert_false(traits.difficult);
    assert_int_equal(hw_route_match(&built.snapshot, &traits), -1);
    assert_false(hw_route_explain(&built.snapshot, 0, &traits, why, sizeof(why)));
    assert_non_null(strstr(why, "difficult is false, wants true ("));
    traits.text = NULL; /* a query without a user message */
    hw_classify(classifier, &traits);
    assert_true(!traits.difficult && traits.difficulty < 0.0f);
    uint32_t missing = 0; /* a log without texts: nobody knows */
    traits.unknown = HW_UNKNOWN_TEXT;
    assert_int_equal(hw_route_match_known(&built.snapshot, &traits, &missing), HW_ROUTE_UNKNOWN);
    assert_int_equal(missing, HW_UNKNOWN_TEXT);
    hw_classifier_destroy(&classifier);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_difficult_ones_gain_more_than_dice),
        cmocka_unit_test(a_share_is_a_share_of_the_queries),
        cmocka_unit_test(what_teaches_nothing_is_refused),
        cmocka_unit_test(a_route_for_what_is_difficult),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
