/* Which backends take a lane at which hour: from YAML, by the clock of Berlin. */
#define _XOPEN_SOURCE 700
#include "policies/snapshot_builder.h"

#include <stdio.h>
#include <time.h>

#include "config/load.h"
#include "policies/hours.h"
#include "policies/rank.h"

static const char fleet[] =
    "timezone: Europe/Berlin\n"
    "backends:\n"
    "  - { name: live, kind: ollama, url: \"http://127.0.0.1\", models: [m], general: true,\n"
    "      lanes: [realtime, interactive] }\n"
    "  - { name: dreamer, kind: ollama, url: \"http://127.0.0.1\", models: [m], general: true,\n"
    "      quality: -1, lanes: { interactive: any, background: dream } }\n"
    "  - { name: helper, kind: ollama, url: \"http://127.0.0.1\", models: [m], general: true,\n"
    "      quality: -2, lanes: { realtime: awake, background: [rest, 05:30-06:30] } }\n"
    "routes:\n"
    "  - { name: all, to: { by: latency } }\n"
    "  - { name: now, to: { by: latency }, on_demand: true }\n";

static struct hw_snapshot *snapshot;
static struct hw_backend_view views[8];
static struct hw_candidate out[8];

static void
load(const char *yaml)
{
    struct hw_diags diags = {0};

    if (hw_config_parse("/tmp/t.yaml", yaml, strlen(yaml), &snapshot, &diags) != 0)
        fail_msg("%u: %s", diags.items[0].line, diags.items[0].msg);
    hw_diags_free(&diags);
    for (size_t i = 0; i < snapshot->backend_count; i++) {
        hw_rank_prior(&snapshot->backends[i], &views[i]);
        views[i].up = true;
    }
}

static int
setup(void **state)
{
    (void)state;
    memset(views, 0, sizeof(views));
    load(fleet);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    hw_snapshot_unref(snapshot);
    return 0;
}

/* "2026-03-29 00:59" of Greenwich. */
static int64_t
utc(const char *text)
{
    struct tm tm = {0};

    assert_non_null(strptime(text, "%Y-%m-%d %H:%M", &tm));
    return timegm(&tm);
}

static struct hw_traits
traits_at(const char *time, enum hw_lane lane)
{
    struct hw_traits traits = traits_of("hello");

    traits.now_s = utc(time);
    traits.lane = lane;
    traits.has_lane = true;
    return traits;
}

static size_t
rank(const struct hw_traits *traits, size_t route, char *names, size_t size)
{
    struct hw_rank_input input = {
        .snapshot = snapshot, .route = &snapshot->routes[route], .traits = traits, .views = views};
    size_t count = hw_rank(&input, out), len = 0;

    names[0] = '\0';
    for (size_t i = 0; i < count; i++)
        len += (size_t)snprintf(names + len, size - len, "%s%s", i > 0 ? " " : "",
                                snapshot->backends[out[i].backend].name);
    return count;
}

static void
the_clock_decides(void **state)
{
    static const struct {
        const char *utc;
        enum hw_lane lane;
        const char *takers;
    } table[] = {
        /* Winter: Berlin is an hour ahead. */
        {"2026-01-15 11:00", HW_LANE_REALTIME, "live helper"},
        {"2026-01-15 11:00", HW_LANE_INTERACTIVE, "live dreamer"},
        {"2026-01-15 11:00", HW_LANE_BACKGROUND, ""},
        {"2026-01-15 20:59", HW_LANE_REALTIME, "live helper"},
        {"2026-01-15 21:00", HW_LANE_REALTIME, "live"}, /* 22:00 */
        {"2026-01-15 20:59", HW_LANE_BACKGROUND, ""},
        {"2026-01-15 21:00", HW_LANE_BACKGROUND, "helper"}, /* rest, across midnight */
        {"2026-01-16 00:59", HW_LANE_BACKGROUND, "helper"},
        {"2026-01-16 01:00", HW_LANE_BACKGROUND, "dreamer"}, /* 02:00 */
        {"2026-01-16 04:30", HW_LANE_BACKGROUND, "dreamer helper"},
        {"2026-01-16 05:00", HW_LANE_BACKGROUND, "helper"}, /* 06:00 */
        {"2026-01-16 05:30", HW_LANE_BACKGROUND, ""},
        /* Spring forward: after 01:59 comes 03:00, and dream begins there. */
        {"2026-03-29 00:59", HW_LANE_BACKGROUND, "helper"},
        {"2026-03-29 01:00", HW_LANE_BACKGROUND, "dreamer"},
        {"2026-03-29 03:59", HW_LANE_BACKGROUND, "dreamer helper"},
        {"2026-03-29 04:00", HW_LANE_BACKGROUND, "helper"},
        /* Back: 02:00 comes twice, and dream lasts five hours. */
        {"2026-10-24 23:59", HW_LANE_BACKGROUND, "helper"}, /* 01:59 */
        {"2026-10-25 00:00", HW_LANE_BACKGROUND, "dreamer"},
        {"2026-10-25 01:00", HW_LANE_BACKGROUND, "dreamer"},
        {"2026-10-25 04:59", HW_LANE_BACKGROUND, "dreamer helper"},
        {"2026-10-25 05:00", HW_LANE_BACKGROUND, "helper"},
    };
    char names[128];

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct hw_traits traits = traits_at(table[i].utc, table[i].lane);
        rank(&traits, 0, names, sizeof(names));
        if (strcmp(names, table[i].takers) != 0)
            fail_msg("%s %s: wanted '%s', got '%s'", table[i].utc, hw_lane_names[table[i].lane],
                     table[i].takers, names);
    }
}

