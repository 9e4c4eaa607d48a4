/* router/workers_private.h - one loop's side, shared by workers.c (calls), workers_link.c (their
 * connections) and workers_pick.c (which of them is asked).
 *
 * A link is this loop's connection to one slot of the board:
 *
 *   DOWN -> CONNECTING -> GREETING -> UP
 *    ^          |             |       |     (EOF, a broken frame, the slot is retired and idle)
 *    +----------+---- CLOSING +-------+
 *
 * A link that is DOWN tries again shortly while the board says that the slot's process runs, and
 * waits for a poke otherwise. */
#ifndef HW_ROUTER_WORKERS_PRIVATE_H
#define HW_ROUTER_WORKERS_PRIVATE_H

#include "hatchway/buf.h"
#include "router/workers_board.h"

#define HW_LINK_BUCKETS 64u

enum hw_link_state {
    HW_LINK_DOWN,
    HW_LINK_CONNECTING,
    HW_LINK_GREETING,
    HW_LINK_UP,
    HW_LINK_CLOSING
};

struct hw_worker_call {
    struct hw_workers *workers;
    struct hw_worker_link *link;        /* NULL: waits for one */
    struct hw_worker_call *prev, *next; /* of the link's bucket, or of those that wait */
    uint32_t stream;
    bool started;
    uint32_t credit; /* TEXT bytes that the worker may still send */
    uint32_t taken;  /* by the agent, not yet given back as credit */
    struct hw_worker_events events;
    void *ctx;
    char *backend;              /* while it waits */
    struct hw_affinity_key key; /* of one that waited */
    struct hw_buf ask;          /* its frames, while it waits */
    uint64_t until_ms;
};

struct hw_worker_link {
    struct hw_workers *workers;
    struct hw_worker_link *next;
    uint64_t slot;
    char *backend;
    char path[HW_BOARD_PATH_BYTES];
    enum hw_link_state state;
    bool retiring, gone; /* gone: the slot is no more, or the loop's side closes */
    bool seen;           /* in the views being read */
    bool trial;          /* it is not to be asked yet */
    uv_pipe_t pipe;
    bool pipe_open;
    uv_timer_t timer;
    uv_connect_t connect_req;
    struct hw_buf in;
    struct hw_worker_call *calls[HW_LINK_BUCKETS]; /* by stream */
    uint32_t call_count;
    struct hw_slot_load *load; /* of all loops */
    uint64_t model;            /* hw_worker_model_id; of the last HELLO */
};

struct hw_workers {
    uv_loop_t *loop;
    struct hw_board *board;
    struct hw_worker_link *links;
    struct hw_worker_call *waiting; /* newest first */
    uv_async_t async;
    uv_timer_t wait_timer;
    uint32_t last_stream;
    size_t open_handles;
    bool closing;
    void (*closed_cb)(void *ctx);
    void *closed_ctx;
};

struct hw_board *hw_workers_supervisor_board(struct hw_workers_supervisor *supervisor);

/* workers_env.c: the array is the caller's to free, its texts are the environment's own. */
char **hw_worker_environment(void);

/* workers_link.c */
struct hw_worker_link *hw_link_new(struct hw_workers *workers, const struct hw_board_view *view);
/* Connects if it should be connected, closes if it should not. */
void hw_link_settle(struct hw_worker_link *link);
/* The slot is gone: calls end with an error, the link goes. */
void hw_link_remove(struct hw_worker_link *link, const char *why);
/* Sends the bytes of *out and leaves it empty; what does not go at once is kept. */
void hw_link_write(struct hw_worker_link *link, struct hw_buf *out);
/* More than this is unsent: the worker does not read, ask another. */
bool hw_link_congested(const struct hw_worker_link *link);
void hw_link_attach(struct hw_worker_link *link, struct hw_worker_call *call);

/* workers_pick.c: NULL when none is up. */
struct hw_worker_link *hw_link_pick(struct hw_workers *workers, const struct hw_worker_ask *ask);

/* workers.c */
void hw_workers_handle_closed(struct hw_workers *workers);
void hw_workers_link_up(struct hw_worker_link *link);  /* calls that waited for it go out */
void hw_worker_call_free(struct hw_worker_call *call); /* detaches it, whatever it hangs on */
void hw_worker_call_fail(struct hw_worker_call *call, int code, const char *what);

#endif
