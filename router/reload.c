/* router/reload.c - see reload.h. */
#include "router/reload.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"
#include "router/endpoints.h"
#include "router/gateway.h"
#include "router/loop.h"

static void
print_diags(const struct hw_diags *diags, const char *path)
{
    char text[640];

    for (size_t i = 0; i < diags->count; i++) {
        hw_diag_format(&diags->items[i], path, text, sizeof(text));
        fprintf(stderr, "hatchway: %s\n", text);
    }
}

int
hw_reload_load(const char *path, struct hw_snapshot **out)
{
    struct hw_diags diags = {0};
    int rc = hw_config_load(path, out, &diags);

    print_diags(&diags, path);
    hw_diags_free(&diags);
    return rc;
}

/* --- into force ------------------------------------------------------------------------------ */

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

/* Takes what the thread has made, on error too. */
static int
offer_plan(struct hw_gateway *gateway, struct hw_reload *reload)
{
    struct hw_snapshot *snapshot = reload->snapshot;
    struct hw_plan *plan =
        hw_plan_create(snapshot, &reload->taught, gateway->backends, gateway->meters);
    int rc = hw_workers_supervisor_apply(gateway->supervisor, snapshot, &reload->err);

    if (rc == 0) {
        warn_of_restart_only(gateway->loops[0].plan->snapshot, snapshot);
        hw_decision_log_apply(gateway->decision_log, &snapshot->decisions);
        atomic_store(&reload->behind, gateway->loop_count);
        for (unsigned i = 0; i < gateway->loop_count; i++)
            hw_loop_offer_plan(&gateway->loops[i], hw_plan_ref(plan));
        hw_metric_add(gateway->meters->reloads_ok, 1);
        hw_metric_set(gateway->meters->reload_last_ok, 1);
        hw_log(HW_LOG_INFO, "the configuration %s is in force", gateway->config_path);
    }
    hw_plan_unref(plan);
    return rc;
}

static void
tell_of_failure(struct hw_gateway *gateway)
{
    if (gateway->reload.err.msg[0] != '\0')
        hw_log(HW_LOG_ERROR, "reload: %s", gateway->reload.err.msg);
    hw_metric_add(gateway->meters->reloads_failed, 1);
    hw_metric_set(gateway->meters->reload_last_ok, 0);
    hw_log(HW_LOG_ERROR, "the configuration %s was not taken: the old one goes on",
           gateway->config_path);
}

void
hw_reload_taken(struct hw_gateway *gateway)
{
    if (atomic_fetch_sub(&gateway->reload.behind, 1) == 1)
        uv_async_send(&gateway->loops[0].wake);
}

/* --- answers --------------------------------------------------------------------------------- */

static void
push(hw_reload_wishes *list, struct hw_reload_wish *wish)
{
    wish->next = atomic_load(list);
    while (!atomic_compare_exchange_weak(list, &wish->next, wish)) {
    }
}

static char *
report_json(const struct hw_reload *reload, const char *path)
{
    cJSON *root = cJSON_CreateObject();
    cJSON *messages = cJSON_AddArrayToObject(root, "messages");
    char text[640];

    for (size_t i = 0; i < reload->diags.count; i++) {
        hw_diag_format(&reload->diags.items[i], path, text, sizeof(text));
        cJSON_AddItemToArray(messages, cJSON_CreateString(text));
    }
    if (reload->err.msg[0] != '\0')
        cJSON_AddItemToArray(messages, cJSON_CreateString(reload->err.msg));
    cJSON_AddStringToObject(root, "status", reload->rc == 0 ? "ok" : "failed");
    char *json = cJSON_PrintUnformatted(root);
    cJSON_Delete(root);
    return json;
}

static void
send_answers(struct hw_reload *reload)
{
    while (reload->told != NULL) {
        struct hw_reload_wish *wish = reload->told;
        struct hw_loop *loop = wish->loop;
        reload->told = wish->next;
        wish->status = reload->rc == 0 ? 200 : 400;
        wish->body = reload->report != NULL ? strdup(reload->report) : NULL;
        push(&loop->reloaded, wish);
        uv_async_send(&loop->wake);
    }
}

static void
on_gone(void *ctx)
{
    struct hw_reload_wish *wish = ctx;
    wish->stream = NULL;
}

