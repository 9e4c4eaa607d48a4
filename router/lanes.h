/* router/lanes.h - what /hatchway/backends and /metrics tell of lanes, their hours, and the devices
 * that backends share. */
#ifndef HW_ROUTER_LANES_H
#define HW_ROUTER_LANES_H

#include <cjson/cJSON.h>

#include "router/plan.h"

/* Adds `lanes` to backend i's object: a lane to "open", or to why it is not taken now. */
void hw_lanes_json(const struct hw_plan *plan, size_t i, cJSON *json);
/* Brings the gauges of backend i up to date. */
void hw_lanes_refresh(const struct hw_plan *plan, size_t i);
/* Adds `devices`: how busy each is, and its shares. */
void hw_devices_json(const struct hw_plan *plan, cJSON *json);
void hw_devices_refresh(const struct hw_plan *plan);

#endif
