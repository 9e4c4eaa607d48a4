/* The board by itself: when a trial is passed, what a swap changes, what the counts add up to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "router/workers_board.h"

#define BACKEND "hatchling"

/* A supervisor, the first, and two loops listen. */
struct world {
    uv_loop_t loop;
    uv_async_t asyncs[3];
    struct hw_board *board;
};

static void
on_poke(uv_async_t *async)
{
    (void)async;
}

static void
begin(struct world *w)
{
    assert_int_equal(uv_loop_init(&w->loop), 0);
    w->board = hw_board_create();
    for (int i = 0; i < 3; i++) {
        assert_int_equal(uv_async_init(&w->loop, &w->asyncs[i], on_poke), 0);
        hw_board_listen(w->board, &w->asyncs[i]);
    }
    hw_board_set_backend(w->board, BACKEND, 1, false);
}

static void
end(struct world *w)
{
    for (int i = 0; i < 3; i++) {
        hw_board_unlisten(w->board, &w->asyncs[i]);
        uv_close((uv_handle_t *)&w->asyncs[i], NULL);
    }
    hw_board_unref(w->board);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
}

static uint64_t
add_slot(struct world *w, bool trial)
{
    uint64_t slot = hw_board_add_slot(w->board, BACKEND, "/tmp/none.sock", trial);

    hw_board_slot_started(w->board, slot, 1000 + (int)slot);
    return slot;
}

static void
greet_loop(struct world *w, uint64_t slot, const char *model, int loop)
{
    struct hw_frame_hello hello = {.max_sessions = 4};

    snprintf(hello.model, sizeof(hello.model), "%s", model);
    hw_board_slot_greeted(w->board, slot, &w->asyncs[loop], &hello);
}

static void
greet(struct world *w, uint64_t slot, const char *model)
{
    greet_loop(w, slot, model, 1);
    greet_loop(w, slot, model, 2);
}

static struct hw_worker_info
info_of(struct world *w)
{
    struct hw_worker_info info;

    assert_true(hw_board_info(w->board, BACKEND, &info));
    return info;
}

static bool
is_retiring(struct world *w, uint64_t slot)
{
    struct hw_board_view *views;
    size_t count = hw_board_views(w->board, &views);
    bool retiring = false;

    for (size_t i = 0; i < count; i++)
        if (views[i].id == slot)
            retiring = views[i].retiring;
    hw_board_views_free(views, count);
    return retiring;
}

static void
test_trial_needs_every_loop_and_every_slot(void **state)
{
    struct world w;
    (void)state;

    begin(&w);
    uint64_t old = add_slot(&w, false);
    greet(&w, old, "old");
    assert_false(hw_board_trial_passed(w.board, BACKEND)); /* none is on */
    uint64_t one = add_slot(&w, true), two = add_slot(&w, true);
    greet(&w, one, "new");
    greet_loop(&w, two, "new", 1);
    assert_false(hw_board_trial_passed(w.board, BACKEND));
    greet_loop(&w, two, "new", 2);
    assert_true(hw_board_trial_passed(w.board, BACKEND));
    hw_board_slot_died(w.board, two, false);
    assert_false(hw_board_trial_passed(w.board, BACKEND));
    assert_false(hw_board_trial_passed(w.board, "another"));
    end(&w);
}

/* A loop whose connection breaks and comes back is one loop; while it is gone it is none. */
static void
test_a_loop_counts_once(void **state)
{
    struct world w;
    (void)state;

    begin(&w);
    uint64_t fresh = add_slot(&w, true);
    greet_loop(&w, fresh, "new", 1);
    hw_board_slot_parted(w.board, fresh, &w.asyncs[1]);
    greet_loop(&w, fresh, "new", 1);
    assert_false(hw_board_trial_passed(w.board, BACKEND));
    greet_loop(&w, fresh, "new", 1); /* of whose parting nobody told */
    assert_false(hw_board_trial_passed(w.board, BACKEND));
    greet_loop(&w, fresh, "new", 2);
    assert_true(hw_board_trial_passed(w.board, BACKEND));
    hw_board_slot_parted(w.board, fresh, &w.asyncs[1]);
    assert_false(hw_board_trial_passed(w.board, BACKEND));
    hw_board_unlisten(w.board, &w.asyncs[1]); /* a loop that ends is waited for no longer */
    assert_true(hw_board_trial_passed(w.board, BACKEND));
    hw_board_listen(w.board, &w.asyncs[1]);
    assert_false(hw_board_trial_passed(w.board, BACKEND));
    end(&w);
}

