/* engine/state_cache.h - snapshots of what a worker has read, found by the text they have read.
 *
 * Holds at most a budget of bytes; over it, what was found or put longest ago goes. A
 * conversation's next turn, a question asked again and any number of conversations with one
 * beginning go on from the same snapshot. Belongs to one thread. */
#ifndef HW_ENGINE_STATE_CACHE_H
#define HW_ENGINE_STATE_CACHE_H

#include "engine/snapshot.h"

#define HW_STATE_CACHE_MAX_ENTRIES 1024u /* of tiny models: a search compares with each */

struct hw_state_cache; /* opaque; layout in state_cache.c */

/* On 0 the caller owns *out. */
int hw_state_cache_create(size_t max_bytes, struct hw_state_cache **out, struct hw_err *err);
void hw_state_cache_destroy(struct hw_state_cache **cache); /* NULL-safe, nulls it */
/* Takes the reference over. What is held already counts as used; what is over the budget by itself
 * is let go. */
void hw_state_cache_put(struct hw_state_cache *cache, struct hw_bdh_snapshot *snapshot);
/* That which has read most of this text and leaves a part of it; the caller owns a reference. NULL:
 * none. */
struct hw_bdh_snapshot *hw_state_cache_find(struct hw_state_cache *cache, const void *text,
                                            size_t len);
size_t hw_state_cache_bytes(const struct hw_state_cache *cache);
size_t hw_state_cache_count(const struct hw_state_cache *cache);

#endif
