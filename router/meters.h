/* router/meters.h - every metric Hatchway exports, by its meaning (docs/metrics.md lists them). */
#ifndef HW_ROUTER_METERS_H
#define HW_ROUTER_METERS_H

#include "router/metrics.h"

enum hw_cache_result {
    HW_CACHE_BYPASS,
    HW_CACHE_MISS,
    HW_CACHE_HIT,
    HW_CACHE_JOIN,
    HW_CACHE_RESULT_COUNT
};
/* The words of x-hatchway-cache. */
extern const char *const hw_cache_result_names[HW_CACHE_RESULT_COUNT];

struct hw_meters {
    struct hw_metrics *registry;
    struct hw_metric_family *requests;        /* dialect, route, code */
    struct hw_metric_family *attempts;        /* backend, result */
    struct hw_metric_family *classified;      /* role */
    struct hw_metric_family *duration;        /* route */
    struct hw_metric_family *first_token;     /* backend */
    struct hw_metric_family *inter_token;     /* backend */
    struct hw_metric_family *backend_up;      /* backend */
    struct hw_metric_family *inflight;        /* backend */
    struct hw_metric_family *breaker;         /* backend; 0 closed, 1 half-open, 2 open */
    struct hw_metric_family *looks;           /* backend, result */
    struct hw_metric_family *found;           /* backend, state */
    struct hw_metric_family *probes;          /* backend, result */
    struct hw_metric_family *backend_out;     /* backend, reason: worker, probe, breaker */
    struct hw_metric_family *late;            /* backend */
    struct hw_metric_family *token_ratio;     /* backend, model */
    struct hw_metric_family *lane_open;       /* backend, lane */
    struct hw_metric_family *device_inflight; /* device */
    struct hw_metric_family *share_inflight;  /* device, share */
    struct hw_metric_family *share_slots;     /* device, share */
    struct hw_metric_family *worker_restarts; /* backend */
    struct hw_metric_family *worker_sessions; /* backend, state: active, queued */
    struct hw_metric_family *worker_tokens;   /* backend, direction */
    struct hw_metric_family *worker_steps, *worker_state_bytes;        /* backend */
    struct hw_metric_family *worker_kept_prompts, *worker_kept_tokens; /* backend */
    struct hw_metric_family *model_swaps;                              /* backend, result */
    struct hw_metric_family *shadows;                                  /* route, backend, result */
    struct hw_metric_family *copies;                                   /* backend */
    struct hw_metric_family *shadow_first;                             /* route, backend */
    struct hw_metric_family *shadow_duration;                          /* route, backend */
    struct hw_metric *tokens_in, *tokens_out;
    struct hw_metric *cache_hit_memory, *cache_hit_redis, *cache_miss, *cache_bypass, *cache_join;
    struct hw_metric *cache_entries, *cache_bytes, *cache_evictions;
    struct hw_metric *redis_up, *redis_timeouts, *redis_errors, *redis_lost, *redis_dropped;
    struct hw_metric *reloads_ok, *reloads_failed, *reload_last_ok;
    struct hw_metric *accepted, *refused, *timed_out, *stalled; /* connections */
    struct hw_metric *first_same_turn, *first_later_turn;
    struct hw_metric *connections, *queries_active, *queued, *retries, *client_left;
    struct hw_metric *access_log_dropped, *decision_log_dropped;
};

struct hw_meters *hw_meters_create(const char *version);
void hw_meters_destroy(struct hw_meters **meters);

#endif
