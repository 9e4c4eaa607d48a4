/* router/plan.h - a snapshot made ready to serve: with its classifier, its live backends and the
 * metric children that its names need.
 *
 * Immutable but for counters; shared by all loops under an atomic reference count. An exchange
 * keeps the plan it began with. */
#ifndef HW_ROUTER_PLAN_H
#define HW_ROUTER_PLAN_H

#include <stdatomic.h>

#include "config/snapshot.h"
#include "policies/classify.h"
#include "router/backend.h"
#include "router/meters.h"

enum { HW_PLAN_DIALECTS = 4, HW_PLAN_CODES = 18 };

/* Counters of one route; the last, "none", counts queries that reached no route. */
struct hw_plan_route {
    struct hw_metric *_Atomic requests[HW_PLAN_DIALECTS][HW_PLAN_CODES]; /* made on first use */
    struct hw_histogram *duration;
    const char *label;
    atomic_uint shadows; /* copies of its queries that are running, of all loops */
};

/* What of a plan takes time to make: its classifier learns from the policy's examples. */
struct hw_taught {
    struct hw_classifier *classifier;
    uint64_t keywords_digest, learned_digest; /* policies/digest.h; for the decision log only */
};

struct hw_plan {
    atomic_uint refs;
    struct hw_snapshot *snapshot; /* one reference */
    struct hw_taught taught;
    struct hw_backends *registry;
    struct hw_backend **backends;      /* in the snapshot's order, a reference each */
    struct hw_shared_device **devices; /* in the snapshot's order, a reference each */
    struct hw_plan_route *routes;      /* route_count + 1 */
    struct hw_metric **roles;          /* role_count + 1; the last is "none" */
    struct hw_meters *meters;
};

/* Any thread, with a reference to the snapshot. */
int hw_plan_teach(const struct hw_snapshot *snapshot, struct hw_taught *out, struct hw_err *err);
void hw_taught_free(struct hw_taught *taught);
/* Takes over the caller's reference to snapshot, and what it was taught. */
struct hw_plan *hw_plan_create(struct hw_snapshot *snapshot, struct hw_taught *taught,
                               struct hw_backends *registry, struct hw_meters *meters);
struct hw_plan *hw_plan_ref(struct hw_plan *plan);
void hw_plan_unref(struct hw_plan *plan); /* NULL-safe */

/* route: index or -1. dialect: its name. */
void hw_plan_count_request(struct hw_plan *plan, const char *dialect, int route, int status,
                           uint64_t duration_us);
void hw_plan_count_role(struct hw_plan *plan, int role);

#endif
