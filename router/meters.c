/* router/meters.c - defines the families once; names and labels are a contract (DESIGN.md). */
#include "router/meters.h"

#include <stdlib.h>

#include "hatchway/assert.h"

const char *const hw_cache_result_names[HW_CACHE_RESULT_COUNT] = {"bypass", "miss", "hit", "join"};

static const double duration_bounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                         0.5,   1,      2.5,   5,    10,    30,   60,  300};
static const double token_bounds[] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                      0.05,   0.1,   0.25,   0.5,   1,    5};
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct hw_metric *
single(struct hw_metrics *registry, enum hw_metric_type type, const char *name, const char *help)
{
    struct hw_metric_family *family = hw_metrics_define(registry, type, name, help, "", 1);
    return hw_metric_child(family, NULL);
}

static struct hw_metric *
labelled(struct hw_metric_family *family, const char *a, const char *b)
{
    const char *values[2] = {a, b};
    return hw_metric_child(family, values);
}

static void
define_queries(struct hw_meters *m)
{
    struct hw_metrics *r = m->registry;

    m->requests = hw_metrics_define(r, HW_METRIC_COUNTER, "hatchway_requests_total",
                                    "Queries answered, by dialect, route and status code.",
                                    "dialect,route,code", 1);
    m->classified = hw_metrics_define(r, HW_METRIC_COUNTER, "hatchway_classified_total",
                                      "Queries by the role they were found to need.", "role", 1);
    m->duration = hw_metrics_define_histogram(r, "hatchway_request_duration_seconds",
                                              "From a query's first byte to its answer's last.",
                                              "route", duration_bounds, COUNT(duration_bounds));
    m->queries_active =
        single(r, HW_METRIC_GAUGE, "hatchway_queries_active", "Queries being answered now.");
    m->queued = single(r, HW_METRIC_GAUGE, "hatchway_queries_queued",
                       "Queries that wait for room on a backend.");
    m->connections =
        single(r, HW_METRIC_GAUGE, "hatchway_connections", "Agents' open connections.");
    m->accepted = single(r, HW_METRIC_COUNTER, "hatchway_connections_accepted_total",
                         "Connections taken from agents.");
    struct hw_metric_family *cut = hw_metrics_define(
        r, HW_METRIC_COUNTER, "hatchway_connections_cut_total",
        "Connections that Hatchway ended: refused (beyond limits.connections), timeout (a request "
        "that did not arrive in time), stalled (an answer that was not taken).",
        "reason", 1);
    m->refused = labelled(cut, "refused", NULL);
    m->timed_out = labelled(cut, "timeout", NULL);
    m->stalled = labelled(cut, "stalled", NULL);
    struct hw_metric_family *first = hw_metrics_define(
        r, HW_METRIC_COUNTER, "hatchway_first_tokens_total",
        "Streams by when their first content was written to the agent: in the turn of the event "
        "loop in which it came from the backend, or later.",
        "turn", 1);
    m->first_same_turn = labelled(first, "same", NULL);
    m->first_later_turn = labelled(first, "later", NULL);
    m->client_left = single(r, HW_METRIC_COUNTER, "hatchway_client_left_total",
                            "Queries whose agent left before the answer was complete.");
    struct hw_metric_family *tokens =
        hw_metrics_define(r, HW_METRIC_COUNTER, "hatchway_tokens_total",
                          "Tokens that backends reported.", "direction", 1);
    m->tokens_in = labelled(tokens, "prompt", NULL);
    m->tokens_out = labelled(tokens, "output", NULL);
}

/* What local BDH workers report of themselves, about once a second. */
static void
define_workers(struct hw_meters *m)
{
    struct hw_metrics *r = m->registry;

    m->worker_restarts = hw_metrics_define(r, HW_METRIC_COUNTER, "hatchway_worker_restarts_total",
                                           "BDH worker processes started again.", "backend", 1);
    m->worker_sessions =
        hw_metrics_define(r, HW_METRIC_GAUGE, "hatchway_worker_sessions",
                          "Queries at the BDH workers: active, queued.", "backend,state", 1);
    m->worker_tokens =
        hw_metrics_define(r, HW_METRIC_COUNTER, "hatchway_worker_tokens_total",
                          "Tokens that BDH workers read and wrote.", "backend,direction", 1);
    m->worker_steps = hw_metrics_define(
        r, HW_METRIC_COUNTER, "hatchway_worker_steps_total",
        "Steps that wrote tokens: output tokens by steps is the mean batch.", "backend", 1);
    m->worker_state_bytes =
        hw_metrics_define(r, HW_METRIC_GAUGE, "hatchway_worker_state_bytes",
                          "Memory of the sessions' states, kept ones too.", "backend", 1);
    m->worker_kept_prompts =
        hw_metrics_define(r, HW_METRIC_COUNTER, "hatchway_worker_kept_prompts_total",
                          "Prompts whose beginning a kept state had read already.", "backend", 1);
    m->worker_kept_tokens =
        hw_metrics_define(r, HW_METRIC_COUNTER, "hatchway_worker_kept_tokens_total",
                          "Prompt tokens that were not read again.", "backend", 1);
    m->model_swaps =
        hw_metrics_define(r, HW_METRIC_COUNTER, "hatchway_model_swaps_total",
                          "Checkpoints that changed on disk: taken, refused.", "backend,result", 1);
}

