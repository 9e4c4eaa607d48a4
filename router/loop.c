/* router/loop.c - see loop.h. Whatever another thread wants of a loop is left where the loop finds
 * it, and `wake` rings: a new plan, a granted slot, the wish to drain or to stop. */
#include "router/loop.h"

#include <sodium.h>
#include <string.h>

#include "hatchway/assert.h"
#include "router/endpoints.h"
#include "router/exchange.h"
#include "router/discover.h"
#include "router/health.h"
#include "router/passage.h"
#include "router/shadow.h"

static struct hw_http_limits
server_limits(const struct hw_snapshot *snapshot, unsigned loop_count)
{
    const struct hw_conf_limits *conf = &snapshot->limits;

    return (struct hw_http_limits){
        .body = conf->body,
        .header_bytes = conf->header_bytes,
        .headers = conf->headers,
        .connections = (conf->connections + loop_count - 1) / loop_count,
        .header_timeout_ms = conf->header_timeout,
        .body_timeout_ms = conf->body_timeout,
        .keepalive_ms = conf->keepalive,
        .write_timeout_ms = conf->body_timeout,
    };
}

static void
take_plan(struct hw_loop *loop)
{
    struct hw_plan *plan = atomic_exchange(&loop->next_plan, NULL);

    if (plan == NULL)
        return;
    hw_plan_unref(loop->plan);
    loop->plan = plan;
    struct hw_http_limits limits = server_limits(plan->snapshot, loop->gateway->loop_count);
    hw_http_server_set_limits(loop->server, &limits);
    hw_reload_taken(loop->gateway);
}

static void
follow_gateway(struct hw_loop *loop)
{
    if (atomic_load(&loop->gateway->draining) && !loop->draining) {
        loop->draining = true;
        hw_shadow_cancel_all(loop);
        hw_http_server_drain(loop->server);
        atomic_store(&loop->connections, (int)hw_http_server_connections(loop->server));
        atomic_fetch_add(&loop->gateway->drained_loops, 1);
    }
    if (atomic_load(&loop->gateway->stopping) && !atomic_load(&loop->stopped)) {
        atomic_store(&loop->stopped, true);
        hw_exchange_abort_all(loop);
        hw_passage_abort_all(loop);
        hw_shadow_cancel_all(loop);
        hw_loop_close(loop);
    }
}

static void
on_wake(uv_async_t *wake)
{
    struct hw_loop *loop = wake->data;

    if (atomic_load(&loop->stopped))
        return;
    take_plan(loop);
    hw_reload_answer(loop);
    hw_exchange_collect_granted(loop);
    hw_exchange_collect_joined(loop);
    if (loop->index == 0)
        hw_gateway_tick(loop->gateway);
    follow_gateway(loop);
}

/* The parts count for themselves, on this thread; /metrics is asked on another. */
static void
tell_meters(struct hw_loop *loop)
{
    const struct hw_meters *meters = loop->gateway->meters;
    struct hw_http_server_stats server, *told = &loop->server_told;
    struct hw_cache_redis_stats redis = {0}, *redis_told = &loop->redis_told;

    hw_http_server_stats(loop->server, &server);
    hw_metric_add(meters->accepted, (int64_t)(server.accepted - told->accepted));
    hw_metric_add(meters->refused, (int64_t)(server.refused - told->refused));
    hw_metric_add(meters->timed_out, (int64_t)(server.timed_out - told->timed_out));
    hw_metric_add(meters->stalled, (int64_t)(server.stalled - told->stalled));
    hw_metric_add(meters->first_same_turn,
                  (int64_t)(server.first_same_turn - told->first_same_turn));
    hw_metric_add(meters->first_later_turn,
                  (int64_t)(server.first_later_turn - told->first_later_turn));
    *told = server;
    if (loop->redis == NULL)
        return;
    hw_cache_redis_stats(loop->redis, &redis);
    hw_metric_add(meters->redis_errors, (int64_t)(redis.errors - redis_told->errors));
    hw_metric_add(meters->redis_lost,
                  (int64_t)(redis.connections_lost - redis_told->connections_lost));
    hw_metric_add(meters->redis_dropped, (int64_t)(redis.puts_dropped - redis_told->puts_dropped));
    *redis_told = redis;
}

static void
on_sweep(uv_timer_t *timer)
{
    struct hw_loop *loop = timer->data;

    hw_exchange_sweep(loop);
    hw_shadow_sweep(loop);
    atomic_store(&loop->connections, (int)hw_http_server_connections(loop->server));
    tell_meters(loop);
    if (loop->index == 0)
        hw_gateway_tick(loop->gateway);
    follow_gateway(loop);
}

