/* router/loop.h - one event loop's life: open, run, take a new plan, drain, close. */
#ifndef HW_ROUTER_LOOP_H
#define HW_ROUTER_LOOP_H

#include "router/gateway.h"

/* Makes everything that the loop owns and listens. Takes a reference to plan of its own. On error
 * the loop is as if never touched. */
int hw_loop_open(struct hw_loop *loop, struct hw_gateway *gateway, unsigned index,
                 struct hw_plan *plan, struct hw_err *err);
/* Any thread: a plan for new queries (takes the reference). */
void hw_loop_offer_plan(struct hw_loop *loop, struct hw_plan *plan);
/* On the loop: begins to close all that it owns; uv_run returns when that is done. */
void hw_loop_close(struct hw_loop *loop);
/* After uv_run returned. */
void hw_loop_free(struct hw_loop *loop);

/* A random number for a choice of candidates; never 0. Not for secrets. */
uint64_t hw_loop_dice(struct hw_loop *loop);

/* gateway.c: loop 0's own work, at each sweep. */
void hw_gateway_tick(struct hw_gateway *gateway);

#endif
