/* router/workers_dir.h - the private folder of a gateway's worker sockets.
 *
 * PARENT/hatchway-XXXXXX, 0700, with a `lock` in it that is held for as long as the gateway lives:
 * so a folder whose lock can be taken was left by one that was killed, and several gateways may
 * share a parent. */
#ifndef HW_ROUTER_WORKERS_DIR_H
#define HW_ROUTER_WORKERS_DIR_H

#include "hatchway/err.h"

struct hw_workers_dir {
    char *path; /* NULL: not made */
    int lock_fd;
};

/* Sweeps what dead gateways of this user left in parent, then makes a folder. max_bytes: of its
 * path, with the NUL. */
int hw_workers_dir_make(struct hw_workers_dir *dir, const char *parent, size_t max_bytes,
                        struct hw_err *err);
/* The sockets are gone already. Harmless when there is no folder. */
void hw_workers_dir_remove(struct hw_workers_dir *dir);

#endif
