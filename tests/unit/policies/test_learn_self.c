/* Learning from queries that nobody labelled: what it adds, what it must not take, and that it says
 * when it is worth nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "config/jsonl.h"
#include "policies/learn_private.h"
#include "policies/learn_self.h"

#define DATA HW_SOURCE_DIR "/bench/data/classify/"

static struct hw_err err;
static struct hw_learn_conf conf;
static struct hw_learn_self_conf self;

static int
setup(void **state)
{
    (void)state;
    hw_learn_conf_init(&conf);
    conf.bits = 12;
    hw_learn_self_conf_init(&self);
    return 0;
}

static void
add(struct hw_examples *examples, const char *label, const char *text)
{
    int class = hw_examples_class(examples, label, strlen(label), &err);
    assert_true(class >= 0);
    assert_int_equal(hw_examples_add(examples, class, text, strlen(text), &err), 0);
}

static int
pool_add(struct hw_learn_pool *pool, const char *text)
{
    return hw_learn_pool_add(pool, text, strlen(text), &err);
}

static struct hw_examples *
two_roles(void)
{
    static const char *const texts[2][4] = {
        {"hedge the gold position", "is the spread on gold widening", "sell the futures position",
         "gold futures spread"},
        {"review the lease contract", "who signs the lease", "draft a contract clause",
         "the clause of the lease"},
    };
    struct hw_examples *examples = hw_examples_create(conf.bits);

    for (int c = 0; c < 2; c++)
        for (int i = 0; i < 4; i++)
            add(examples, c == 0 ? "trading" : "legal", texts[c][i]);
    return examples;
}

static void
a_question_counts_once(void **state)
{
    struct hw_examples *examples = two_roles();
    struct hw_learn_pool *pool = hw_learn_pool_create(examples);
    uint16_t buckets[HW_FEATURES_MAX];
    const char *text = "sell gold";

    (void)state;
    assert_int_equal(pool_add(pool, "hedge the gold position"), 0); /* an example */
    assert_int_equal(pool_add(pool, text), 1);
    assert_int_equal(pool_add(pool, text), 0);
    assert_int_equal(pool_add(pool, "SELL  gold"), 0); /* the same n-grams */
    assert_int_equal(pool_add(pool, ""), 0);
    size_t count = hw_features(hw_learn_pool_examples(pool)->kinds, text, strlen(text),
                               HW_FEATURE_BITS_MAX, NULL, 0, buckets);
    assert_int_equal(hw_learn_pool_add_buckets(pool, buckets, count, &err), 0);
    assert_int_equal(hw_learn_pool_count(pool), 1);
    hw_learn_pool_destroy(&pool);
    hw_learn_pool_destroy(&pool);
    hw_examples_destroy(&examples);
}

static void
a_pool_is_bounded(void **state)
{
    struct hw_examples *examples = two_roles();
    struct hw_learn_pool *pool = hw_learn_pool_create(examples);

    (void)state;
    for (uint32_t i = 0; i < HW_LEARN_POOL_MAX; i++) {
        uint16_t buckets[2] = {(uint16_t)(i / 200 << 4), (uint16_t)((1000 + i % 200) << 4)};
        assert_int_equal(hw_learn_pool_add_buckets(pool, buckets, 2, &err), 1);
    }
    assert_int_equal(pool_add(pool, "one too many"), HW_ELIMIT);
    assert_int_equal(hw_learn_pool_count(pool), HW_LEARN_POOL_MAX);
    hw_learn_pool_destroy(&pool);
    hw_examples_destroy(&examples);
}

/* Of each role its share, and no role without bounds: a log of one sort does not make it the only
 * one that is known. */
static void
labels_are_balanced(void **state)
{
    struct hw_examples *examples = two_roles(), *learned = NULL;
    struct hw_learn_pool *pool = hw_learn_pool_create(examples);
    int32_t labels[220];
    size_t given[2] = {0, 0};
    char text[64];

    (void)state;
    for (int i = 0; i < 200; i++) {
        snprintf(text, sizeof(text), "is the gold spread number %d", i);
        assert_int_equal(pool_add(pool, text), 1);
    }
    for (int i = 0; i < 20; i++) {
        snprintf(text, sizeof(text), "the lease clause number %d", i);
        assert_int_equal(pool_add(pool, text), 1);
    }
    assert_int_equal(hw_learn_self(examples, pool, &conf, &self, &learned, labels, &err), 0);
    for (size_t i = 0; i < 220; i++)
        if (labels[i] != HW_LEARN_NONE) {
            assert_in_range(labels[i], 0, 1);
            given[labels[i]]++;
        }
    hw_examples_destroy(&learned);
    hw_learn_pool_destroy(&pool);
    hw_examples_destroy(&examples);
    assert_in_range(given[0], 60, 120);
    assert_in_range(given[1], 8, 12);
}

struct counted {
    struct hw_learn_self_report report;
    uint32_t classes[3][16];
};

static int
validate(const struct hw_examples *examples, const struct hw_learn_pool *pool,
         struct counted *counted)
{
    memset(counted, 0, sizeof(*counted));
    counted->report.class_tried = counted->classes[0];
    counted->report.class_before = counted->classes[1];
    counted->report.class_after = counted->classes[2];
    return hw_learn_self_validate(examples, pool, &conf, &self, 5, &counted->report, &err);
}

