/* policies/hours.h - windows of the day, and what a backend takes now. Pure: local time is handed
 * in, by the wall clock of the policy's zone. */
#ifndef HW_POLICIES_HOURS_H
#define HW_POLICIES_HOURS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/snapshot.h"
#include "config/zone.h"

/* In one of the windows, and that one began on one of the days (0: any day). No windows: none. */
bool hw_hours_hold(const struct hw_conf_hours *hours, size_t count, uint32_t days_mask,
                   struct hw_local_time now);
/* Is the lane taken at this minute? */
bool hw_lane_open(const struct hw_conf_lane *lane, struct hw_local_time now);
/* Seconds until the lane is taken next (0: now); -1: never. Zone as of the snapshot. Looks through
 * a day minute by minute, so that clock changes need no thought: for refusals and explanations. */
int64_t hw_lane_opens_in(const struct hw_conf_lane *lane, const struct hw_zone *zone,
                         int64_t now_s);
/* Seconds until the clock shows this minute of the day (on weekday, 0: Sunday; -1: any); -1: never
 * within eight days, for a clock change may leave it out. */
int64_t hw_clock_shows_in(const struct hw_zone *zone, int64_t now_s, int weekday, uint32_t minute);
/* "45 s", "12 min", "3 h 12 min". */
void hw_say_seconds(int64_t seconds, char *out, size_t size);

#endif
