/* Slots are handed over, lanes keep their order, nobody who leaves keeps a slot. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "router/admission.h"

struct fixture {
    uv_loop_t loop;
    uv_async_t wake;
    struct hw_admission *admission;
    struct hw_backend a, b;
    struct hw_waiter_list ready;
};

static void
on_wake(uv_async_t *wake)
{
    (void)wake;
}

static int
setup(void **state)
{
    static struct fixture f;

    memset(&f, 0, sizeof(f));
    uv_loop_init(&f.loop);
    uv_async_init(&f.loop, &f.wake, on_wake);
    f.admission = hw_admission_create();
    *state = &f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    hw_admission_destroy(&f->admission);
    uv_close((uv_handle_t *)&f->wake, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    return uv_loop_close(&f->loop);
}

struct candidate {
    struct hw_backend *backends[2];
    uint32_t limits[2];
    struct hw_waiter waiter;
};

static void
prepare(struct fixture *f, struct candidate *c, enum hw_lane lane, struct hw_backend *first,
        struct hw_backend *second)
{
    memset(c, 0, sizeof(*c));
    c->backends[0] = first;
    c->backends[1] = second;
    c->limits[0] = c->limits[1] = 1;
    c->waiter.backends = c->backends;
    c->waiter.limits = c->limits;
    c->waiter.count = second != NULL ? 2 : 1;
    c->waiter.lane = lane;
    c->waiter.wake = &f->wake;
    c->waiter.ready = &f->ready;
}

static void
a_slot_is_taken_and_given_back(void **state)
{
    struct fixture *f = *state;

    assert_true(hw_admission_reserve(f->admission, &f->a, 2));
    assert_true(hw_admission_reserve(f->admission, &f->a, 2));
    assert_false(hw_admission_reserve(f->admission, &f->a, 2));
    hw_admission_release(f->admission, &f->a);
    assert_int_equal(atomic_load(&f->a.inflight), 1);
    assert_true(hw_admission_reserve(f->admission, &f->a, 2));
    assert_true(hw_admission_reserve(f->admission, &f->a, 0)); /* no limit */
    for (int i = 0; i < 3; i++)
        hw_admission_release(f->admission, &f->a);
    assert_int_equal(atomic_load(&f->a.inflight), 0);
}

static void
a_freed_slot_goes_to_the_highest_lane_then_to_who_waited_longest(void **state)
{
    struct fixture *f = *state;
    struct candidate night, day, later;

    assert_true(hw_admission_reserve(f->admission, &f->a, 1));
    prepare(f, &night, HW_LANE_BACKGROUND, &f->a, NULL);
    prepare(f, &day, HW_LANE_INTERACTIVE, &f->a, NULL);
    prepare(f, &later, HW_LANE_INTERACTIVE, &f->a, NULL);
    assert_int_equal(hw_admission_wait(f->admission, &night.waiter, 10), 0);
    assert_int_equal(hw_admission_wait(f->admission, &day.waiter, 10), 0);
    assert_int_equal(hw_admission_wait(f->admission, &later.waiter, 10), 0);
    assert_int_equal(hw_admission_queued(f->admission), 3);

    struct candidate *order[] = {&day, &later, &night};
    for (int i = 0; i < 3; i++) {
        hw_admission_release(f->admission, &f->a);
        assert_int_equal(atomic_load(&f->a.inflight), 1); /* it changed hands, it never was free */
        assert_false(hw_admission_reserve(f->admission, &f->a, 1));
        struct hw_waiter *granted = hw_admission_collect(f->admission, &f->ready);
        assert_ptr_equal(granted, &order[i]->waiter);
        assert_ptr_equal(granted->granted, &f->a);
    }
    assert_null(hw_admission_collect(f->admission, &f->ready));
    hw_admission_release(f->admission, &f->a);
    assert_int_equal(atomic_load(&f->a.inflight), 0);
}

