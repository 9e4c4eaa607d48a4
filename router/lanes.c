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
    const struct hw_conf_device *device = snapshot->backends[i].on;
    struct hw_device_view view = {0};
    cJSON *lanes = cJSON_AddObjectToObject(json, "lanes");
    char why[256];

    if (device != NULL) {
        cJSON_AddStringToObject(json, "on", device->name);
        hw_device_view(plan->devices[device - snapshot->devices], &view);
    }
    for (unsigned l = 0; l < HW_LANE_COUNT; l++) {
        const struct hw_conf_lane *lane = &snapshot->backends[i].lanes[l];
        traits.lane = (enum hw_lane)l;
        candidate.out = lane->refused ? HW_OUT_LANE : HW_OUT_HOURS;
        if (!hw_lane_open(lane, now))
            hw_rank_why(snapshot, &traits, &candidate, why, sizeof(why));
        else if (device != NULL &&
                 hw_share_pick(device, &view, traits.lane, -1, false) == HW_SHARE_NONE)
            snprintf(why, sizeof(why), "full: no room for it on %s", device->name);
        else
            snprintf(why, sizeof(why), "open");
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

void
hw_devices_json(const struct hw_plan *plan, cJSON *json)
{
    cJSON *list = cJSON_AddArrayToObject(json, "devices");

    for (size_t i = 0; i < plan->snapshot->device_count; i++) {
        const struct hw_conf_device *conf = &plan->snapshot->devices[i];
        struct hw_device_view view;
        cJSON *item = cJSON_CreateObject();
        hw_device_view(plan->devices[i], &view);
        cJSON_AddStringToObject(item, "name", conf->name);
        cJSON_AddStringToObject(item, "class", hw_device_names[conf->class]);
        if (conf->memory > 0)
            cJSON_AddNumberToObject(item, "memory", (double)conf->memory);
        cJSON_AddNumberToObject(item, "max_inflight", conf->max_inflight);
        cJSON_AddNumberToObject(item, "inflight", view.inflight);
        cJSON *shares = cJSON_AddObjectToObject(item, "shares");
        for (size_t s = 0; s < conf->share_count; s++) {
            cJSON *share = cJSON_AddObjectToObject(shares, conf->shares[s].name);
            cJSON_AddNumberToObject(share, "slots", conf->shares[s].slots);
            cJSON_AddNumberToObject(share, "inflight", view.taken[s]);
        }
        cJSON_AddItemToArray(list, item);
    }
}

void
hw_devices_refresh(const struct hw_plan *plan)
{
    struct hw_meters *meters = plan->meters;

    for (size_t i = 0; i < plan->snapshot->device_count; i++) {
        const struct hw_conf_device *conf = &plan->snapshot->devices[i];
        const char *labels[2] = {conf->name, NULL};
        struct hw_device_view view;
        hw_device_view(plan->devices[i], &view);
        hw_metric_set(hw_metric_child(meters->device_inflight, labels), view.inflight);
        for (size_t s = 0; s < conf->share_count; s++) {
            labels[1] = conf->shares[s].name;
            hw_metric_set(hw_metric_child(meters->share_inflight, labels), view.taken[s]);
            hw_metric_set(hw_metric_child(meters->share_slots, labels), conf->shares[s].slots);
        }
    }
}