void
hw_operations_reload(struct hw_loop *loop, struct hw_http_stream *stream)
{
    struct hw_reload_wish *wish = hw_xcalloc(1, sizeof(*wish));
    struct hw_http_watcher watcher = {.ctx = wish, .on_gone = on_gone};

    wish->loop = loop;
    wish->stream = stream;
    hw_http_stream_watch(stream, &watcher);
    push(&loop->gateway->reload.wanted, wish);
    uv_async_send(&loop->gateway->loops[0].wake);
}

static void
free_wishes(struct hw_reload_wish *wish)
{
    while (wish != NULL) {
        struct hw_reload_wish *next = wish->next;
        free(wish->body);
        free(wish);
        wish = next;
    }
}

void
hw_reload_answer(struct hw_loop *loop)
{
    static const struct hw_http_field type = {"content-type", "application/json", 16};
    struct hw_reload_wish *first = atomic_exchange(&loop->reloaded, NULL);

    for (struct hw_reload_wish *wish = first; wish != NULL; wish = wish->next) {
        const char *body = wish->body != NULL ? wish->body : "{}";
        if (wish->stream != NULL)
            hw_http_respond(wish->stream, wish->status, &type, 1, body, strlen(body));
    }
    free_wishes(first);
}

/* --- one after the other --------------------------------------------------------------------- */

/* In a thread of the pool. */
static void
on_work(uv_work_t *work)
{
    struct hw_gateway *gateway = work->data;
    struct hw_reload *reload = &gateway->reload;

    reload->rc = hw_config_load(gateway->config_path, &reload->snapshot, &reload->diags);
    if (reload->rc != 0)
        return;
    reload->rc = hw_plan_teach(reload->snapshot, &reload->taught, &reload->err);
    if (reload->rc != 0)
        hw_snapshot_unref(reload->snapshot);
}

static void
finish(struct hw_gateway *gateway)
{
    struct hw_reload *reload = &gateway->reload;

    send_answers(reload);
    free(reload->report);
    reload->report = NULL;
    hw_diags_free(&reload->diags);
    reload->busy = false;
}

static void
on_done(uv_work_t *work, int status)
{
    struct hw_gateway *gateway = work->data;
    struct hw_reload *reload = &gateway->reload;

    print_diags(&reload->diags, gateway->config_path);
    if (status != 0 || atomic_load(&gateway->stopping)) { /* nobody is left who could be told */
        if (status == 0 && reload->rc == 0) {
            hw_taught_free(&reload->taught);
            hw_snapshot_unref(reload->snapshot);
        }
        hw_diags_free(&reload->diags);
        return;
    }
    if (reload->rc == 0)
        reload->rc = offer_plan(gateway, reload);
    if (reload->rc != 0)
        tell_of_failure(gateway);
    reload->judged = true;
    reload->report = report_json(reload, gateway->config_path);
    hw_reload_tick(gateway);
}

static void
start(struct hw_gateway *gateway)
{
    struct hw_reload *reload = &gateway->reload;

    reload->busy = true;
    reload->again = false;
    reload->told = atomic_exchange(&reload->wanted, NULL);
    reload->judged = false;
    reload->diags = (struct hw_diags){0};
    reload->err = (struct hw_err){{0}};
    reload->work.data = gateway;
    hw_gateway_note_read(gateway);
    int rc = uv_queue_work(&gateway->loops[0].uv, &reload->work, on_work, on_done);
    HW_ASSERT(rc == 0); /* fails only without a function to call */
}

void
hw_reload_tick(struct hw_gateway *gateway)
{
    struct hw_reload *reload = &gateway->reload;

    if (reload->busy && reload->judged && atomic_load(&reload->behind) == 0)
        finish(gateway);
    if (!reload->busy && (reload->again || atomic_load(&reload->wanted) != NULL))
        start(gateway);
}

void
hw_reload_file(struct hw_gateway *gateway)
{
    gateway->reload.again = true;
    hw_reload_tick(gateway);
}

void
hw_reload_free(struct hw_gateway *gateway)
{
    struct hw_reload *reload = &gateway->reload;
    for (unsigned i = 0; i < gateway->loop_count; i++)
        free_wishes(atomic_exchange(&gateway->loops[i].reloaded, NULL));
    free_wishes(atomic_exchange(&reload->wanted, NULL));
    free_wishes(reload->told);
    free(reload->report);
    hw_diags_free(&reload->diags);
}