static void
define_backends(struct hw_meters *m)
{
    struct hw_metrics *r = m->registry;

    m->attempts =
        hw_metrics_define(r, HW_METRIC_COUNTER, "hatchway_attempts_total",
                          "Attempts sent to a backend, by how they ended.", "backend,result", 1);
    m->first_token = hw_metrics_define_histogram(
        r, "hatchway_time_to_first_token_seconds", "From an attempt's start to its first content.",
        "backend", duration_bounds, COUNT(duration_bounds));
    m->inter_token = hw_metrics_define_histogram(
        r, "hatchway_inter_token_seconds", "Mean pause between two pieces of a streamed answer.",
        "backend", token_bounds, COUNT(token_bounds));
    m->backend_up =
        hw_metrics_define(r, HW_METRIC_GAUGE, "hatchway_backend_up",
                          "1 when a query could be sent to the backend now.", "backend", 1);
    m->inflight = hw_metrics_define(r, HW_METRIC_GAUGE, "hatchway_backend_inflight",
                                    "Attempts running on the backend.", "backend", 1);
    m->breaker = hw_metrics_define(r, HW_METRIC_GAUGE, "hatchway_breaker_state",
                                   "Circuit breaker: 0 closed, 1 half-open, 2 open.", "backend", 1);
    m->probes = hw_metrics_define(r, HW_METRIC_COUNTER, "hatchway_probes_total",
                                  "Health probes sent, by how they ended; no load, no attempts.",
                                  "backend,result", 1);
    m->looks = hw_metrics_define(r, HW_METRIC_COUNTER, "hatchway_discoveries_total",
                                 "Looks at the models that a backend has, by how they ended.",
                                 "backend,result", 1);
    m->found = hw_metrics_define(r, HW_METRIC_GAUGE, "hatchway_backend_models",
                                 "Models that the backend was found to have; of them loaded.",
                                 "backend,state", 1);
    m->backend_out =
        hw_metrics_define(r, HW_METRIC_GAUGE, "hatchway_backend_out",
                          "1 when the backend is out for this reason.", "backend,reason", 1);
    m->late =
        hw_metrics_define(r, HW_METRIC_COUNTER, "hatchway_late_answers_total",
                          "Answers whose first token came far later than usual.", "backend", 1);
    m->token_ratio = hw_metrics_define(r, HW_METRIC_GAUGE, "hatchway_prompt_tokens_ratio",
                                       "Prompt tokens that the model counts, over the estimate.",
                                       "backend,model", 1000);
    m->lane_open = hw_metrics_define(r, HW_METRIC_GAUGE, "hatchway_backend_lane_open",
                                     "1 when the backend takes queries of the lane at this hour.",
                                     "backend,lane", 1);
    m->device_inflight =
        hw_metrics_define(r, HW_METRIC_GAUGE, "hatchway_device_inflight",
                          "Attempts running on the device, of all its backends.", "device", 1);
    m->share_inflight =
        hw_metrics_define(r, HW_METRIC_GAUGE, "hatchway_device_share_inflight",
                          "Attempts that run on the account of this share.", "device,share", 1);
    m->share_slots =
        hw_metrics_define(r, HW_METRIC_GAUGE, "hatchway_device_share_slots",
                          "Attempts that this share keeps room for.", "device,share", 1);
    define_workers(m);
    m->retries = single(r, HW_METRIC_COUNTER, "hatchway_retries_total",
                        "Queries moved on to another candidate before their first byte.");
}

