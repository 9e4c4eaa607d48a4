/* The learned classifier on public data (bench/data/classify) and on hostile input. */
#include <math.h>
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

#define DATA HW_SOURCE_DIR "/bench/data/classify/"
#define OUT_OF_SCOPE "oos"

static struct hw_err err;

static struct hw_examples *
examples_of(const char *path)
{
    struct hw_examples *examples = hw_examples_create(16);
    struct hw_jsonl *file = NULL;
    struct hw_jsonl_row row;

    assert_int_equal(hw_jsonl_open(path, &file, &err), 0);
    while (hw_jsonl_next(file, &row, &err) == 1) {
        int label = hw_examples_class(examples, row.label, strlen(row.label), &err);
        assert_true(label >= 0);
        assert_int_equal(hw_examples_add(examples, label, row.text, strlen(row.text), &err), 0);
    }
    hw_jsonl_close(&file);
    assert_int_equal(hw_examples_hint_names(examples, &err), 0);
    return examples;
}

static struct hw_learned *
learned_of(const struct hw_examples *examples)
{
    struct hw_learn_conf conf;
    struct hw_learned *learned = NULL;

    hw_learn_conf_init(&conf);
    assert_int_equal(hw_learn(examples, &conf, &learned, &err), 0);
    return learned;
}

/* Two small classes. */
static struct hw_examples *
small_examples(void)
{
    static const char *const texts[2][6] = {
        {"hedge the gold position", "is the spread widening", "sell half of the futures",
         "what does the option cost", "close the short before earnings", "stop loss for oil"},
        {"review the contract", "who is liable for the damage", "draft a licence agreement",
         "does the clause hold in court", "is consent needed here", "the notice period of a lease"},
    };
    struct hw_examples *examples = hw_examples_create(10);

    for (int c = 0; c < 2; c++) {
        int label = hw_examples_class(examples, c == 0 ? "trading" : "legal", c == 0 ? 7 : 5, &err);
        for (int i = 0; i < 6; i++)
            assert_int_equal(
                hw_examples_add(examples, label, texts[c][i], strlen(texts[c][i]), &err), 0);
    }
    assert_int_equal(hw_examples_hint_names(examples, &err), 0);
    return examples;
}

struct score {
    size_t in_scope, right, kept, foreign, refused;
};

static struct score
try(const struct hw_learned *learned, const char *path)
{
    struct score score = {0};
    struct hw_jsonl *file = NULL;
    struct hw_jsonl_row row;
    struct hw_learned_answer answer;

    assert_int_equal(hw_jsonl_open(path, &file, &err), 0);
    while (hw_jsonl_next(file, &row, &err) == 1) {
        hw_learned_answer(learned, row.text, strlen(row.text), &answer);
        assert_true(answer.label >= 0);
        assert_true(answer.confidence >= 0.0f && answer.confidence <= 1.0f);
        bool foreign = strcmp(row.label, OUT_OF_SCOPE) == 0;
        bool right = strcmp(row.label, hw_learned_label(learned, answer.label)) == 0;
        score.in_scope += !foreign;
        score.foreign += foreign;
        score.right += right;
        score.kept += right && answer.known;
        score.refused += foreign && !answer.known;
    }
    hw_jsonl_close(&file);
    return score;
}

static void
assert_share(const char *what, size_t part, size_t whole, double least)
{
    double percent = 100.0 * (double)part / (double)whole;
    print_message("%s: %.1f %%\n", what, percent);
    assert_true(percent >= least);
}

static void
accuracy_of_a_policy_with_twenty_examples_a_role(void **state)
{
    (void)state;
    struct hw_examples *examples = examples_of(DATA "hwu64_role.train20.jsonl");
    struct hw_learned *learned = learned_of(examples);
    struct score score = try(learned, DATA "hwu64_role.test.jsonl");

    assert_share("20 a role, right", score.right, score.in_scope, 83.0);
    assert_share("20 a role, kept", score.kept, score.in_scope, 81.5);
    assert_share("20 a role, refused", score.refused, score.foreign, 6.0);
    hw_learned_destroy(&learned);
    hw_examples_destroy(&examples);
}

static void
accuracy_of_many_classes_with_ten_examples(void **state)
{
    (void)state;
    struct hw_examples *examples = examples_of(DATA "hwu64_intent.train10.jsonl");
    struct hw_learned *learned = learned_of(examples);
    struct score score = try(learned, DATA "hwu64_intent.test.jsonl");

    assert_share("64 intents, right", score.right, score.in_scope, 75.0);
    hw_learned_destroy(&learned);
    hw_examples_destroy(&examples);
}

static size_t
best_of(const float *scores, size_t count)
{
    size_t best = 0;
    for (size_t c = 1; c < count; c++)
        best = scores[c] > scores[best] ? c : best;
    return best;
}

