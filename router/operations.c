/* router/operations.c - what operators and scrapers read: health, metrics, backends. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "router/catalog.h"
#include "router/endpoints.h"
#include "router/health.h"
#include "router/lanes.h"
#include "router/prompt_tokens.h"

static void
respond(struct hw_http_stream *stream, int status, const char *content_type, const char *body,
        size_t len)
{
    struct hw_http_field field = {"content-type", content_type, strlen(content_type)};
    hw_http_respond(stream, status, &field, 1, body, len);
}

static void
respond_json(struct hw_http_stream *stream, int status, cJSON *json)
{
    char *text = cJSON_PrintUnformatted(json);

    if (text != NULL)
        respond(stream, status, "application/json", text, strlen(text));
    else
        respond(stream, 503, "application/json", "{}", 2);
    free(text);
    cJSON_Delete(json);
}

static bool
is_local(const struct hw_conf_backend *conf)
{
    return conf->kind == HW_KIND_BDH && conf->url == NULL;
}

bool
hw_endpoint_backend_up(struct hw_loop *loop, size_t i)
{
    enum hw_out_reason reason;
    char why[256];

    return !hw_health_out(loop, loop->plan, i, &reason, why, sizeof(why));
}

void
hw_operations_health(struct hw_loop *loop, struct hw_http_stream *stream)
{
    (void)loop;
    respond(stream, 200, "application/json", "{\"status\":\"ok\"}", 15);
}

void
hw_operations_ready(struct hw_loop *loop, struct hw_http_stream *stream)
{
    const char *why = "{\"status\":\"starting\",\"reason\":\"no backend is up yet\"}";

    if (atomic_load(&loop->gateway->draining)) {
        why = "{\"status\":\"draining\"}";
    } else {
        for (size_t i = 0; i < loop->plan->snapshot->backend_count; i++)
            if (hw_endpoint_backend_up(loop, i)) {
                respond(stream, 200, "application/json", "{\"status\":\"ready\"}", 18);
                return;
            }
    }
    respond(stream, 503, "application/json", why, strlen(why));
}

/* --- metrics --------------------------------------------------------------------------------- */

static void
refresh_models(struct hw_meters *meters, struct hw_backend *backend)
{
    struct hw_found *found = hw_backend_found(backend);
    const char *labels[2] = {backend->name, "found"};
    int64_t loaded = 0;

    if (found == NULL)
        return;
    for (size_t i = 0; i < found->count; i++)
        loaded += found->models[i].loaded;
    hw_metric_set(hw_metric_child(meters->found, labels), (int64_t)found->count);
    labels[1] = "loaded";
    if (found->loaded_known)
        hw_metric_set(hw_metric_child(meters->found, labels), loaded);
    hw_found_unref(found);
}

static void
set_two(struct hw_metric_family *family, const char *backend, const char *second, uint64_t value)
{
    const char *labels[2] = {backend, second};

    hw_metric_set(hw_metric_child(family, labels), (int64_t)value);
}

static void
refresh_workers(struct hw_meters *m, const char *backend, const struct hw_worker_info *info)
{
    const struct hw_frame_report *report = &info->report;

    hw_metric_set(hw_metric_child(m->worker_restarts, &backend), (int64_t)info->restarts);
    hw_metric_set(hw_metric_child(m->worker_steps, &backend), (int64_t)report->steps);
    hw_metric_set(hw_metric_child(m->worker_state_bytes, &backend), (int64_t)report->state_bytes);
    hw_metric_set(hw_metric_child(m->worker_kept_prompts, &backend), (int64_t)report->kept_prompts);
    hw_metric_set(hw_metric_child(m->worker_kept_tokens, &backend), (int64_t)report->kept_tokens);
    set_two(m->worker_sessions, backend, "active", report->active);
    set_two(m->worker_sessions, backend, "queued", report->queued);
    set_two(m->worker_tokens, backend, "prompt", report->prompt_tokens);
    set_two(m->worker_tokens, backend, "output", report->output_tokens);
    set_two(m->model_swaps, backend, "taken", info->swaps_taken);
    set_two(m->model_swaps, backend, "refused", info->swaps_refused);
}

