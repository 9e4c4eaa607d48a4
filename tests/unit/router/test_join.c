/* One leads, those that come behind it follow; nobody is left waiting. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "router/join.h"

#define QUERIES 5

struct fixture {
    uv_loop_t loop;
    uv_async_t wake;
    struct hw_joins *joins;
    struct hw_join_list ready;
    struct hw_cache_key key, other;
    struct hw_join queries[QUERIES];
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
    f.joins = hw_joins_create();
    f.other.bytes[31] = 1; /* in the same bucket */
    for (int i = 0; i < QUERIES; i++)
        f.queries[i] = (struct hw_join){
            .key = &f.key, .lane = HW_LANE_INTERACTIVE, .wake = &f.wake, .ready = &f.ready};
    *state = &f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    assert_null(hw_joins_collect(f->joins, &f->ready));
    hw_joins_destroy(&f->joins); /* asserts that it is empty */
    uv_close((uv_handle_t *)&f->wake, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    return uv_loop_close(&f->loop);
}

/* The first `count`: the first leads, the others follow. */
static void
enter(struct fixture *f, int count)
{
    for (int i = 0; i < count; i++)
        assert_int_equal(hw_joins_enter(f->joins, &f->queries[i]), i > 0);
}

static void
expect_ready(struct fixture *f, int i, bool answered)
{
    struct hw_join *join = hw_joins_collect(f->joins, &f->ready);

    assert_ptr_equal(join, &f->queries[i]);
    assert_int_equal(join->answer != NULL, answered);
    hw_cache_entry_unref(join->answer);
    join->answer = NULL;
}

static void
an_answer_for_all(void **state)
{
    struct fixture *f = *state;
    struct hw_cache_entry *answer = hw_cache_entry_create("a", 1, 1);

    enter(f, 3);
    assert_null(hw_joins_collect(f->joins, &f->ready));
    hw_joins_give(f->joins, &f->queries[0], answer);
    assert_int_equal(atomic_load(&answer->refs), 3);
    expect_ready(f, 1, true);
    expect_ready(f, 2, true);
    assert_int_equal(atomic_load(&answer->refs), 1);
    hw_cache_entry_unref(answer);
    for (int i = 0; i < 3; i++)
        hw_joins_leave(f->joins, &f->queries[i]);
    enter(f, 2); /* what is over is over: the next one leads again */
    hw_joins_give(f->joins, &f->queries[0], NULL);
    expect_ready(f, 1, false);
}

static void
only_the_same(void **state)
{
    struct fixture *f = *state;

    f->queries[1].key = &f->other;
    assert_false(hw_joins_enter(f->joins, &f->queries[0]));
    assert_false(hw_joins_enter(f->joins, &f->queries[1]));
    assert_true(hw_joins_enter(f->joins, &f->queries[2]));
    hw_joins_give(f->joins, &f->queries[1], NULL);
    assert_null(hw_joins_collect(f->joins, &f->ready));
    hw_joins_give(f->joins, &f->queries[0], NULL);
    expect_ready(f, 2, false);
}

static void
nobody_follows_a_lower_lane(void **state)
{
    struct fixture *f = *state;

    f->queries[0].lane = HW_LANE_BACKGROUND;
    f->queries[2].lane = HW_LANE_BACKGROUND;
    assert_false(hw_joins_enter(f->joins, &f->queries[0]));
    assert_false(hw_joins_enter(f->joins, &f->queries[1]));
    assert_true(hw_joins_enter(f->joins, &f->queries[2]));
    hw_joins_give(f->joins, &f->queries[1], NULL); /* it leads nobody */
    hw_joins_leave(f->joins, &f->queries[1]);
    assert_null(hw_joins_collect(f->joins, &f->ready));
    hw_joins_leave(f->joins, &f->queries[0]);
    expect_ready(f, 2, false);
    hw_joins_leave(f->joins, &f->queries[2]);
}

