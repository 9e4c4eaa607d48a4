/* router/reload.c - see reload.h. */
#include "router/reload.h"

#include <stdio.h>
#include <string.h>

#include "config/load.h"
#include "hatchway/assert.h"
#include "router/gateway.h"
#include "router/loop.h"

int
hw_reload_load(const char *path, struct hw_snapshot **out)
{
    struct hw_diags diags = {0};
    char text[640];
    int rc = hw_config_load(path, out, &diags);

    for (size_t i = 0; i < diags.count; i++) {
        hw_diag_format(&diags.items[i], path, text, sizeof(text));
        fprintf(stderr, "hatchway: %s\n", text);
    }
    hw_diags_free(&diags);
    return rc;
}

static bool
same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static void
warn_of_restart_only(const struct hw_snapshot *old, const struct hw_snapshot *new)
{
    if (strcmp(old->listen_host, new->listen_host) != 0 || old->listen_port != new->listen_port ||
        old->loops != new->loops)
        hw_log(HW_LOG_WARN, "listen and loops change on restart only");
    if (old->cache.memory != new->cache.memory ||
        !same_text(old->cache.redis_host, new->cache.redis_host) ||
        old->cache.redis_port != new->cache.redis_port)
        hw_log(HW_LOG_WARN, "cache.memory and cache.redis change on restart only");
}

static void
put_into_force(struct hw_gateway *gateway, struct hw_snapshot *snapshot, struct hw_taught *taught)
{
    struct hw_err err = {{0}};
    struct hw_plan *plan = hw_plan_create(snapshot, taught, gateway->backends, gateway->meters);

    if (hw_workers_supervisor_apply(gateway->supervisor, snapshot, &err) != 0) {
        hw_log(HW_LOG_ERROR, "reload: %s", err.msg);
        hw_plan_unref(plan);
        hw_gateway_reload_failed(gateway);
        return;
    }
    warn_of_restart_only(gateway->loops[0].plan->snapshot, snapshot);
    hw_decision_log_apply(gateway->decision_log, &snapshot->decisions);
    for (unsigned i = 0; i < gateway->loop_count; i++)
        hw_loop_offer_plan(&gateway->loops[i], hw_plan_ref(plan));
    hw_plan_unref(plan);
    hw_metric_add(gateway->meters->reloads_ok, 1);
    hw_metric_set(gateway->meters->reload_last_ok, 1);
    hw_log(HW_LOG_INFO, "the configuration %s is in force", gateway->config_path);
}

/* In a thread of the pool. */
static void
on_work(uv_work_t *work)
{
    struct hw_gateway *gateway = work->data;
    struct hw_reload *reload = &gateway->reload;

    if (reload->snapshot == NULL)
        reload->rc = hw_reload_load(gateway->config_path, &reload->snapshot);
    if (reload->rc == 0)
        reload->rc = hw_plan_teach(reload->snapshot, &reload->taught, &reload->err);
}

static void
on_done(uv_work_t *work, int status)
{
    struct hw_gateway *gateway = work->data;
    struct hw_reload *reload = &gateway->reload;
    bool leaving = status != 0 || atomic_load(&gateway->stopping);

    reload->busy = false;
    if (reload->rc != 0 && reload->err.msg[0] != '\0')
        hw_log(HW_LOG_ERROR, "reload: %s", reload->err.msg);
    if (reload->rc == 0 && !leaving) {
        put_into_force(gateway, reload->snapshot, &reload->taught);
    } else {
        hw_taught_free(&reload->taught);
        hw_snapshot_unref(reload->snapshot);
        if (!leaving)
            hw_gateway_reload_failed(gateway);
    }
    reload->snapshot = NULL;
    if (leaving)
        return;
    if (reload->again)
        hw_reload_file(gateway);
    else
        hw_reload_offered(gateway);
}

static void
start(struct hw_gateway *gateway, struct hw_snapshot *snapshot)
{
    struct hw_reload *reload = &gateway->reload;

    *reload = (struct hw_reload){.busy = true, .snapshot = snapshot};
    reload->work.data = gateway;
    int rc = uv_queue_work(&gateway->loops[0].uv, &reload->work, on_work, on_done);
    HW_ASSERT(rc == 0); /* fails only without a function to call */
}

void
hw_reload_file(struct hw_gateway *gateway)
{
    if (gateway->reload.busy) {
        gateway->reload.again = true;
        return;
    }
    /* What was offered before is older than the file. */
    hw_snapshot_unref(atomic_exchange(&gateway->offered, NULL));
    hw_gateway_note_read(gateway);
    start(gateway, NULL);
}

void
hw_reload_offered(struct hw_gateway *gateway)
{
    if (gateway->reload.busy)
        return;
    struct hw_snapshot *offered = atomic_exchange(&gateway->offered, NULL);
    if (offered != NULL)
        start(gateway, offered);
}
