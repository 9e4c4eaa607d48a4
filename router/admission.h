/* router/admission.h - who may be sent where, process-wide.
 *
 * A slot of a backend is reserved when the backend is chosen and given back when its attempt ends.
 * A query that finds all of its candidates full waits here; a slot that comes free is handed to the
 * first waiter of the highest lane that can use it, and its loop is woken. The retry budget lives
 * here too. One short mutex; no callback runs under it. */
#ifndef HW_ROUTER_ADMISSION_H
#define HW_ROUTER_ADMISSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "config/snapshot.h"
#include "router/backend.h"

struct hw_admission;

/* The waiter's memory is the exchange's. Between hw_admission_wait and either hw_admission_collect
 * or hw_admission_leave only the admission touches it. */
struct hw_waiter {
    struct hw_waiter *next, *prev;
    enum hw_lane lane;
    struct hw_backend **backends; /* candidates, best first */
    const uint32_t *limits;       /* max_inflight of each; 0: none */
    size_t count;
    uv_async_t *wake;             /* of the waiter's loop */
    struct hw_waiter_list *ready; /* of the waiter's loop: where it goes when it was given a slot */
    struct hw_backend *granted;
    enum { HW_WAITER_IDLE, HW_WAITER_WAITING, HW_WAITER_READY } state;
};

struct hw_waiter_list {
    struct hw_waiter *first, *last;
};

struct hw_admission *hw_admission_create(void);
void hw_admission_destroy(struct hw_admission **admission);

/* Takes a slot when fewer than limit are taken (limit 0: always). */
bool hw_admission_reserve(struct hw_admission *admission, struct hw_backend *backend,
                          uint32_t limit);
/* Gives it back; may hand it on to a waiter. */
void hw_admission_release(struct hw_admission *admission, struct hw_backend *backend);

/* Joins the queue; or, when a slot came free meanwhile, is granted that at once and collected like
 * any other. HW_ELIMIT: the queue holds max_queued already. */
int hw_admission_wait(struct hw_admission *admission, struct hw_waiter *waiter, size_t max_queued);
/* Leaves the queue; a slot granted meanwhile is given back. Legal in every state. */
void hw_admission_leave(struct hw_admission *admission, struct hw_waiter *waiter);
/* The loop was woken: takes the next waiter of its ready list (its slot in waiter->granted), or
 * NULL. */
struct hw_waiter *hw_admission_collect(struct hw_admission *admission,
                                       struct hw_waiter_list *ready);
size_t hw_admission_queued(struct hw_admission *admission);

/* The retry budget: each query adds to it, each retry takes. */
void hw_admission_count_query(struct hw_admission *admission, uint32_t retry_percent);
bool hw_admission_take_retry(struct hw_admission *admission, uint64_t now_ms);

#endif
