#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "policies/stats.h"

static struct hw_speed
speed_of(double ttft_ms, double prefill_bytes_s, double decode_bytes_s)
{
    struct hw_backend_view view = {
        .ttft_ms = ttft_ms, .prefill_bytes_s = prefill_bytes_s, .decode_bytes_s = decode_bytes_s};
    struct hw_speed speed;

    hw_speed_init(&speed, &view);
    return speed;
}

static void
assert_near(double have, double want)
{
    if (have < want * 0.95 || have > want * 1.05)
        fail_msg("%g is not near %g", have, want);
}

static void
learns_from_streams(void **state)
{
    (void)state;
    struct hw_speed speed = speed_of(1000, 1000, 50);
    struct hw_speed_sample sample = {
        .prompt_bytes = 100, .ttft_us = 80000, .output_bytes = 800, .decode_us = 1000000};
    for (int i = 0; i < 40; i++)
        hw_speed_learn(&speed, &sample);
    assert_near(speed.ttft_ms, 80);
    assert_near(speed.decode_bytes_s, 800);
    assert_near(speed.prefill_bytes_s, 1000); /* short prompts say nothing about it */
    assert_int_equal(speed.samples, 40);
    sample.prompt_bytes = 100000;
    sample.ttft_us = 80000 + 5000000;
    for (int i = 0; i < 60; i++)
        hw_speed_learn(&speed, &sample);
    assert_near(speed.prefill_bytes_s, 20000);
    assert_near(speed.ttft_ms, 80);
}

static void
learns_from_whole_answers(void **state)
{
    (void)state;
    struct hw_speed speed = speed_of(100, 1000, 50);
    struct hw_speed_sample sample = {.prompt_bytes = 100, .ttft_us = 1100000, .output_bytes = 629};
    for (int i = 0; i < 40; i++)
        hw_speed_learn(&speed, &sample);
    assert_near(speed.decode_bytes_s, 629);
    assert_near(speed.ttft_ms, 100);
    sample = (struct hw_speed_sample){.prompt_bytes = 10, .ttft_us = 20000, .output_bytes = 2};
    for (int i = 0; i < 60; i++)
        hw_speed_learn(&speed, &sample);
    assert_near(speed.ttft_ms, 20);
    assert_near(speed.decode_bytes_s, 629);
}

/* What a query takes, and how long its answer is: the first one counts whole, the rest slowly. */
static void
learns_whole_queries(void **state)
{
    (void)state;
    struct hw_speed speed = speed_of(100, 1000, 50);
    struct hw_speed_sample sample = {.ttft_us = 100000, .output_bytes = 800, .decode_us = 300000};

    assert_true(speed.service_ms <= 0 && speed.answer_bytes <= 0);
    hw_speed_learn(&speed, &sample);
    assert_near(speed.service_ms, 400);
    assert_near(speed.answer_bytes, 800);
    for (int i = 0; i < 100; i++)
        hw_speed_learn(&speed, &sample);
    sample = (struct hw_speed_sample){.ttft_us = 800000, .output_bytes = 80};
    hw_speed_learn(&speed, &sample);
    assert_near(speed.service_ms, 420);
    assert_near(speed.answer_bytes, 764);
    for (int i = 0; i < 200; i++)
        hw_speed_learn(&speed, &sample);
    assert_near(speed.service_ms, 800);
    assert_near(speed.answer_bytes, 80);
}

static void
an_outlier_moves_it_by_two_at_most(void **state)
{
    (void)state;
    struct hw_speed speed = speed_of(100, 1000, 500);
    struct hw_speed_sample sample = {
        .prompt_bytes = 1, .ttft_us = UINT64_MAX, .output_bytes = 64, .decode_us = UINT64_MAX};
    hw_speed_learn(&speed, &sample);
    assert_near(speed.ttft_ms, 200);
    assert_near(speed.decode_bytes_s, 250);
    sample = (struct hw_speed_sample){.output_bytes = UINT64_MAX, .decode_us = 1};
    hw_speed_learn(&speed, &sample);
    assert_true(speed.decode_bytes_s <= 510 && speed.ttft_ms >= 95);
    for (int i = 0; i < 10000; i++)
        hw_speed_learn(&speed, &sample);
    assert_true(speed.ttft_ms > 0 && speed.decode_bytes_s <= 1e8);
}

static void
zero_priors_do_no_harm(void **state)
{
    (void)state;
    struct hw_speed speed = speed_of(0, 0, 0);
    struct hw_speed_sample sample = {.prompt_bytes = 10, .ttft_us = 1000, .output_bytes = 100};
    for (int i = 0; i < 100; i++)
        hw_speed_learn(&speed, &sample);
    assert_true(speed.ttft_ms > 0 && speed.decode_bytes_s > 0);
}

static void
retries_are_a_share_of_queries(void **state)
{
    (void)state;
    struct hw_retry_budget budget;
    uint64_t now_ms = 5000000;
    int granted = 0;

    hw_retry_budget_init(&budget);
    while (hw_retry_budget_take(&budget, now_ms))
        granted++;
    assert_int_equal(granted, 10); /* what quiet times had saved */
    for (int i = 0; i < 100; i++)
        hw_retry_budget_query(&budget, 20);
    for (granted = 0; hw_retry_budget_take(&budget, now_ms);)
        granted++;
    assert_in_range(granted, 19, 20);
    assert_int_equal(hw_retry_budget_take(&budget, now_ms + 200), 1); /* five a second */
    assert_int_equal(hw_retry_budget_take(&budget, now_ms + 200), 0);
    assert_int_equal(hw_retry_budget_take(&budget, now_ms), 0); /* a clock that went back */
    for (int i = 0; i < 100000; i++)
        hw_retry_budget_query(&budget, 20);
    for (granted = 0; hw_retry_budget_take(&budget, now_ms + 200);)
        granted++;
    assert_in_range(granted, 99, 100);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(learns_from_streams),
        cmocka_unit_test(learns_from_whole_answers),
        cmocka_unit_test(learns_whole_queries),
        cmocka_unit_test(an_outlier_moves_it_by_two_at_most),
        cmocka_unit_test(zero_priors_do_no_harm),
        cmocka_unit_test(retries_are_a_share_of_queries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