static void
quantised_answers_as_float_does(void **state)
{
    (void)state;
    struct hw_examples *examples = examples_of(DATA "hwu64_role.train20.jsonl");
    struct hw_learn_conf conf;
    struct hw_weights weights;
    float exact[HW_LEARN_CLASSES_MAX], quantised[HW_LEARN_CLASSES_MAX];
    uint16_t features[HW_FEATURES_MAX];
    struct hw_jsonl *file = NULL;
    struct hw_jsonl_row row;
    size_t rows = 0, same = 0;

    hw_learn_conf_init(&conf);
    assert_int_equal(hw_weights_train(examples, &conf, NULL, 0, &weights, &err), 0);
    struct hw_learned *learned = hw_learned_quantise(&weights);
    assert_int_equal(hw_jsonl_open(DATA "hwu64_role.test.jsonl", &file, &err), 0);
    while (hw_jsonl_next(file, &row, &err) == 1) {
        size_t count =
            hw_features(examples->kinds, row.text, strlen(row.text), 16, NULL, 0, features);
        float strange = hw_weights_score(&weights, features, count, exact);
        float strange_too = hw_learned_score_features(learned, features, count, quantised);
        assert_true(fabsf(strange - strange_too) < 0.01f);
        same += best_of(exact, 13) == best_of(quantised, 13);
        rows++;
    }
    hw_jsonl_close(&file);
    assert_share("the same class", same, rows, 98.5);
    hw_learned_destroy(&learned);
    hw_weights_free(&weights);
    hw_examples_destroy(&examples);
}

static void
write_model(const struct hw_learned *learned, struct hw_buf *out)
{
    hw_buf_init(out, HW_LEARNED_FILE_MAX);
    assert_int_equal(hw_learned_write(learned, out), 0);
}

static void
the_same_examples_give_the_same_model(void **state)
{
    (void)state;
    struct hw_examples *examples = small_examples(), *again = small_examples();
    struct hw_learned *first = learned_of(examples), *second = learned_of(again), *other = NULL;
    struct hw_learn_conf conf;
    struct hw_buf a, b, c;

    hw_learn_conf_init(&conf);
    conf.seed = 1;
    assert_int_equal(hw_learn(examples, &conf, &other, &err), 0);
    write_model(first, &a);
    write_model(second, &b);
    write_model(other, &c);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
    assert_memory_not_equal(a.data, c.data, a.len); /* the dice do play */
    hw_buf_free(&a);
    hw_buf_free(&b);
    hw_buf_free(&c);
    hw_learned_destroy(&first);
    hw_learned_destroy(&second);
    hw_learned_destroy(&other);
    hw_examples_destroy(&examples);
    hw_examples_destroy(&again);
}

static void
a_model_survives_its_file(void **state)
{
    (void)state;
    struct hw_examples *examples = small_examples();
    struct hw_learned *learned = learned_of(examples), *back = NULL;
    struct hw_learned_answer before, after;
    static const char text[] = "should we hedge the oil futures?";
    struct hw_buf bytes;

    write_model(learned, &bytes);
    assert_int_equal(hw_learned_read(bytes.data, bytes.len, &back, &err), 0);
    assert_int_equal(hw_learned_classes(back), 2);
    assert_string_equal(hw_learned_label(back, 1), "legal");
    hw_learned_answer(learned, text, strlen(text), &before);
    hw_learned_answer(back, text, strlen(text), &after);
    assert_int_equal(after.label, 0);
    assert_memory_equal(&before.score, &after.score, sizeof(float));
    assert_memory_equal(&before.confidence, &after.confidence, sizeof(float));
    hw_learned_destroy(&back);
    for (size_t len = 0; len < bytes.len; len++) { /* every way to be cut off */
        char *cut = malloc(len + 1);
        memcpy(cut, bytes.data, len);
        assert_int_equal(hw_learned_read(cut, len, &back, &err), HW_EINVAL);
        free(cut);
    }
    for (size_t at = 0; at < 64; at++) { /* a header that lies */
        char kept = bytes.data[at];
        bytes.data[at] = (char)(kept ^ 0xff);
        if (hw_learned_read(bytes.data, bytes.len, &back, &err) == 0)
            hw_learned_answer(back, text, strlen(text), &after);
        hw_learned_destroy(&back);
        bytes.data[at] = kept;
    }
    hw_buf_free(&bytes);
    hw_learned_destroy(&learned);
    hw_examples_destroy(&examples);
}

