/* config/check_routes.c - warnings: routes that never match, that lead nowhere, and keywords that
 * two roles claim. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/imply.h"
#include "config/sections.h"
#include "hatchway/assert.h"

/* Comparisons of conditions for one load: measured 13 ms of an EPYC core for all of them. A
 * thousand routes with six conditions each take a third. */
#define STEPS_MAX (3u << 20)

static bool
selects_any(const struct hw_snapshot *snapshot, const struct hw_conf_selector *selector,
            uint64_t same_role_mask)
{
    for (size_t i = 0; i < snapshot->backend_count; i++)
        if (hw_conf_selects(selector, same_role_mask, &snapshot->backends[i], i))
            return true;
    return false;
}

/* What earlier routes take by themselves, one kind of condition at a time: together they may take
 * all that a later one asks for. */
struct taken {
    uint64_t roles;
    uint32_t lanes;
    struct hw_conf_range *ranges; /* apart from each other by more than one, in no order */
    size_t range_count;
};

static bool
has_conditions(const struct hw_conf_when *when)
{
    static const struct hw_conf_when none;
    struct hw_imply imply = {.steps_left = 1000};
    return !hw_when_implies(&imply, &none, when);
}

static void
add_range(struct taken *taken, struct hw_conf_range range)
{
    for (size_t i = 0; i < taken->range_count;) {
        struct hw_conf_range *other = &taken->ranges[i];
        bool before = other->max < range.min && range.min - other->max > 1;
        bool behind = range.max < other->min && other->min - range.max > 1;
        if (before || behind) {
            i++;
            continue;
        }
        range.min = other->min < range.min ? other->min : range.min;
        range.max = other->max > range.max ? other->max : range.max;
        *other = taken->ranges[--taken->range_count];
        i = 0;
    }
    taken->ranges[taken->range_count++] = range;
}

static void
take(struct taken *taken, const struct hw_conf_when *when)
{
    struct hw_conf_when rest = *when;
    rest.role_mask = 0;
    if (!has_conditions(&rest))
        taken->roles |= when->role_mask;
    rest = *when;
    rest.lane_mask = 0;
    if (!has_conditions(&rest))
        taken->lanes |= when->lane_mask;
    rest = *when;
    rest.prompt_tokens.present = false;
    if (when->prompt_tokens.present && !has_conditions(&rest))
        add_range(taken, when->prompt_tokens);
}

/* The kind of conditions by which all that `when` asks for is taken; NULL: some is left. */
static const char *
taken_by(const struct taken *taken, const struct hw_conf_when *when)
{
    const uint32_t all_lanes = (1u << HW_LANE_COUNT) - 1;
    uint32_t lanes = when->lane_mask != 0 ? when->lane_mask : all_lanes;
    uint64_t min = when->prompt_tokens.present ? when->prompt_tokens.min : 0;
    uint64_t max = when->prompt_tokens.present ? when->prompt_tokens.max : UINT32_MAX;
    if (when->role_mask != 0 && (when->role_mask & ~taken->roles) == 0)
        return "roles";
    if ((lanes & ~taken->lanes) == 0)
        return "lanes";
    for (size_t i = 0; i < taken->range_count; i++)
        if (taken->ranges[i].min <= min &&
            (max <= taken->ranges[i].max || taken->ranges[i].max >= UINT32_MAX))
            return "prompt_tokens";
    return NULL;
}

static void
warn_never(struct hw_load *load, const struct hw_node *node, size_t i, const struct taken *taken,
           struct hw_imply *imply)
{
    const struct hw_conf_route *routes = load->snapshot->routes, *route = &routes[i];
    if (hw_when_impossible(imply, &route->when)) {
        hw_conf_warn(load, node, "route '%s' can never match: its conditions exclude each other",
                     route->name);
        return;
    }
    for (size_t j = 0; j < i; j++) {
        if (!hw_when_implies(imply, &route->when, &routes[j].when))
            continue;
        hw_conf_warn(load, node, "route '%s' can never match: '%s' (line %u) comes first and %s",
                     route->name, routes[j].name, routes[j].line,
                     routes[j].when.present ? "takes all that it could match"
                                            : "has no conditions");
        return;
    }
    const char *what = taken_by(taken, &route->when);
    if (what != NULL)
        hw_conf_warn(load, node,
                     "route '%s' can never match: those before it take all its %s together",
                     route->name, what);
}

/* Whether a selector has just the backends that the route's `to` has: those that it names, and of
 * the general ones all that it selects. */
static bool
leads_back(const struct hw_snapshot *snapshot, const struct hw_conf_route *route,
           const struct hw_conf_selector *selector)
{
    for (size_t i = 0; i < snapshot->backend_count; i++) {
        const struct hw_conf_backend *backend = &snapshot->backends[i];
        bool first =
            hw_conf_is_named_by(&route->to, backend, i) ||
            (backend->general && hw_conf_selects(&route->to, route->when.role_mask, backend, i));
        if (first != hw_conf_selects(selector, route->when.role_mask, backend, i))
            return false;
    }
    return true;
}

