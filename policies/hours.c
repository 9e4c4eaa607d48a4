/* policies/hours.c - see hours.h. */
#include "policies/hours.h"

/* Where a clock change swallows a window, it comes the day after. */
#define LOOK_AHEAD_MINUTES (49 * 60)

/* Of a window across midnight the small hours belong to the day before. */
static bool
window_holds(const struct hw_conf_hours *hours, uint32_t days_mask, struct hw_local_time now)
{
    bool across = hours->begin > hours->end;
    bool small_hours = across && now.minute < hours->end;
    uint32_t day = small_hours ? (now.weekday + 6) % 7 : now.weekday;
    bool within = across ? small_hours || now.minute >= hours->begin
                         : hours->begin == hours->end ||
                               (now.minute >= hours->begin && now.minute < hours->end);

    return within && (days_mask == 0 || (days_mask >> day & 1) != 0);
}

bool
hw_hours_hold(const struct hw_conf_hours *hours, size_t count, uint32_t days_mask,
              struct hw_local_time now)
{
    for (size_t i = 0; i < count; i++)
        if (window_holds(&hours[i], days_mask, now))
            return true;
    return false;
}

bool
hw_lane_open(const struct hw_conf_lane *lane, struct hw_local_time now)
{
    return !lane->refused &&
           (!lane->timed || hw_hours_hold(lane->hours.items, lane->hours.count, 0, now));
}

static int64_t
next_minute(int64_t at_s)
{
    return at_s + 60 - (at_s % 60 + 60) % 60;
}

int64_t
hw_lane_opens_in(const struct hw_conf_lane *lane, const struct hw_zone *zone, int64_t now_s)
{
    int64_t at_s = now_s;

    if (lane->refused)
        return -1;
    for (int i = 0; i < LOOK_AHEAD_MINUTES; i++) {
        if (hw_lane_open(lane, hw_zone_local(zone, at_s)))
            return at_s - now_s;
        at_s = next_minute(at_s);
    }
    return -1;
}

int64_t
hw_clock_shows_in(const struct hw_zone *zone, int64_t now_s, int weekday, uint32_t minute)
{
    int64_t at_s = now_s;

    while (at_s - now_s <= 8 * 24 * 3600) {
        struct hw_local_time local = hw_zone_local(zone, at_s);
        if (local.minute == minute && (weekday < 0 || local.weekday == (uint32_t)weekday))
            return at_s - now_s;
        at_s = next_minute(at_s);
    }
    return -1;
}
