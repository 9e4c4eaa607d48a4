/* router/exchange_cache.c - the key of a query, its look-up in memory and Redis, and the keeping of
 * its answer.
 *
 * The key covers everything that changes the answer: who may share it (the agent), the query's own
 * bytes with its unknown fields, the route, and the digest of every backend that may answer.
 * Whether the answer is streamed is not part of it: whole and streamed answers serve each other. */
#include <string.h>
#include <time.h>

#include "router/exchange_private.h"

static uint64_t
wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

/* `cache-control: max-age=0, no-cache` says several things. */
bool
hw_exchange_forbids_cache(const struct hw_exchange *ex)
{
    const struct hw_http_slice *control = hw_http_head_find(&ex->request->head, "cache-control");
    size_t at = 0;

    while (control != NULL && at < control->len) {
        struct hw_http_slice word = {control->p + at, 0};
        while (at + word.len < control->len && strchr(", \t", word.p[word.len]) == NULL)
            word.len++;
        if (hw_http_slice_is(&word, "no-cache") || hw_http_slice_is(&word, "no-store"))
            return true;
        at += word.len + 1;
    }
    return false;
}

static bool
wanted(const struct hw_exchange *ex)
{
    if (ex->plan->snapshot->cache.memory == 0 && ex->loop->redis == NULL)
        return false;
    if (!ex->query.keepable || hw_exchange_forbids_cache(ex))
        return false;
    switch (ex->route_conf->cache) {
    case HW_KEEP_ALL:
        return true;
    case HW_KEEP_DETERMINISTIC:
        return ex->query.deterministic;
    case HW_KEEP_NONE:
    case HW_KEEP_COUNT:
        break;
    }
    return false;
}

/* Members that say how the answer is delivered, not what it is. `model` is added as it was
 * understood. */
static bool
beside_the_answer(const struct hw_json *key)
{
    return hw_json_string_is(key, "stream") || hw_json_string_is(key, "stream_options") ||
           hw_json_string_is(key, "model");
}

static void
add_query(struct hw_cache_key_builder *builder, const struct hw_query *query)
{
    const char *p = query->body->bytes, *end = p + query->body->len;
    struct hw_json key, value;
    struct hw_json_iter iter;

    while (p < end && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n'))
        p++;
    struct hw_json root = {HW_JSON_OBJECT, p, (size_t)(end - p)};
    hw_json_iter_init(&iter, &root);
    while (hw_json_next(&iter, &key, &value)) {
        if (beside_the_answer(&key))
            continue;
        hw_cache_key_add(builder, key.p, key.len);
        hw_cache_key_add(builder, value.p, value.len);
    }
}

/* All backends that may answer, in health or not, in any order: what is down now must not change
 * the key. */
static uint64_t
digest_backends(const struct hw_exchange *ex)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < ex->plan->snapshot->backend_count; i++) {
        const struct hw_candidate *candidate = &ex->candidates[i];
        /* Whether a context holds the prompt is told by figures that move. */
        bool may_answer = candidate->out == HW_CANDIDATE || candidate->out == HW_OUT_CONTEXT ||
                          candidate->out >= HW_OUT_DOWN;
        if (!may_answer || candidate->fallback)
            continue;
        const struct hw_backend *backend = ex->plan->backends[candidate->backend];
        uint64_t digest = backend->digest ^ atomic_load(&backend->model_digest);
        sum += (digest + candidate->backend) * 0x9e3779b97f4a7c15u;
    }
    return sum;
}

/* Has the key named the checkpoint that answered? Not when the worker came up after the key was
 * made, or came up a moment ago and nobody has looked at what it runs, or when the checkpoint
 * changed and a worker of the other one was asked. */
static bool
key_names_model(const struct hw_exchange *ex)
{
    uint32_t i = ex->current->backend;
    const struct hw_conf_backend *conf = &ex->plan->snapshot->backends[i];
    bool local = conf->kind == HW_KIND_BDH && conf->url == NULL;

    return (!local || atomic_load(&ex->plan->backends[i]->model_digest) == ex->attempt.model_id) &&
           digest_backends(ex) == ex->key_backends;
}

void
hw_exchange_prepare_cache(struct hw_exchange *ex)
{
    struct hw_cache_key_builder builder;

    if (!wanted(ex)) {
        hw_metric_add(ex->plan->meters->cache_bypass, 1);
        return;
    }
    const char *agent = ex->traits.agent != NULL ? ex->traits.agent : "";
    const char *model = ex->query.model != NULL ? ex->query.model : "";
    hw_cache_key_begin(&builder);
    hw_cache_key_add(&builder, agent, strlen(agent));
    hw_cache_key_add(&builder, ex->query.dialect->path, strlen(ex->query.dialect->path));
    hw_cache_key_add_u64(&builder, ex->strict); /* a kept answer may have lost something */
    hw_cache_key_add(&builder, model, strlen(model));
    hw_cache_key_add_u64(&builder, ex->route_conf->digest);
    ex->key_backends = digest_backends(ex);
    hw_cache_key_add_u64(&builder, ex->key_backends);
    add_query(&builder, &ex->query);
    hw_cache_key_end(&builder, &ex->key);
    ex->keep = true;
    ex->cache = HW_CACHE_MISS;
}

