/* A checkpoint that changes under its workers, told with a scripted worker that obeys the file. */
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "workers_world.h"

struct story {
    struct world w;
    char dir[64], model[96], beside[112];
};

/* As rsync does. */
static void
replace(struct story *s, const char *content)
{
    FILE *file = fopen(s->beside, "w");

    assert_non_null(file);
    fputs(content, file);
    fclose(file);
    assert_int_equal(rename(s->beside, s->model), 0);
}

static struct hw_worker_info
info_of(struct story *s)
{
    struct hw_worker_info info;

    assert_true(hw_workers_info(s->w.supervisor, BACKEND, &info));
    return info;
}

static void
begin_story(struct story *s, uint32_t workers)
{
    memset(s, 0, sizeof(*s));
    snprintf(s->dir, sizeof(s->dir), "/tmp/hw-test-swap-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    snprintf(s->model, sizeof(s->model), "%s/model", s->dir);
    snprintf(s->beside, sizeof(s->beside), "%s.new", s->model);
    replace(s, "first");
    begin(&s->w, s->model, workers);
    wait_ready(&s->w, workers);
}

static void
end_story(struct story *s)
{
    end(&s->w);
    unlink(s->model);
    assert_int_equal(rmdir(s->dir), 0);
}

static void
wait_swaps(struct story *s, uint64_t taken, uint64_t refused)
{
    for (int i = 0; i < 1000; i++) {
        struct hw_worker_info info = info_of(s);
        if (info.swaps_taken == taken && info.swaps_refused == refused)
            return;
        run_for(&s->w, 10);
    }
    fail_msg("swaps: %d taken, %d refused", (int)info_of(s).swaps_taken,
             (int)info_of(s).swaps_refused);
}

static uint64_t
ask_model(struct story *s)
{
    struct asked asked;

    ask_of(s->w.workers, &asked, "hello", 5000);
    wait_end(&s->w, &asked);
    assert_int_equal(asked.dones, 1);
    return asked.model;
}

static void
test_old_workers_finish_what_they_began(void **state)
{
    struct story s;
    struct asked hang;
    (void)state;

    begin_story(&s, 2);
    uint64_t first = ask_model(&s);
    struct hw_worker_info before = info_of(&s);
    assert_true(first == hw_worker_model_id(&before.hello));
    ask(&s.w, &hang, "hang");
    wait_start(&s.w, &hang);

    replace(&s, "second");
    wait_swaps(&s, 1, 0);
    uint64_t second = ask_model(&s);
    struct hw_worker_info after = info_of(&s);
    assert_string_equal(after.hello.model, "second");
    assert_true(second == hw_worker_model_id(&after.hello) && second != first);
    assert_int_equal(after.up, 2);
    /* One of the old ones still has the ask that hangs, the other goes. */
    for (int i = 0; i < 300 && info_of(&s).pid_count != 3; i++)
        run_for(&s.w, 10);
    assert_int_equal(info_of(&s).pid_count, 3);
    assert_int_equal(hang.errors + hang.dones, 0);
    hw_worker_call_cancel(hang.call);
    for (int i = 0; i < 300 && info_of(&s).pid_count != 2; i++)
        run_for(&s.w, 10);
    assert_int_equal(info_of(&s).pid_count, 2);
    assert_int_not_equal(kill(before.pids[0], 0), 0);
    assert_int_not_equal(kill(before.pids[1], 0), 0);
    assert_int_equal(info_of(&s).restarts, 0);
    end_story(&s);
}

static void
test_a_worker_that_fails_its_trial_changes_nothing(void **state)
{
    static const char *const bad[] = {"broken", "crash"};
    struct story s;
    (void)state;

    begin_story(&s, 1);
    uint64_t first = ask_model(&s);
    int pid = info_of(&s).pids[0];
    for (uint64_t i = 0; i < 2; i++) {
        replace(&s, bad[i]);
        wait_swaps(&s, 0, i + 1);
        assert_true(ask_model(&s) == first);
    }
    assert_int_equal(info_of(&s).swap.state, HW_SWAP_REFUSED);
    assert_true(info_of(&s).swap.reason[0] != '\0');
    replace(&s, "first"); /* what serves: there is nothing to refuse */
    for (int i = 0; i < 500 && info_of(&s).swap.state != HW_SWAP_NONE; i++)
        run_for(&s.w, 10);
    assert_int_equal(info_of(&s).swap.state, HW_SWAP_NONE);
    replace(&s, bad[0]);
    wait_swaps(&s, 0, 3);
    run_for(&s.w, 300); /* it is not tried again as it is */
    wait_swaps(&s, 0, 3);
    assert_int_equal(info_of(&s).pids[0], pid);
    assert_int_equal(info_of(&s).restarts, 0);

    kill(pid, SIGKILL); /* its successor has the same checkpoint, not that file */
    wait_ready(&s.w, 0);
    assert_true(ask_model(&s) == first);
    replace(&s, "second");
    wait_swaps(&s, 1, 3);
    assert_int_equal(info_of(&s).swap.state, HW_SWAP_TAKEN);
    assert_true(ask_model(&s) != first);
    end_story(&s);
}

static void
link_to(struct story *s, const char *target)
{
    assert_int_equal(symlink(target, s->beside), 0);
    assert_int_equal(rename(s->beside, s->model), 0);
}

/* A bad release, and back to the file that serves: nothing is refused any more. */
static void
release_and_roll_back(struct story *s, const char *good, const char *bad, uint64_t refused)
{
    link_to(s, bad);
    wait_swaps(s, 1, refused);
    assert_int_equal(info_of(s).swap.state, HW_SWAP_REFUSED);
    link_to(s, good);
    for (int i = 0; i < 500 && info_of(s).swap.state != HW_SWAP_NONE; i++)
        run_for(&s->w, 10);
    assert_int_equal(info_of(s).swap.state, HW_SWAP_NONE);
    wait_swaps(s, 1, refused);
}

/* With a limit of 0 no copy can be kept: workers have the file itself. */
static void
limit_files(rlim_t bytes)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void
test_a_roll_back_by_symlink(void **state)
{
    struct story s;
    char good[112], bad[112];
    (void)state;

    for (int copies = 0; copies < 2; copies++) {
        begin_story(&s, 1);
        snprintf(good, sizeof(good), "%s/good", s.dir);
        snprintf(bad, sizeof(bad), "%s/bad", s.dir);
        replace(&s, "broken");
        assert_int_equal(rename(s.model, bad), 0);
        replace(&s, "second");
        assert_int_equal(rename(s.model, good), 0);
        signal(SIGXFSZ, SIG_IGN);
        limit_files(copies == 0 ? 0 : RLIM_INFINITY);
        link_to(&s, good);
        wait_swaps(&s, 1, 0);
        uint64_t second = ask_model(&s);
        release_and_roll_back(&s, good, bad, 1);
        limit_files(RLIM_INFINITY);
        release_and_roll_back(&s, good, bad, 2);
        assert_true(ask_model(&s) == second);
        unlink(good);
        unlink(bad);
        end_story(&s);
    }
}

static int
wait_for_trial(struct story *s)
{
    for (int i = 0; i < 500 && info_of(s).pid_count < 2; i++)
        run_for(&s->w, 10);
    struct hw_worker_info info = info_of(s);
    assert_int_equal(info.pid_count, 2);
    assert_int_equal(info.up, 1);
    assert_int_equal(info.swap.state, HW_SWAP_ON_TRIAL);
    return info.pids[0] > info.pids[1] ? info.pids[0] : info.pids[1];
}

static void
test_a_worker_killed_in_its_trial(void **state)
{
    struct story s;
    (void)state;

    begin_story(&s, 1);
    uint64_t first = ask_model(&s);
    replace(&s, "slow");
    kill(wait_for_trial(&s), SIGKILL);
    wait_swaps(&s, 0, 1);
    assert_true(ask_model(&s) == first);

    struct timespec now[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}};
    assert_int_equal(utimensat(AT_FDCWD, s.model, now, 0), 0); /* touched: it is tried again */
    wait_swaps(&s, 1, 1);
    assert_true(ask_model(&s) != first);
    end_story(&s);
}

