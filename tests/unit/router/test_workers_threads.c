/* Loops in threads of their own ask while workers are killed and the model changes under them: each
 * ask has exactly one end, and all can be closed in any order. Meant for TSan as well. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "router/workers.h"
#include "scripted_worker.h"

#define LOOPS 3
#define ASKS 300
#define AT_ONCE 8
#define BACKEND "hatchling"

struct looper {
    uv_loop_t loop;
    struct hw_workers *workers;
    uv_async_t *finished; /* of the supervisor's loop */
    pthread_t thread;
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
    if (++looper->ended == ASKS)
        hw_workers_close(looper->workers, NULL, NULL);
    else
        ask_next(looper);
}

static void
on_done(void *ctx, const struct hw_frame_done *done)
{
    struct looper *looper = ctx;

    (void)done;
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

static const struct hw_worker_events events = {on_start, on_text, on_done, on_error};

static void
ask_next(struct looper *looper)
{
    struct hw_frame_open open = {.top_p = 1};
    bool deadly = looper->begun % 40 == 39; /* so that the story lasts for some restarts */
    struct hw_worker_turn turn = {HW_FRAME_ROLE_USER, deadly ? "die" : "hello", deadly ? 3 : 5};
    struct hw_worker_ask ask = {BACKEND, &open, &turn, 1, 5000};
    struct hw_worker_call *call;

    if (looper->begun == ASKS)
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
    int rounds;
    bool over;
};

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
on_round(uv_timer_t *timer)
{
    struct boss *boss = timer->data;
    struct hw_worker_info info;

    if (++boss->rounds % 3 == 0) {
        static char models[2][8] = {"model-a", "model-b"};
        boss->backend.model = models[boss->rounds % 2];
        hw_workers_supervisor_apply(boss->supervisor, &boss->snapshot, NULL);
    } else if (hw_workers_info(boss->supervisor, BACKEND, &info) && info.pid_count > 0) {
        kill(info.pids[(uint32_t)boss->rounds % info.pid_count], SIGKILL);
    }
    on_finished(&boss->finished);
}

static void
test_loops_in_threads(void **state)
{
    static char name[] = BACKEND, model[] = "model-a", dir[] = "/tmp";
    struct boss *boss = calloc(1, sizeof(*boss));

    (void)state;
    alarm(60);
    assert_int_equal(uv_loop_init(&boss->loop), 0);
    uv_async_init(&boss->loop, &boss->finished, on_finished);
    uv_timer_init(&boss->loop, &boss->timer);
    boss->finished.data = boss->timer.data = boss;
    boss->backend =
        (struct hw_conf_backend){.name = name, .kind = HW_KIND_BDH, .model = model, .workers = 3};
    boss->snapshot =
        (struct hw_snapshot){.backends = &boss->backend, .backend_count = 1, .worker_dir = dir};
    boss->supervisor = hw_workers_supervisor_create(&boss->loop, NULL);
    assert_int_equal(hw_workers_supervisor_apply(boss->supervisor, &boss->snapshot, NULL), 0);
    for (int i = 0; i < LOOPS; i++) {
        struct looper *looper = &boss->loopers[i];
        assert_int_equal(uv_loop_init(&looper->loop), 0);
        looper->workers = hw_workers_create(&looper->loop, boss->supervisor);
        looper->finished = &boss->finished;
        assert_int_equal(pthread_create(&looper->thread, NULL, run_looper, looper), 0);
    }
    uv_timer_start(&boss->timer, on_round, 7, 7);
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
        assert_int_equal(looper->ended, ASKS);
        assert_true(looper->answered > 0);
        assert_int_equal(uv_loop_close(&looper->loop), 0);
    }
    free(boss);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_loops_in_threads)};

    if (argc == 6 && strcmp(argv[1], "worker") == 0)
        return scripted_worker(argv);
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
