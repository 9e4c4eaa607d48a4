/* router/reload.h - a changed configuration comes into force without holding anybody up.
 *
 * Reading a file and learning from its examples takes from milliseconds to seconds: a thread of
 * libuv's pool does it, loop 0 then offers the new plan to every loop. A reload is over when all of
 * them have taken it, and only then is it answered; what is asked for meanwhile is one more reload
 * afterwards. */
#ifndef HW_ROUTER_RELOAD_H
#define HW_ROUTER_RELOAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <uv.h>

#include "config/load.h"
#include "config/snapshot.h"
#include "hatchway/err.h"
#include "router/plan.h"

struct hw_gateway;
struct hw_loop;
struct hw_http_stream;

/* Somebody who posted /hatchway/reload and waits for the end of it. */
struct hw_reload_wish {
    struct hw_reload_wish *next;
    struct hw_loop *loop;
    struct hw_http_stream *stream; /* its loop's; NULL: the agent has left */
    int status;
    char *body; /* malloc'ed; NULL: no memory */
};

/* Wishes on their way from one loop to another; the last one first. */
typedef _Atomic(struct hw_reload_wish *) hw_reload_wishes;

struct hw_reload {
    hw_reload_wishes wanted; /* from all loops */
    /* Loop 0's. */
    uv_work_t work;
    bool busy;
    bool again;                  /* the file has to be read (once more) when this one is done */
    struct hw_reload_wish *told; /* who is told how the one under way ends */
    bool judged;                 /* all but the loops are done with it */
    char *report;                /* JSON for them, or NULL if there was no memory for it */
    atomic_uint behind;          /* loops that have not taken the new plan yet */
    /* The thread's until it is done. */
    struct hw_snapshot *snapshot;
    struct hw_taught taught;
    struct hw_diags diags;
    int rc;
    struct hw_err err; /* what went wrong beside the file's own mistakes */
};

/* Loads a file and prints every diagnosis; 0 when it can be used. */
int hw_reload_load(const char *path, struct hw_snapshot **out);
/* Loop 0: reads the gateway's file and puts it into force. */
void hw_reload_file(struct hw_gateway *gateway);
/* Loop 0: goes on with what is under way, begins what somebody wishes. */
void hw_reload_tick(struct hw_gateway *gateway);
/* Any loop has taken the plan that was offered to it. */
void hw_reload_taken(struct hw_gateway *gateway);
/* Any loop: answers those of its agents whose reload is over. */
void hw_reload_answer(struct hw_loop *loop);
/* All loops are gone: forgets whoever still waits. */
void hw_reload_free(struct hw_gateway *gateway);

#endif
