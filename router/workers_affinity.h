/* router/workers_affinity.h - which worker process was last given a conversation.
 *
 * A worker keeps what it has read (engine/worker_states.c), each process for itself: the next turn
 * is cheap only where the turns before went. Queries are told apart by samples: each turn's role,
 * length, first and last 64 bytes. Two that differ elsewhere are taken for one; a conversation
 * whose earlier turns its agent rewrites or drops is known by its beginning alone. The table has a
 * fixed size, one entry for a query and one for a beginning; where a set is full the entry used
 * longest ago goes. Any thread: a short mutex. */
#ifndef HW_ROUTER_WORKERS_AFFINITY_H
#define HW_ROUTER_WORKERS_AFFINITY_H

#include "router/workers.h"

struct hw_affinity; /* opaque; layout in workers_affinity.c */

struct hw_affinity_key {
    uint64_t whole;  /* this query */
    uint64_t before; /* the one whose answer it goes on from: it ended there; 0: none */
    /* Of many a query that has little else in common: the backend, what stands before the first
     * user's turn (of four turns at most), and that one's first 256 bytes. */
    uint64_t begun;
    uint32_t margin; /* what a worker that has read `before` spares, in queries */
};

struct hw_affinity *hw_affinity_create(void);
void hw_affinity_destroy(struct hw_affinity **affinity); /* NULL-safe, nulls it */
struct hw_affinity_key hw_affinity_key(const struct hw_affinity *affinity,
                                       const struct hw_worker_ask *ask);
/* The slot that was noted last for it; 0: none is known. *margin: by how many queries more than the
 * least loaded worker has, that one is still worth asking. What it spares is reading, and that is
 * worth more the more it has read; of one that is known for the beginning alone: 0, it may break
 * ties. */
uint64_t hw_affinity_find(struct hw_affinity *affinity, const struct hw_affinity_key *key,
                          uint32_t *margin);
void hw_affinity_note(struct hw_affinity *affinity, const struct hw_affinity_key *key,
                      uint64_t slot);

/* Of workers that have equally much to do, that with the greatest is given a conversation that none
 * of them knows: each gets its share, and every loop says the same. */
uint64_t hw_affinity_rank(const struct hw_affinity_key *key, uint64_t slot);

#endif