/* The first few rows of each role are the examples, the others the log. */
static void
read_set(struct hw_examples *examples, struct hw_learn_pool **pool, uint32_t per_class)
{
    struct hw_jsonl *file = NULL;
    struct hw_jsonl_row row;
    uint32_t seen[16] = {0};

    for (int pass = 0; pass < 2; pass++) {
        memset(seen, 0, sizeof(seen));
        assert_int_equal(hw_jsonl_open(DATA "hwu64_role.train.jsonl", &file, &err), 0);
        while (hw_jsonl_next(file, &row, &err) == 1) {
            int class = hw_examples_class(examples, row.label, strlen(row.label), &err);
            assert_in_range(class, 0, 15);
            bool taken = seen[class]++ < per_class;
            if (pass == 0 && taken)
                add(examples, row.label, row.text);
            if (pass == 1 && !taken && seen[class] % 4 == 0)
                assert_true(pool_add(*pool, row.text) >= 0);
        }
        hw_jsonl_close(&file);
        if (pass == 0)
            *pool = hw_learn_pool_create(examples);
    }
}

static size_t
right_of(const struct hw_examples *examples)
{
    struct hw_learned *learned = NULL;
    struct hw_learned_answer answer;
    struct hw_jsonl *file = NULL;
    struct hw_jsonl_row row;
    size_t right = 0;

    assert_int_equal(hw_learn(examples, &conf, &learned, &err), 0);
    assert_int_equal(hw_jsonl_open(DATA "hwu64_role.val.jsonl", &file, &err), 0);
    while (hw_jsonl_next(file, &row, &err) == 1) {
        hw_learned_answer(learned, row.text, strlen(row.text), &answer);
        right +=
            answer.label >= 0 && strcmp(hw_learned_label(learned, answer.label), row.label) == 0;
    }
    hw_jsonl_close(&file);
    hw_learned_destroy(&learned);
    return right;
}

static void
queries_without_labels_teach(void **state)
{
    struct hw_examples *learned = NULL, *again = NULL;
    struct hw_learn_pool *pool = NULL;
    struct counted counted;

    (void)state;
    conf.bits = 14;
    struct hw_examples *examples = hw_examples_create(conf.bits);
    read_set(examples, &pool, 20);
    size_t count = hw_learn_pool_count(pool);
    assert_in_range(count, 1500, 2000);
    int32_t *labels = calloc(2 * count, sizeof(*labels));
    assert_int_equal(hw_learn_self(examples, pool, &conf, &self, &learned, labels, &err), 0);
    assert_int_equal(hw_learn_self(examples, pool, &conf, &self, &again, labels + count, &err), 0);
    assert_memory_equal(labels, labels + count, count * sizeof(*labels)); /* the same dice */
    size_t before = right_of(examples), after = right_of(learned);
    if (after < before + before / 50)
        fail_msg("%zu right before, %zu after", before, after);
    self.rounds = 1; /* quicker; what is asked is that it counts */
    assert_int_equal(validate(examples, pool, &counted), 0);
    assert_int_equal(counted.report.tried, 260);
    assert_int_equal(counted.report.right_before + counted.report.gained,
                     counted.report.right_after + counted.report.lost);
    assert_int_equal(counted.classes[0][0], 20);
    free(labels);
    hw_examples_destroy(&learned);
    hw_examples_destroy(&again);
    hw_learn_pool_destroy(&pool);
    hw_examples_destroy(&examples);
}

static void
verdicts(void **state)
{
    struct hw_learn_self_report report = {.gained = 20, .lost = 5};

    (void)state;
    assert_int_equal(hw_learn_self_verdict(&report), 1);
    report = (struct hw_learn_self_report){.gained = 3, .lost = 1};
    assert_int_equal(hw_learn_self_verdict(&report), 0);
    report = (struct hw_learn_self_report){.gained = 1, .lost = 9};
    assert_int_equal(hw_learn_self_verdict(&report), -1);
    report = (struct hw_learn_self_report){.gained = 0};
    assert_int_equal(hw_learn_self_verdict(&report), 0);
}

static void
nothing_to_learn(void **state)
{
    struct hw_examples *examples = two_roles(), *one = hw_examples_create(conf.bits);
    struct hw_examples *out = NULL;
    struct hw_learn_pool *pool = hw_learn_pool_create(examples);
    struct counted counted;
    int32_t labels[1];

    (void)state;
    assert_int_equal(hw_learn_self(examples, pool, &conf, &self, &out, labels, &err), HW_EINVAL);
    assert_int_equal(validate(examples, pool, &counted), HW_EINVAL);
    assert_int_equal(pool_add(pool, "sell gold"), 1);
    self.rounds = 0;
    assert_int_equal(hw_learn_self(examples, pool, &conf, &self, &out, labels, &err), HW_EINVAL);
    self.rounds = 2;
    add(one, "trading", "sell");
    assert_int_equal(hw_learn_self(one, pool, &conf, &self, &out, labels, &err), HW_EINVAL);
    assert_null(out);
    hw_learn_pool_destroy(&pool);
    hw_examples_destroy(&one);
    hw_examples_destroy(&examples);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_question_counts_once, setup),
        cmocka_unit_test_setup(a_pool_is_bounded, setup),
        cmocka_unit_test_setup(labels_are_balanced, setup),
        cmocka_unit_test_setup(queries_without_labels_teach, setup),
        cmocka_unit_test_setup(verdicts, setup),
        cmocka_unit_test_setup(nothing_to_learn, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
