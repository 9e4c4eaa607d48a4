/* What is far off a backend's usual, and what becomes its new usual. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "policies/usual.h"

static size_t
lates(struct hw_usual *usual, double first_ms, double ahead_ms, size_t times)
{
    size_t late = 0;

    for (size_t i = 0; i < times; i++)
        late += hw_usual_late(usual, first_ms, ahead_ms, 10);
    return late;
}

static void
ten_times_and_a_second(void **state)
{
    struct hw_usual usual = {0};

    (void)state;
    assert_int_equal(lates(&usual, 5000, 0, 1), 0); /* the first is no news: it is all there is */
    assert_int_equal(lates(&usual, 150, 0, 40), 0);
    assert_in_range(usual.start_ms, 100, 400);
    struct hw_usual before = usual;
    assert_int_equal(lates(&usual, 1100, 0, 1), 0); /* a second is not much */
    usual = before;
    assert_int_equal(lates(&usual, 6000, 0, 1), 1);
    usual = before;
    assert_int_equal(lates(&usual, 6000, 1000, 1), 0); /* behind a queue, or a long prompt */
    usual = before;
    assert_false(hw_usual_late(&usual, 60000, 0, 0)); /* off */
}

static void
the_new_usual(void **state)
{
    struct hw_usual usual = {0};

    (void)state;
    lates(&usual, 100, 0, 100);
    assert_int_equal(lates(&usual, 3000, 0, 10), 10);
    assert_in_range(lates(&usual, 3000, 0, 400), 5, 60); /* it stays so: no news any more */
    assert_int_equal(lates(&usual, 3000, 0, 100), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_times_and_a_second),
        cmocka_unit_test(the_new_usual),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
