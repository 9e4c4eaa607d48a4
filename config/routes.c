/* config/routes.c - the rules of the policy: when, to, fallback, shadow. */
#include <string.h>

#include "config/scalar.h"
#include "config/sections.h"

#define TEXT_BYTES 128

static void
set_kind(struct hw_load *load, const struct hw_node *node, const struct hw_key *key, void *field)
{
    struct hw_conf_selector *selector = field;
    selector->has_kind = true;
    hw_set_word(load, node, key, &selector->kind);
}

static void
set_selector_roles(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
                   void *field)
{
    struct hw_conf_selector *selector = field;
    if (node->kind == HW_NODE_SCALAR && strcmp(node->text, "same") == 0)
        selector->role_same = true;
    else
        hw_set_role_mask(load, node, key, &selector->role_mask);
}

static void
add_backend(struct hw_load *load, const struct hw_node *entry, const struct hw_key *key,
            void *field)
{
    struct hw_conf_selector *selector = field;
    (void)key;
    int found = hw_snapshot_backend(load->snapshot, entry->text, strlen(entry->text));
    if (found < 0) {
        hw_conf_report_unknown(load, entry, "backend", hw_backend_words(load));
        return;
    }
    size_t i = (size_t)found;
    selector->backend_mask[i / 64] |= UINT64_C(1) << i % 64;
    selector->backends.items[selector->backends.count++] =
        hw_conf_arena_strdup(load->arena, entry->text);
}

static void
set_backends(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
             void *field)
{
    struct hw_conf_selector *selector = field;
    size_t words = (load->snapshot->backend_count + 63) / 64;
    selector->backend_mask = hw_conf_arena_array(load->arena, words, sizeof(uint64_t));
    hw_start_list(load, node, key, &selector->backends);
    hw_each_entry(load, node, key, field, add_backend);
    if (selector->backends.count == 0)
        selector->backend_mask = NULL;
}

static const struct hw_key keys_selector[] = {
    {"role", set_selector_roles, .offset = 0, .max = HW_MAX_ROLES},
    {"kind", set_kind, .offset = 0, .words = hw_kind_names, .shape = HW_SHAPE_SCALAR},
    {"device", hw_set_words, HW_FIELD(hw_conf_selector, device_mask), .max = HW_DEVICE_COUNT,
     .words = hw_device_names},
    {"backend", set_backends, .offset = 0, .max = HW_MAX_BACKENDS},
    {"model", hw_set_text, HW_FIELD(hw_conf_selector, model), .max = TEXT_BYTES},
    {"by", hw_set_word, HW_FIELD(hw_conf_selector, by), .fallback = "latency",
     .words = hw_by_names},
    {"idle", hw_set_bool, HW_FIELD(hw_conf_selector, idle)},
    {"last_resort", hw_set_words, HW_FIELD(hw_conf_selector, last_mask), .max = HW_DEVICE_COUNT,
     .words = hw_device_names},
    {.name = NULL},
};

/* A selector that need not be there. */
static void
set_selector(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
             void *field)
{
    struct hw_conf_selector *selector = field;
    selector->present = true;
    hw_set_section(load, node, key, field);
}

static const struct hw_key keys_shadow[] = {
    {"to", set_selector, HW_FIELD(hw_conf_shadow, to), .keys = keys_selector, .required = true},
    {"share", hw_set_percent, HW_FIELD(hw_conf_shadow, share), .fallback = "100%", .max = 100,
     .shape = HW_SHAPE_SCALAR, .pattern = HW_PERCENT_PATTERN},
    {"max_inflight", hw_set_count, HW_FIELD(hw_conf_shadow, max_inflight), .fallback = "8",
     .min = 1, .max = 1000},
    {.name = NULL},
};

static const char *const overflow_words[] = {"fallback", "wait", NULL};

/* A word, or backends of its own. */
static void
set_overflow(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
             void *field)
{
    struct hw_conf_route *route = field;
    if (node->kind == HW_NODE_MAP) {
        route->overflow.present = true;
        hw_set_section(load, node, key, &route->overflow);
        return;
    }
    if (!hw_want_scalar(load, node, "fallback, wait, or a mapping that selects backends"))
        return;
    int word = hw_scalar_word(node->text, key->words);
    if (word < 0)
        hw_conf_report_unknown(load, node, key->name, key->words);
    route->overflow_waits = word == 1;
}

static void
set_lane(struct hw_load *load, const struct hw_node *node, const struct hw_key *key, void *field)
{
    struct hw_conf_route *route = field;
    route->has_lane = true;
    hw_set_word(load, node, key, &route->lane);
}

