/* config/reach.c - see reach.h. */
#include "config/reach.h"

#include "config/sections.h"

bool
hw_route_leads_to(const struct hw_snapshot *snapshot, const struct hw_conf_route *route, size_t i)
{
    const struct hw_conf_selector *ways[] = {&route->to, &route->overflow, &route->fallback};
    for (size_t w = 0; w < sizeof(ways) / sizeof(ways[0]); w++)
        if (ways[w]->present &&
            hw_conf_selects(ways[w], route->when.role_mask, &snapshot->backends[i], i))
            return true;
    return false;
}

/* Nests at most HW_WHEN_DEPTH_MAX deep. */
static struct hw_conf_range
find_bounds(const struct hw_conf_when *when)
{
    struct hw_conf_range bounds = {.min = 0, .max = UINT64_MAX}, either = {.min = 0, .max = 0};

    if (when->prompt_tokens.present)
        bounds = when->prompt_tokens;
    for (size_t i = 0; i < when->all_count; i++) {
        struct hw_conf_range inner = find_bounds(&when->all[i]);
        bounds.min = inner.min > bounds.min ? inner.min : bounds.min;
        bounds.max = inner.max < bounds.max ? inner.max : bounds.max;
    }
    for (size_t i = 0; i < when->any_count; i++) {
        struct hw_conf_range inner = find_bounds(&when->any[i]);
        if (either.min == 0 || (inner.min > 0 && inner.min < either.min))
            either.min = inner.min;
        either.max = inner.max > either.max ? inner.max : either.max;
    }
    if (when->any_count > 0) {
        bounds.min = either.min > bounds.min ? either.min : bounds.min;
        bounds.max = either.max < bounds.max ? either.max : bounds.max;
    }
    return bounds;
}

bool
hw_route_is_long(const struct hw_conf_route *route, struct hw_conf_range *out)
{
    *out = find_bounds(&route->when);
    out->present = out->min > 0;
    return out->present;
}
