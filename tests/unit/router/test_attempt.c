/* An attempt at a local worker: what the worker's ends become. The worker is scripted: this very
 * program, started with `worker`. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "router/attempt.h"
#include "scripted_worker.h"

struct world {
    struct hw_loop loop;
    struct hw_workers_supervisor *supervisor;
    struct hw_conf_backend backend;
    char dir[64];
    struct hw_attempt attempt;
    struct hw_attempt_end end;
    char message[128];
    int ends, closed;
};

static void
on_raw(void *ctx, const char *bytes, size_t len)
{
    (void)ctx;
    (void)bytes;
    (void)len;
    fail_msg("a worker has no bytes of its own");
}

static void
on_event(void *ctx, const struct hw_event *event)
{
    (void)ctx;
    (void)event;
}

static void
on_end(void *ctx, const struct hw_attempt_end *end)
{
    struct world *w = ctx;

    w->ends++;
    w->end = *end;
    snprintf(w->message, sizeof(w->message), "%s", end->message);
}

static const struct hw_attempt_events events = {on_raw, on_event, on_end};

static void
begin(struct world *w)
{
    struct hw_snapshot snapshot = {
        .backends = &w->backend, .backend_count = 1, .worker_dir = w->dir};
    struct hw_err err;

    memset(w, 0, sizeof(*w));
    alarm(30);
    snprintf(w->dir, sizeof(w->dir), "/tmp/hw-test-attempt-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    w->backend = (struct hw_conf_backend){.name = (char *)(uintptr_t) "hatchling",
                                          .kind = HW_KIND_BDH,
                                          .model = (char *)(uintptr_t) "m",
                                          .workers = 1};
    assert_int_equal(uv_loop_init(&w->loop.uv), 0);
    w->supervisor = hw_workers_supervisor_create(&w->loop.uv, NULL);
    w->loop.workers = hw_workers_create(&w->loop.uv, w->supervisor);
    assert_int_equal(hw_workers_supervisor_apply(w->supervisor, &snapshot, &err), 0);
}

static void
on_closed(void *ctx)
{
    ++*(int *)ctx;
}

static void
end(struct world *w)
{
    hw_workers_close(w->loop.workers, on_closed, &w->closed);
    hw_workers_supervisor_close(w->supervisor, on_closed, &w->closed);
    uv_run(&w->loop.uv, UV_RUN_DEFAULT);
    assert_int_equal(w->closed, 2);
    assert_int_equal(uv_loop_close(&w->loop.uv), 0);
    assert_int_equal(rmdir(w->dir), 0);
    alarm(0);
}

static void
run(struct world *w, const char *prompt)
{
    struct hw_message message = {.role = HW_MSG_USER,
                                 .kind = HW_SOURCE_TEXT,
                                 .source = prompt,
                                 .source_len = (uint32_t)strlen(prompt),
                                 .text_len = (uint32_t)strlen(prompt)};
    char text[] = "{}";
    struct hw_body body = {.bytes = text, .len = 2};
    struct hw_query query = {
        .body = &body, .messages = &message, .message_count = 1, .last_user = &message};
    struct hw_attempt_request request = {
        .query = &query, .conf = &w->backend, .request_id = "r", .worker_wait_ms = 20000};
    struct hw_attempt_end at_once;

    w->ends = 0;
    assert_int_equal(hw_attempt_start(&w->attempt, &w->loop, &request, &events, w, &at_once), 0);
    while (w->ends == 0)
        uv_run(&w->loop.uv, UV_RUN_ONCE);
    hw_attempt_cancel(&w->attempt);
}

/* It was a bad gateway, and its breaker's business. */
static void
test_a_full_queue_is_an_overloaded_backend(void **state)
{
    struct world w;

    (void)state;
    begin(&w);
    run(&w, "hello");
    assert_int_equal(w.end.result, HW_ATTEMPT_OK);
    run(&w, "error");
    assert_int_equal(w.end.result, HW_ATTEMPT_STATUS);
    assert_int_equal(w.end.status, 503);
    assert_false(w.end.died);
    assert_string_equal(w.message, "the queue is full");
    end(&w);
}

static void
test_a_death_is_told_apart(void **state)
{
    struct world w;

    (void)state;
    begin(&w);
    run(&w, "die");
    assert_int_equal(w.end.result, HW_ATTEMPT_BROKEN);
    assert_true(w.end.died);
    end(&w);
}

int
main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "worker") == 0)
        return scripted_worker(argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_full_queue_is_an_overloaded_backend),
        cmocka_unit_test(test_a_death_is_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