static void
refresh_backends(struct hw_loop *loop)
{
    struct hw_meters *meters = loop->gateway->meters;
    struct hw_plan *plan = loop->plan;

    for (size_t i = 0; i < plan->snapshot->backend_count; i++) {
        struct hw_backend *backend = plan->backends[i];
        const char *label = backend->name;
        struct hw_backend_view view = {0};
        struct hw_worker_info info;

        hw_backend_view(backend, uv_now(&loop->uv), &view);
        enum hw_out_reason reason = HW_OUT_REASON_COUNT;
        char why[256];
        bool out = hw_health_out(loop, plan, i, &reason, why, sizeof(why));
        hw_metric_set(hw_metric_child(meters->backend_up, &label), !out);
        for (unsigned r = 0; r < HW_OUT_REASON_COUNT; r++) {
            const char *labels[2] = {label, hw_out_reason_names[r]};
            hw_metric_set(hw_metric_child(meters->backend_out, labels), out && r == reason);
        }
        hw_lanes_refresh(plan, i);
        refresh_models(meters, backend);
        hw_prompt_tokens_refresh(plan, i);
        hw_metric_set(hw_metric_child(meters->inflight, &label), view.inflight);
        hw_metric_set(hw_metric_child(meters->copies, &label),
                      (int64_t)atomic_load(&plan->backends[i]->copies));
        hw_metric_set(hw_metric_child(meters->breaker, &label), (int64_t)view.breaker);
        if (is_local(&plan->snapshot->backends[i]) &&
            hw_workers_info(loop->gateway->supervisor, label, &info))
            refresh_workers(meters, label, &info);
    }
}

static void
refresh(struct hw_loop *loop)
{
    struct hw_gateway *gateway = loop->gateway;
    struct hw_meters *meters = gateway->meters;
    struct hw_cache_memory_stats stats = {0};
    int64_t connections = 0;

    refresh_backends(loop);
    hw_devices_refresh(loop->plan);
    if (gateway->memory != NULL)
        hw_cache_memory_stats(gateway->memory, &stats);
    hw_metric_set(meters->cache_entries, (int64_t)stats.entries);
    hw_metric_set(meters->cache_bytes, (int64_t)stats.bytes);
    hw_metric_set(meters->cache_evictions, (int64_t)stats.evictions);
    hw_metric_set(meters->redis_up, loop->redis != NULL && hw_cache_redis_is_up(loop->redis));
    hw_metric_set(meters->queries_active, atomic_load(&gateway->active));
    hw_metric_set(meters->queued, (int64_t)hw_admission_queued(gateway->admission));
    for (unsigned i = 0; i < gateway->loop_count; i++)
        connections += atomic_load(&gateway->loops[i].connections);
    hw_metric_set(meters->connections, connections);
    hw_metric_set(meters->access_log_dropped, (int64_t)hw_access_log_dropped(gateway->access_log));
    hw_metric_set(meters->decision_log_dropped,
                  (int64_t)hw_decision_log_dropped(gateway->decision_log));
}

void
hw_operations_metrics(struct hw_loop *loop, struct hw_http_stream *stream)
{
    struct hw_buf out;

    hw_buf_init(&out, 16u << 20);
    refresh(loop);
    hw_metrics_render(loop->gateway->meters->registry, &out);
    respond(stream, 200, "text/plain; version=0.0.4; charset=utf-8", out.data, out.len);
    hw_buf_free(&out);
}

/* --- backends -------------------------------------------------------------------------------- */

/* Nothing while the file is what it was at the start. */
static void
add_swap(const struct hw_worker_swap *swap, cJSON *workers)
{
    static const char *const names[] = {NULL, "on_trial", "taken", "refused"};

    if (swap->state == HW_SWAP_NONE)
        return;
    cJSON *json = cJSON_AddObjectToObject(workers, "swap");
    cJSON_AddStringToObject(json, "state", names[swap->state]);
    if (swap->reason[0] != '\0')
        cJSON_AddStringToObject(json, "reason", swap->reason);
    hw_catalog_add_time(json, "since", swap->since_s * 1000);
}

