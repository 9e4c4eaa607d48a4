/* router/backend.h - what this process knows of a backend while it works: shared by all loops.
 *
 * Found by name and digest, so that a reload keeps what was learned about a backend that did not
 * change. Reference-counted: every plan that names it holds one. */
#ifndef HW_ROUTER_BACKEND_H
#define HW_ROUTER_BACKEND_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "config/snapshot.h"
#include "policies/breaker.h"
#include "policies/rank.h"
#include "policies/stats.h"
#include "policies/usual.h"
#include "router/meters.h"

enum hw_attempt_result {
    HW_ATTEMPT_OK,
    HW_ATTEMPT_CONNECT,   /* refused, unreachable, no worker */
    HW_ATTEMPT_TIMEOUT,   /* connect, first byte, idle or total */
    HW_ATTEMPT_STATUS,    /* 408, 429 or 5xx */
    HW_ATTEMPT_BROKEN,    /* died before its answer was complete, or said something unreadable */
    HW_ATTEMPT_REFUSED,   /* another 4xx: the query's fault, not the backend's */
    HW_ATTEMPT_CANCELLED, /* the agent left */
    HW_ATTEMPT_RESULT_COUNT
};
extern const char *const hw_attempt_result_names[HW_ATTEMPT_RESULT_COUNT];

struct hw_backend {
    atomic_uint refs;
    struct hw_backend *next; /* in the registry */
    char name[65];
    uint64_t digest;
    /* Answers in the making. Changed under the admission lock only; read anywhere. */
    atomic_uint inflight;
    atomic_uint waiting; /* queries that wait for room, here or at one of several; the same */
    atomic_uint copies;  /* shadow copies that run here: beside inflight, in nobody's way */
    /* Names the checkpoint that local workers run; 0 until one said hello. */
    _Atomic uint64_t model_digest;
    struct hw_metric *attempts[HW_ATTEMPT_RESULT_COUNT];
    struct hw_histogram *first_token, *inter_token;
    struct hw_metric *probes[2];   /* failed, ok */
    uint64_t next_probe_ms;        /* loop 0's */
    _Atomic uint64_t next_look_ms; /* when loop 0 asks for its models */
    struct hw_metric *looks[2];    /* for its models: failed, ok */
    atomic_bool looked;            /* it was asked for its models, whatever came of it */
    atomic_bool has_found;         /* found is not NULL, and never will be again */
    pthread_mutex_t lock;          /* guards what follows; never held across a callback */
    struct hw_speed speed;
    uint32_t probes_failed; /* in a row */
    bool probe_down;
    char probe_why[160];
    struct hw_found *found; /* the models it has; NULL: unknown */
    uint64_t taught_ms;     /* when it last did; 0: never */
    struct hw_breaker breaker;
    struct hw_usual usual;
    uint64_t back_ms; /* when a probe last brought it back; 0: never */
    struct hw_metric *late;
};

/* A device that backends share. Found by name and what its room is divided into: after a reload
 * that divides it anew the queries still running count for the old division, until they end. */
struct hw_shared_device {
    unsigned refs; /* the registry's lock guards it */
    struct hw_shared_device *next;
    char name[65];
    uint64_t digest;
    /* Changed under the admission lock only; read anywhere. */
    atomic_uint inflight;
    atomic_uint taken[HW_MAX_SHARES];
    atomic_uint copies; /* not among them; as a backend's */
};

struct hw_backends; /* the registry */

struct hw_backends *hw_backends_create(struct hw_meters *meters);
void hw_backends_destroy(struct hw_backends **backends); /* when no plan is left */
/* Found or made; one reference for the caller. */
struct hw_backend *hw_backends_get(struct hw_backends *backends,
                                   const struct hw_conf_backend *conf);
void hw_backend_unref(struct hw_backends *backends, struct hw_backend *backend);

/* The same for devices. */
struct hw_shared_device *hw_backends_device(struct hw_backends *backends,
                                            const struct hw_conf_device *conf);
void hw_device_unref(struct hw_backends *backends, struct hw_shared_device *device);
void hw_device_view(struct hw_shared_device *device, struct hw_device_view *view);

/* What backends report of their prompts, by model. Read without a lock. */
const struct hw_token_ratios *hw_backends_tokens(const struct hw_backends *backends);
/* One of them has: `reported` tokens of a prompt taken for `estimated`. */
void hw_backends_learn_tokens(struct hw_backends *backends, const char *model, uint32_t estimated,
                              uint64_t reported);

/* Fills *view as of now; `up` by the probes, of local workers the caller knows better. */
void hw_backend_view(struct hw_backend *backend, uint64_t now_ms, struct hw_backend_view *view);
/* Asks the breaker for leave to send. */
bool hw_backend_take(struct hw_backend *backend, uint64_t now_ms);
/* What is late: `times` (0: never) what is usual after what was ahead of the query. */
struct hw_lateness {
    double ahead_ms;
    uint32_t times;
};
/* An attempt ended: counts it, tells the breaker (unless blameless: then it only gives its leave
 * back), learns from sample when not NULL. */
void hw_backend_result(struct hw_backend *backend, enum hw_attempt_result result, bool blameless,
                       const struct hw_speed_sample *sample, const struct hw_lateness *lateness,
                       uint64_t now_ms);
enum hw_probe_news { HW_PROBE_NO_NEWS, HW_PROBE_WENT_DOWN, HW_PROBE_CAME_BACK };
/* A probe ended (why NULL: well). After `failures` bad ones in a row the backend is down; the first
 * good one brings it back, and lets an open breaker try at once. */
enum hw_probe_news hw_backend_probed(struct hw_backend *backend, const char *why, uint32_t failures,
                                     uint64_t now_ms);
/* Why probes hold it for down; false: they do not. */
bool hw_backend_probe_why(struct hw_backend *backend, char *why, size_t size);
/* A look at its models ended; found: one reference, taken over, or NULL: it failed. */
void hw_backend_looked(struct hw_backend *backend, struct hw_found *found);
/* The models it was found to have, with a reference for the caller; NULL: unknown. */
struct hw_found *hw_backend_found(struct hw_backend *backend);
/* For how much longer its breaker is open; 0: it is not. */
uint64_t hw_backend_open_ms(struct hw_backend *backend, uint64_t now_ms);
/* A local worker's own benchmark replaces the prior, until answers have taught better. */
void hw_backend_prior(struct hw_backend *backend, double prefill_bytes_s, double decode_bytes_s);

#endif
