/* config/snapshot_private.h - what only the loader and hw_snapshot_unref know of a snapshot. */
#ifndef HW_CONFIG_SNAPSHOT_PRIVATE_H
#define HW_CONFIG_SNAPSHOT_PRIVATE_H

#include <stdatomic.h>

#include "config/arena.h"
#include "config/snapshot.h"

struct hw_snapshot_private {
    atomic_uint refs;
    struct hw_conf_arena arena;  /* all strings and arrays */
    struct hw_pattern *patterns; /* regular expressions: their machine code is not the arena's */
};

/* An empty snapshot with one reference. */
struct hw_snapshot *hw_snapshot_create(void);

#endif
