/* router/question_time.c - "as if it were then": by the clock of the policy's zone. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "config/zone.h"
#include "policies/hours.h"
#include "router/question.h"

/* 2026-11-21T03:00 (or with a space; seconds may follow; Z: in UTC). An hour that a clock change
 * leaves out is none; of one that comes twice the first is meant. */
static bool
find_date(const struct hw_snapshot *snapshot, const char *text, int64_t *at_s)
{
    struct tm tm = {0};
    const char *end = strptime(text, "%Y-%m-%d", &tm);

    if (end == NULL || (*end != 'T' && *end != ' '))
        return false;
    const char *clock = end + 1;
    end = strptime(clock, "%H:%M:%S", &tm);
    if (end == NULL) {
        tm.tm_sec = 0;
        end = strptime(clock, "%H:%M", &tm);
    }
    if (end == NULL || tm.tm_year < 0 || tm.tm_year > 8000)
        return false;
    int64_t local = timegm(&tm);
    if (strcmp(end, "Z") == 0) {
        *at_s = local;
        return true;
    }
    if (*end != '\0')
        return false;
    for (int hours = -24; hours <= 24; hours += 24) { /* offsets before and behind a change */
        int64_t at = local - hw_zone_offset(snapshot->zone, local + hours * 3600);
        if (at + hw_zone_offset(snapshot->zone, at) == local) {
            *at_s = at;
            return true;
        }
    }
    return false;
}

/* "03:00" or "sat 14:30": when the clock shows it next. */
static bool
find_next(const struct hw_snapshot *snapshot, const char *text, int64_t now_s, int64_t *at_s)
{
    char day[4] = "";
    unsigned hour, minute;
    int weekday = -1, end = 0;

    if (sscanf(text, "%2u:%2u%n", &hour, &minute, &end) != 2) {
        if (sscanf(text, "%3[a-z] %2u:%2u%n", day, &hour, &minute, &end) != 3)
            return false;
        for (int i = 0; hw_day_names[i] != NULL; i++)
            if (strcmp(hw_day_names[i], day) == 0)
                weekday = i;
        if (weekday < 0)
            return false;
    }
    if (text[end] != '\0' || hour > 23 || minute > 59)
        return false;
    int64_t seconds = hw_clock_shows_in(snapshot->zone, now_s, weekday, hour * 60 + minute);
    *at_s = now_s + (seconds >= 0 ? seconds : 0);
    return seconds >= 0;
}

bool
hw_question_time(const struct hw_snapshot *snapshot, const char *text, int64_t now_s, int64_t *at_s)
{
    return find_date(snapshot, text, at_s) || find_next(snapshot, text, now_s, at_s);
}
