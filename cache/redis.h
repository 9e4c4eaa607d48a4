/* cache/redis.h - the shared store: one asynchronous Redis connection a loop.
 *
 * Redis is never waited for: a get without an answer within timeout_ms is a miss, a refused, dead
 * or stopped server costs no query; while it is down gets miss at once and one reconnect is tried
 * with growing pauses (100 ms to 5 s). Late answers are dropped. Owned by its loop. */
#ifndef HW_CACHE_REDIS_H
#define HW_CACHE_REDIS_H

#include <stdbool.h>
#include <uv.h>

#include "cache/entry.h"
#include "cache/key.h"
#include "hatchway/err.h"

struct hw_cache_redis;
struct hw_cache_redis_get;

struct hw_cache_redis_conf {
    const char *host;
    uint16_t port;
    uint32_t db;
    const char *password; /* NULL: none */
    uint32_t timeout_ms;
    uint64_t max_entry_bytes; /* a larger reply is a miss */
};

enum hw_cache_redis_result { HW_REDIS_HIT, HW_REDIS_MISS, HW_REDIS_TIMEOUT, HW_REDIS_DOWN };

/* entry: a reference for the callee on HIT, else NULL. Called once, from the loop, never from
 * within hw_cache_redis_get itself; not at all after a cancel. */
typedef void (*hw_cache_redis_cb)(void *ctx, enum hw_cache_redis_result result,
                                  struct hw_cache_entry *entry);

struct hw_cache_redis *hw_cache_redis_create(uv_loop_t *loop,
                                             const struct hw_cache_redis_conf *conf);
/* Fails pending gets silently (as cancelled) and closes; closed_cb fires when the loop has let go.
 */
void hw_cache_redis_close(struct hw_cache_redis *redis, void (*closed_cb)(void *ctx), void *ctx);
/* What went wrong so far, for /metrics. */
struct hw_cache_redis_stats {
    uint64_t errors;           /* error replies: OOM, READONLY, NOAUTH, LOADING, ... */
    uint64_t timeouts;         /* gets without an answer in time */
    uint64_t connections_lost; /* of those that had been up */
    uint64_t puts_dropped;     /* too much was unsent */
};
void hw_cache_redis_stats(const struct hw_cache_redis *redis, struct hw_cache_redis_stats *stats);
bool hw_cache_redis_is_up(const struct hw_cache_redis *redis);
/* NULL when it is down: a miss at once, the callback is not called. */
struct hw_cache_redis_get *hw_cache_redis_get(struct hw_cache_redis *redis,
                                              const struct hw_cache_key *key, hw_cache_redis_cb cb,
                                              void *ctx);
void hw_cache_redis_cancel(struct hw_cache_redis_get *get);
/* Fire and forget, with PX from the entry's expiry. Dropped when down or when too much is unsent.
 */
void hw_cache_redis_put(struct hw_cache_redis *redis, const struct hw_cache_key *key,
                        struct hw_cache_entry *entry, uint64_t now_ms);

#endif