static void
strange_texts_are_none_of_the_classes(void **state)
{
    (void)state;
    struct hw_examples *examples = examples_of(DATA "hwu64_role.train20.jsonl");
    struct hw_learned *learned = learned_of(examples);
    struct hw_learned_answer answer;

    static const char *const strange[] = {"qwrtz pxkcd vbnm ylkjh", "\xd0\x9f\xd1\x80\xd0\xb8",
                                          "0x7f 0x80 0x81 0x82 0x83"};
    for (size_t i = 0; i < 3; i++) {
        hw_learned_answer(learned, strange[i], strlen(strange[i]), &answer);
        assert_false(answer.known);
    }
    hw_learned_answer(learned, "set an alarm for seven", 22, &answer);
    assert_true(answer.known);
    assert_string_equal(hw_learned_label(learned, answer.label), "alarm");
    hw_learned_answer(learned, " ...\n", 5, &answer); /* nothing to go by */
    assert_int_equal(answer.label, -1);
    assert_false(answer.known);
    hw_learned_destroy(&learned);
    hw_examples_destroy(&examples);
}

static void
any_bytes_can_be_classified(void **state)
{
    (void)state;
    struct hw_examples *examples = small_examples();
    struct hw_learned *learned = learned_of(examples);
    struct hw_learned_answer answer;

    for (size_t round = 0; round < 400; round++) {
        size_t len = round * 37 % 1200;
        char *text = malloc(len + 1);
        for (size_t i = 0; i < len; i++)
            text[i] = (round % 3 == 0 ? "a?b!"[i % 4] : (char)((i * 7 + round * 31) % 256));
        hw_learned_answer(learned, text, len, &answer);
        free(text);
    }
    hw_learned_destroy(&learned);
    hw_examples_destroy(&examples);
}

static void
features_are_distinct_and_bounded(void **state)
{
    (void)state;
    uint16_t features[HW_FEATURES_MAX], other[HW_FEATURES_MAX];
    char text[4096];
    struct hw_kinds *kinds = hw_kinds_create();

    for (size_t i = 0; i < sizeof(text); i++) /* marks and letters of every kind, few repeats */
        text[i] = i % 2 == 0 ? "?!$%"[i * i / 6 % 4] : (char)('a' + i * i / 10 % 26);
    size_t count = hw_features(kinds, text, sizeof(text), 16, NULL, 0, features);
    assert_in_range(count, 100, HW_FEATURES_MAX);
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < i; j++)
            assert_int_not_equal(features[i], features[j]);
    count = hw_features(kinds, "What's UP", 9, 16, NULL, 0, features);
    assert_int_equal(hw_features(kinds, "what\xe2\x80\x99s\xc2\xa0up", 13, 16, NULL, 0, other),
                     count);
    assert_memory_equal(features, other, count * sizeof(features[0]));
    assert_int_equal(hw_features(kinds, " ,.; ", 5, 16, NULL, 0, features), 0);
    free(kinds);
}

static size_t
in_both(const uint16_t *a, size_t a_count, const uint16_t *b, size_t b_count)
{
    size_t both = 0;

    for (size_t i = 0; i < a_count; i++)
        for (size_t j = 0; j < b_count; j++)
            both += a[i] == b[j];
    return both;
}

/* Words are read eight at a time, runs of bytes eight at a time: a text has what its parts have,
 * wherever the eights begin, and nothing of what lies behind it. */
static void
a_text_has_the_features_of_its_parts(void **state)
{
    (void)state;
    static const char text[] = "one two three four five six seven eight nine a b antidisestablish "
                               "internationalisation? xy";
    uint16_t all[HW_FEATURES_MAX], part[HW_FEATURES_MAX];
    struct hw_kinds *kinds = hw_kinds_create();

    for (size_t end = 1; end < sizeof(text); end++) {
        size_t count = hw_features(kinds, text, end, 16, NULL, 0, all);
        for (size_t from = 0; from < end; from++) {
            /* whole words; the first has a feature of its own, alone in its part */
            if ((from > 0 && text[from - 1] != ' ') || text[end] == '?' ||
                (text[end] != ' ' && text[end] != '\0') || from + 1 >= end)
                continue;
            size_t of_part = hw_features(kinds, text + from, end - from, 16, NULL, 0, part);
            assert_in_range(in_both(all, count, part, of_part), of_part - 1, of_part);
        }
        char copy[128];
        snprintf(copy, sizeof(copy), "%.*s ~~~ some other text", (int)end, text);
        assert_int_equal(hw_features(kinds, copy, end, 16, NULL, 0, part), count);
        assert_memory_equal(all, part, count * sizeof(all[0]));
    }
    free(kinds);
}

