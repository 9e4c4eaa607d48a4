/* config/reach.h - where a route may lead, and how long the prompts are that it is written for.
 * Pure. */
#ifndef HW_CONFIG_REACH_H
#define HW_CONFIG_REACH_H

#include "config/snapshot.h"

/* Is backend i one of those that the route may lead to, be it by its overflow or its fallback? */
bool hw_route_leads_to(const struct hw_snapshot *snapshot, const struct hw_conf_route *route,
                       size_t i);
/* The tokens of the prompts that a long-context route is written for: one whose conditions have a
 * lower bound (in `any`: the lowest). False: it is none. Bounds inside `not` are not looked at. */
bool hw_route_is_long(const struct hw_conf_route *route, struct hw_conf_range *out);

#endif
