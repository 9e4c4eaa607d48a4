/* router/gateway.c - starts the loops, takes signals, ends it all.
 *
 * Stopping: SIGTERM -> /ready says no, listeners accept what is queued and close, answers go on
 * until the drain's deadline -> `stopping`: what is left gets its error event, every loop closes
 * what it owns. A second signal skips the wait. */
#include "router/gateway.h"

#include <inttypes.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hatchway/assert.h"
#include "router/discover.h"
#include "router/health.h"
#include "router/loop.h"
#include "router/version.h"

enum { MAX_LOOPS = 256 };

static void
wake_all(struct hw_gateway *gateway)
{
    for (unsigned i = 0; i < gateway->loop_count; i++)
        if (!atomic_load(&gateway->loops[i].stopped))
            uv_async_send(&gateway->loops[i].wake);
}

void
hw_gateway_note_read(struct hw_gateway *gateway)
{
    gateway->read_stamp = hw_watch_stamp(gateway->config_path);
}

/* --- loop 0 ---------------------------------------------------------------------------------- */

/* What workers said of themselves: their checkpoint names cached answers, their benchmark is the
 * prior of their speed. */
static void
learn_of_workers(struct hw_gateway *gateway)
{
    struct hw_plan *plan = gateway->loops[0].plan;
    struct hw_worker_info info;

    for (size_t i = 0; i < plan->snapshot->backend_count; i++) {
        const struct hw_conf_backend *conf = &plan->snapshot->backends[i];
        struct hw_backend *backend = plan->backends[i];
        if (conf->kind != HW_KIND_BDH || conf->url != NULL ||
            !hw_workers_info(gateway->supervisor, conf->name, &info) || !info.known)
            continue;
        uint64_t model = hw_worker_model_id(&info.hello);
        if (atomic_exchange(&backend->model_digest, model) != model)
            hw_backend_prior(backend, (double)info.hello.prefill_bytes_s,
                             (double)info.hello.decode_bytes_s);
    }
}

void
hw_gateway_tick(struct hw_gateway *gateway)
{
    hw_reload_tick(gateway);
    learn_of_workers(gateway);
    if (!atomic_load(&gateway->draining)) {
        hw_health_tick(gateway->health);
        hw_discover_tick(gateway->discover);
    }
    if (!atomic_load(&gateway->draining) || atomic_load(&gateway->stopping))
        return;
    size_t streams = 0;
    for (unsigned i = 0; i < gateway->loop_count; i++)
        streams += (size_t)atomic_load(&gateway->loops[i].connections);
    /* Before every loop has drained, a query may wait in a backlog where nobody counts it. */
    bool all_drained = atomic_load(&gateway->drained_loops) == gateway->loop_count;
    bool late = uv_now(&gateway->loops[0].uv) >= gateway->drain_deadline_ms;
    if (late || (all_drained && atomic_load(&gateway->active) == 0 && streams == 0)) {
        if (late)
            hw_log(HW_LOG_WARN, "the drain's time is over: cutting off %" PRId64 " queries",
                   atomic_load(&gateway->active));
        atomic_store(&gateway->stopping, true);
        wake_all(gateway);
    }
}

static void
begin_drain(struct hw_gateway *gateway)
{
    struct hw_loop *loop = &gateway->loops[0];

    if (atomic_exchange(&gateway->draining, true)) { /* asked again: no more patience */
        gateway->drain_deadline_ms = 0;
    } else {
        gateway->drain_deadline_ms = uv_now(&loop->uv) + loop->plan->snapshot->drain;
        hw_log(HW_LOG_INFO, "draining: %" PRId64 " queries are being answered",
               atomic_load(&gateway->active));
    }
    wake_all(gateway);
}

static void
on_signal(uv_signal_t *handle, int signum)
{
    struct hw_gateway *gateway = handle->data;

    if (signum != SIGHUP) {
        begin_drain(gateway);
        return;
    }
    hw_access_log_reopen(gateway->access_log);
    hw_decision_log_reopen(gateway->decision_log);
    hw_reload_file(gateway);
}

/* A file that is away for a moment is between two of an editor's steps; one that was read already
 * was read because somebody asked for it. */
