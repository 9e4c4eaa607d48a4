/* router/shadow.h - copies of queries, for a backend that is being tried out.
 *
 * A route with `shadow` sends a share of its queries once more, to a backend of the shadow's own
 * selector. What that says is read and thrown away: no agent waits for it, no failure of it is
 * anybody's, and neither breakers nor ranking nor the cache learn anything from it. It has metrics
 * of its own. A copy belongs to the loop of its query, and outlives it. */
#ifndef HW_ROUTER_SHADOW_H
#define HW_ROUTER_SHADOW_H

#include "router/gateway.h"

struct hw_exchange;

/* The query is on its way to a backend: perhaps a copy follows it. Only for routes with a shadow.
 */
void hw_shadow_cast(struct hw_exchange *ex);
/* A query has taken room: this loop's copies end where there are now more than fit. */
void hw_shadow_give_way(struct hw_loop *loop);
/* Every HW_SWEEP_MS: deadlines, and giving way to queries of other loops. */
void hw_shadow_sweep(struct hw_loop *loop);
void hw_shadow_cancel_all(struct hw_loop *loop);

#endif
