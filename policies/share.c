/* policies/share.c - see share.h. */
#include "policies/share.h"

static bool
holds(const struct hw_conf_share *share, enum hw_lane lane, int role)
{
    return share->lane_mask != 0 ? (share->lane_mask >> lane & 1) != 0 : share->role == role;
}

/* Queries that run in the part that is open to all: those without a share, and what holders have
 * beyond theirs. */
static uint32_t
in_open_part(const struct hw_conf_device *device, const struct hw_device_view *view)
{
    uint32_t within = 0;

    for (size_t i = 0; i < device->share_count; i++) {
        uint32_t slots = device->shares[i].slots;
        within += view->taken[i] < slots ? view->taken[i] : slots;
    }
    return view->inflight > within ? view->inflight - within : 0;
}

int
hw_share_pick(const struct hw_conf_device *device, const struct hw_device_view *view,
              enum hw_lane lane, int role, bool idle)
{
    int own = HW_SHARE_OPEN;

    if (idle && view->inflight > 0)
        return HW_SHARE_NONE;
    for (size_t i = 0; i < device->share_count; i++) {
        if (!holds(&device->shares[i], lane, role))
            continue;
        if (view->taken[i] < device->shares[i].slots)
            return (int)i;
        if (own == HW_SHARE_OPEN)
            own = (int)i;
    }
    if (device->max_inflight != 0 && in_open_part(device, view) >= device->open_slots)
        return HW_SHARE_NONE;
    return own;
}
