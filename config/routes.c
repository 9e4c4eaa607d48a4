/* config/routes.c - the rules of the policy: when, to, fallback. */
#include <string.h>

#include "config/scalar.h"
#include "config/sections.h"

#define TEXT_BYTES 128
#define ENTRIES_MAX 256

/* Sets the list, unless one of its words is none of key->words. */
static void
set_known_texts(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
                void *field)
{
    size_t errors_before = load->diags->errors;
    uint32_t mask = 0;
    hw_set_words(load, node, key, &mask);
    if (load->diags->errors == errors_before)
        hw_set_texts(load, node, key, field);
}

static void
add_agent(struct hw_load *load, const struct hw_node *entry, const struct hw_key *key, void *field)
{
    struct hw_conf_list *list = field;
    const char *const *words = hw_agent_words(load);
    (void)key;
    if (hw_scalar_word(entry->text, words) < 0)
        hw_conf_report_unknown(load, entry, "agent", words);
    else
        list->items[list->count++] = hw_conf_arena_strdup(load->arena, entry->text);
}

static void
set_agents(struct hw_load *load, const struct hw_node *node, const struct hw_key *key, void *field)
{
    hw_start_list(load, node, key, field);
    hw_each_entry(load, node, key, field, add_agent);
}

static void
set_range(struct hw_load *load, const struct hw_node *node, const struct hw_key *key, void *field)
{
    static const char example[] = "a range such as \">8192\", \"<=100\" or \"10..20\"";
    (void)key;
    if (hw_want_scalar(load, node, example) && !hw_scalar_range(node->text, field))
        hw_conf_report(load, node, "expected %s, got '%s'", example, hw_conf_shown(node->raw));
}

static const char *const dialects[] = {"openai", "ollama", "anthropic", "bdh", NULL};

static const struct hw_key keys_when[] = {
    {"role", hw_set_role_mask, HW_FIELD(hw_conf_when, role_mask), .max = HW_MAX_ROLES},
    {"lane", hw_set_words, HW_FIELD(hw_conf_when, lane_mask), .max = HW_LANE_COUNT,
     .words = hw_lane_names},
    {"agent", set_agents, HW_FIELD(hw_conf_when, agent), .max = ENTRIES_MAX},
    {"model", hw_set_texts, HW_FIELD(hw_conf_when, model), .max = ENTRIES_MAX,
     .item_max = TEXT_BYTES},
    {"dialect", set_known_texts, HW_FIELD(hw_conf_when, dialect), .max = 4, .item_max = TEXT_BYTES,
     .words = dialects},
    {"keyword", hw_set_keywords, HW_FIELD(hw_conf_when, keyword), .max = ENTRIES_MAX},
    {"prompt_tokens", set_range, HW_FIELD(hw_conf_when, prompt_tokens)},
    {.name = NULL},
};

static void
set_when(struct hw_load *load, const struct hw_node *node, const struct hw_key *key, void *field)
{
    struct hw_conf_when *when = field;
    hw_set_section(load, node, key, field);
    /* `when: {}` or an empty list within holds for all queries, as if it were not there. */
    when->present = when->role_mask != 0 || when->lane_mask != 0 || when->agent.count > 0 ||
                    when->model.count > 0 || when->dialect.count > 0 || when->keyword.count > 0 ||
                    when->prompt_tokens.present;
}

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
    {"kind", set_kind, .offset = 0, .words = hw_kind_names},
    {"device", hw_set_words, HW_FIELD(hw_conf_selector, device_mask), .max = HW_DEVICE_COUNT,
     .words = hw_device_names},
    {"backend", set_backends, .offset = 0, .max = HW_MAX_BACKENDS},
    {"model", hw_set_text, HW_FIELD(hw_conf_selector, model), .max = TEXT_BYTES},
    {"by", hw_set_word, HW_FIELD(hw_conf_selector, by), .fallback = "latency",
     .words = hw_by_names},
    {.name = NULL},
};

static void
set_fallback(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
             void *field)
{
    struct hw_conf_selector *selector = field;
    selector->present = true;
    hw_set_section(load, node, key, field);
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
    {"when", set_when, HW_FIELD(hw_conf_route, when), .keys = keys_when},
    {"to", hw_set_section, HW_FIELD(hw_conf_route, to), .keys = keys_selector},
    {"fallback", set_fallback, HW_FIELD(hw_conf_route, fallback), .keys = keys_selector},
    {"lane", set_lane, .offset = 0, .words = hw_lane_names},
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