static void
warn_about_selector(struct hw_load *load, const struct hw_node *node,
                    const struct hw_conf_route *route, const char *what,
                    const struct hw_conf_selector *selector)
{
    if (!selector->present)
        return;
    if (!selects_any(load->snapshot, selector, route->when.role_mask))
        hw_conf_warn(load, node, "the %s of route '%s' selects no backend", what, route->name);
    else if (leads_back(load->snapshot, route, selector))
        hw_conf_warn(load, node,
                     "the %s of route '%s' leads back to where it came from: `to` has the same "
                     "backends",
                     what, route->name);
}

static size_t
count_selected(const struct hw_snapshot *snapshot, const struct hw_conf_selector *selector,
               uint64_t same_role_mask)
{
    size_t count = 0;
    for (size_t i = 0; i < snapshot->backend_count; i++)
        count += hw_conf_selects(selector, same_role_mask, &snapshot->backends[i], i);
    return count;
}

/* A copy never goes where its query went. */
static void
warn_about_shadow(struct hw_load *load, const struct hw_node *node,
                  const struct hw_conf_route *route)
{
    const struct hw_conf_shadow *shadow = &route->shadow;
    size_t count;
    if (!shadow->to.present)
        return;
    count = count_selected(load->snapshot, &shadow->to, route->when.role_mask);
    if (count == 0)
        hw_conf_warn(load, node, "the shadow of route '%s' selects no backend", route->name);
    else if (count == 1 && leads_back(load->snapshot, route, &shadow->to))
        hw_conf_warn(load, node,
                     "the shadow of route '%s' has only the backend that answers its queries: no "
                     "copy is ever sent (name another one)",
                     route->name);
}

void
hw_warn_about_routes(struct hw_load *load, const struct hw_node *root)
{
    const struct hw_snapshot *snapshot = load->snapshot;
    const struct hw_node *routes = hw_node_find(root, "routes");
    struct hw_imply imply = {.steps_left = STEPS_MAX};
    struct taken taken = {0};
    bool catch_all = false;
    if (routes == NULL || routes->count == 0)
        return;
    taken.ranges = hw_xcalloc(snapshot->route_count + 1, sizeof(*taken.ranges));
    size_t mark = hw_conf_path_push(load, "routes", 0);
    const struct hw_node *node = hw_node_at(routes, 0);
    for (size_t i = 0; i < snapshot->route_count; i++, node = node->next) {
        const struct hw_conf_route *route = &snapshot->routes[i];
        size_t inner = hw_conf_path_push(load, NULL, i);
        warn_never(load, node, i, &taken, &imply);
        take(&taken, &route->when);
        catch_all = catch_all || !route->when.present;
        if (!selects_any(snapshot, &route->to, route->when.role_mask))
            hw_conf_warn(load, node, "route '%s' selects no backend%s", route->name,
                         route->fallback.present ? ": only its fallback could answer" : "");
        warn_about_selector(load, node, route, "overflow", &route->overflow);
        warn_about_selector(load, node, route, "fallback", &route->fallback);
        warn_about_shadow(load, node, route);
        hw_conf_path_pop(load, inner);
    }
    hw_conf_path_pop(load, mark);
    free(taken.ranges);
    if (!catch_all)
        hw_conf_warn(load, routes,
                     "no route without conditions: a query that matches none is refused (end with "
                     "{ name: default, to: { by: latency } })");
}

/* --- keywords -------------------------------------------------------------------------------- */

struct claim {
    const char *keyword;
    size_t role;
};

static int
compare_claims(const void *a, const void *b)
{
    const struct claim *x = a, *y = b;
    int order = strcasecmp(x->keyword, y->keyword);
    return order != 0 ? order : x->role < y->role ? -1 : x->role > y->role;
}

void
hw_warn_about_keywords(struct hw_load *load, const struct hw_node *root)
{
    const struct hw_snapshot *snapshot = load->snapshot;
    size_t count = 0;
    for (size_t i = 0; i < snapshot->role_count; i++)
        count += snapshot->roles[i].keywords.count;
    struct claim *claims = hw_xcalloc(count + 1, sizeof(*claims));
    count = 0;
    for (size_t i = 0; i < snapshot->role_count; i++)
        for (size_t j = 0; j < snapshot->roles[i].keywords.count; j++)
            claims[count++] = (struct claim){snapshot->roles[i].keywords.items[j], i};
    qsort(claims, count, sizeof(*claims), compare_claims);
    for (size_t i = 1; i < count; i++) {
        if (strcasecmp(claims[i].keyword, claims[i - 1].keyword) != 0 ||
            claims[i].role == claims[i - 1].role)
            continue;
        const struct hw_conf_role *role = &snapshot->roles[claims[i].role];
        hw_conf_warn(
            load, hw_node_at(hw_node_find(root, "roles"), claims[i].role),
            "roles.%s: the keyword '%s' is also one of '%s': a query with no other is for '%s'",
            role->name, hw_conf_shown(claims[i].keyword), snapshot->roles[claims[i - 1].role].name,
            snapshot->roles[claims[i - 1].role].name);
    }
    free(claims);
}
