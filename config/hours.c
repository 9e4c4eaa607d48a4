/* config/hours.c - windows of the day, and which lanes a backend takes in which of them.
 *
 * `schedule` names the two windows that a fleet lives by; wherever hours may be written, so may
 * their names, and `rest` for what lies in neither. Names become windows here, so that nobody has
 * to look them up while a query waits. */
#include <stdio.h>
#include <string.h>

#include "config/scalar.h"
#include "config/sections.h"

#define SCHEDULE_MAX 8 /* windows of awake, and of dream */
#define HOURS_MAX 16   /* entries of a list of hours */
/* Two lists of n windows leave at most 2n + 1 gaps. */
#define WINDOWS_MAX (2 * SCHEDULE_MAX + 1)

static const char example[] = "hours such as 22-06 or 22:30-06:15";

static bool
read_window(struct hw_load *load, const struct hw_node *entry, struct hw_conf_hours *out)
{
    if (!hw_scalar_hours(entry->text, &out->begin, &out->end))
        return false;
    out->text = hw_conf_arena_strdup(load->arena, entry->text);
    return true;
}

/* --- schedule --- */

static void
add_window(struct hw_load *load, const struct hw_node *entry, const struct hw_key *key, void *field)
{
    struct hw_conf_windows *out = field;
    (void)key;
    if (read_window(load, entry, &out->items[out->count]))
        out->count++;
    else
        hw_conf_report(load, entry, "expected %s, got '%s'", example, hw_conf_shown(entry->raw));
}

static void
set_own_windows(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
                void *field)
{
    struct hw_conf_windows *windows = field;
    windows->items = hw_conf_arena_array(load->arena, key->max, sizeof(*windows->items));
    windows->count = 0;
    hw_each_entry(load, node, key, windows, add_window);
    if (node->count == 0 && node->kind != HW_NODE_SCALAR)
        hw_conf_report(load, node, "list at least one window, such as 22-06");
}

void
hw_mark_minutes(const struct hw_conf_windows *windows, bool *taken)
{
    for (size_t i = 0; i < windows->count; i++) {
        unsigned minute = windows->items[i].begin;
        do {
            taken[minute] = true;
            minute = (minute + 1) % HW_DAY_MINUTES;
        } while (minute != windows->items[i].end);
    }
}

static void
add_gap(struct hw_load *load, struct hw_conf_windows *rest, unsigned begin, unsigned end)
{
    struct hw_conf_hours *gap = &rest->items[rest->count++];
    char text[16];
    snprintf(text, sizeof(text), "%02u:%02u-%02u:%02u", begin / 60 % 24, begin % 60, end / 60 % 24,
             end % 60);
    gap->begin = (uint16_t)begin;
    gap->end = (uint16_t)end;
    gap->text = hw_conf_arena_strdup(load->arena, text);
}

/* What neither awake nor dream takes, around the clock. */
static void
fill_rest(struct hw_load *load, struct hw_conf_windows *rest)
{
    const struct hw_conf_schedule *schedule = &load->snapshot->schedule;
    bool taken[HW_DAY_MINUTES] = {false};
    hw_mark_minutes(&schedule->awake, taken);
    hw_mark_minutes(&schedule->dream, taken);
    rest->items = hw_conf_arena_array(load->arena, WINDOWS_MAX, sizeof(*rest->items));
    rest->count = 0;
    for (unsigned begin = 0; begin < HW_DAY_MINUTES; begin++) {
        unsigned end = begin;
        if (taken[begin] || !taken[(begin + HW_DAY_MINUTES - 1) % HW_DAY_MINUTES])
            continue;
        while (!taken[end])
            end = (end + 1) % HW_DAY_MINUTES;
        add_gap(load, rest, begin, end);
    }
}

const struct hw_key hw_keys_schedule[] = {
    {"awake", set_own_windows, HW_FIELD(hw_conf_schedule, awake), .fallback = "06-22",
     .max = SCHEDULE_MAX},
    {"dream", set_own_windows, HW_FIELD(hw_conf_schedule, dream), .fallback = "02-06",
     .max = SCHEDULE_MAX},
    {.name = NULL},
};

