/* workers_world.h - a loop, a supervisor whose workers are scripted (this very program, started
 * with `worker`), and asks whose ends are counted. */
#ifndef HW_TEST_WORKERS_WORLD_H
#define HW_TEST_WORKERS_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "router/workers.h"
#include "scripted_worker.h"

#define BACKEND "hatchling"

struct world {
    uv_loop_t loop;
    struct hw_workers_supervisor *supervisor;
    struct hw_workers *workers;
    struct hw_conf_backend backends[2];
    struct hw_snapshot snapshot;
    char dir[64];
};

struct asked {
    struct hw_worker_call *call;
    int starts, dones, errors, code;
    bool started, takes;
    size_t text_len;
    char text[256];
    struct hw_frame_done done;
    uint64_t model;
    struct hw_err err;
};

static inline void
on_start(void *ctx)
{
    ((struct asked *)ctx)->starts++;
}

static inline void
on_text(void *ctx, const char *bytes, size_t len)
{
    struct asked *asked = ctx;

    assert_int_equal(asked->dones + asked->errors, 0);
    if (asked->text_len + len < sizeof(asked->text))
        memcpy(asked->text + asked->text_len, bytes, len);
    asked->text_len += len;
    if (asked->takes)
        hw_worker_call_took(asked->call, len);
}

static inline void
on_done(void *ctx, const struct hw_frame_done *done, uint64_t model)
{
    struct asked *asked = ctx;

    asked->dones++;
    asked->done = *done;
    asked->model = model;
}

static inline void
on_error(void *ctx, bool started, int code, const struct hw_err *err)
{
    struct asked *asked = ctx;

    asked->errors++;
    asked->started = started;
    asked->code = code;
    asked->err = *err;
}

static const struct hw_worker_events events = {on_start, on_text, on_done, on_error, NULL};

static inline void
on_sleep_over(uv_timer_t *timer)
{
    *(int *)timer->data = 1;
}

static inline void
run_for(struct world *w, uint64_t ms)
{
    int over = 0;
    uv_timer_t timer;

    uv_timer_init(&w->loop, &timer);
    timer.data = &over;
    uv_update_time(&w->loop);
    uv_timer_start(&timer, on_sleep_over, ms, 0);
    while (!over)
        uv_run(&w->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&w->loop, UV_RUN_NOWAIT);
}

static inline void
wait_ready(struct world *w, uint32_t count)
{
    for (int i = 0; i < 500 && hw_workers_ready(w->workers, BACKEND) != count; i++)
        run_for(w, 10);
    assert_int_equal(hw_workers_ready(w->workers, BACKEND), count);
}

static inline void
begin_with(struct world *w, const char *executable, const char *model, uint32_t workers)
{
    struct hw_err err;

    memset(w, 0, sizeof(*w));
    alarm(30);
    snprintf(w->dir, sizeof(w->dir), "/tmp/hw-test-workers-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    assert_int_equal(uv_loop_init(&w->loop), 0);
    w->backends[0] = (struct hw_conf_backend){
        .name = (char *)(uintptr_t)BACKEND,
        .kind = HW_KIND_BDH,
        .model = (char *)(uintptr_t)model,
        .workers = workers,
    };
    w->snapshot =
        (struct hw_snapshot){.backends = w->backends, .backend_count = 1, .worker_dir = w->dir};
    w->supervisor = hw_workers_supervisor_create(&w->loop, executable);
    hw_workers_supervisor_pace(w->supervisor, 10, 30);
    w->workers = hw_workers_create(&w->loop, w->supervisor);
    assert_int_equal(hw_workers_supervisor_apply(w->supervisor, &w->snapshot, &err), 0);
}

static inline void
begin(struct world *w, const char *model, uint32_t workers)
{
    begin_with(w, NULL, model, workers);
}

static inline void
on_closed(void *ctx)
{
    ++*(int *)ctx;
}

static inline void
end(struct world *w)
{
    int closed = 0;

    hw_workers_close(w->workers, on_closed, &closed);
    hw_workers_supervisor_close(w->supervisor, on_closed, &closed);
    assert_int_equal(closed, 0);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(closed, 2);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    assert_int_equal(rmdir(w->dir), 0); /* nothing was left in it */
    alarm(0);
}

static inline void
ask_of(struct hw_workers *workers, struct asked *asked, const char *prompt, uint32_t wait_ms)
{
    struct hw_frame_open open = {.max_tokens = 10, .top_p = 1};
    struct hw_worker_turn turns[] = {{HW_FRAME_ROLE_USER, prompt, strlen(prompt)}};
    struct hw_worker_ask ask = {BACKEND, &open, turns, 1, wait_ms};
    struct hw_err err = {""};

    *asked = (struct asked){0};
    if (hw_workers_ask(workers, &ask, &events, asked, &asked->call, &err) != 0)
        fail_msg("ask: %s", err.msg);
    assert_int_equal(asked->starts + asked->dones + asked->errors, 0);
}

static inline void
ask(struct world *w, struct asked *asked, const char *prompt)
{
    ask_of(w->workers, asked, prompt, 0);
}

static inline void
wait_end(struct world *w, struct asked *asked)
{
    while (asked->dones + asked->errors == 0)
        uv_run(&w->loop, UV_RUN_ONCE);
}

/* Until that much text has come; then a little more, to see whether more comes than should. */
static inline void
wait_text(struct world *w, const struct asked *asked, size_t len)
{
    for (int i = 0; i < 500 && asked->text_len < len; i++)
        run_for(w, 10);
    run_for(w, 30);
    assert_int_equal(asked->text_len, len);
}

static inline void
wait_start(struct world *w, const struct asked *asked)
{
    while (asked->starts == 0)
        uv_run(&w->loop, UV_RUN_ONCE);
}

#endif
