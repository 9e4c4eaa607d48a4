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
    struct hw_shared_device gpu;
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
    struct hw_room rooms[2];
    struct hw_waiter waiter;
};

static bool
reserve(struct fixture *f, struct hw_backend *backend, uint32_t limit)
{
    struct hw_room room = {.backend = backend, .limit = limit};
    struct hw_asker asker = {HW_LANE_INTERACTIVE, -1};
    struct hw_slot slot;

    return hw_admission_reserve(f->admission, &room, &asker, &slot);
}

static void
release(struct fixture *f, struct hw_backend *backend)
{
    struct hw_slot slot = {backend, NULL, HW_SHARE_OPEN};

    hw_admission_release(f->admission, &slot);
    assert_null(slot.backend);
}

static void
prepare(struct fixture *f, struct candidate *c, enum hw_lane lane, struct hw_backend *first,
        struct hw_backend *second)
{
    memset(c, 0, sizeof(*c));
    c->rooms[0] = (struct hw_room){.backend = first, .limit = 1};
    c->rooms[1] = (struct hw_room){.backend = second, .limit = 1};
    c->waiter.rooms = c->rooms;
    c->waiter.count = second != NULL ? 2 : 1;
    c->waiter.asker = (struct hw_asker){lane, -1};
    c->waiter.wake = &f->wake;
    c->waiter.ready = &f->ready;
}

static void
a_slot_is_taken_and_given_back(void **state)
{
    struct fixture *f = *state;

    assert_true(reserve(f, &f->a, 2));
    assert_true(reserve(f, &f->a, 2));
    assert_false(reserve(f, &f->a, 2));
    release(f, &f->a);
    assert_int_equal(atomic_load(&f->a.inflight), 1);
    assert_true(reserve(f, &f->a, 2));
    assert_true(reserve(f, &f->a, 0)); /* no limit */
    for (int i = 0; i < 3; i++)
        release(f, &f->a);
    assert_int_equal(atomic_load(&f->a.inflight), 0);
}

static void
a_freed_slot_goes_to_the_highest_lane_then_to_who_waited_longest(void **state)
{
    struct fixture *f = *state;
    struct candidate night, day, later;

    assert_true(reserve(f, &f->a, 1));
    prepare(f, &night, HW_LANE_BACKGROUND, &f->a, NULL);
    prepare(f, &day, HW_LANE_INTERACTIVE, &f->a, NULL);
    prepare(f, &later, HW_LANE_INTERACTIVE, &f->a, NULL);
    assert_int_equal(hw_admission_wait(f->admission, &night.waiter, 10), 0);
    assert_int_equal(hw_admission_wait(f->admission, &day.waiter, 10), 0);
    assert_int_equal(hw_admission_wait(f->admission, &later.waiter, 10), 0);
    assert_int_equal(hw_admission_queued(f->admission), 3);

    struct candidate *order[] = {&day, &later, &night};
    for (int i = 0; i < 3; i++) {
        release(f, &f->a);
        assert_int_equal(atomic_load(&f->a.inflight), 1); /* it changed hands, it never was free */
        assert_false(reserve(f, &f->a, 1));
        struct hw_waiter *granted = hw_admission_collect(f->admission, &f->ready);
        assert_ptr_equal(granted, &order[i]->waiter);
        assert_ptr_equal(granted->granted.backend, &f->a);
    }
    assert_null(hw_admission_collect(f->admission, &f->ready));
    release(f, &f->a);
    assert_int_equal(atomic_load(&f->a.inflight), 0);
}

static void
a_waiter_takes_whichever_of_its_candidates_comes_free(void **state)
{
    struct fixture *f = *state;
    struct candidate c;

    reserve(f, &f->a, 1);
    reserve(f, &f->b, 1);
    prepare(f, &c, HW_LANE_INTERACTIVE, &f->a, &f->b);
    assert_int_equal(hw_admission_wait(f->admission, &c.waiter, 10), 0);
    release(f, &f->b);
    assert_ptr_equal(hw_admission_collect(f->admission, &f->ready), &c.waiter);
    assert_ptr_equal(c.waiter.granted.backend, &f->b);
    release(f, &f->a);
    release(f, &f->b);
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
    assert_ptr_equal(c.waiter.granted.backend, &f->a);
    release(f, &f->a);
}

static void
who_leaves_gives_back_what_was_granted(void **state)
{
    struct fixture *f = *state;
    struct candidate first, second;

    reserve(f, &f->a, 1);
    prepare(f, &first, HW_LANE_INTERACTIVE, &f->a, NULL);
    prepare(f, &second, HW_LANE_INTERACTIVE, &f->a, NULL);
    hw_admission_wait(f->admission, &first.waiter, 10);
    hw_admission_wait(f->admission, &second.waiter, 10);
    release(f, &f->a); /* granted to first, which leaves before it looks */
    hw_admission_leave(f->admission, &first.waiter);
    assert_null(first.waiter.granted.backend);
    assert_ptr_equal(hw_admission_collect(f->admission, &f->ready), &second.waiter);
    release(f, &f->a);
    hw_admission_leave(f->admission, &second.waiter); /* legal in every state */
    assert_int_equal(atomic_load(&f->a.inflight), 0);
    assert_int_equal(hw_admission_queued(f->admission), 0);
}