static void
add_workers(struct hw_loop *loop, const char *name, cJSON *json)
{
    struct hw_worker_info info;

    if (!hw_workers_info(loop->gateway->supervisor, name, &info))
        return;
    cJSON *workers = cJSON_AddObjectToObject(json, "workers");
    cJSON_AddNumberToObject(workers, "wanted", info.workers);
    cJSON_AddNumberToObject(workers, "up", info.up);
    cJSON_AddNumberToObject(workers, "restarts", (double)info.restarts);
    cJSON *pids = cJSON_AddArrayToObject(workers, "pids");
    for (uint32_t i = 0; i < info.pid_count; i++)
        cJSON_AddItemToArray(pids, cJSON_CreateNumber(info.pids[i]));
    add_swap(&info.swap, workers);
    if (!info.known)
        return;
    cJSON_AddStringToObject(workers, "model", info.hello.model);
    cJSON_AddNumberToObject(workers, "parameters", (double)info.hello.param_count);
    cJSON_AddNumberToObject(workers, "active", info.report.active);
    cJSON_AddNumberToObject(workers, "queued", info.report.queued);
    cJSON_AddNumberToObject(workers, "state_bytes", (double)info.report.state_bytes);
}

/* Those it is asked for; and which of all that it has are loaded. */
static void
add_models(const struct hw_plan *plan, size_t i, cJSON *json)
{
    const struct hw_conf_backend *conf = &plan->snapshot->backends[i];
    struct hw_found *found = hw_backend_found(plan->backends[i]);
    cJSON *models = cJSON_AddArrayToObject(json, "models");

    for (size_t j = 0; j < conf->models.count; j++)
        cJSON_AddItemToArray(models, cJSON_CreateString(conf->models.items[j]));
    cJSON_AddBoolToObject(json, "discovered", found != NULL);
    if (found == NULL)
        return;
    for (size_t j = 0; conf->models.count == 0 && j < found->count; j++)
        cJSON_AddItemToArray(models, cJSON_CreateString(found->models[j].name));
    if (found->loaded_known) {
        cJSON *loaded = cJSON_AddArrayToObject(json, "loaded");
        for (size_t j = 0; j < found->count; j++)
            if (found->models[j].loaded)
                cJSON_AddItemToArray(loaded, cJSON_CreateString(found->models[j].name));
    }
    hw_found_unref(found);
}

static cJSON *
backend_json(struct hw_loop *loop, size_t i)
{
    const struct hw_conf_backend *conf = &loop->plan->snapshot->backends[i];
    struct hw_backend_view view = {0};
    enum hw_out_reason reason;
    char why[256];
    cJSON *json = cJSON_CreateObject();

    hw_backend_view(loop->plan->backends[i], uv_now(&loop->uv), &view);
    cJSON_AddStringToObject(json, "name", conf->name);
    cJSON_AddStringToObject(json, "kind", hw_kind_names[conf->kind]);
    cJSON_AddStringToObject(json, "device", hw_device_names[conf->device]);
    if (conf->url != NULL)
        cJSON_AddStringToObject(json, "url", conf->url);
    add_models(loop->plan, i, json);
    bool out = hw_health_out(loop, loop->plan, i, &reason, why, sizeof(why));
    cJSON_AddBoolToObject(json, "up", !out);
    if (out) {
        cJSON_AddStringToObject(json, "out", hw_out_reason_names[reason]);
        cJSON_AddStringToObject(json, "why", why);
    }
    cJSON_AddStringToObject(json, "breaker", hw_breaker_names[view.breaker]);
    cJSON_AddNumberToObject(json, "slow_start", hw_slow_start(loop->plan->snapshot, &view));
    cJSON_AddNumberToObject(json, "inflight", view.inflight);
    cJSON_AddNumberToObject(json, "max_inflight", conf->max_inflight);
    cJSON_AddNumberToObject(json, "ttft_ms", view.ttft_ms);
    cJSON_AddNumberToObject(json, "prefill_bytes_s", view.prefill_bytes_s);
    cJSON_AddNumberToObject(json, "decode_bytes_s", view.decode_bytes_s);
    hw_prompt_tokens_json(loop->plan, i, json);
    hw_lanes_json(loop->plan, i, json);
    if (is_local(conf))
        add_workers(loop, conf->name, json);
    return json;
}

void
hw_operations_backends(struct hw_loop *loop, struct hw_http_stream *stream)
{
    cJSON *root = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(root, "backends");

    for (size_t i = 0; i < loop->plan->snapshot->backend_count; i++)
        cJSON_AddItemToArray(list, backend_json(loop, i));
    hw_devices_json(loop->plan, root);
    respond_json(stream, 200, root);
}
