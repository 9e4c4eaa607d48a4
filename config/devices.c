/* config/devices.c - the machines' devices by name, for what several backends have in common: one
 * memory, one place to be busy.
 *
 * A backend's `device` is a class (cuda) or one of these names, and then of its class. */
#include <string.h>

#include "config/scalar.h"
#include "config/sections.h"

#define ALMOST_ONE 0.05 /* 33% of three queries is one */

/* Who may hold a share: lanes, `live`, roles. */
static bool
find_holder(struct hw_load *load, const struct hw_node *entry, struct hw_conf_share *share)
{
    const struct hw_snapshot *snapshot = load->snapshot;
    int lane = hw_scalar_word(entry->key, hw_lane_names);
    share->role = -1;
    if (strcmp(entry->key, "live") == 0)
        share->lane_mask = 1u << HW_LANE_REALTIME | 1u << HW_LANE_INTERACTIVE;
    else if (lane >= 0)
        share->lane_mask = 1u << lane;
    else
        share->role = hw_snapshot_role(snapshot, entry->key, strlen(entry->key));
    if (share->lane_mask != 0 || share->role >= 0)
        return true;
    const char **words =
        hw_conf_arena_array(load->arena, HW_LANE_COUNT + snapshot->role_count + 2, sizeof(*words));
    memcpy(words, hw_lane_names, HW_LANE_COUNT * sizeof(*words));
    words[HW_LANE_COUNT] = "live";
    for (size_t i = 0; i < snapshot->role_count; i++)
        words[HW_LANE_COUNT + 1 + i] = snapshot->roles[i].name;
    struct hw_node where = *entry; /* the key is what is wrong */
    where.text = where.raw = entry->key;
    where.line = entry->key_line;
    where.column = entry->key_column;
    hw_conf_report_unknown(load, &where, "lane or role", words);
    return false;
}

static void
set_shares(struct hw_load *load, const struct hw_node *node, const struct hw_key *key, void *field)
{
    struct hw_conf_device *device = field;
    if (!hw_want_named(load, node, key->max, "shares"))
        return;
    device->shares = hw_conf_arena_array(load->arena, node->count, sizeof(*device->shares));
    for (const struct hw_node *entry = node->first; entry != NULL; entry = entry->next) {
        struct hw_conf_share *share = &device->shares[device->share_count];
        size_t mark = hw_conf_path_push(load, entry->key, 0);
        share->name = hw_conf_arena_strdup(load->arena, entry->key);
        if (find_holder(load, entry, share) && hw_want_scalar(load, entry, "a share such as 25%")) {
            if (hw_scalar_percent(entry->text, &share->share))
                device->share_count++;
            else
                hw_conf_report(load, entry, "expected a share such as 25%%, got '%s'",
                               hw_conf_shown(entry->raw));
        }
        hw_conf_path_pop(load, mark);
    }
}

const struct hw_key hw_keys_device[] = {
    {"class", hw_set_word, HW_FIELD(hw_conf_device, class), .required = true,
     .words = hw_device_names},
    {"memory", hw_set_size, HW_FIELD(hw_conf_device, memory), .min = 1u << 20, .max = 1ull << 50},
    {"max_inflight", hw_set_count, HW_FIELD(hw_conf_device, max_inflight), .max = 100000},
    {"shares", set_shares, .offset = 0, .max = HW_MAX_SHARES, .shape = HW_SHAPE_NAMED_LISTS},
    {.name = NULL},
};

/* Slots of each share, whole ones; what is left over is open to all. */
static void
divide(struct hw_load *load, const struct hw_node *map, struct hw_conf_device *device)
{
    const struct hw_node *node = hw_node_find(map, "shares");
    double sum = 0;
    uint32_t taken = 0;
    if (device->max_inflight == 0) {
        hw_conf_report_key(load, node, "shares are parts of max_inflight: give that too");
        return;
    }
    for (size_t i = 0; i < device->share_count; i++) {
        struct hw_conf_share *share = &device->shares[i];
        share->slots = (uint32_t)(share->share * device->max_inflight + ALMOST_ONE);
        sum += share->share;
        taken += share->slots;
        if (share->slots == 0)
            hw_conf_report(load, hw_node_find(node, share->name),
                           "this share of max_inflight: %u is less than one query",
                           device->max_inflight);
    }
    if (sum > 1 + 1e-9 || taken > device->max_inflight)
        hw_conf_report_key(load, node, "the shares make %.0f%%: more than there is", sum * 100);
    else
        device->open_slots = device->max_inflight - taken;
}

/* With nothing left open, a lane without a share finds no room, ever. */
static void
warn_about_lanes(struct hw_load *load, const struct hw_node *map,
                 const struct hw_conf_device *device)
{
    uint32_t mask = 0;
    for (size_t i = 0; i < device->share_count; i++)
        mask |= device->shares[i].lane_mask;
    for (size_t i = 0; i < HW_LANE_COUNT; i++)
        if ((mask >> i & 1) == 0)
            hw_conf_warn(load, hw_node_find(map, "shares"),
                         "the shares leave nothing open and %s has none: its queries find no room "
                         "on this device",
                         hw_lane_names[i]);
}

static void
end_device(struct hw_load *load, const struct hw_node *map, struct hw_conf_device *device)
{
    device->open_slots = device->max_inflight;
    if (device->share_count > 0)
        divide(load, map, device);
    if (device->share_count > 0 && device->max_inflight > 0 && device->open_slots == 0)
        warn_about_lanes(load, map, device);
    device->digest = hw_conf_digest_number(HW_CONF_DIGEST_START, device->max_inflight);
    for (size_t i = 0; i < device->share_count; i++) {
        device->digest = hw_conf_digest_text(device->digest, device->shares[i].name);
        device->digest = hw_conf_digest_number(device->digest, device->shares[i].slots);
    }
}

void
hw_set_devices(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
               void *field)
{
    struct hw_snapshot *snapshot = field;
    if (!hw_want_named(load, node, key->max, "devices"))
        return;
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
        size_t errors_before = load->diags->errors;
        hw_schema_read(load, map, hw_keys_device, device);
        if (load->diags->errors == errors_before)
            end_device(load, map, device);
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
