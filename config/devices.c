/* config/devices.c - the machines' devices by name, for what several backends have in common: one
 * memory, one place to be busy.
 *
 * A backend's `device` is a class (cuda) or one of these names, and then of its class. */
#include <string.h>

#include "config/scalar.h"
#include "config/sections.h"

static const struct hw_key keys_device[] = {
    {"class", hw_set_word, HW_FIELD(hw_conf_device, class), .required = true,
     .words = hw_device_names},
    {"memory", hw_set_size, HW_FIELD(hw_conf_device, memory), .min = 1u << 20, .max = 1ull << 50},
    {.name = NULL},
};

void
hw_set_devices(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
               void *field)
{
    struct hw_snapshot *snapshot = field;
    if (!hw_want_map(load, node))
        return;
    if (node->count > key->max) {
        hw_conf_report(load, node, "at most %d devices, got %zu", HW_MAX_DEVICES, node->count);
        return;
    }
    hw_conf_report_duplicates(load, node);
    snapshot->devices = hw_conf_arena_array(load->arena, node->count, sizeof(*snapshot->devices));
    for (const struct hw_node *map = node->first; map != NULL; map = map->next) {
        struct hw_conf_device *device = &snapshot->devices[snapshot->device_count];
        size_t mark = hw_conf_path_push(load, map->key, 0);
        if (hw_check_name(load, map, map->key, true) &&
            hw_scalar_word(map->key, hw_device_names) >= 0)
            hw_conf_report_key(load, map, "'%s' is a class of devices: give this one a name",
                               map->key);
        device->name = hw_conf_arena_strdup(load->arena, map->key);
        device->line = map->key_line;
        hw_schema_read(load, map, keys_device, device);
        snapshot->device_count++;
        hw_conf_path_pop(load, mark);
    }
}

/* The classes, then the names. */
static const char *const *
device_words(struct hw_load *load)
{
    const struct hw_snapshot *snapshot = load->snapshot;
    const char **words = hw_conf_arena_array(
        load->arena, HW_DEVICE_COUNT + snapshot->device_count + 1, sizeof(*words));
    memcpy(words, hw_device_names, HW_DEVICE_COUNT * sizeof(*words));
    for (size_t i = 0; i < snapshot->device_count; i++)
        words[HW_DEVICE_COUNT + i] = snapshot->devices[i].name;
    return words;
}

void
hw_set_device(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
              void *field)
{
    struct hw_conf_backend *backend = field;
    if (!hw_want_scalar(load, node, "a device such as cuda"))
        return;
    int class = hw_scalar_word(node->text, hw_device_names);
    if (class >= 0) {
        backend->device = (enum hw_device) class;
        backend->on = NULL;
        return;
    }
    for (size_t i = 0; i < load->snapshot->device_count; i++) {
        const struct hw_conf_device *device = &load->snapshot->devices[i];
        if (strcmp(device->name, node->text) == 0) {
            backend->on = device;
            backend->device = device->class;
            return;
        }
    }
    hw_conf_report_unknown(load, node, key->name, device_words(load));
}
