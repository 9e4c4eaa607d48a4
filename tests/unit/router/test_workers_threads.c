/* Loops in threads of their own ask while workers are killed and the model changes under them, by
 * reload and on disk: each ask has exactly one end, and all can be closed in any order. A model
 * that changes on disk alone costs no ask. Meant for TSan as well. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "router/workers.h"
#include "scripted_worker.h"

#define LOOPS 3
#define ASKS 300
#define SWAPS 6
#define AT_ONCE 8
#define BACKEND "hatchling"

static atomic_bool enough; /* no more asks, though ASKS were not made */

struct looper {
    uv_loop_t loop;
    struct hw_workers *workers;
    uv_async_t *finished; /* of the supervisor's loop */
    pthread_t thread;
    int asks; /* to make */
    bool deadly;
    int begun, ended, answered, died, refused;
};

static void ask_next(struct looper *looper);

static void
on_start(void *ctx)
{
    (void)ctx;
}

static void
on_text(void *ctx, const char *bytes, size_t len)
{
    (void)ctx;
    (void)bytes;
    (void)len;
}

static void
ended(struct looper *looper)
{
    looper->ended++;
    ask_next(looper);
    if (looper->ended == looper->begun)
        hw_workers_close(looper->workers, NULL, NULL);
}

static void
on_done(void *ctx, const struct hw_frame_done *done, uint64_t model)
{
    struct looper *looper = ctx;

    (void)done;
    (void)model;
    looper->answered++;
    ended(looper);
}

static void
on_error(void *ctx, bool started, int code, const struct hw_err *err)
{
    struct looper *looper = ctx;

    (void)started;
    (void)err;
    if (code == HW_EIO)
        looper->died++;
    else
        looper->refused++;
    ended(looper);
}

static const struct hw_worker_events events = {on_start, on_text, on_done, on_error, NULL};

static void
ask_next(struct looper *looper)
{
    struct hw_frame_open open = {.top_p = 1};
    bool deadly = looper->deadly && looper->begun % 40 == 39; /* so that it lasts for some time */
    struct hw_worker_turn turn = {HW_FRAME_ROLE_USER, deadly ? "die" : "hello", deadly ? 3 : 5};
    struct hw_worker_ask ask = {BACKEND, &open, &turn, 1, 5000};
    struct hw_worker_call *call;

    if (looper->begun == looper->asks || atomic_load(&enough))
        return;
    looper->begun++;
    if (hw_workers_ask(looper->workers, &ask, &events, looper, &call, NULL) != 0)
        abort();
}

static void *
run_looper(void *arg)
{
    struct looper *looper = arg;

    for (int i = 0; i < AT_ONCE; i++)
        ask_next(looper);
    uv_run(&looper->loop, UV_RUN_DEFAULT);
    uv_async_send(looper->finished);
    return NULL;
}

struct boss {
    uv_loop_t loop;
    uv_async_t finished;
    uv_timer_t timer;
    struct hw_workers_supervisor *supervisor;
    struct hw_conf_backend backend;
    struct hw_snapshot snapshot;
    struct looper loopers[LOOPS];
    char dir[64], models[2][80];
    int rounds, replaced;
    bool over;
};

/* As rsync does; each time with other bytes. */
static void
replace(struct boss *boss, const char *model)
{
    char beside[96];

    snprintf(beside, sizeof(beside), "%s.new", model);
    FILE *file = fopen(beside, "w");
    assert_non_null(file);
    fprintf(file, "model %d", ++boss->replaced);
    fclose(file);
    assert_int_equal(rename(beside, model), 0);
}

static void
on_finished(uv_async_t *async)
{
    struct boss *boss = async->data;

    for (int i = 0; i < LOOPS; i++)
        if (boss->loopers[i].thread != 0 && pthread_tryjoin_np(boss->loopers[i].thread, NULL) == 0)
            boss->loopers[i].thread = 0;
    boss->over = true;
    for (int i = 0; i < LOOPS; i++)
        boss->over = boss->over && boss->loopers[i].thread == 0;
}

static void
on_storm(uv_timer_t *timer)
{
    struct boss *boss = timer->data;
    struct hw_worker_info info;

    if (++boss->rounds % 9 == 0) {
        boss->backend.model = boss->models[boss->rounds % 2];
        hw_workers_supervisor_apply(boss->supervisor, &boss->snapshot, NULL);
    } else if (boss->rounds % 3 == 0) {
        replace(boss, boss->backend.model);
    } else if (hw_workers_info(boss->supervisor, BACKEND, &info) && info.pid_count > 0) {
        kill(info.pids[(uint32_t)boss->rounds % info.pid_count], SIGKILL);
    }
    on_finished(&boss->finished);
}

