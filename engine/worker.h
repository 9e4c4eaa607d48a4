/* engine/worker.h - the process that runs one model for the gateway (`hatchway worker`).
 *
 * Listens on a Unix socket, speaks engine/frame.h, takes several connections (one for each loop of
 * the gateway). One thread: between two units of work (a token of one session, or a few prompt
 * tokens) it looks at its sockets, so a CANCEL waits for one unit at most. */
#ifndef HW_ENGINE_WORKER_H
#define HW_ENGINE_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hatchway/err.h"

#define HW_WORKER_DEFAULT_SESSIONS 16u
#define HW_WORKER_DEFAULT_MEMORY_BYTES ((size_t)1 << 30)
#define HW_WORKER_DEFAULT_STATE_CACHE_BYTES ((size_t)64 << 20)
#define HW_WORKER_CONNECT_WAIT_MS 30000

struct hw_worker_conf {
    const char *model_path;
    int model_fd; /* the file of that name, opened by the gateway; 0: open it */
    /* Asked before the first query may come; an answer without `expect` in it ends the worker.
     * NULL: nothing is asked; any answer will do. */
    const char *trial_ask, *trial_expect;
    const char *socket_path;
    bool fast;             /* HW_BDH_FAST: its answers, and so its digest, are not those of f32 */
    uint32_t max_sessions; /* generated side by side; further queries wait */
    size_t memory_bytes;   /* for all sessions' states: lowers max_sessions, never below 1 */
    size_t cache_bytes;    /* of the processor (turns.h); 0: asked of the system */
    size_t state_cache_bytes; /* for snapshots of what was read; 0: none */
};

/* Runs until SIGTERM, until every connection has closed after the first came, or for
 * HW_WORKER_CONNECT_WAIT_MS if none comes: all of these return 0. */
int hw_worker_run(const struct hw_worker_conf *conf, struct hw_err *err);

#endif
