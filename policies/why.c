/* policies/why.c - why a backend is no candidate, in words that say how to mend it or how long it
 * lasts. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "policies/hours.h"
#include "policies/rank.h"

static void
add(char *out, size_t size, const char *text)
{
    size_t len = strlen(out);

    if (len + 1 < size)
        snprintf(out + len, size - len, "%s", text);
}

/* "a, b and c" of the lanes that are taken. */
static void
add_lanes(const struct hw_conf_backend *backend, char *out, size_t size)
{
    size_t count = 0, said = 0;

    for (size_t i = 0; i < HW_LANE_COUNT; i++)
        count += !backend->lanes[i].refused;
    for (size_t i = 0; i < HW_LANE_COUNT; i++) {
        if (backend->lanes[i].refused)
            continue;
        if (said > 0)
            add(out, size, said + 1 == count ? " and " : ", ");
        add(out, size, hw_lane_names[i]);
        said++;
    }
}

void
hw_say_seconds(int64_t seconds, char *out, size_t size)
{
    if (seconds < 120)
        snprintf(out, size, "%" PRId64 " s", seconds);
    else if (seconds < 3600)
        snprintf(out, size, "%" PRId64 " min", (seconds + 59) / 60);
    else
        snprintf(out, size, "%" PRId64 " h %" PRId64 " min", (seconds + 59) / 3600,
                 (seconds + 59) % 3600 / 60);
}

static void
say_hours(const struct hw_snapshot *snapshot, const struct hw_traits *traits,
          const struct hw_conf_backend *backend, char *why, size_t size)
{
    const struct hw_conf_lane *lane = &backend->lanes[traits->lane];
    int64_t seconds = hw_lane_opens_in(lane, snapshot->zone, traits->now_s);
    char when[32];

    snprintf(why, size, "takes %s within ", hw_lane_names[traits->lane]);
    for (size_t i = 0; i < lane->hours.count; i++) {
        add(why, size, i > 0 ? ", " : "");
        add(why, size, lane->hours.items[i].text);
    }
    if (seconds < 0)
        return;
    hw_say_seconds(seconds, when, sizeof(when));
    add(why, size, ", next in ");
    add(why, size, when);
}

static void
say_context(const struct hw_conf_backend *backend, uint64_t tokens, const struct hw_traits *traits,
            char *why, size_t size)
{
    snprintf(why, size, "the prompt has about %" PRIu64 " tokens there", tokens);
    if (backend->kind == HW_KIND_OPENAI && traits->max_tokens > 0)
        snprintf(why + strlen(why), size - strlen(why), " and %" PRIu32 " are wanted (max_tokens)",
                 traits->max_tokens);
    snprintf(why + strlen(why), size - strlen(why), "; its context is %" PRIu32, backend->context);
}

void
hw_rank_why(const struct hw_snapshot *snapshot, const struct hw_traits *traits,
            const struct hw_candidate *candidate, char *why, size_t size)
{
    const struct hw_conf_backend *backend = &snapshot->backends[candidate->backend];

    switch (candidate->out) {
    case HW_OUT_CONTEXT:
        say_context(backend, candidate->prompt_tokens, traits, why, size);
        return;
    case HW_OUT_LANE:
        snprintf(why, size, "takes only ");
        add_lanes(backend, why, size);
        return;
    case HW_OUT_HOURS:
        say_hours(snapshot, traits, backend, why, size);
        return;
    default:
        snprintf(why, size, "%s", hw_exclusion_names[candidate->out]);
        return;
    }
}

int64_t
hw_rank_opens_in(const struct hw_snapshot *snapshot, const struct hw_traits *traits,
                 const struct hw_candidate *candidates, size_t count)
{
    int64_t soonest = -1;

    for (size_t i = count; i < snapshot->backend_count; i++) {
        const struct hw_conf_backend *backend = &snapshot->backends[candidates[i].backend];
        if (candidates[i].out != HW_OUT_HOURS)
            continue;
        int64_t seconds =
            hw_lane_opens_in(&backend->lanes[traits->lane], snapshot->zone, traits->now_s);
        if (seconds >= 0 && (soonest < 0 || seconds < soonest))
            soonest = seconds;
    }
    return soonest;
}