static void
a_waiter_takes_whichever_of_its_candidates_comes_free(void **state)
{
    struct fixture *f = *state;
    struct candidate c;

    hw_admission_reserve(f->admission, &f->a, 1);
    hw_admission_reserve(f->admission, &f->b, 1);
    prepare(f, &c, HW_LANE_INTERACTIVE, &f->a, &f->b);
    assert_int_equal(hw_admission_wait(f->admission, &c.waiter, 10), 0);
    hw_admission_release(f->admission, &f->b);
    assert_ptr_equal(hw_admission_collect(f->admission, &f->ready), &c.waiter);
    assert_ptr_equal(c.waiter.granted, &f->b);
    hw_admission_release(f->admission, &f->a);
    hw_admission_release(f->admission, &f->b);
}

static void
room_that_came_meanwhile_is_granted_at_once(void **state)
{
    struct fixture *f = *state;
    struct candidate c;

    prepare(f, &c, HW_LANE_INTERACTIVE, &f->a, NULL);
    assert_int_equal(hw_admission_wait(f->admission, &c.waiter, 10), 0);
    assert_int_equal(hw_admission_queued(f->admission), 0);
    assert_ptr_equal(hw_admission_collect(f->admission, &f->ready), &c.waiter);
    assert_ptr_equal(c.waiter.granted, &f->a);
    hw_admission_release(f->admission, &f->a);
}

static void
who_leaves_gives_back_what_was_granted(void **state)
{
    struct fixture *f = *state;
    struct candidate first, second;

    hw_admission_reserve(f->admission, &f->a, 1);
    prepare(f, &first, HW_LANE_INTERACTIVE, &f->a, NULL);
    prepare(f, &second, HW_LANE_INTERACTIVE, &f->a, NULL);
    hw_admission_wait(f->admission, &first.waiter, 10);
    hw_admission_wait(f->admission, &second.waiter, 10);
    hw_admission_release(f->admission, &f->a); /* granted to first, which leaves before it looks */
    hw_admission_leave(f->admission, &first.waiter);
    assert_null(first.waiter.granted);
    assert_ptr_equal(hw_admission_collect(f->admission, &f->ready), &second.waiter);
    hw_admission_release(f->admission, &f->a);
    hw_admission_leave(f->admission, &second.waiter); /* legal in every state */
    assert_int_equal(atomic_load(&f->a.inflight), 0);
    assert_int_equal(hw_admission_queued(f->admission), 0);
}

static void
the_queue_is_bounded(void **state)
{
    struct fixture *f = *state;
    struct candidate one, two;

    hw_admission_reserve(f->admission, &f->a, 1);
    prepare(f, &one, HW_LANE_INTERACTIVE, &f->a, NULL);
    prepare(f, &two, HW_LANE_INTERACTIVE, &f->a, NULL);
    assert_int_equal(hw_admission_wait(f->admission, &one.waiter, 1), 0);
    assert_int_equal(hw_admission_wait(f->admission, &two.waiter, 1), HW_ELIMIT);
    hw_admission_leave(f->admission, &one.waiter);
    hw_admission_release(f->admission, &f->a);
}

static void
a_limit_that_a_reload_lowered_holds_for_slots_that_come_free(void **state)
{
    struct fixture *f = *state;
    struct candidate c;

    for (int i = 0; i < 3; i++)
        assert_true(hw_admission_reserve(f->admission, &f->a, 3));
    prepare(f, &c, HW_LANE_INTERACTIVE, &f->a, NULL); /* knows of one */
    assert_int_equal(hw_admission_wait(f->admission, &c.waiter, 10), 0);
    hw_admission_release(f->admission, &f->a);
    hw_admission_release(f->admission, &f->a);
    assert_null(hw_admission_collect(f->admission, &f->ready));
    assert_int_equal(atomic_load(&f->a.inflight), 1);
    hw_admission_release(f->admission, &f->a);
    assert_ptr_equal(hw_admission_collect(f->admission, &f->ready), &c.waiter);
    hw_admission_release(f->admission, &f->a);
    assert_int_equal(atomic_load(&f->a.inflight), 0);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_slot_is_taken_and_given_back),
        TEST(a_freed_slot_goes_to_the_highest_lane_then_to_who_waited_longest),
        TEST(a_waiter_takes_whichever_of_its_candidates_comes_free),
        TEST(room_that_came_meanwhile_is_granted_at_once),
        TEST(who_leaves_gives_back_what_was_granted),
        TEST(the_queue_is_bounded),
        TEST(a_limit_that_a_reload_lowered_holds_for_slots_that_come_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