static struct hw_cache_redis *
open_redis(struct hw_loop *loop, const struct hw_conf_cache *cache)
{
    struct hw_cache_redis_conf conf = {
        .host = cache->redis_host,
        .port = cache->redis_port,
        .db = cache->redis_db,
        .password = cache->redis_password,
        .timeout_ms = cache->redis_timeout,
        .max_entry_bytes = cache->max_entry,
    };
    return cache->redis_host != NULL ? hw_cache_redis_create(&loop->uv, &conf) : NULL;
}

int
hw_loop_open(struct hw_loop *loop, struct hw_gateway *gateway, unsigned index, struct hw_plan *plan,
             struct hw_err *err)
{
    const struct hw_snapshot *snapshot = plan->snapshot;
    struct hw_http_limits limits = server_limits(snapshot, gateway->loop_count);
    struct hw_http_handler handler = {loop, NULL, hw_endpoints_error};

    handler.on_request = hw_endpoints_handle;
    loop->gateway = gateway;
    loop->index = index;
    randombytes_buf(&loop->dice, sizeof(loop->dice));
    if (uv_loop_init(&loop->uv) != 0)
        return hw_err_set(err, HW_EIO, "cannot make an event loop");
    /* Port 0 is chosen once: the others listen where the first one does. */
    uint16_t port =
        index == 0 ? snapshot->listen_port : hw_http_server_port(gateway->loops[0].server);
    int rc = index == 0 ? hw_http_server_probe(snapshot->listen_host, port, err) : 0;
    if (rc == 0)
        rc = hw_http_server_create(&loop->uv, snapshot->listen_host, port, &limits, &handler,
                                   &loop->server, err);
    if (rc != 0) {
        uv_run(&loop->uv, UV_RUN_DEFAULT);
        uv_loop_close(&loop->uv);
        return rc;
    }
    if (index == 0)
        gateway->supervisor = hw_workers_supervisor_create(&loop->uv, NULL);
    loop->plan = hw_plan_ref(plan);
    loop->client = hw_client_create(&loop->uv);
    if (index == 0)
        gateway->health = hw_health_create(loop);
    if (index == 0)
        gateway->discover = hw_discover_create(loop);
    loop->workers = hw_workers_create(&loop->uv, gateway->supervisor);
    loop->redis = open_redis(loop, &snapshot->cache);
    uv_async_init(&loop->uv, &loop->wake, on_wake);
    uv_timer_init(&loop->uv, &loop->sweep);
    loop->wake.data = loop->sweep.data = loop;
    uv_timer_start(&loop->sweep, on_sweep, HW_SWEEP_MS, HW_SWEEP_MS);
    return 0;
}

/* SplitMix64 */
uint64_t
hw_loop_dice(struct hw_loop *loop)
{
    uint64_t z = loop->dice += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return z != 0 ? z : 1;
}

void
hw_loop_offer_plan(struct hw_loop *loop, struct hw_plan *plan)
{
    struct hw_plan *old = atomic_exchange(&loop->next_plan, plan);

    hw_plan_unref(old); /* one that the loop never came to see */
    uv_async_send(&loop->wake);
}

static void
on_part_closed(void *ctx)
{
    struct hw_loop *loop = ctx;

    HW_ASSERT(loop->closing > 0);
    if (--loop->closing == 0)
        uv_stop(&loop->uv); /* loop 0 still has the supervisor, which goes last */
}

static void
on_handle_closed(uv_handle_t *handle)
{
    on_part_closed(handle->data);
}

void
hw_loop_close(struct hw_loop *loop)
{
    loop->closing = 5 + (loop->redis != NULL);
    hw_http_server_close(loop->server, on_part_closed, loop);
    if (loop->index == 0) {
        hw_health_destroy(&loop->gateway->health);
        hw_discover_destroy(&loop->gateway->discover);
    }
    hw_client_close(loop->client, on_part_closed, loop);
    hw_workers_close(loop->workers, on_part_closed, loop);
    if (loop->redis != NULL)
        hw_cache_redis_close(loop->redis, on_part_closed, loop);
    uv_close((uv_handle_t *)&loop->sweep, on_handle_closed);
    uv_close((uv_handle_t *)&loop->wake, on_handle_closed);
}

void
hw_loop_free(struct hw_loop *loop)
{
    HW_ASSERT(loop->closing == 0 && loop->exchanges == NULL && loop->passings == NULL &&
              loop->shadows == NULL);
    hw_plan_unref(atomic_exchange(&loop->next_plan, NULL));
    hw_plan_unref(loop->plan);
    int rc = uv_loop_close(&loop->uv);
    HW_ASSERT(rc == 0);
}