/* The next when the last was taken. */
static void
on_calm(uv_timer_t *timer)
{
    struct boss *boss = timer->data;
    struct hw_worker_info info;

    if (hw_workers_info(boss->supervisor, BACKEND, &info)) {
        if (info.swaps_taken == SWAPS)
            atomic_store(&enough, true);
        else if (info.up == boss->backend.workers &&
                 info.swaps_taken + 2 == (uint64_t)boss->replaced)
            replace(boss, boss->backend.model);
    }
    on_finished(&boss->finished);
}

static struct boss *
begin(int asks, bool deadly)
{
    static char name[] = BACKEND;
    struct boss *boss = calloc(1, sizeof(*boss));

    alarm(60);
    atomic_store(&enough, false);
    assert_non_null(boss);
    snprintf(boss->dir, sizeof(boss->dir), "/tmp/hw-test-threads-XXXXXX");
    assert_non_null(mkdtemp(boss->dir));
    for (int i = 0; i < 2; i++) {
        snprintf(boss->models[i], sizeof(boss->models[i]), "%s/model-%d", boss->dir, i);
        replace(boss, boss->models[i]);
    }
    assert_int_equal(uv_loop_init(&boss->loop), 0);
    uv_async_init(&boss->loop, &boss->finished, on_finished);
    uv_timer_init(&boss->loop, &boss->timer);
    boss->finished.data = boss->timer.data = boss;
    boss->backend = (struct hw_conf_backend){
        .name = name, .kind = HW_KIND_BDH, .model = boss->models[0], .workers = 3};
    boss->snapshot = (struct hw_snapshot){
        .backends = &boss->backend, .backend_count = 1, .worker_dir = boss->dir};
    boss->supervisor = hw_workers_supervisor_create(&boss->loop, NULL);
    hw_workers_supervisor_pace(boss->supervisor, 2, 5);
    assert_int_equal(hw_workers_supervisor_apply(boss->supervisor, &boss->snapshot, NULL), 0);
    for (int i = 0; i < LOOPS; i++) {
        struct looper *looper = &boss->loopers[i];
        assert_int_equal(uv_loop_init(&looper->loop), 0);
        looper->asks = asks;
        looper->deadly = deadly;
        looper->workers = hw_workers_create(&looper->loop, boss->supervisor);
        looper->finished = &boss->finished;
        assert_int_equal(pthread_create(&looper->thread, NULL, run_looper, looper), 0);
    }
    return boss;
}

static void
run_to_the_end(struct boss *boss)
{
    while (!boss->over)
        uv_run(&boss->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&boss->timer, NULL);
    uv_close((uv_handle_t *)&boss->finished, NULL);
    hw_workers_supervisor_close(boss->supervisor, NULL, NULL);
    uv_run(&boss->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&boss->loop), 0);
    for (int i = 0; i < LOOPS; i++) {
        struct looper *looper = &boss->loopers[i];
        print_message("loop %d: %d answered, %d died with their worker, %d refused\n", i,
                      looper->answered, looper->died, looper->refused);
        assert_int_equal(looper->ended, looper->begun);
        assert_true(looper->answered > 0);
        assert_int_equal(uv_loop_close(&looper->loop), 0);
    }
    for (int i = 0; i < 2; i++)
        unlink(boss->models[i]);
    assert_int_equal(rmdir(boss->dir), 0);
}

static void
test_storm(void **state)
{
    struct boss *boss = begin(ASKS, true);

    (void)state;
    uv_timer_start(&boss->timer, on_storm, 7, 7);
    run_to_the_end(boss);
    for (int i = 0; i < LOOPS; i++)
        assert_int_equal(boss->loopers[i].ended, ASKS);
    free(boss);
}

static void
test_swaps_lose_nothing(void **state)
{
    struct boss *boss = begin(INT32_MAX, false);

    (void)state;
    uv_timer_start(&boss->timer, on_calm, 5, 5);
    run_to_the_end(boss);
    for (int i = 0; i < LOOPS; i++)
        assert_int_equal(boss->loopers[i].answered, boss->loopers[i].begun);
    free(boss);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_storm),
                                       cmocka_unit_test(test_swaps_lose_nothing)};

    if (argc > 1 && strcmp(argv[1], "worker") == 0)
        return scripted_worker(argv);
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