static void
the_queue_is_bounded(void **state)
{
    struct fixture *f = *state;
    struct candidate one, two;

    reserve(f, &f->a, 1);
    prepare(f, &one, HW_LANE_INTERACTIVE, &f->a, NULL);
    prepare(f, &two, HW_LANE_INTERACTIVE, &f->a, NULL);
    assert_int_equal(hw_admission_wait(f->admission, &one.waiter, 1), 0);
    assert_int_equal(hw_admission_wait(f->admission, &two.waiter, 1), HW_ELIMIT);
    hw_admission_leave(f->admission, &one.waiter);
    release(f, &f->a);
}

static void
a_limit_that_a_reload_lowered_holds_for_slots_that_come_free(void **state)
{
    struct fixture *f = *state;
    struct candidate c;

    for (int i = 0; i < 3; i++)
        assert_true(reserve(f, &f->a, 3));
    prepare(f, &c, HW_LANE_INTERACTIVE, &f->a, NULL); /* knows of one */
    assert_int_equal(hw_admission_wait(f->admission, &c.waiter, 10), 0);
    release(f, &f->a);
    release(f, &f->a);
    assert_null(hw_admission_collect(f->admission, &f->ready));
    assert_int_equal(atomic_load(&f->a.inflight), 1);
    release(f, &f->a);
    assert_ptr_equal(hw_admission_collect(f->admission, &f->ready), &c.waiter);
    release(f, &f->a);
    assert_int_equal(atomic_load(&f->a.inflight), 0);
}

/* --- a device that two backends share: two of three for live queries, one for the background ---
 */

static struct hw_conf_share shares[] = {{.lane_mask = 3, .role = -1, .slots = 2},
                                        {.lane_mask = 4, .role = -1, .slots = 1}};
static const struct hw_conf_device gpu_conf = {
    .max_inflight = 3, .shares = shares, .share_count = 2};

static struct hw_room
room_on_gpu(struct fixture *f, struct hw_backend *backend, bool idle)
{
    return (struct hw_room){
        .backend = backend, .device = &f->gpu, .device_conf = &gpu_conf, .idle = idle};
}

static bool
reserve_on_gpu(struct fixture *f, struct hw_backend *backend, enum hw_lane lane,
               struct hw_slot *slot)
{
    struct hw_room room = room_on_gpu(f, backend, false);
    struct hw_asker asker = {lane, -1};

    return hw_admission_reserve(f->admission, &room, &asker, slot);
}

static void
prepare_on_gpu(struct fixture *f, struct candidate *c, enum hw_lane lane,
               struct hw_backend *backend, bool idle)
{
    prepare(f, c, lane, backend, NULL);
    c->rooms[0] = room_on_gpu(f, backend, idle);
}

static void
background_does_not_take_what_is_kept_for_the_living(void **state)
{
    struct fixture *f = *state;
    struct hw_slot dream, live[2], none = {0};
    struct candidate night, day;

    assert_true(reserve_on_gpu(f, &f->a, HW_LANE_BACKGROUND, &dream));
    assert_int_equal(dream.share, 1);
    assert_false(reserve_on_gpu(f, &f->a, HW_LANE_BACKGROUND, &none));
    assert_null(none.backend);
    for (int i = 0; i < 2; i++)
        assert_true(reserve_on_gpu(f, &f->b, HW_LANE_REALTIME, &live[i]));
    assert_false(reserve_on_gpu(f, &f->b, HW_LANE_REALTIME, &none));
    assert_int_equal(atomic_load(&f->gpu.inflight), 3);
    prepare_on_gpu(f, &night, HW_LANE_BACKGROUND, &f->a, false);
    prepare_on_gpu(f, &day, HW_LANE_INTERACTIVE, &f->b, false);
    assert_int_equal(hw_admission_wait(f->admission, &day.waiter, 10), 0);
    assert_int_equal(hw_admission_wait(f->admission, &night.waiter, 10), 0);
    hw_admission_release(f->admission, &dream); /* of no use to the higher lane */
    assert_ptr_equal(hw_admission_collect(f->admission, &f->ready), &night.waiter);
    hw_admission_release(f->admission, &live[0]);
    assert_ptr_equal(hw_admission_collect(f->admission, &f->ready), &day.waiter);
    hw_admission_release(f->admission, &live[1]);
    hw_admission_release(f->admission, &day.waiter.granted);
    hw_admission_release(f->admission, &night.waiter.granted);
    assert_int_equal(atomic_load(&f->gpu.inflight), 0);
    assert_int_equal(atomic_load(&f->gpu.taken[0]) + atomic_load(&f->gpu.taken[1]), 0);
}

static void
what_another_backend_frees_on_the_device_is_handed_on(void **state)
{
    struct fixture *f = *state;
    struct hw_slot live;
    struct candidate idle;

    assert_true(reserve_on_gpu(f, &f->b, HW_LANE_REALTIME, &live));
    prepare_on_gpu(f, &idle, HW_LANE_BACKGROUND, &f->a, true);
    assert_int_equal(hw_admission_wait(f->admission, &idle.waiter, 10), 0);
    assert_int_equal(hw_admission_queued(f->admission), 1); /* a is idle, its device is not */
    hw_admission_release(f->admission, &live);
    assert_ptr_equal(hw_admission_collect(f->admission, &f->ready), &idle.waiter);
    hw_admission_release(f->admission, &idle.waiter.granted);
    assert_int_equal(atomic_load(&f->gpu.inflight), 0);
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
        TEST(background_does_not_take_what_is_kept_for_the_living),
        TEST(what_another_backend_frees_on_the_device_is_handed_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
