/* policies/share.h - room on a device that several backends share. Pure: who has how much of it is
 * handed in.
 *
 * A share is a part of the device's max_inflight that is kept free for its holder, a lane or a
 * role. Its holder may have more than that, of the part that is open to all. */
#ifndef HW_POLICIES_SHARE_H
#define HW_POLICIES_SHARE_H

#include <stdbool.h>
#include <stdint.h>

#include "config/snapshot.h"

/* What is going on on a device. */
struct hw_device_view {
    uint32_t inflight;             /* of all its backends */
    uint32_t taken[HW_MAX_SHARES]; /* by each share's holder, within its share or beyond */
};

enum { HW_SHARE_OPEN = -1, HW_SHARE_NONE = -2 };

/* On whose account a query of this lane and role (-1: none) may run there now: index of a share,
 * HW_SHARE_OPEN: nobody's, HW_SHARE_NONE: there is no room for it. idle: only when nothing else
 * runs there. */
int hw_share_pick(const struct hw_conf_device *device, const struct hw_device_view *view,
                  enum hw_lane lane, int role, bool idle);

#endif
