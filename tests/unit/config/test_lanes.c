/* Devices, their shares, and who takes which lane when. */
#include "help.h"

#define DEVICES "devices: { gpu0: { class: cuda, memory: 12GiB }, gpu1: { class: cuda } }\n"
#define OLLAMA(name, rest)                                                                         \
    "  - { name: " name                                                                            \
    ", kind: ollama, url: \"http://127.0.0.1\", models: [m], general: true" rest " }\n"

static void
devices(void **state)
{
    struct hw_snapshot *s = load("backends:\n" OLLAMA("live", ", device: gpu0") OLLAMA(
        "dream", ", device: gpu0") OLLAMA("plain", ", device: mps") DEVICES);
    (void)state;
    assert_non_null(s);
    assert_string_equal(messages, "");
    assert_int_equal(s->device_count, 2);
    assert_string_equal(s->devices[0].name, "gpu0");
    assert_int_equal(s->devices[0].class, HW_DEVICE_CUDA);
    assert_int_equal(s->devices[0].memory, UINT64_C(12) << 30);
    assert_int_equal(s->devices[1].memory, 0);
    assert_ptr_equal(s->backends[0].on, &s->devices[0]);
    assert_ptr_equal(s->backends[1].on, &s->devices[0]);
    assert_int_equal(s->backends[1].device, HW_DEVICE_CUDA);
    assert_null(s->backends[2].on);
    assert_int_equal(s->backends[2].device, HW_DEVICE_MPS);
    hw_snapshot_unref(s);
}

static void
expect_mistake(const char *yaml, const char *line)
{
    struct hw_snapshot *snapshot = load(yaml);
    const char *at = strstr(messages, line);

    if (at == NULL || at[strlen(line)] != '\n' || (snapshot == NULL) != !!strstr(line, ": error: "))
        fail_msg("wanted: %s\ngot: %s", line, messages);
    hw_snapshot_unref(snapshot);
}

static void
device_mistakes(void **state)
{
    (void)state;
    expect_mistake("devices: { gpu0: { class: cuda } }\nbackends:\n" OLLAMA("a", ", device: gpu1"),
                   "t.yaml:3:91: error: backends[0].device: unknown device 'gpu1'; did you mean "
                   "'gpu0'? (known: cpu, mps, cuda, gpu0)");
    expect_mistake(BASE "devices: { cuda: { class: cuda } }\n",
                   "t.yaml:5:12: error: devices.cuda: 'cuda' is a class of devices: give this one "
                   "a name");
    expect_mistake(BASE "devices: { gpu0: { memory: 12GiB } }\n",
                   "t.yaml:5:18: error: devices.gpu0: the key 'class' is missing");
    expect_mistake(BASE "devices: { gpu0: { class: cuda, memory: 12 } }\n",
                   "t.yaml:5:41: error: devices.gpu0.memory: must be between 1048576 and "
                   "1125899906842624 bytes, got '12'");
    expect_mistake(BASE "devices: [gpu0]\n",
                   "t.yaml:5:10: error: devices: expected a mapping such as { key: value }, got a "
                   "list");
}

static void
device_shares(void **state)
{
    struct hw_snapshot *s =
        load(BASE "devices: { gpu0: { class: cuda, max_inflight: 8, shares: { live: 50%, "
                  "background: 20%, red: 12.5% } }, gpu1: { class: cuda, max_inflight: 2 } }\n");
    (void)state;
    assert_non_null(s);
    assert_string_equal(messages, "");
    const struct hw_conf_device *device = &s->devices[0];
    assert_int_equal(device->share_count, 3);
    assert_int_equal(device->shares[0].lane_mask, 3);
    assert_int_equal(device->shares[0].slots, 4);
    assert_int_equal(device->shares[1].lane_mask, 4);
    assert_int_equal(device->shares[1].slots, 1);
    assert_int_equal(device->shares[2].role, 0);
    assert_int_equal(device->shares[2].slots, 1);
    assert_int_equal(device->open_slots, 2); /* what is left over of the parts, too */
    assert_int_equal(s->devices[1].open_slots, 2);
    assert_int_not_equal(s->devices[1].digest, device->digest);
    hw_snapshot_unref(s);
#define GPU(rest) BASE "devices: { gpu: { class: cuda, " rest " } }\n"
    expect_mistake(GPU("shares: { live: 50% }"),
                   "t.yaml:5:32: error: devices.gpu: shares are parts of max_inflight: give that "
                   "too");
    expect_mistake(GPU("max_inflight: 4, shares: { live: 80%, red: 30% }"),
                   "t.yaml:5:49: error: devices.gpu: the shares make 110%: more than there is");
    expect_mistake(GPU("max_inflight: 4, shares: { live: 20% }"),
                   "t.yaml:5:65: error: devices.gpu: this share of max_inflight: 4 is less than "
                   "one query");
    expect_mistake(GPU("max_inflight: 4, shares: { live: half }"),
                   "t.yaml:5:65: error: devices.gpu.shares.live: expected a share such as 25%, got "
                   "'half'");
    expect_mistake(GPU("max_inflight: 4, shares: { lvie: 25% }"),
                   "t.yaml:5:59: error: devices.gpu.shares.lvie: unknown lane or role 'lvie'; did "
                   "you mean 'live'?");
    expect_mistake(GPU("max_inflight: 4, shares: { realtime: 75%, background: 25% }"),
                   "t.yaml:5:57: warning: devices.gpu: the shares leave nothing open and "
                   "interactive has none: its queries find no room on this device");
}

