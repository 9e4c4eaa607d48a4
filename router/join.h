/* router/join.h - identical queries in flight, process-wide: the first one asks, those that come
 * while it does wait for its answer.
 *
 * Identical is what has the same key in the cache. Whoever asks first leads; it gives its answer to
 * all that follow it, or lets them go on by themselves. When it leaves before that, one of them
 * leads in its stead. One short mutex, taken only by queries that have found nothing in the cache;
 * no callback runs under it. */
#ifndef HW_ROUTER_JOIN_H
#define HW_ROUTER_JOIN_H

#include <stdbool.h>
#include <uv.h>

#include "cache/entry.h"
#include "cache/key.h"
#include "config/snapshot.h"

struct hw_joins;
struct hw_join;

struct hw_join_list {
    struct hw_join *first, *last;
};

/* A query's part in it; the memory is the exchange's. Filled in by the caller: key, lane, wake,
 * ready. All else belongs to the table, which other threads change. */
struct hw_join {
    const struct hw_cache_key *key;
    enum hw_lane lane;
    uv_async_t *wake;           /* of its loop */
    struct hw_join_list *ready; /* of its loop: where it goes when its wait is over */
    bool entered;               /* its loop's own: it follows or leads, perhaps */
    enum { HW_JOIN_NOTHING, HW_JOIN_FOLLOWS, HW_JOIN_READY } state;
    bool leads;
    struct hw_join *next, *prev;   /* followers of the same, or the ready list */
    struct hw_join *leader;        /* of a follower */
    struct hw_join *bucket_next;   /* of a leader */
    struct hw_join_list followers; /* the same */
    struct hw_cache_entry *answer; /* ready: a reference; NULL: it has to ask by itself */
};

struct hw_joins *hw_joins_create(void);
void hw_joins_destroy(struct hw_joins **joins); /* when nobody is in it */

/* True: it follows one that is under way, and is collected later. False: it asks by itself; it
 * leads, unless one of a lower lane is under way already, which is not to be waited for. */
bool hw_joins_enter(struct hw_joins *joins, struct hw_join *join);
/* The leader's answer (the table takes references of its own), for all that follow; NULL: there is
 * none to be had, each asks by itself. It leads no more. Legal in every state. */
void hw_joins_give(struct hw_joins *joins, struct hw_join *join, struct hw_cache_entry *answer);
/* The query is over. Whom it leads one of them leads from now on. Legal in every state. */
void hw_joins_leave(struct hw_joins *joins, struct hw_join *join);
/* The loop was woken: the next whose wait is over, or NULL. What is in ->answer is the caller's. */
struct hw_join *hw_joins_collect(struct hw_joins *joins, struct hw_join_list *ready);

#endif
