/* engine/state_cache.c - an array in the order of positions, so that one walk along a text meets
 * every snapshot that may fit. There are tens of them: a snapshot has megabytes. */
#include "engine/state_cache.h"

#include <stdlib.h>
#include <string.h>

struct hw_state_cache {
    size_t max_bytes, bytes, count;
    uint64_t ticks;
    struct hw_bdh_snapshot *snapshots[HW_STATE_CACHE_MAX_ENTRIES]; /* lowest position first */
    uint64_t used[HW_STATE_CACHE_MAX_ENTRIES];                     /* beside them: the last tick */
};

int
hw_state_cache_create(size_t max_bytes, struct hw_state_cache **out, struct hw_err *err)
{
    struct hw_state_cache *cache = calloc(1, sizeof(*cache));

    if (cache == NULL)
        return hw_err_set(err, HW_ENOMEM, "no memory for a cache of states");
    cache->max_bytes = max_bytes;
    *out = cache;
    return 0;
}

/* Moves the entries from `from` on. */
static void
shift(struct hw_state_cache *cache, size_t from, size_t to)
{
    size_t count = cache->count - from;

    memmove(cache->snapshots + to, cache->snapshots + from, count * sizeof(cache->snapshots[0]));
    memmove(cache->used + to, cache->used + from, count * sizeof(cache->used[0]));
}

static void
drop(struct hw_state_cache *cache, size_t at)
{
    cache->bytes -= hw_bdh_snapshot_bytes(cache->snapshots[at]);
    hw_bdh_snapshot_unref(&cache->snapshots[at]);
    shift(cache, at + 1, at);
    cache->count--;
}

static void
drop_oldest(struct hw_state_cache *cache)
{
    size_t oldest = 0;

    for (size_t i = 1; i < cache->count; i++)
        if (cache->used[i] < cache->used[oldest])
            oldest = i;
    drop(cache, oldest);
}

void
hw_state_cache_destroy(struct hw_state_cache **cache)
{
    if (*cache == NULL)
        return;
    while ((*cache)->count > 0)
        drop(*cache, (*cache)->count - 1);
    free(*cache);
    *cache = NULL;
}

/* Where it is, or would be put: *held says which. */
static size_t
find_place(const struct hw_state_cache *cache, const struct hw_bdh_snapshot *snapshot, bool *held)
{
    uint64_t position = hw_bdh_snapshot_position(snapshot);
    size_t at = 0;

    *held = false;
    while (at < cache->count && hw_bdh_snapshot_position(cache->snapshots[at]) < position)
        at++;
    for (size_t i = at; i < cache->count; i++) {
        if (hw_bdh_snapshot_position(cache->snapshots[i]) != position)
            break;
        if (hw_bdh_snapshot_same(cache->snapshots[i], snapshot)) {
            *held = true;
            return i;
        }
    }
    return at;
}

void
hw_state_cache_put(struct hw_state_cache *cache, struct hw_bdh_snapshot *snapshot)
{
    size_t bytes = hw_bdh_snapshot_bytes(snapshot);
    bool held;
    size_t at = find_place(cache, snapshot, &held);

    if (held)
        cache->used[at] = ++cache->ticks;
    if (held || bytes > cache->max_bytes) {
        hw_bdh_snapshot_unref(&snapshot);
        return;
    }
    while (cache->bytes + bytes > cache->max_bytes || cache->count == HW_STATE_CACHE_MAX_ENTRIES)
        drop_oldest(cache);
    at = find_place(cache, snapshot, &held);
    shift(cache, at, at + 1);
    cache->snapshots[at] = snapshot;
    cache->used[at] = ++cache->ticks;
    cache->bytes += bytes;
    cache->count++;
}

struct hw_bdh_snapshot *
hw_state_cache_find(struct hw_state_cache *cache, const void *text, size_t len)
{
    size_t at = hw_bdh_snapshots_find(cache->snapshots, cache->count, text, len);

    if (at == cache->count)
        return NULL;
    cache->used[at] = ++cache->ticks;
    return hw_bdh_snapshot_ref(cache->snapshots[at]);
}

size_t
hw_state_cache_bytes(const struct hw_state_cache *cache)
{
    return cache->bytes;
}

size_t
hw_state_cache_count(const struct hw_state_cache *cache)
{
    return cache->count;
}
