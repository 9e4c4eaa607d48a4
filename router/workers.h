/* router/workers.h - the local BDH workers: who watches them, and how a loop speaks to them.
 *
 *   supervisor     one a process, on loop 0: starts `hatchway worker` children for the local bdh
 *                  backends of a snapshot, restarts what dies, stops what a reload took away
 *   hw_workers     one a loop: one Unix-socket connection to each worker process, many calls on it
 *   call           one query on one worker (engine/frame.h: a stream)
 *
 *   ask -> on_start -> on_text... -> on_done        or at any point -> on_error
 *
 * Exactly one of on_done / on_error, never from within hw_workers_ask; nothing after a cancel. The
 * call is gone after either. Callbacks may ask and cancel freely.
 *
 * Threads: a hw_workers and its calls belong to their loop, the supervisor to its loop. What they
 * share (which processes there are, what they said of themselves) lies behind a short mutex, and
 * lives until the last of them is closed: they may be closed in any order. */
#ifndef HW_ROUTER_WORKERS_H
#define HW_ROUTER_WORKERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "config/snapshot.h"
#include "engine/frame.h"
#include "hatchway/err.h"

struct hw_workers_supervisor;
struct hw_workers;
struct hw_worker_call;

#define HW_WORKERS_MAX_PROCESSES 64 /* of one backend */

/* --- supervisor ------------------------------------------------------------------------------ */

/* executable: what is run as `EXECUTABLE worker --model PATH --socket PATH`; NULL: this program
 * (/proc/self/exe). A worker dies with the thread that runs this loop (PR_SET_PDEATHSIG), so that
 * must be one that lives as long as the process. */
struct hw_workers_supervisor *hw_workers_supervisor_create(uv_loop_t *loop, const char *executable);

/* How often checkpoints are looked at, and for how long one must be left alone before it is tried.
 * Of backends applied later; tests have less patience than the 500 and 1500 of the start. */
void hw_workers_supervisor_pace(struct hw_workers_supervisor *supervisor, uint32_t look_ms,
                                uint32_t settle_ms);

/* Takes the local bdh backends of a snapshot: new ones are started, those that vanished or whose
 * model or count changed are retired (they finish what they were asked, then stop), the rest are
 * left alone. A name whose model changed serves from its new workers as soon as they are up; until
 * then asks wait (wait_ms). A checkpoint that changes under its name is tried by fresh workers and
 * taken without a gap (workers_swap.c). Copies what it needs. Fails only when the socket directory
 * cannot be made (0700, below snapshot->worker_dir; on the first call that has a local backend):
 * then nothing was changed. A worker that cannot be started is logged and tried again. */
int hw_workers_supervisor_apply(struct hw_workers_supervisor *supervisor,
                                const struct hw_snapshot *snapshot, struct hw_err *err);

/* SIGTERM to all, SIGKILL to those still there after 2 s, sockets and directory removed; closed_cb
 * fires when the loop has let go, and the supervisor is gone. */
void hw_workers_supervisor_close(struct hw_workers_supervisor *supervisor,
                                 void (*closed_cb)(void *ctx), void *ctx);

/* What became of a checkpoint that changed on disk. */
enum hw_swap_state {
    HW_SWAP_NONE, /* it has not, or is again what serves */
    HW_SWAP_ON_TRIAL,
    HW_SWAP_TAKEN,
    HW_SWAP_REFUSED,
};

struct hw_worker_swap { /* the latest */
    enum hw_swap_state state;
    uint64_t since_s; /* Unix time */
    char reason[96];  /* of a refusal */
};

struct hw_worker_info {
    bool known;                  /* some worker of it has said HELLO: hello is filled */
    struct hw_frame_hello hello; /* the latest */
    uint32_t workers;            /* processes it should have */
    uint32_t up;                 /* running, and answered HELLO */
    uint32_t pid_count;
    int pids[HW_WORKERS_MAX_PROCESSES];  /* running, up or not */
    uint64_t restarts;                   /* since the backend was first applied */
    uint64_t swaps_taken, swaps_refused; /* of its checkpoint, when the file changed */
    struct hw_worker_swap swap;
    struct hw_frame_report report; /* sums over processes; token counts survive a restart */
};
/* Names its checkpoint, as it is run: equal ids mean equal answers. Never 0. */
uint64_t hw_worker_model_id(const struct hw_frame_hello *hello);
/* Any thread. False: no local backend of that name is applied; *out untouched. */
bool hw_workers_info(struct hw_workers_supervisor *supervisor, const char *backend,
                     struct hw_worker_info *out);

/* --- one loop's side ------------------------------------------------------------------------- */

/* On the loop's own thread, or before that runs. */
struct hw_workers *hw_workers_create(uv_loop_t *loop, struct hw_workers_supervisor *supervisor);
/* Cancels what runs, closes the connections; closed_cb fires when the loop has let go. */
void hw_workers_close(struct hw_workers *workers, void (*closed_cb)(void *ctx), void *ctx);

/* How many worker processes of that backend this loop could ask right now. */
uint32_t hw_workers_ready(struct hw_workers *workers, const char *backend);

struct hw_worker_turn {
    enum hw_frame_role role;
    const char *bytes; /* copied */
    size_t len;
};

struct hw_worker_ask {
    const char *backend;
    const struct hw_frame_open *open;
    const struct hw_worker_turn *turns;
    size_t turn_count;
    /* While no worker of the backend is up (it starts, or was killed): wait this long for one.
     * 0: fail with HW_EUNAVAILABLE at once. */
    uint32_t wait_ms;
};

struct hw_worker_events {
    void (*on_start)(void *ctx);                               /* it left the worker's queue */
    void (*on_text)(void *ctx, const char *bytes, size_t len); /* whole UTF-8 characters */
    /* model: hw_worker_model_id of the worker that answered. */
    void (*on_done)(void *ctx, const struct hw_frame_done *done, uint64_t model);
    /* started: START or TEXT had come before. code: what the worker said (HW_EINVAL: the query is
     * at fault; HW_ELIMIT: its queue is full), HW_EIO when it died, HW_EUNAVAILABLE when none came
     * up within wait_ms or the backend was taken away. */
    void (*on_error)(void *ctx, bool started, int code, const struct hw_err *err);
    /* Of the tokens of the text that comes next, or of the answer's end: a checked payload of
     * LOGPROBS. NULL where OPEN asks for none. */
    void (*on_logprobs)(void *ctx, const uint8_t *payload, size_t len);
};

/* Asks the least loaded worker that this loop is connected to, or rather, where it has hardly more
 * to do, the one that some loop gave this conversation's query before. Everything is copied. Fails
 * now (HW_EUNAVAILABLE: none is up; HW_ENOTFOUND: no such local backend; HW_ELIMIT, HW_ENOMEM: the
 * prompt) or ends once, later. */
int hw_workers_ask(struct hw_workers *workers, const struct hw_worker_ask *ask,
                   const struct hw_worker_events *events, void *ctx, struct hw_worker_call **out,
                   struct hw_err *err);
/* The worker stops within a step; in this loop turn the CANCEL is on its way. */
void hw_worker_call_cancel(struct hw_worker_call *call);
/* Back-pressure: the agent took that many bytes of on_text's and on_logprobs's. A worker goes at
 * most HW_FRAME_FIRST_CREDIT ahead of this; whoever is paused simply does not call it. */
void hw_worker_call_took(struct hw_worker_call *call, size_t bytes);

#endif