static void
lanes_and_hours(void **state)
{
    struct hw_snapshot *s = load("schedule: { awake: [08-12, 13-18] }\nbackends:\n" OLLAMA("a", "")
                                     OLLAMA("b", ", lanes: background")
                                         OLLAMA("c", ", lanes: { realtime: any, background: [rest, "
                                                     "12:15-12:45] }"));
    (void)state;
    assert_non_null(s);
    assert_string_equal(messages, "");
    assert_true(s->timed);
    assert_int_equal(s->schedule.dream.count, 1);
    for (size_t i = 0; i < HW_LANE_COUNT; i++) {
        assert_false(s->backends[0].lanes[i].refused || s->backends[0].lanes[i].timed);
        assert_int_equal(s->backends[1].lanes[i].refused, i != HW_LANE_BACKGROUND);
    }
    const struct hw_conf_lane *lanes = s->backends[2].lanes;
    assert_false(lanes[HW_LANE_REALTIME].refused || lanes[HW_LANE_REALTIME].timed);
    assert_true(lanes[HW_LANE_INTERACTIVE].refused);
    const struct hw_conf_windows *hours = &lanes[HW_LANE_BACKGROUND].hours;
    static const char *const expected[] = {"rest (06:00-08:00)", "rest (12:00-13:00)",
                                           "rest (18:00-02:00)", "12:15-12:45"};
    assert_int_equal(hours->count, 4);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(hours->items[i].text, expected[i]);
    assert_int_equal(hours->items[2].begin, 18 * 60);
    assert_int_equal(hours->items[2].end, 2 * 60);
    hw_snapshot_unref(s);
    s = load(BASE "routes: [{ name: r, when: { hours: [dream, 12-13] }, on_demand: true }]\n");
    assert_non_null(s);
    assert_false(s->timed);
    assert_true(s->routes[0].on_demand);
    assert_int_equal(s->routes[0].when.hours_count, 2);
    assert_string_equal(s->routes[0].when.hours[0].text, "dream (02-06)");
    hw_snapshot_unref(s);
}

static void
lane_mistakes(void **state)
{
    (void)state;
    expect_mistake("backends:\n" OLLAMA("a", ", lanes: [realtme]"),
                   "t.yaml:2:91: error: backends[0].lanes[0]: unknown lanes 'realtme'; did you "
                   "mean 'realtime'? (known: realtime, interactive, background)");
    expect_mistake("backends:\n" OLLAMA("a", ", lanes: []"),
                   "t.yaml:2:90: error: backends[0].lanes: name at least one lane, or leave the "
                   "key out to take all");
    expect_mistake("backends:\n" OLLAMA("a", ", lanes: { dream: any }"),
                   "t.yaml:2:92: error: backends[0].lanes: unknown key 'dream'; the keys here are "
                   "realtime, interactive, background");
    expect_mistake("backends:\n" OLLAMA("a", ", lanes: { background: night }"),
                   "t.yaml:2:104: error: backends[0].lanes.background: expected hours such as "
                   "22-06 or 22:30-06:15, or awake, dream or rest, got 'night'");
    expect_mistake("backends:\n" OLLAMA("a", ", lanes: { background: [] }"),
                   "t.yaml:2:104: error: backends[0].lanes.background: list the hours, or write "
                   "any");
    expect_mistake(BASE "schedule: { awake: [] }\n",
                   "t.yaml:5:20: error: schedule.awake: list at least one window, such as 22-06");
    expect_mistake(BASE "schedule: { dream: awake }\n",
                   "t.yaml:5:20: error: schedule.dream: expected hours such as 22-06 or "
                   "22:30-06:15, got 'awake'");
    expect_mistake(
        "schedule: { awake: 00-24 }\nbackends:\n" OLLAMA("a", ", lanes: { background: rest }"),
        "t.yaml:3:104: error: backends[0].lanes.background: rest is no time: awake and "
        "dream fill the day");
}