static void
test_swap_changes_who_serves_in_one_step(void **state)
{
    struct world w;
    (void)state;

    begin(&w);
    uint64_t old = add_slot(&w, false), fresh = add_slot(&w, true);
    greet(&w, old, "old");
    greet(&w, fresh, "new");
    struct hw_worker_info info = info_of(&w);
    assert_string_equal(info.hello.model, "old");
    assert_int_equal(info.up, 1);
    assert_int_equal(info.pid_count, 2);

    hw_board_swap(w.board, BACKEND);
    info = info_of(&w);
    assert_string_equal(info.hello.model, "new");
    assert_int_equal(info.up, 1);
    assert_int_equal(info.swaps_taken, 1);
    assert_int_equal(info.swap.state, HW_SWAP_TAKEN);
    assert_int_equal(info.swaps_refused, 0);
    assert_true(is_retiring(&w, old));
    assert_false(is_retiring(&w, fresh));
    greet_loop(&w, old, "old", 1); /* a loop that comes late */
    assert_string_equal(info_of(&w).hello.model, "new");
    end(&w);
}

static void
test_a_refused_trial_leaves_the_old_ones(void **state)
{
    struct world w;
    (void)state;

    begin(&w);
    uint64_t old = add_slot(&w, false), fresh = add_slot(&w, true);
    greet(&w, old, "old");
    greet(&w, fresh, "new");
    hw_board_slot_retire(w.board, fresh);
    hw_board_note_swap(w.board, BACKEND, HW_SWAP_REFUSED, "it is late");
    assert_false(hw_board_trial_passed(w.board, BACKEND));
    struct hw_worker_info info = info_of(&w);
    assert_string_equal(info.hello.model, "old");
    assert_int_equal(info.up, 1);
    assert_int_equal(info.swaps_refused, 1);
    assert_int_equal(info.swap.state, HW_SWAP_REFUSED);
    assert_string_equal(info.swap.reason, "it is late");
    assert_true(info.swap.since_s > 0);
    hw_board_note_swap(w.board, BACKEND, HW_SWAP_ON_TRIAL, NULL);
    info = info_of(&w);
    assert_int_equal(info.swaps_refused, 1);
    assert_string_equal(info.swap.reason, "");
    hw_board_slot_died(w.board, fresh, false);
    assert_int_equal(info_of(&w).restarts, 0);
    end(&w);
}

/* Totals never go back; what is now goes with the process. */
static void
test_counts_outlive_their_process(void **state)
{
    struct hw_frame_report report = {.active = 1,
                                     .queued = 2,
                                     .prompt_tokens = 3,
                                     .output_tokens = 4,
                                     .steps = 5,
                                     .kept_prompts = 6,
                                     .kept_tokens = 7,
                                     .state_bytes = 8};
    struct world w;
    (void)state;

    begin(&w);
    uint64_t old = add_slot(&w, false), other = add_slot(&w, false);
    hw_board_slot_reported(w.board, old, &report);
    hw_board_slot_reported(w.board, other, &report);
    struct hw_worker_info info = info_of(&w);
    assert_int_equal(info.report.active, 2);
    assert_int_equal(info.report.state_bytes, 16);
    hw_board_slot_died(w.board, old, true);
    hw_board_remove_slot(w.board, old);
    info = info_of(&w);
    assert_int_equal(info.report.active, 1);
    assert_int_equal(info.report.queued, 2);
    assert_int_equal(info.report.state_bytes, 8);
    assert_int_equal(info.report.prompt_tokens, 6);
    assert_int_equal(info.report.output_tokens, 8);
    assert_int_equal(info.report.steps, 10);
    assert_int_equal(info.report.kept_prompts, 12);
    assert_int_equal(info.report.kept_tokens, 14);
    assert_int_equal(info.restarts, 1);
    end(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trial_needs_every_loop_and_every_slot),
        cmocka_unit_test(test_a_loop_counts_once),
        cmocka_unit_test(test_swap_changes_who_serves_in_one_step),
        cmocka_unit_test(test_a_refused_trial_leaves_the_old_ones),
        cmocka_unit_test(test_counts_outlive_their_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
