/* router/gateway.h - the process: its loops and the few things that they share.
 *
 * Loop 0 runs in the main thread, supervises the workers and takes signals; the others are threads.
 * Each loop owns its agents' connections, backend pools, Redis connection and timers. Shared: the
 * plan (every loop holds a reference of its own, swapped by a message), backend statistics, the
 * memory cache, the admission. */
#ifndef HW_ROUTER_GATEWAY_H
#define HW_ROUTER_GATEWAY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <uv.h>

#include "cache/memory.h"
#include "cache/redis.h"
#include "router/admission.h"
#include "router/decision_log.h"
#include "router/http/client.h"
#include "router/http/server.h"
#include "router/join.h"
#include "router/log.h"
#include "router/meters.h"
#include "router/plan.h"
#include "router/reload.h"
#include "router/watch.h"
#include "router/workers.h"

struct hw_exchange;
struct hw_discover;
struct hw_health;

struct hw_loop {
    struct hw_gateway *gateway;
    unsigned index;
    pthread_t thread; /* not for loop 0 */
    uv_loop_t uv;
    struct hw_plan *plan; /* this loop's reference: what new queries get */
    struct hw_http_server *server;
    struct hw_client *client;
    struct hw_workers *workers;
    struct hw_cache_redis *redis;  /* NULL: not configured */
    uint64_t dice;                 /* hw_loop_dice's state */
    uv_async_t wake;               /* a slot was granted, a plan waits, or it is time to stop */
    uv_timer_t sweep;              /* deadlines of exchanges, every HW_SWEEP_MS */
    struct hw_exchange *exchanges; /* all that are not over */
    struct hw_passing *passings;   /* the same of passages (passage.h) */
    struct hw_shadow *shadows;     /* the same of copies (shadow.h) */
    struct hw_waiter_list granted; /* under the admission's lock */
    struct hw_join_list joined;    /* under the lock of joins */
    _Atomic(struct hw_plan *) next_plan; /* put there by a reload, with a reference */
    hw_reload_wishes reloaded;           /* of its agents, to be answered */
    atomic_int connections;              /* as of the last sweep */
    /* what of their counters stands in the meters already */
    struct hw_http_server_stats server_told;
    struct hw_cache_redis_stats redis_told;
    unsigned closing; /* parts that have not called back yet */
    bool draining;
    atomic_bool stopped; /* written by its own loop, read by loop 0 */
};

enum { HW_SWEEP_MS = 100 };

struct hw_gateway {
    struct hw_loop *loops;
    unsigned loop_count;
    struct hw_meters *meters;
    struct hw_backends *backends;
    struct hw_admission *admission;
    struct hw_joins *joins;
    struct hw_cache_memory *memory; /* NULL: off */
    struct hw_workers_supervisor *supervisor;
    struct hw_health *health;     /* loop 0's */
    struct hw_discover *discover; /* loop 0's */
    struct hw_access_log *access_log;
    struct hw_decision_log *decision_log;
    const char *config_path;
    uint16_t port; /* listened on */
    atomic_bool draining;
    atomic_bool stopping;      /* the deadline has passed, or nothing is left */
    atomic_uint drained_loops; /* whose listeners have accepted what was queued */
    _Atomic int64_t active;    /* exchanges of all loops */
    struct hw_reload reload;
    uint64_t drain_deadline_ms; /* loop 0 only */
    uv_signal_t signals[3];     /* loop 0 */
    struct hw_watch watch;      /* loop 0 */
    uint64_t read_stamp;        /* loop 0: of the file that was read last, good or bad */
    uint64_t started_ms;        /* wall clock */
    char boot_id[17];           /* random; the first part of request ids */
};

/* Loads, listens, serves until SIGTERM or SIGINT and the drain that follows. Returns an exit
 * status: 0, or 1 with the reason on stderr. */
int hw_gateway_run(const char *config_path);

/* Before the file is read: the watch need not read it again. */
void hw_gateway_note_read(struct hw_gateway *gateway);

#endif
