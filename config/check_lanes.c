/* config/check_lanes.c - warnings about routes whose queries no backend would ever take: for their
 * lane, or for the hours. */
#include <string.h>

#include "config/reach.h"
#include "config/sections.h"

/* The minutes at which both the route and one of its backends take the lane. False: no backend
 * takes it at any hour. */
static bool
mark_open(const struct hw_snapshot *snapshot, const struct hw_conf_route *route, unsigned lane,
          bool *open)
{
    bool taken = false;
    for (size_t i = 0; i < snapshot->backend_count; i++) {
        const struct hw_conf_lane *hours = &snapshot->backends[i].lanes[lane];
        if (hours->refused || !hw_route_leads_to(snapshot, route, i))
            continue;
        taken = true;
        if (hours->timed && !route->on_demand)
            hw_mark_minutes(&hours->hours, open);
        else
            memset(open, true, HW_DAY_MINUTES * sizeof(*open));
    }
    return taken;
}

static bool
any_minute(const struct hw_conf_route *route, const bool *open)
{
    const struct hw_conf_windows windows = {route->when.hours, route->when.hours_count};
    bool asked[HW_DAY_MINUTES] = {false};
    hw_mark_minutes(&windows, asked);
    for (size_t i = 0; i < HW_DAY_MINUTES; i++)
        if (open[i] && (windows.count == 0 || asked[i]))
            return true;
    return false;
}

static void
warn_about_lane(struct hw_load *load, const struct hw_node *node, const struct hw_conf_route *route,
                unsigned lane)
{
    bool open[HW_DAY_MINUTES] = {false};
    if (!mark_open(load->snapshot, route, lane, open))
        hw_conf_warn(load, node, "no backend of route '%s' takes %s queries", route->name,
                     hw_lane_names[lane]);
    else if (!any_minute(route, open))
        hw_conf_warn(load, node, "the backends of route '%s' take %s at other hours than it has",
                     route->name, hw_lane_names[lane]);
}

void
hw_warn_about_lanes(struct hw_load *load, const struct hw_node *root)
{
    const struct hw_snapshot *snapshot = load->snapshot;
    const struct hw_node *routes = hw_node_find(root, "routes");
    if (routes == NULL || routes->count == 0)
        return;
    size_t mark = hw_conf_path_push(load, "routes", 0);
    for (size_t i = 0; i < snapshot->route_count; i++) {
        const struct hw_conf_route *route = &snapshot->routes[i];
        uint32_t lanes = route->has_lane ? 1u << route->lane : route->when.lane_mask;
        size_t inner = hw_conf_path_push(load, NULL, i);
        for (unsigned lane = 0; lane < HW_LANE_COUNT; lane++)
            if ((lanes >> lane & 1) != 0)
                warn_about_lane(load, hw_node_at(routes, i), route, lane);
        hw_conf_path_pop(load, inner);
    }
    hw_conf_path_pop(load, mark);
}
