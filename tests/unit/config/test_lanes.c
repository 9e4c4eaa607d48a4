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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(devices),
        cmocka_unit_test(device_mistakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
