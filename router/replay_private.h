/* router/replay_private.h - the fleet on paper (replay_fleet.c), for replay.c. */
#ifndef HW_ROUTER_REPLAY_PRIVATE_H
#define HW_ROUTER_REPLAY_PRIVATE_H

#include "policies/share.h"
#include "router/replay.h"

struct hw_latencies {
    float *items;
    size_t count, room;
};

struct hw_fleet_job {
    uint64_t ends_ms;
    uint32_t backend;
    int share; /* of the backend's device; below 0: none */
};

struct hw_fleet {
    const struct hw_snapshot *snapshot;
    struct hw_backend_view *views;                 /* as they are at the record's time */
    struct hw_backend_view *idle;                  /* as if nobody had asked anything */
    struct hw_device_view *devices, *idle_devices; /* the same */
    struct hw_replay_load *loads;
    struct hw_latencies *latencies; /* of each backend */
    struct hw_latencies all;
    struct hw_fleet_job *jobs; /* a heap: the first ends first */
    size_t job_count, job_room;
    uint64_t first_ms, last_ms; /* of the records */
};

struct hw_player {
    const struct hw_snapshot *snapshot;
    struct hw_classifier *classifier;
    struct hw_replay_policy policy;
    struct hw_candidate *candidates;
    struct hw_fleet fleet;
};

void hw_latencies_add(struct hw_latencies *latencies, double ms);
void hw_fleet_init(struct hw_fleet *fleet, const struct hw_snapshot *snapshot,
                   const struct hw_figures *figures);
void hw_fleet_free(struct hw_fleet *fleet);
/* Time goes on: what has ended by now makes room. */
void hw_fleet_advance(struct hw_fleet *fleet, uint64_t now_ms);
/* From now to the last byte, when it is sent there. */
double hw_fleet_latency_ms(const struct hw_fleet *fleet, const struct hw_record *record,
                           const struct hw_traits *traits, size_t backend);
void hw_fleet_send(struct hw_fleet *fleet, const struct hw_record *record,
                   const struct hw_replayed *replayed);
const struct hw_replay_load *hw_fleet_finish(struct hw_fleet *fleet, struct hw_replay_load *all);

#endif
