/* cache/memory.h - the embedded store: sharded, bounded in bytes, safe from any thread.
 *
 * Eviction is by the store's own recency order with protection against one-hit floods (see
 * memory.c); an expired entry is never returned. Time is handed in. */
#ifndef HW_CACHE_MEMORY_H
#define HW_CACHE_MEMORY_H

#include "cache/entry.h"
#include "cache/key.h"

struct hw_cache_memory;

struct hw_cache_memory_stats {
    uint64_t entries, bytes, evictions, expirations;
};

struct hw_cache_memory *hw_cache_memory_create(uint64_t max_bytes);
void hw_cache_memory_destroy(struct hw_cache_memory **memory);
/* A reference for the caller, or NULL. */
struct hw_cache_entry *hw_cache_memory_get(struct hw_cache_memory *memory,
                                           const struct hw_cache_key *key, uint64_t now_ms);
/* Takes a reference of its own; replaces what was there. An entry over an eighth of a shard is
 * not kept. */
void hw_cache_memory_put(struct hw_cache_memory *memory, const struct hw_cache_key *key,
                         struct hw_cache_entry *entry);
void hw_cache_memory_stats(struct hw_cache_memory *memory, struct hw_cache_memory_stats *stats);

#endif
