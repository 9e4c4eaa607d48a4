/* router/exchange.h - one query's life: from a parsed HTTP request to the last byte of its answer.
 *
 * An exchange belongs to its loop. It ends in exactly one place (hw_exchange_done), whatever
 * happens to it. */
#ifndef HW_ROUTER_EXCHANGE_H
#define HW_ROUTER_EXCHANGE_H

#include "router/api/dialect.h"
#include "router/gateway.h"

/* Takes the stream: answers it now or later. */
void hw_exchange_begin(struct hw_loop *loop, struct hw_http_stream *stream,
                       const struct hw_dialect *dialect);
/* The admission handed slots to waiters of this loop. */
void hw_exchange_collect_granted(struct hw_loop *loop);
/* Queries of this loop have waited for an identical one, which is over. */
void hw_exchange_collect_joined(struct hw_loop *loop);
/* Deadlines, every HW_SWEEP_MS. */
void hw_exchange_sweep(struct hw_loop *loop);
/* The drain's deadline has passed: every stream still open gets its error event. */
void hw_exchange_abort_all(struct hw_loop *loop);

#endif
