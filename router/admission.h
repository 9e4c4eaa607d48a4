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

/* Room that a query may have at a candidate. */
struct hw_room {
    struct hw_backend *backend;
    uint32_t limit;                  /* of the backend's inflight; 0: none */
    struct hw_shared_device *device; /* NULL: it shares none */
    const struct hw_conf_device *device_conf;
    bool idle; /* only when nothing else runs on the device */
};

/* Room that is taken. backend NULL: none. */
struct hw_slot {
    struct hw_backend *backend;
    struct hw_shared_device *device;
    int share; /* of the device on whose account it runs, or HW_SHARE_OPEN */
};

/* For whom it is taken. */
struct hw_asker {
    enum hw_lane lane;
    int role; /* -1: none */
};

/* The waiter's memory is the exchange's. Between hw_admission_wait and either hw_admission_collect
 * or hw_admission_leave only the admission touches it. */
struct hw_waiter {
    struct hw_waiter *next, *prev;
    struct hw_asker asker;
    struct hw_room *rooms; /* of the candidates, best first */
    size_t count;
    uv_async_t *wake;             /* of the waiter's loop */
    struct hw_waiter_list *ready; /* of the waiter's loop: where it goes when it was given a slot */
    struct hw_slot granted;
    enum { HW_WAITER_IDLE, HW_WAITER_WAITING, HW_WAITER_READY } state;
};

struct hw_waiter_list {
    struct hw_waiter *first, *last;
};

struct hw_admission *hw_admission_create(void);
void hw_admission_destroy(struct hw_admission **admission);

/* Takes a slot when fewer than limit are taken, and the device has room too. */
bool hw_admission_reserve(struct hw_admission *admission, const struct hw_room *room,
                          const struct hw_asker *asker, struct hw_slot *slot);
/* Gives it back and empties *slot; may hand it on to a waiter. */
void hw_admission_release(struct hw_admission *admission, struct hw_slot *slot);

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