static void
on_demand_knows_no_hours(void **state)
{
    struct hw_traits traits = traits_at("2026-01-15 13:00", HW_LANE_BACKGROUND);
    char names[128];

    (void)state;
    assert_int_equal(rank(&traits, 0, names, sizeof(names)), 0);
    rank(&traits, 1, names, sizeof(names));
    assert_string_equal(names, "dreamer helper"); /* but it knows lanes */
}

static const char *
why(const struct hw_traits *traits, const char *backend)
{
    static char text[256];
    int b = hw_snapshot_backend(snapshot, backend, strlen(backend));

    for (size_t i = 0; i < snapshot->backend_count; i++)
        if (out[i].backend == (uint32_t)b)
            hw_rank_why(snapshot, traits, &out[i], text, sizeof(text));
    return text;
}

static void
says_why_and_until_when(void **state)
{
    struct hw_traits traits = traits_at("2026-01-15 11:00", HW_LANE_BACKGROUND);
    char names[128];

    (void)state;
    assert_int_equal(rank(&traits, 0, names, sizeof(names)), 0);
    assert_string_equal(why(&traits, "live"), "takes only realtime and interactive");
    assert_string_equal(why(&traits, "dreamer"),
                        "takes background within dream (02-06), next in 14 h 0 min");
    assert_string_equal(why(&traits, "helper"),
                        "takes background within rest (22:00-02:00), 05:30-06:30, next in 10 h 0 "
                        "min");
    assert_int_equal(hw_rank_opens_in(snapshot, &traits, out, 0), 10 * 3600);
    views[1].up = false;
    rank(&traits, 0, names, sizeof(names));
    assert_string_equal(why(&traits, "dreamer"), "down"); /* no promise for that one */
}

/* The hour that is left out, and the one that comes twice. */
static void
opens_across_clock_changes(void **state)
{
    const struct hw_conf_lane *dream = &snapshot->backends[1].lanes[HW_LANE_BACKGROUND];
    const struct hw_zone *zone = snapshot->zone;

    (void)state;
    assert_int_equal(hw_lane_opens_in(dream, zone, utc("2026-03-28 23:00")), 2 * 3600);
    assert_int_equal(hw_lane_opens_in(dream, zone, utc("2026-10-24 22:00")), 2 * 3600);
    assert_int_equal(hw_lane_opens_in(dream, zone, utc("2026-10-25 01:30")), 0);
    assert_int_equal(hw_lane_opens_in(dream, zone, utc("2026-01-15 00:59") + 1), 59);
    struct hw_conf_hours window = {.begin = 130, .end = 170}; /* 02:10-02:50: skipped once */
    struct hw_conf_lane lane = {.timed = true, .hours = {&window, 1}};
    assert_int_equal(hw_lane_opens_in(&lane, zone, utc("2026-03-29 00:30")), 24 * 3600 - 20 * 60);
    lane.refused = true;
    assert_int_equal(hw_lane_opens_in(&lane, zone, utc("2026-03-29 00:30")), -1);
    /* From 01:30 in winter: 02:30 is not shown that day. */
    assert_int_equal(hw_clock_shows_in(zone, utc("2026-03-29 00:30"), -1, 150), 24 * 3600);
    assert_int_equal(hw_clock_shows_in(zone, utc("2026-03-29 00:30"), 0, 90), 0);
    assert_int_equal(hw_clock_shows_in(zone, utc("2026-03-29 00:30"), 1, 90), 23 * 3600);
}

static void
seconds_in_words(void **state)
{
    char text[32];

    (void)state;
    hw_say_seconds(119, text, sizeof(text));
    assert_string_equal(text, "119 s");
    hw_say_seconds(121, text, sizeof(text));
    assert_string_equal(text, "3 min");
    hw_say_seconds(3600 + 61, text, sizeof(text));
    assert_string_equal(text, "1 h 2 min");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_clock_decides, setup, teardown),
        cmocka_unit_test_setup_teardown(on_demand_knows_no_hours, setup, teardown),
        cmocka_unit_test_setup_teardown(says_why_and_until_when, setup, teardown),
        cmocka_unit_test_setup_teardown(opens_across_clock_changes, setup, teardown),
        cmocka_unit_test(seconds_in_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
