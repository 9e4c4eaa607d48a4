/* router/exchange_join.c - a query that has found nothing in the cache, and an identical one that
 * is being answered already: it waits for that answer instead of asking again (router/join.h).
 *
 * Of the answer it is given what the cache would have given: no more than the key allows, and
 * nothing that is not kept. A failure is not shared: all that waited ask by themselves then. */
#include "router/exchange_private.h"

/* A streamed answer comes as fast as its agent reads it, and who waits for it hears nothing until
 * its end: only where the policy says so. */
static bool
may_join(const struct hw_exchange *ex)
{
    switch (ex->plan->snapshot->cache.join) {
    case HW_CONF_JOIN_WHOLE:
        return ex->keep && !ex->query.stream;
    case HW_CONF_JOIN_ALL:
        return ex->keep;
    case HW_CONF_JOIN_OFF:
    case HW_CONF_JOIN_COUNT:
        break;
    }
    return false;
}

static void
ask_by_itself(struct hw_exchange *ex)
{
    if (ex->keep) {
        ex->cache = HW_CACHE_MISS;
        hw_metric_add(ex->plan->meters->cache_miss, 1);
    }
    hw_exchange_admit(ex);
}

void
hw_exchange_join(struct hw_exchange *ex)
{
    struct hw_join *join = &ex->join;

    if (may_join(ex)) {
        join->key = &ex->key;
        join->lane = ex->traits.lane;
        join->wake = &ex->loop->wake;
        join->ready = &ex->loop->joined;
        if (hw_joins_enter(ex->loop->gateway->joins, join)) {
            ex->cache = HW_CACHE_JOIN;
            hw_exchange_set_state(ex, HW_EXCHANGE_JOIN);
            return;
        }
    }
    ask_by_itself(ex);
}

void
hw_exchange_leave_join(struct hw_exchange *ex)
{
    struct hw_joins *joins = ex->loop->gateway->joins;

    /* Whoever left says nothing about the answer; a failure, or an answer that is not kept, does.
     */
    if (!ex->client_left)
        hw_joins_give(joins, &ex->join, NULL);
    hw_joins_leave(joins, &ex->join);
}

void
hw_exchange_collect_joined(struct hw_loop *loop)
{
    struct hw_join *join;

    while ((join = hw_joins_collect(loop->gateway->joins, &loop->joined)) != NULL) {
        struct hw_exchange *ex =
            (struct hw_exchange *)((char *)join - offsetof(struct hw_exchange, join));
        struct hw_cache_entry *answer = join->answer;
        join->answer = NULL;
        bool answered = answer != NULL && hw_exchange_answer_from(ex, answer, HW_CACHE_JOIN,
                                                                  ex->plan->meters->cache_join);
        hw_cache_entry_unref(answer);
        if (!answered)
            ask_by_itself(ex);
    }
}