/* The old one dies while its successor is on trial. */
static void
test_a_worker_killed_beside_a_trial(void **state)
{
    struct story s;
    (void)state;

    begin_story(&s, 1);
    uint64_t first = ask_model(&s);
    int pid = info_of(&s).pids[0];
    replace(&s, "slow");
    wait_for_trial(&s);
    kill(pid, SIGKILL);
    wait_ready(&s.w, 0);
    assert_true(ask_model(&s) == first); /* from its own successor */
    wait_swaps(&s, 1, 0);
    assert_int_equal(info_of(&s).restarts, 1);
    end_story(&s);
}

static void
test_reloads_beside_a_trial(void **state)
{
    struct story s;
    (void)state;

    begin_story(&s, 1);
    replace(&s, "slow");
    wait_for_trial(&s);
    s.w.backends[0].workers = 2; /* the count changes: the trial goes on, and is made up to two */
    assert_int_equal(hw_workers_supervisor_apply(s.w.supervisor, &s.w.snapshot, NULL), 0);
    wait_swaps(&s, 1, 0);
    wait_ready(&s.w, 2);

    replace(&s, "slow "); /* another model, while one is on trial: that is over */
    for (int i = 0; i < 500 && info_of(&s).pid_count < 4; i++)
        run_for(&s.w, 10);
    s.w.backends[0].model = (char *)(uintptr_t) "elsewhere";
    assert_int_equal(hw_workers_supervisor_apply(s.w.supervisor, &s.w.snapshot, NULL), 0);
    for (int i = 0; i < 300 && info_of(&s).pid_count != 2; i++)
        run_for(&s.w, 10);
    wait_ready(&s.w, 2);
    assert_string_equal(info_of(&s).hello.model, "elsewhere");
    wait_swaps(&s, 1, 0);
    end_story(&s);
}