static void
on_folder_quiet(void *ctx)
{
    struct hw_gateway *gateway = ctx;
    uint64_t stamp = hw_watch_stamp(gateway->config_path);

    if (stamp == 0 || stamp == gateway->read_stamp || atomic_load(&gateway->draining) ||
        !gateway->loops[0].plan->snapshot->watch)
        return;
    hw_log(HW_LOG_INFO, "%s has changed: reading it", gateway->config_path);
    hw_reload_file(gateway);
}

static void
watch_all(struct hw_gateway *gateway)
{
    static const int signums[3] = {SIGTERM, SIGINT, SIGHUP};

    for (int i = 0; i < 3; i++) {
        uv_signal_init(&gateway->loops[0].uv, &gateway->signals[i]);
        gateway->signals[i].data = gateway;
        uv_signal_start(&gateway->signals[i], on_signal, signums[i]);
        uv_unref((uv_handle_t *)&gateway->signals[i]);
    }
    hw_watch_start(&gateway->watch, &gateway->loops[0].uv, gateway->config_path, on_folder_quiet,
                   gateway);
}

static void
unwatch_all(struct hw_gateway *gateway)
{
    for (int i = 0; i < 3; i++)
        uv_close((uv_handle_t *)&gateway->signals[i], NULL);
    hw_watch_close(&gateway->watch);
}

/* --- life ------------------------------------------------------------------------------------ */

static void *
run_loop(void *arg)
{
    struct hw_loop *loop = arg;
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    return NULL;
}

static unsigned
wanted_loops(const struct hw_snapshot *snapshot)
{
    unsigned count = snapshot->loops != 0 ? snapshot->loops : uv_available_parallelism();
    return count < 1 ? 1 : count > MAX_LOOPS ? MAX_LOOPS : count;
}

static int
open_shared(struct hw_gateway *gateway, const struct hw_snapshot *snapshot, struct hw_err *err)
{
    struct timespec now;
    uint8_t random[8];

    clock_gettime(CLOCK_REALTIME, &now);
    gateway->started_ms = (uint64_t)now.tv_sec * 1000u;
    randombytes_buf(random, sizeof(random));
    sodium_bin2hex(gateway->boot_id, sizeof(gateway->boot_id), random, sizeof(random));
    gateway->loop_count = wanted_loops(snapshot);
    gateway->loops = hw_xcalloc(gateway->loop_count, sizeof(struct hw_loop));
    gateway->meters = hw_meters_create(HW_VERSION);
    gateway->backends = hw_backends_create(gateway->meters);
    gateway->admission = hw_admission_create();
    gateway->joins = hw_joins_create();
    if (snapshot->cache.memory > 0)
        gateway->memory = hw_cache_memory_create(snapshot->cache.memory);
    int rc = hw_access_log_create(snapshot->access_log, &gateway->access_log, err);
    if (rc == 0)
        rc = hw_decision_log_create(&snapshot->decisions, &gateway->decision_log, err);
    return rc;
}

static void
close_shared(struct hw_gateway *gateway)
{
    hw_reload_free(gateway);
    hw_access_log_destroy(&gateway->access_log);
    hw_decision_log_destroy(&gateway->decision_log);
    hw_cache_memory_destroy(&gateway->memory);
    hw_admission_destroy(&gateway->admission);
    hw_joins_destroy(&gateway->joins);
    hw_backends_destroy(&gateway->backends);
    hw_meters_destroy(&gateway->meters);
    free(gateway->loops);
}

static void
on_supervisor_closed(void *ctx)
{
    struct hw_gateway *gateway = ctx;
    gateway->supervisor = NULL;
}

/* Closes loops 0..opened that never ran, on this thread. */
static void
close_unstarted(struct hw_gateway *gateway, unsigned opened)
{
    for (unsigned i = opened; i-- > 0;) {
        atomic_store(&gateway->loops[i].stopped, true);
        hw_loop_close(&gateway->loops[i]);
        uv_run(&gateway->loops[i].uv, UV_RUN_DEFAULT);
        if (i == 0) {
            hw_workers_supervisor_close(gateway->supervisor, on_supervisor_closed, gateway);
            uv_run(&gateway->loops[i].uv, UV_RUN_DEFAULT);
        }
        hw_loop_free(&gateway->loops[i]);
    }
}