static void
one_of_the_highest_lane_takes_its_place(void **state)
{
    struct fixture *f = *state;

    f->queries[0].lane = HW_LANE_REALTIME;
    f->queries[2].lane = HW_LANE_REALTIME;
    enter(f, 4);
    hw_joins_leave(f->joins, &f->queries[0]);
    expect_ready(f, 2, false);
    assert_true(f->queries[2].leads);
    assert_true(hw_joins_enter(f->joins, &f->queries[4]));
    hw_joins_give(f->joins, &f->queries[2], NULL);
    expect_ready(f, 1, false);
    expect_ready(f, 3, false);
    expect_ready(f, 4, false);
}

static void
who_leaves_leaves_nobody_behind(void **state)
{
    struct fixture *f = *state;
    struct hw_cache_entry *answer = hw_cache_entry_create("a", 1, 1);

    enter(f, 4);
    hw_joins_leave(f->joins, &f->queries[1]);        /* waits */
    hw_joins_leave(f->joins, &f->queries[1]);        /* is not there any more */
    hw_joins_leave(f->joins, &f->queries[0]);        /* leads: the next one is told */
    hw_joins_give(f->joins, &f->queries[2], answer); /* it has not begun: nothing is given */
    hw_joins_leave(f->joins, &f->queries[2]);        /* and leaves before it hears of it */
    expect_ready(f, 3, false);
    assert_true(f->queries[3].leads);
    assert_true(hw_joins_enter(f->joins, &f->queries[4]));
    hw_joins_give(f->joins, &f->queries[3], answer);
    hw_joins_leave(f->joins, &f->queries[4]); /* with an answer that nobody will read */
    assert_int_equal(atomic_load(&answer->refs), 1);
    hw_cache_entry_unref(answer);
}

/* --- loops beside each other --- */

enum { THREADS = 4, ROUNDS = 500 };

struct part {
    struct fixture *f;
    struct hw_join_list ready;
    unsigned dice;
    unsigned asked, answered, left;
};

/* Waits for its turn; now and then it is gone before. False: it has left. */
static bool
wait_or_leave(struct part *part, struct hw_join *query)
{
    unsigned patience = (part->dice = part->dice * 1103515245u + 12345u) >> 16 & 63;

    for (unsigned i = 0; i < 8 || patience > 8; i++) {
        struct hw_join *join = hw_joins_collect(part->f->joins, &part->ready);
        if (join != NULL) {
            assert_ptr_equal(join, query);
            return true;
        }
        sched_yield();
    }
    hw_joins_leave(part->f->joins, query);
    return false;
}

static void
one_round(struct part *part, struct hw_cache_entry *answer)
{
    struct hw_joins *joins = part->f->joins;
    struct hw_join query = {.key = &part->f->key, .wake = &part->f->wake, .ready = &part->ready};

    if (hw_joins_enter(joins, &query) && !wait_or_leave(part, &query)) {
        part->left++;
        return;
    }
    if (query.answer != NULL) {
        part->answered++;
        hw_cache_entry_unref(query.answer);
    } else {
        part->asked++;
        sched_yield();
        if (part->asked % 3 > 0)
            hw_joins_give(joins, &query, part->asked % 3 == 1 ? answer : NULL);
    }
    hw_joins_leave(joins, &query);
}

static void *
take_part(void *arg)
{
    struct part *part = arg;
    struct hw_cache_entry *answer = hw_cache_entry_create("a", 1, 1);

    for (int i = 0; i < ROUNDS; i++)
        one_round(part, answer);
    hw_cache_entry_unref(answer);
    return NULL;
}

static void
many_loops(void **state)
{
    struct fixture *f = *state;
    struct part parts[THREADS];
    pthread_t threads[THREADS];

    for (unsigned i = 0; i < THREADS; i++) {
        parts[i] = (struct part){.f = f, .dice = i + 1};
        assert_int_equal(pthread_create(&threads[i], NULL, take_part, &parts[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(parts[i].asked + parts[i].answered + parts[i].left, ROUNDS);
        assert_null(parts[i].ready.first);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_answer_for_all, setup, teardown),
        cmocka_unit_test_setup_teardown(only_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_follows_a_lower_lane, setup, teardown),
        cmocka_unit_test_setup_teardown(one_of_the_highest_lane_takes_its_place, setup, teardown),
        cmocka_unit_test_setup_teardown(who_leaves_leaves_nobody_behind, setup, teardown),
        cmocka_unit_test_setup_teardown(many_loops, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
