/* router/workers_affinity.h - which worker process was last given a conversation.
 *
 * A worker keeps what it has read (engine/worker_states.c), each process for itself: the next turn
 * is cheap only where the turns before went. Of a conversation only its beginning is looked at, so
 * that this costs the same however long it has become. The table has a fixed size; where a set is
 * full the entry used longest ago goes. Any thread: a short mutex. */
#ifndef HW_ROUTER_WORKERS_AFFINITY_H
#define HW_ROUTER_WORKERS_AFFINITY_H

#include "router/workers.h"

struct hw_affinity; /* opaque; layout in workers_affinity.c */

/* exact: all up to the first user's turn, as far as its length and ends tell. begun: the same, but
 * of that turn only how it begins, for one that has grown since. */
struct hw_affinity_key {
    uint64_t exact, begun;
};

struct hw_affinity *hw_affinity_create(void);
void hw_affinity_destroy(struct hw_affinity **affinity); /* NULL-safe, nulls it */
struct hw_affinity_key hw_affinity_key(const struct hw_affinity *affinity,
                                       const struct hw_worker_ask *ask);
/* The slot that was noted last for it; 0: none is known. */
uint64_t hw_affinity_find(struct hw_affinity *affinity, const struct hw_affinity_key *key);
void hw_affinity_note(struct hw_affinity *affinity, const struct hw_affinity_key *key,
                      uint64_t slot);

/* By how many queries more than the least loaded worker has, the one that knows the conversation is
 * still worth asking: what it spares is reading, and that is worth more the longer the prompt. */
uint32_t hw_affinity_margin(const struct hw_worker_ask *ask);
/* Of workers that have equally much to do, that with the greatest is given a conversation that none
 * of them knows: each gets its share, and every loop says the same. */
uint64_t hw_affinity_rank(const struct hw_affinity_key *key, uint64_t slot);

#endif
