#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "policies/breaker.h"

static void
fail_times(struct hw_breaker *breaker, int times, uint64_t now_ms)
{
    for (int i = 0; i < times; i++)
        hw_breaker_result(breaker, false, now_ms);
}

static void
five_in_a_row_open_it(void **state)
{
    (void)state;
    struct hw_breaker breaker;
    hw_breaker_init(&breaker);
    fail_times(&breaker, 4, 0);
    hw_breaker_result(&breaker, true, 0);
    fail_times(&breaker, 4, 0);
    assert_int_equal(hw_breaker_state(&breaker, 0), HW_BREAKER_CLOSED);
    assert_true(hw_breaker_take(&breaker, 0));
    fail_times(&breaker, 1, 0);
    assert_int_equal(hw_breaker_state(&breaker, 999), HW_BREAKER_OPEN);
    assert_false(hw_breaker_take(&breaker, 999));
    assert_string_equal(hw_breaker_names[hw_breaker_state(&breaker, 1000)], "half-open");
}

static void
half_of_twenty_open_it(void **state)
{
    (void)state;
    struct hw_breaker breaker;
    hw_breaker_init(&breaker);
    for (int i = 0; i < 19; i++)
        hw_breaker_result(&breaker, i % 2 != 0, 0);
    assert_int_equal(breaker.state, HW_BREAKER_CLOSED);
    hw_breaker_result(&breaker, true, 0); /* the twentieth: ten of them failed */
    assert_int_equal(breaker.state, HW_BREAKER_OPEN);
}

static void
one_trial_at_a_time(void **state)
{
    (void)state;
    struct hw_breaker breaker;
    hw_breaker_init(&breaker);
    fail_times(&breaker, 5, 0);
    assert_true(hw_breaker_take(&breaker, 1000));
    assert_false(hw_breaker_take(&breaker, 1000));
    hw_breaker_forget(&breaker);
    assert_true(hw_breaker_take(&breaker, 1001));
    hw_breaker_result(&breaker, true, 1002);
    assert_int_equal(hw_breaker_state(&breaker, 1002), HW_BREAKER_CLOSED);
    assert_int_equal(breaker.open_ms, 1000);
}

static void
openings_double_to_thirty_seconds(void **state)
{
    (void)state;
    struct hw_breaker breaker;
    uint64_t now_ms = 0, lengths[] = {1000, 2000, 4000, 8000, 16000, 30000, 30000};
    hw_breaker_init(&breaker);
    fail_times(&breaker, 5, 0);
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        assert_false(hw_breaker_take(&breaker, now_ms + lengths[i] - 1));
        now_ms += lengths[i];
        assert_true(hw_breaker_take(&breaker, now_ms));
        hw_breaker_result(&breaker, false, now_ms);
    }
}

static void
old_news_change_nothing(void **state)
{
    (void)state;
    struct hw_breaker breaker;
    hw_breaker_init(&breaker);
    fail_times(&breaker, 5, 0);
    hw_breaker_result(&breaker, true, 10);
    assert_int_equal(hw_breaker_state(&breaker, 10), HW_BREAKER_OPEN);
    assert_int_equal(hw_breaker_state(&breaker, 1000), HW_BREAKER_HALF_OPEN);
    hw_breaker_result(&breaker, true, 1000); /* nobody took the trial */
    assert_int_equal(hw_breaker_state(&breaker, 1000), HW_BREAKER_HALF_OPEN);
}

static void
hurried(void **state)
{
    struct hw_breaker breaker;
    (void)state;
    hw_breaker_init(&breaker);
    hw_breaker_hurry(&breaker, 100);
    assert_int_equal(hw_breaker_state(&breaker, 100), HW_BREAKER_CLOSED);
    for (int i = 0; i < 5; i++)
        hw_breaker_result(&breaker, false, 100);
    assert_int_equal(hw_breaker_state(&breaker, 200), HW_BREAKER_OPEN);
    hw_breaker_hurry(&breaker, 200);
    assert_int_equal(hw_breaker_state(&breaker, 200), HW_BREAKER_HALF_OPEN);
    assert_true(hw_breaker_take(&breaker, 200));
    assert_false(hw_breaker_take(&breaker, 200));
}

static void
late_answers_open_it_but_not_for_the_last(void **state)
{
    (void)state;
    struct hw_breaker breaker;
    hw_breaker_init(&breaker);
    for (int i = 0; i < 5; i++)
        hw_breaker_late(&breaker, 100);
    assert_int_equal(hw_breaker_state(&breaker, 200), HW_BREAKER_OPEN);
    assert_true(breaker.late);
    assert_true(hw_breaker_take(&breaker, 200)); /* who has nobody else */
    assert_int_equal(hw_breaker_state(&breaker, 1100), HW_BREAKER_HALF_OPEN);
    assert_true(hw_breaker_take(&breaker, 1100));
    hw_breaker_late(&breaker, 1200); /* slow, but it works */
    assert_int_equal(hw_breaker_state(&breaker, 1200), HW_BREAKER_CLOSED);
    assert_int_equal(breaker.closed_ms, 1200);
    for (int i = 0; i < 4; i++)
        hw_breaker_late(&breaker, 1300);
    hw_breaker_result(&breaker, false, 1300);
    assert_false(breaker.late);
    assert_false(hw_breaker_take(&breaker, 1400));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(late_answers_open_it_but_not_for_the_last),
        cmocka_unit_test(five_in_a_row_open_it),
        cmocka_unit_test(half_of_twenty_open_it),
        cmocka_unit_test(one_trial_at_a_time),
        cmocka_unit_test(openings_double_to_thirty_seconds),
        cmocka_unit_test(old_news_change_nothing),
        cmocka_unit_test(hurried),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