#define ROUTE(rest) BASE "routes:\n  - { name: r, to: { role: red }" rest " }\n"

static void
overflow(void **state)
{
    struct hw_snapshot *s = load(
        ROUTE(", overflow: { backend: a, by: priority }, max_wait: 2s, fallback: { idle: true, "
              "last_resort: [cpu, mps] }"));
    (void)state;
    assert_non_null(s);
    struct hw_conf_route *route = &s->routes[0];
    assert_true(route->overflow.present);
    assert_int_equal(route->overflow.by, HW_BY_PRIORITY);
    assert_int_equal(route->overflow.backend_mask[0], 1);
    assert_int_equal(route->max_wait, 2000);
    assert_false(route->overflow_waits);
    assert_true(route->fallback.idle);
    assert_int_equal(route->fallback.last_mask, 1 << HW_DEVICE_CPU | 1 << HW_DEVICE_MPS);
    uint64_t digest = route->digest;
    hw_snapshot_unref(s);
    s = load(ROUTE(", overflow: wait"));
    assert_true(s->routes[0].overflow_waits && !s->routes[0].overflow.present);
    assert_int_not_equal(s->routes[0].digest, digest);
    hw_snapshot_unref(s);
    s = load(ROUTE(", overflow: fallback"));
    assert_false(s->routes[0].overflow_waits || s->routes[0].overflow.present);
    hw_snapshot_unref(s);
    expect_mistake(ROUTE(", overflow: wiat"),
                   "t.yaml:6:45: error: routes[0].overflow: unknown overflow 'wiat'; did you mean "
                   "'wait'? (known: fallback, wait)");
    expect_mistake(ROUTE(", overflow: [a]"),
                   "t.yaml:6:45: error: routes[0].overflow: expected fallback, wait, or a mapping "
                   "that selects backends, got a list");
    expect_mistake(
        ROUTE(", overflow: { backend: c }"),
        "t.yaml:6:56: error: routes[0].overflow.backend: unknown backend 'c'; known: a, b");
    expect_mistake(ROUTE(", overflow: { device: cuda }"),
                   "t.yaml:6:5: warning: routes[0]: the overflow of route 'r' selects no backend");
}

static void
lanes_that_nobody_takes(void **state)
{
    (void)state;
#define FLEET                                                                                      \
    "backends:\n" OLLAMA("a", ", lanes: [realtime]")                                               \
        OLLAMA("b", ", lanes: { interactive: any, background: dream }") "routes:\n"
    expect_mistake(FLEET "- { name: r, to: { backend: a }, lane: background }\n- { name: s }\n",
                   "t.yaml:5:3: warning: routes[0]: no backend of route 'r' takes background "
                   "queries");
    expect_mistake(FLEET "- { name: r, when: { lane: background, hours: 12-14 } }\n- { name: s }\n",
                   "t.yaml:5:3: warning: routes[0]: the backends of route 'r' take background at "
                   "other hours than it has");
    struct hw_snapshot *s = load(
        FLEET "- { name: r, when: { lane: background, hours: 05-14 } }\n"
              "- { name: now, when: { lane: background, hours: 15-16 }, on_demand: true }\n"
              "- { name: t, to: { backend: a }, lane: background, fallback: { backend: b } }\n");
    assert_string_equal(messages, "");
    hw_snapshot_unref(s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(devices),
        cmocka_unit_test(device_mistakes),
        cmocka_unit_test(device_shares),
        cmocka_unit_test(lanes_and_hours),
        cmocka_unit_test(lane_mistakes),
        cmocka_unit_test(overflow),
        cmocka_unit_test(lanes_that_nobody_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