static void
define_shadows(struct hw_meters *m)
{
    struct hw_metrics *r = m->registry;

    m->shadows = hw_metrics_define(
        r, HW_METRIC_COUNTER, "hatchway_shadow_requests_total",
        "Copies of queries: sent, by how they ended; yielded (a query needed the room); skipped.",
        "route,backend,result", 1);
    m->copies = hw_metrics_define(r, HW_METRIC_GAUGE, "hatchway_shadow_inflight",
                                  "Copies of queries running on the backend.", "backend", 1);
    m->shadow_first =
        hw_metrics_define_histogram(r, "hatchway_shadow_time_to_first_token_seconds",
                                    "From a copy's sending to its first content.", "route,backend",
                                    duration_bounds, COUNT(duration_bounds));
    m->shadow_duration = hw_metrics_define_histogram(
        r, "hatchway_shadow_duration_seconds", "From a copy's sending to its answer's last.",
        "route,backend", duration_bounds, COUNT(duration_bounds));
}

static void
define_cache(struct hw_meters *m)
{
    struct hw_metrics *r = m->registry;
    struct hw_metric_family *cache = hw_metrics_define(
        r, HW_METRIC_COUNTER, "hatchway_cache_requests_total",
        "Cache look-ups by result and by the store that had the answer; join: it was waited for.",
        "result,store", 1);

    m->cache_hit_memory = labelled(cache, "hit", "memory");
    m->cache_hit_redis = labelled(cache, "hit", "redis");
    m->cache_miss = labelled(cache, "miss", "none");
    m->cache_bypass = labelled(cache, "bypass", "none");
    m->cache_join = labelled(cache, "join", "none");
    m->cache_entries =
        single(r, HW_METRIC_GAUGE, "hatchway_cache_entries", "Answers kept in memory.");
    m->cache_bytes =
        single(r, HW_METRIC_GAUGE, "hatchway_cache_bytes", "Memory that kept answers take.");
    m->cache_evictions = single(r, HW_METRIC_COUNTER, "hatchway_cache_evictions_total",
                                "Answers that made room for others.");
    m->redis_up =
        single(r, HW_METRIC_GAUGE, "hatchway_redis_up", "1 when Redis is configured and answers.");
    m->redis_timeouts = single(r, HW_METRIC_COUNTER, "hatchway_redis_timeouts_total",
                               "Redis look-ups given up for lack of an answer.");
    m->redis_errors = single(r, HW_METRIC_COUNTER, "hatchway_redis_errors_total",
                             "Errors that Redis answered: OOM, READONLY, NOAUTH, ...");
    m->redis_lost = single(r, HW_METRIC_COUNTER, "hatchway_redis_connections_lost_total",
                           "Redis connections that were up and went away.");
    m->redis_dropped = single(r, HW_METRIC_COUNTER, "hatchway_redis_puts_dropped_total",
                              "Answers not sent to Redis because too much was unsent.");
}

static void
define_process(struct hw_meters *m, const char *version)
{
    struct hw_metrics *r = m->registry;
    struct hw_metric_family *reloads =
        hw_metrics_define(r, HW_METRIC_COUNTER, "hatchway_config_reloads_total",
                          "Configuration reloads by result.", "result", 1);

    m->reloads_ok = labelled(reloads, "ok", NULL);
    m->reloads_failed = labelled(reloads, "failed", NULL);
    m->reload_last_ok = single(r, HW_METRIC_GAUGE, "hatchway_config_last_reload_successful",
                               "1 when the newest configuration is the one that serves.");
    hw_metric_set(m->reload_last_ok, 1);
    m->access_log_dropped = single(r, HW_METRIC_COUNTER, "hatchway_access_log_dropped_total",
                                   "Access log lines dropped because their reader was too slow.");
    m->decision_log_dropped = single(r, HW_METRIC_COUNTER, "hatchway_decision_log_dropped_total",
                                     "Lines of the decision log lost to a full or slow disk.");
    struct hw_metric_family *build = hw_metrics_define(r, HW_METRIC_GAUGE, "hatchway_build_info",
                                                       "The running version.", "version", 1);
    hw_metric_set(labelled(build, version, NULL), 1);
}

struct hw_meters *
hw_meters_create(const char *version)
{
    struct hw_meters *meters = hw_xcalloc(1, sizeof(*meters));

    meters->registry = hw_metrics_create();
    define_queries(meters);
    define_backends(meters);
    define_shadows(meters);
    define_cache(meters);
    define_process(meters, version);
    return meters;
}

void
hw_meters_destroy(struct hw_meters **meters)
{
    if (*meters == NULL)
        return;
    hw_metrics_destroy(&(*meters)->registry);
    free(*meters);
    *meters = NULL;
}