bool
hw_exchange_answer_from(struct hw_exchange *ex, const struct hw_cache_entry *entry,
                        enum hw_cache_result how, struct hw_metric *counter)
{
    struct hw_kept kept;
    struct hw_answer answer;
    struct hw_err err;

    if (hw_answer_decode(entry->bytes, entry->len, ex->plan->snapshot->cache.max_entry, &kept,
                         &answer, &err) != 0) {
        hw_log(HW_LOG_WARN, "%s: a kept answer cannot be read: %s", ex->request_id, err.msg);
        return false;
    }
    const char *backend = hw_arena_copy(&ex->arena, kept.backend, strlen(kept.backend));
    const char *model = hw_arena_copy(&ex->arena, kept.model, strlen(kept.model));
    if (backend == NULL || model == NULL) {
        hw_answer_free(&answer);
        return false;
    }
    ex->cache = how;
    ex->finished = true;
    ex->finish = answer.finish;
    ex->keep = false;
    ex->reply.backend = backend;
    ex->reply.model = model;
    int index = hw_snapshot_backend(ex->plan->snapshot, backend, strlen(backend));
    ex->reply.device =
        hw_device_names[index >= 0 ? ex->plan->snapshot->backends[index].device : HW_DEVICE_CPU];
    hw_metric_add(counter, 1); /* before the agent can ask /metrics for it */
    hw_exchange_reply_answer(ex, &answer);
    hw_answer_free(&answer);
    return true;
}

static void
on_redis(void *ctx, enum hw_cache_redis_result result, struct hw_cache_entry *entry)
{
    struct hw_exchange *ex = ctx;
    struct hw_meters *meters = ex->plan->meters;
    struct hw_gateway *gateway = ex->loop->gateway;

    ex->redis_get = NULL;
    if (result == HW_REDIS_TIMEOUT)
        hw_metric_add(meters->redis_timeouts, 1);
    if (result == HW_REDIS_HIT) {
        if (gateway->memory != NULL)
            hw_cache_memory_put(gateway->memory, &ex->key, entry);
        bool answered = hw_exchange_answer_from(ex, entry, HW_CACHE_HIT, meters->cache_hit_redis);
        hw_cache_entry_unref(entry);
        if (answered)
            return;
    }
    hw_exchange_join(ex);
}

bool
hw_exchange_lookup(struct hw_exchange *ex)
{
    struct hw_gateway *gateway = ex->loop->gateway;
    struct hw_meters *meters = ex->plan->meters;

    if (!ex->keep)
        return false;
    if (gateway->memory != NULL) {
        struct hw_cache_entry *entry = hw_cache_memory_get(gateway->memory, &ex->key, wall_ms());
        if (entry != NULL) {
            bool answered =
                hw_exchange_answer_from(ex, entry, HW_CACHE_HIT, meters->cache_hit_memory);
            hw_cache_entry_unref(entry);
            if (answered)
                return true;
        }
    }
    if (ex->loop->redis != NULL) {
        ex->redis_get = hw_cache_redis_get(ex->loop->redis, &ex->key, on_redis, ex);
        if (ex->redis_get != NULL) {
            hw_exchange_set_state(ex, HW_EXCHANGE_LOOKUP);
            return true;
        }
    }
    return false;
}

/* Only complete successes are kept, and nothing that a fallback outside the route said. */
void
hw_exchange_store(struct hw_exchange *ex)
{
    const struct hw_conf_cache *conf = &ex->plan->snapshot->cache;
    struct hw_gateway *gateway = ex->loop->gateway;
    struct hw_kept kept = {.created_s = ex->reply.created_s};
    struct hw_buf blob;

    if (ex->answer.overflowed || ex->current->fallback || !key_names_model(ex))
        return;
    strncpy(kept.backend, ex->reply.backend, sizeof(kept.backend) - 1);
    strncpy(kept.model, ex->reply.model, sizeof(kept.model) - 1);
    hw_buf_init(&blob, conf->max_entry);
    if (hw_answer_encode(&ex->answer, &kept, &blob) == 0 && !blob.failed) {
        uint64_t now = wall_ms();
        struct hw_cache_entry *entry = hw_cache_entry_create(blob.data, blob.len, now + conf->ttl);
        if (entry != NULL) {
            if (gateway->memory != NULL)
                hw_cache_memory_put(gateway->memory, &ex->key, entry);
            if (ex->loop->redis != NULL)
                hw_cache_redis_put(ex->loop->redis, &ex->key, entry, now);
            hw_joins_give(gateway->joins, &ex->join, entry);
            hw_cache_entry_unref(entry);
        }
    }
    hw_buf_free(&blob);
}