/* --- hours, or names of the schedule's --- */

static bool
find_named(struct hw_load *load, const char *name, struct hw_conf_windows *out)
{
    const struct hw_conf_schedule *schedule = &load->snapshot->schedule;
    if (strcmp(name, "awake") == 0)
        *out = schedule->awake;
    else if (strcmp(name, "dream") == 0)
        *out = schedule->dream;
    else if (strcmp(name, "rest") == 0)
        fill_rest(load, out);
    else
        return false;
    return true;
}

/* The windows of a name, each shown as "dream (02-06)". */
static void
add_named(struct hw_load *load, const char *name, const struct hw_conf_windows *named,
          struct hw_conf_windows *out)
{
    char text[64];
    for (size_t i = 0; i < named->count; i++) {
        snprintf(text, sizeof(text), "%s (%s)", name, named->items[i].text);
        out->items[out->count] = named->items[i];
        out->items[out->count++].text = hw_conf_arena_strdup(load->arena, text);
    }
}

static void
add_hours(struct hw_load *load, const struct hw_node *entry, const struct hw_key *key, void *field)
{
    struct hw_conf_windows *out = field;
    struct hw_conf_windows named;
    (void)key;
    if (find_named(load, entry->text, &named)) {
        if (named.count == 0)
            hw_conf_report(load, entry, "rest is no time: awake and dream fill the day");
        add_named(load, entry->text, &named, out);
    } else if (read_window(load, entry, &out->items[out->count])) {
        out->count++;
    } else {
        hw_conf_report(load, entry, "expected %s, or awake, dream or rest, got '%s'", example,
                       hw_conf_shown(entry->raw));
    }
}

void
hw_set_windows(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
               void *field)
{
    static const struct hw_key list = {.name = "hours", .max = HOURS_MAX};
    struct hw_conf_windows *windows = field;
    (void)key;
    size_t entries = node->kind == HW_NODE_LIST ? node->count : 1;
    if (entries > HOURS_MAX) /* hw_each_entry will refuse it */
        entries = 0;
    windows->items =
        hw_conf_arena_array(load->arena, entries * WINDOWS_MAX, sizeof(*windows->items));
    windows->count = 0;
    hw_each_entry(load, node, &list, windows, add_hours);
}

/* --- a backend's lanes --- */

static void
set_lane(struct hw_load *load, const struct hw_node *node, const struct hw_key *key, void *field)
{
    struct hw_conf_lane *lane = field;
    lane->refused = false;
    if (node->kind == HW_NODE_SCALAR && strcmp(node->text, "any") == 0)
        return;
    lane->timed = true;
    load->snapshot->timed = true;
    hw_set_windows(load, node, key, &lane->hours);
    if (node->count == 0 && node->kind != HW_NODE_SCALAR)
        hw_conf_report(load, node, "list the hours, or write any");
}

#define LANE(lane) .offset = (lane) * sizeof(struct hw_conf_lane)
const struct hw_key hw_keys_lanes[] = {
    {"realtime", set_lane, LANE(HW_LANE_REALTIME)},
    {"interactive", set_lane, LANE(HW_LANE_INTERACTIVE)},
    {"background", set_lane, LANE(HW_LANE_BACKGROUND)},
    {.name = NULL},
};

/* A list of lanes, which are taken at any hour; or a mapping that says when. */
void
hw_set_lanes(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
             void *field)
{
    struct hw_conf_backend *backend = field;
    uint32_t taken = 0;
    for (size_t i = 0; i < HW_LANE_COUNT; i++)
        backend->lanes[i] = (struct hw_conf_lane){.refused = true};
    if (node->kind == HW_NODE_MAP) {
        hw_schema_read(load, node, hw_keys_lanes, backend->lanes);
        return;
    }
    hw_set_words(load, node, key, &taken);
    for (size_t i = 0; i < HW_LANE_COUNT; i++)
        backend->lanes[i].refused = (taken >> i & 1) == 0;
    if (node->count == 0 && node->kind != HW_NODE_SCALAR)
        hw_conf_report(load, node, "name at least one lane, or leave the key out to take all");
}