static void
test_closing_beside_a_trial(void **state)
{
    struct story s;
    (void)state;

    begin_story(&s, 1);
    replace(&s, "slow");
    wait_for_trial(&s);
    end_story(&s);
    begin_story(&s, 1);
    replace(&s, "slow");
    wait_for_trial(&s);
    s.w.snapshot.backend_count = 0;
    assert_int_equal(hw_workers_supervisor_apply(s.w.supervisor, &s.w.snapshot, NULL), 0);
    end_story(&s);
}

static void
test_no_file_at_first(void **state)
{
    struct story s;
    (void)state;

    begin_story(&s, 1);
    unlink(s.model);
    s.w.snapshot.backend_count = 0;
    assert_int_equal(hw_workers_supervisor_apply(s.w.supervisor, &s.w.snapshot, NULL), 0);
    wait_ready(&s.w, 0);
    s.w.snapshot.backend_count = 1;
    assert_int_equal(hw_workers_supervisor_apply(s.w.supervisor, &s.w.snapshot, NULL), 0);
    run_for(&s.w, 50);
    replace(&s, "second");
    wait_swaps(&s, 1, 0);
    ask_model(&s);
    assert_string_equal(info_of(&s).hello.model, "second");
    end_story(&s);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_old_workers_finish_what_they_began),
        cmocka_unit_test(test_a_worker_that_fails_its_trial_changes_nothing),
        cmocka_unit_test(test_a_roll_back_by_symlink),
        cmocka_unit_test(test_a_worker_killed_in_its_trial),
        cmocka_unit_test(test_a_worker_killed_beside_a_trial),
        cmocka_unit_test(test_reloads_beside_a_trial),
        cmocka_unit_test(test_closing_beside_a_trial),
        cmocka_unit_test(test_no_file_at_first),
    };

    if (argc > 1 && strcmp(argv[1], "worker") == 0)
        return scripted_worker(argv);
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
