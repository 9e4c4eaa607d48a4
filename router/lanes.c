/* router/lanes.c - see lanes.h. */
#include "router/lanes.h"

#include <stdio.h>
#include <time.h>

#include "policies/hours.h"

void
hw_lanes_json(const struct hw_plan *plan, size_t i, cJSON *json)
{
    const struct hw_snapshot *snapshot = plan->snapshot;
    struct hw_traits traits = {.now_s = (int64_t)time(NULL)};
    struct hw_local_time now = hw_zone_local(snapshot->zone, traits.now_s);
    struct hw_candidate candidate = {.backend = (uint32_t)i};
    cJSON *lanes = cJSON_AddObjectToObject(json, "lanes");
    char why[256];

    for (unsigned l = 0; l < HW_LANE_COUNT; l++) {
        const struct hw_conf_lane *lane = &snapshot->backends[i].lanes[l];
        traits.lane = (enum hw_lane)l;
        candidate.out = lane->refused ? HW_OUT_LANE : HW_OUT_HOURS;
        if (hw_lane_open(lane, now))
            snprintf(why, sizeof(why), "open");
        else
            hw_rank_why(snapshot, &traits, &candidate, why, sizeof(why));
        cJSON_AddStringToObject(lanes, hw_lane_names[l], why);
    }
}

void
hw_lanes_refresh(const struct hw_plan *plan, size_t i)
{
    const struct hw_conf_backend *conf = &plan->snapshot->backends[i];
    struct hw_local_time now = hw_zone_local(plan->snapshot->zone, (int64_t)time(NULL));

    for (unsigned l = 0; l < HW_LANE_COUNT; l++) {
        const char *labels[2] = {conf->name, hw_lane_names[l]};
        hw_metric_set(hw_metric_child(plan->meters->lane_open, labels),
                      hw_lane_open(&conf->lanes[l], now));
    }
}
