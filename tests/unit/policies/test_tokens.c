/* What backends report of their prompts corrects the estimate: after a few, by no single one, and
 * never without bounds. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "policies/rank.h"
#include "policies/tokens.h"

static struct hw_token_ratios *ratios;

static int
setup(void **state)
{
    (void)state;
    ratios = hw_tokens_create();
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    hw_tokens_destroy(&ratios);
    hw_tokens_destroy(&ratios);
    return 0;
}

static void
learn(const char *model, uint32_t estimated, uint64_t reported, size_t times)
{
    for (size_t i = 0; i < times; i++)
        hw_tokens_learn(ratios, model, estimated, reported);
}

static void
a_few_answers_are_enough(void **state)
{
    (void)state;
    assert_int_equal(hw_tokens_per_1000(ratios, "llama"), 0);
    learn("llama", 1000, 2000, HW_TOKEN_REPORTS_MIN - 1);
    assert_int_equal(hw_tokens_corrected(ratios, "llama", 500), 500);
    learn("llama", 1000, 2000, 1);
    assert_int_equal(hw_tokens_corrected(ratios, "llama", 500), 1000);
    assert_int_equal(hw_tokens_corrected(ratios, "qwen", 500), 500);
    assert_int_equal(hw_tokens_corrected(NULL, "llama", 500), 500);
    assert_int_equal(hw_tokens_corrected(ratios, NULL, 500), 500);
    assert_int_equal(hw_tokens_corrected(ratios, "llama", UINT32_MAX), UINT32_MAX);
}

static void
one_model_under_its_names(void **state)
{
    (void)state;
    learn("llama3.1", 1000, 1500, 1);
    learn("Llama3.1:latest", 1000, 1500, 1);
    learn("LLAMA3.1", 1000, 1500, 1);
    assert_int_equal(hw_tokens_per_1000(ratios, "llama3.1:LATEST"), 1500);
    assert_int_equal(hw_tokens_per_1000(ratios, "llama3.1:8b"), 0);
}

static void
outliers_move_nothing(void **state)
{
    (void)state;
    learn("llama", 1000, 1200, 15);
    learn("llama", 1000, 1000000, 7);
    assert_int_equal(hw_tokens_per_1000(ratios, "llama"), 1200);
    learn("llama", 1000, 1200, 15);
    learn("llama", 1000, 600, 7);
    assert_int_equal(hw_tokens_per_1000(ratios, "llama"), 1200);
}

static void
old_news_is_forgotten(void **state)
{
    (void)state;
    learn("llama", 1000, 1200, 1000);
    learn("llama", 1000, 1600, 8);
    assert_int_equal(hw_tokens_per_1000(ratios, "llama"), 1600);
    learn("llama", 1000, 900, 8);
    assert_int_equal(hw_tokens_per_1000(ratios, "llama"), 900);
}

static void
what_says_nothing_is_passed_over(void **state)
{
    (void)state;
    learn("short", 63, 200, 10); /* mostly template */
    learn("cached", 1000, 20, 10);
    assert_int_equal(hw_tokens_per_1000(ratios, "short"), 0);
    assert_int_equal(hw_tokens_per_1000(ratios, "cached"), 0);
    learn("wild", 1000, UINT64_MAX, 10); /* no token is less than a byte */
    assert_int_equal(hw_tokens_per_1000(ratios, "wild"), 4000);
    learn("wide", UINT32_MAX, UINT64_MAX, 10);
    assert_int_equal(hw_tokens_per_1000(ratios, "wide"), 4000);
}

static void
the_table_is_bounded(void **state)
{
    char name[32];

    (void)state;
    for (int i = 0; i < 3 * HW_TOKEN_MODELS_MAX; i++) {
        snprintf(name, sizeof(name), "model-%d", i);
        learn(name, 1000, 1100, 3);
        assert_int_equal(hw_tokens_per_1000(ratios, name), i < HW_TOKEN_MODELS_MAX ? 1100 : 0);
    }
    learn("model-0", 1000, 2200, 15);
    assert_int_equal(hw_tokens_per_1000(ratios, "model-0"), 2200);
}

static void
as_a_backend_counts(void **state)
{
    char llama[] = "llama", qwen[] = "qwen", *names[] = {llama, qwen};
    struct hw_conf_backend backend = {.name = "redfin", .kind = HW_KIND_OLLAMA};
    struct hw_traits traits = {.prompt_bytes = 4000, .prompt_tokens = 1234};

    (void)state;
    learn("llama", 1000, 2000, 3);
    learn("redfin", 1000, 1500, 3);
    assert_int_equal(hw_tokens_at(NULL, &backend, "llama", &traits), 1234);
    assert_int_equal(hw_tokens_at(ratios, &backend, "llama", &traits), 2000);
    assert_int_equal(hw_tokens_at(ratios, &backend, NULL, &traits), 1500); /* under its own name */
    backend.models = (struct hw_conf_list){.items = names, .count = 2};
    assert_int_equal(hw_tokens_at(ratios, &backend, NULL, &traits), 2000);
    assert_int_equal(hw_tokens_at(ratios, &backend, "qwen", &traits), 1000);
    traits.tokens_told = true;
    assert_int_equal(hw_tokens_at(ratios, &backend, "llama", &traits), 1234);
    backend.kind = HW_KIND_BDH;
    assert_int_equal(hw_tokens_at(ratios, &backend, "llama", &traits), 4000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_few_answers_are_enough, setup, teardown),
        cmocka_unit_test_setup_teardown(one_model_under_its_names, setup, teardown),
        cmocka_unit_test_setup_teardown(outliers_move_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(old_news_is_forgotten, setup, teardown),
        cmocka_unit_test_setup_teardown(what_says_nothing_is_passed_over, setup, teardown),
        cmocka_unit_test_setup_teardown(the_table_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(as_a_backend_counts, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