/* Fewer bits: the same buckets, told less exactly. */
static void
fewer_bits_are_the_beginnings_of_more(void **state)
{
    (void)state;
    static const char text[] = "Please remind me on monday to buy 12 apples, and call my mother!";
    uint16_t wide[HW_FEATURES_MAX], narrow[HW_FEATURES_MAX];
    struct hw_kinds *kinds = hw_kinds_create();
    size_t wides = hw_features(kinds, text, strlen(text), 16, NULL, 0, wide);

    for (uint32_t bits = HW_FEATURE_BITS_MIN; bits < 16; bits++) {
        size_t narrows = hw_features(kinds, text, strlen(text), bits, NULL, 0, narrow);
        for (size_t i = 0; i < wides; i++) {
            uint16_t beginning = (uint16_t)(wide[i] >> (16 - bits));
            assert_int_equal(in_both(&beginning, 1, narrow, narrows), 1);
        }
    }
    free(kinds);
}

static void
words_that_weighed_most(void **state)
{
    (void)state;
    struct hw_examples *examples = small_examples();
    struct hw_learned *learned = learned_of(examples);
    struct hw_learned_word words[3];
    static const char text[] = "Please tell, does this Contract hold?";

    size_t count = hw_learned_explain(learned, text, strlen(text), 1, words, 3);
    assert_in_range(count, 1, 3);
    assert_true(words[0].weight > 0);
    assert_true(strncmp(text + words[0].at, "Contract", 8) == 0 ||
                strncmp(text + words[0].at, "hold", 4) == 0);
    for (size_t i = 1; i < count; i++)
        assert_true(words[i].weight <= words[i - 1].weight);
    assert_int_equal(hw_learned_explain(learned, text, strlen(text), 7, words, 3), 0);
    hw_learned_destroy(&learned);
    hw_examples_destroy(&examples);
}

static void
limits_on_labels(void **state)
{
    (void)state;
    struct hw_examples *examples = hw_examples_create(10);
    struct hw_learned *learned = NULL;
    struct hw_learn_conf conf;
    char label[300] = {0};

    hw_learn_conf_init(&conf);
    assert_int_equal(hw_learn(examples, &conf, &learned, &err), HW_EINVAL);
    memset(label, 'x', sizeof(label));
    assert_int_equal(hw_examples_class(examples, label, 257, &err), HW_EINVAL);
    assert_int_equal(hw_examples_class(examples, "a\tb", 3, &err), HW_EINVAL);
    assert_int_equal(hw_examples_class(examples, "-", 1, &err), HW_EINVAL);
    assert_int_equal(hw_examples_class(examples, "", 0, &err), HW_EINVAL);
    for (int i = 0; i < HW_LEARN_CLASSES_MAX; i++) {
        int len = snprintf(label, sizeof(label), "label%d", i);
        assert_int_equal(hw_examples_class(examples, label, (size_t)len, &err), i);
    }
    assert_int_equal(hw_examples_class(examples, "one more", 8, &err), HW_ELIMIT);
    assert_int_equal(hw_examples_class(examples, "label7", 6, &err), 7);
    hw_examples_destroy(&examples);
}

static void
cross_validation_tells_what_to_expect(void **state)
{
    (void)state;
    struct hw_examples *examples = examples_of(DATA "hwu64_role.train20.jsonl");
    uint32_t tried[13] = {0}, right[13] = {0};
    struct hw_learn_report report = {.class_tried = tried, .class_right = right};
    struct hw_learn_conf conf;
    uint32_t sum = 0;

    hw_learn_conf_init(&conf);
    assert_int_equal(hw_learn_validate(examples, &conf, 5, &report, &err), 0);
    print_message("cross-validated: %.1f %%\n", 100 * report.accuracy);
    assert_int_equal(report.tried, 260); /* hints are not tried */
    assert_true(report.accuracy > 0.74 && report.accuracy < 0.90);
    assert_true(report.kept <= report.accuracy);
    assert_true(report.refused > 0.01 && report.refused < 0.03);
    for (int c = 0; c < 13; c++) {
        assert_int_equal(tried[c], 20);
        sum += right[c];
    }
    assert_int_equal(sum, (uint32_t)(report.accuracy * 260 + 0.5));
    assert_int_equal(hw_learn_validate(examples, &conf, 1, &report, &err), HW_EINVAL);
    hw_examples_destroy(&examples);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accuracy_of_a_policy_with_twenty_examples_a_role),
        cmocka_unit_test(accuracy_of_many_classes_with_ten_examples),
        cmocka_unit_test(quantised_answers_as_float_does),
        cmocka_unit_test(the_same_examples_give_the_same_model),
        cmocka_unit_test(a_model_survives_its_file),
        cmocka_unit_test(strange_texts_are_none_of_the_classes),
        cmocka_unit_test(any_bytes_can_be_classified),
        cmocka_unit_test(features_are_distinct_and_bounded),
        cmocka_unit_test(a_text_has_the_features_of_its_parts),
        cmocka_unit_test(fewer_bits_are_the_beginnings_of_more),
        cmocka_unit_test(words_that_weighed_most),
        cmocka_unit_test(limits_on_labels),
        cmocka_unit_test(cross_validation_tells_what_to_expect),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
