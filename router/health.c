/* router/health.c - see health.h. A probe keeps the plan it began with: a reload does not disturb
 * it, and what it finds is told to the backend, which the new plan shares. */
#include "router/health.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"
#include "router/backend_call.h"
#include "router/loop.h"

enum { MAX_RESPONSE_BYTES = 8 << 20, MAX_PROBES = 64 };

const char *const hw_out_reason_names[HW_OUT_REASON_COUNT] = {"worker", "probe", "breaker"};

struct probe {
    struct probe *next, *prev;
    struct hw_health *health;
    struct hw_plan *plan;
    size_t backend;
    struct hw_call *call;
    int status; /* 0: no head yet */
};

struct hw_health {
    struct hw_loop *loop;
    struct probe *probes; /* those under way */
    size_t count;
};

static bool
is_local(const struct hw_conf_backend *conf)
{
    return conf->kind == HW_KIND_BDH && conf->url == NULL;
}

/* --- probes ------------------------------------------------------------------------------------
 */

static void
free_probe(struct probe *probe)
{
    struct hw_health *health = probe->health;

    if (probe->prev != NULL)
        probe->prev->next = probe->next;
    else
        health->probes = probe->next;
    if (probe->next != NULL)
        probe->next->prev = probe->prev;
    health->count--;
    hw_plan_unref(probe->plan);
    free(probe);
}

/* why NULL: it is well. */
static void
conclude(struct probe *probe, const char *why)
{
    struct hw_backend *backend = probe->plan->backends[probe->backend];
    uint32_t failures = probe->plan->snapshot->probes.failures;
    uint64_t now_ms = uv_now(&probe->health->loop->uv);

    switch (hw_backend_probed(backend, why, failures, now_ms)) {
    case HW_PROBE_WENT_DOWN:
        hw_log(HW_LOG_WARN, "backend %s is out: its probe failed %u times: %s", backend->name,
               (unsigned)failures, why);
        break;
    case HW_PROBE_CAME_BACK:
        hw_log(HW_LOG_INFO, "backend %s is back: its probe succeeded", backend->name);
        backend->next_look_ms = 0; /* perhaps with other models */
        break;
    case HW_PROBE_NO_NEWS:
        break;
    }
    free_probe(probe);
}

static void
on_head(void *ctx, int status, const struct hw_http_head *head)
{
    struct probe *probe = ctx;

    (void)head;
    probe->status = status;
}

static void
on_body(void *ctx, const char *bytes, size_t len)
{
    (void)ctx;
    (void)bytes;
    (void)len;
}

/* A 4xx comes from a server that lives: it may not know this path, or want another key. */
static void
on_done(void *ctx)
{
    struct probe *probe = ctx;
    bool connects_only = probe->plan->snapshot->backends[probe->backend].kind == HW_KIND_BDH;
    char why[32];

    snprintf(why, sizeof(why), "status %d", probe->status);
    conclude(probe, probe->status < 500 || connects_only ? NULL : why);
}

static void
on_error(void *ctx, enum hw_call_failure failure, const struct hw_err *err)
{
    struct probe *probe = ctx;
    bool connects_only = probe->plan->snapshot->backends[probe->backend].kind == HW_KIND_BDH;

    conclude(probe, connects_only && failure != HW_CALL_CONNECT ? NULL : err->msg);
}

static const struct hw_call_events events = {on_head, on_body, on_done, on_error};

static const char *
path_of(enum hw_kind kind)
{
    return kind == HW_KIND_OLLAMA ? "/api/version" : kind == HW_KIND_OPENAI ? "/v1/models" : "/";
}