static const struct hw_key keys_route[] = {
    {"name", hw_set_name, HW_FIELD(hw_conf_route, name), .required = true},
    {"when", hw_set_when, HW_FIELD(hw_conf_route, when), .keys = hw_keys_when},
    {"to", hw_set_section, HW_FIELD(hw_conf_route, to), .keys = keys_selector},
    {"fallback", set_selector, HW_FIELD(hw_conf_route, fallback), .keys = keys_selector},
    {"overflow", set_overflow, .offset = 0, .keys = keys_selector,
     .shape = HW_SHAPE_LIST_OR_SECTION, .words = overflow_words},
    {"shadow", hw_set_section, HW_FIELD(hw_conf_route, shadow), .keys = keys_shadow},
    {"max_wait", hw_set_duration, HW_FIELD(hw_conf_route, max_wait), .max = 24u * 3600 * 1000},
    {"lane", set_lane, .offset = 0, .words = hw_lane_names, .shape = HW_SHAPE_SCALAR},
    {"on_demand", hw_set_bool, HW_FIELD(hw_conf_route, on_demand)},
    {"strict", hw_set_bool, HW_FIELD(hw_conf_route, strict)},
    {"cache", hw_set_word, HW_FIELD(hw_conf_route, cache), .words = hw_keep_names},
    {.name = NULL},
};

static uint64_t
digest_selector(uint64_t digest, const struct hw_conf_selector *selector)
{
    digest = hw_conf_digest_number(digest, selector->present);
    digest = hw_conf_digest_number(digest, selector->has_kind);
    digest = hw_conf_digest_number(digest, selector->kind);
    digest = hw_conf_digest_number(digest, selector->device_mask);
    digest = hw_conf_digest_number(digest, selector->role_same);
    digest = hw_conf_digest_number(digest, selector->role_mask);
    digest = hw_conf_digest_number(digest, selector->backends.count);
    for (size_t i = 0; i < selector->backends.count; i++)
        digest = hw_conf_digest_text(digest, selector->backends.items[i]);
    digest = hw_conf_digest_text(digest, selector->model);
    return hw_conf_digest_number(digest, selector->by);
}

static uint64_t
digest_route(const struct hw_conf_route *route)
{
    uint64_t digest = digest_selector(HW_CONF_DIGEST_START, &route->to);
    digest = digest_selector(digest, &route->overflow);
    digest = digest_selector(digest, &route->fallback);
    return hw_conf_digest_number(digest, route->cache);
}

static void
begin_route(struct hw_load *load, void *item)
{
    struct hw_conf_route *route = item;
    route->cache = load->snapshot->cache.keep;
    route->to.present = true; /* no `to` is a `to` without conditions */
}

static void
end_route(struct hw_load *load, const struct hw_node *map, void *item)
{
    struct hw_conf_route *route = item;
    (void)load;
    route->line = map->line;
    route->column = map->column;
    route->digest = digest_route(route);
}

const struct hw_records hw_records_routes = {
    .what = "route",
    .keys = keys_route,
    .item_size = sizeof(struct hw_conf_route),
    .count_offset = offsetof(struct hw_snapshot, route_count),
    .begin = begin_route,
    .end = end_route,
};

void
hw_add_default_route(struct hw_load *load)
{
    struct hw_conf_route *route = hw_conf_arena_alloc(load->arena, sizeof(*route));
    begin_route(load, route);
    route->name = hw_conf_arena_strdup(load->arena, "default");
    route->digest = digest_route(route);
    load->snapshot->routes = route;
    load->snapshot->route_count = 1;
}

bool
hw_conf_selects(const struct hw_conf_selector *selector, uint64_t same_role_mask,
                const struct hw_conf_backend *backend, size_t i)
{
    uint64_t roles = selector->role_same ? same_role_mask : selector->role_mask;
    if (selector->has_kind && selector->kind != backend->kind)
        return false;
    if (selector->device_mask != 0 && (selector->device_mask >> backend->device & 1) == 0)
        return false;
    if (selector->backend_mask != NULL && (selector->backend_mask[i / 64] >> i % 64 & 1) == 0)
        return false;
    if (roles != 0 && (roles & backend->role_mask) == 0)
        return false;
    return selector->model == NULL || hw_conf_has_model(backend, selector->model);
}

bool
hw_conf_is_named_by(const struct hw_conf_selector *selector, const struct hw_conf_backend *backend,
                    size_t i)
{
    bool conditions = selector->has_kind || selector->device_mask != 0 ||
                      selector->role_mask != 0 || selector->backend_mask != NULL ||
                      selector->model != NULL;
    return selector->present && conditions && hw_conf_selects(selector, 0, backend, i);
}