/* How many loops have a thread now (the first is ours). One without would take its share of the
 * connections and never answer any, so with fewer than were wanted nothing is served. */
static unsigned
start_threads(struct hw_gateway *gateway, struct hw_err *err)
{
    for (unsigned i = 1; i < gateway->loop_count; i++) {
        int rc = pthread_create(&gateway->loops[i].thread, NULL, run_loop, &gateway->loops[i]);
        if (rc == 0)
            continue;
        hw_err_set(err, HW_EIO, "cannot start a thread for loop %u of %u: %s (see loops)", i + 1,
                   gateway->loop_count, strerror(rc));
        atomic_store(&gateway->stopping, true);
        wake_all(gateway);
        return i;
    }
    return gateway->loop_count;
}

static int
serve(struct hw_gateway *gateway, struct hw_err *err)
{
    const struct hw_snapshot *snapshot = gateway->loops[0].plan->snapshot;
    unsigned started = start_threads(gateway, err);
    bool all = started == gateway->loop_count;

    bool v6 = strchr(snapshot->listen_host, ':') != NULL;
    if (all)
        hw_log(HW_LOG_INFO, "listening on http://%s%s%s:%u with %u loops", v6 ? "[" : "",
               snapshot->listen_host, v6 ? "]" : "", (unsigned)gateway->port, gateway->loop_count);
    uv_run(&gateway->loops[0].uv,
           UV_RUN_DEFAULT); /* until hw_loop_close has let go of everything */
    for (unsigned i = started; i < gateway->loop_count; i++)
        uv_run(&gateway->loops[i].uv, UV_RUN_DEFAULT); /* told to stop: closes what it opened */
    for (unsigned i = 1; i < started; i++)
        pthread_join(gateway->loops[i].thread, NULL);

    /* The workers go last: nobody is left who could want them. */
    unwatch_all(gateway);
    hw_workers_supervisor_close(gateway->supervisor, on_supervisor_closed, gateway);
    uv_run(&gateway->loops[0].uv, UV_RUN_DEFAULT);
    for (unsigned i = 0; i < gateway->loop_count; i++)
        hw_loop_free(&gateway->loops[i]);
    return all ? 0 : HW_EIO;
}

static int
open_loops(struct hw_gateway *gateway, struct hw_plan *plan, struct hw_err *err)
{
    unsigned opened = 0;
    int rc = 0;

    while (rc == 0 && opened < gateway->loop_count) {
        rc = hw_loop_open(&gateway->loops[opened], gateway, opened, plan, err);
        if (rc == 0)
            opened++;
    }
    if (rc == 0) {
        watch_all(gateway); /* before there are workers and a folder to leave behind */
        rc = hw_workers_supervisor_apply(gateway->supervisor, plan->snapshot, err);
        if (rc == 0) {
            gateway->port = hw_http_server_port(gateway->loops[0].server);
            return 0;
        }
        unwatch_all(gateway);
    }
    close_unstarted(gateway, opened);
    return rc;
}

int
hw_gateway_run(const char *config_path)
{
    struct hw_gateway gateway = {.config_path = config_path};
    struct hw_snapshot *snapshot = NULL;
    struct hw_taught taught;
    struct hw_plan *plan = NULL;
    struct hw_err err = {{0}};

    signal(SIGPIPE, SIG_IGN);
    /* Copies of checkpoints take a thread of the pool each: names must be looked up beside them. */
    setenv("UV_THREADPOOL_SIZE", "8", 0);
    hw_gateway_note_read(&gateway);
    if (hw_reload_load(config_path, &snapshot) != 0)
        return 1;
    int rc = open_shared(&gateway, snapshot, &err);
    if (rc == 0)
        rc = hw_plan_teach(snapshot, &taught, &err);
    if (rc == 0)
        plan = hw_plan_create(snapshot, &taught, gateway.backends, gateway.meters);
    else
        hw_snapshot_unref(snapshot);
    if (rc == 0)
        rc = open_loops(&gateway, plan, &err);
    if (rc == 0)
        rc = serve(&gateway, &err);
    if (rc != 0)
        fprintf(stderr, "hatchway: %s\n", err.msg);
    hw_plan_unref(plan);
    close_shared(&gateway);
    return rc == 0 ? 0 : 1;
}