static void
send_probe(struct hw_health *health, struct hw_plan *plan, size_t i)
{
    const struct hw_conf_backend *conf = &plan->snapshot->backends[i];
    uint32_t timeout_ms = plan->snapshot->probes.timeout;
    struct probe *probe = hw_xcalloc(1, sizeof(*probe));
    struct hw_err err = {{0}};

    *probe = (struct probe){
        .next = health->probes, .health = health, .plan = hw_plan_ref(plan), .backend = i};
    if (probe->next != NULL)
        probe->next->prev = probe;
    health->probes = probe;
    health->count++;
    struct hw_backend_call call = {
        .conf = conf,
        .method = "GET",
        .path = path_of(conf->kind),
        .connect_ms = timeout_ms,
        .first_byte_ms = timeout_ms,
        .idle_ms = timeout_ms,
        .max_response_bytes = MAX_RESPONSE_BYTES,
    };
    int rc = hw_backend_call_send(health->loop->client, &call, &events, probe, &probe->call, &err);
    if (rc != 0)
        conclude(probe, err.msg);
}

struct hw_health *
hw_health_create(struct hw_loop *loop)
{
    struct hw_health *health = hw_xcalloc(1, sizeof(*health));

    health->loop = loop;
    return health;
}

void
hw_health_tick(struct hw_health *health)
{
    struct hw_plan *plan = health->loop->plan;
    const struct hw_conf_probes *conf = &plan->snapshot->probes;
    uint64_t now_ms = uv_now(&health->loop->uv);

    if (conf->interval == 0)
        return;
    for (size_t i = 0; i < plan->snapshot->backend_count && health->count < MAX_PROBES; i++) {
        struct hw_backend *backend = plan->backends[i];
        if (is_local(&plan->snapshot->backends[i]) || !plan->snapshot->backends[i].probe ||
            now_ms < backend->next_probe_ms)
            continue;
        /* A tenth more or less, so that a fleet is not asked in one breath. */
        backend->next_probe_ms = now_ms + conf->interval - conf->interval / 10 +
                                 hw_loop_dice(health->loop) % (conf->interval / 5 + 1) +
                                 conf->timeout;
        send_probe(health, plan, i);
    }
}

void
hw_health_destroy(struct hw_health **health)
{
    if (*health == NULL)
        return;
    while ((*health)->probes != NULL) {
        struct probe *probe = (*health)->probes;
        hw_call_cancel(probe->call);
        free_probe(probe);
    }
    free(*health);
    *health = NULL;
}

/* --- what is known -----------------------------------------------------------------------------
 */

void
hw_health_views(struct hw_loop *loop, const struct hw_plan *plan, struct hw_backend_view *views,
                struct hw_device_view *devices)
{
    const struct hw_snapshot *snapshot = plan->snapshot;

    for (size_t i = 0; i < snapshot->backend_count; i++) {
        const struct hw_conf_backend *conf = &snapshot->backends[i];
        views[i].others_ms = 0;
        hw_backend_view(plan->backends[i], uv_now(&loop->uv), &views[i]);
        if (is_local(conf))
            views[i].up = hw_workers_ready(loop->workers, conf->name) > 0;
    }
    for (size_t i = 0; i < snapshot->device_count; i++)
        hw_device_view(plan->devices[i], &devices[i]);
    if (snapshot->device_count > 0)
        hw_expect_others(snapshot, views);
}

bool
hw_health_out(struct hw_loop *loop, const struct hw_plan *plan, size_t i,
              enum hw_out_reason *reason, char *why, size_t size)
{
    const struct hw_conf_backend *conf = &plan->snapshot->backends[i];
    struct hw_backend *backend = plan->backends[i];

    if (is_local(conf) && (hw_workers_ready(loop->workers, conf->name) == 0 ||
                           atomic_load(&backend->model_digest) == 0)) {
        *reason = HW_OUT_REASON_WORKER;
        snprintf(why, size, "no worker process is up");
        return true;
    }
    if (hw_backend_probe_why(backend, why, size)) {
        *reason = HW_OUT_REASON_PROBE;
        return true;
    }
    uint64_t left_ms = hw_backend_open_ms(backend, uv_now(&loop->uv));
    if (left_ms == 0)
        return false;
    *reason = HW_OUT_REASON_BREAKER;
    struct hw_backend_view view;
    hw_backend_view(backend, uv_now(&loop->uv), &view);
    snprintf(why, size, "%s; the next one is tried in %.1f s",
             view.late ? "its answers began far later than usual (who has nobody else is sent "
                         "there all the same)"
                       : "too many queries failed there",
             (double)left_ms / 1000);
    return true;
}
