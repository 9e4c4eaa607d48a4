/* router/reload.h - a changed configuration comes into force without holding anybody up.
 *
 * Reading a file and learning from its examples takes from milliseconds to seconds: a thread of
 * libuv's pool does it, loop 0 then puts the new plan into force. One at a time; what is asked for
 * meanwhile is done afterwards. All functions are for loop 0. */
#ifndef HW_ROUTER_RELOAD_H
#define HW_ROUTER_RELOAD_H

#include <stdbool.h>
#include <uv.h>

#include "config/snapshot.h"
#include "hatchway/err.h"
#include "router/plan.h"

struct hw_gateway;

struct hw_reload {
    uv_work_t work;
    bool busy;
    bool again; /* the file has to be read (once more) when this one is done */
    /* The thread's while busy. */
    struct hw_snapshot *snapshot; /* NULL: read the file */
    struct hw_taught taught;
    int rc;
    struct hw_err err; /* "": what is wrong has been said already */
};

/* Loads a file and prints every diagnosis; 0 when it can be used. */
int hw_reload_load(const char *path, struct hw_snapshot **out);
/* Reads the gateway's file and puts it into force. */
void hw_reload_file(struct hw_gateway *gateway);
/* Puts into force what gateway->offered has, if anything. */
void hw_reload_offered(struct hw_gateway *gateway);

#endif
