/* router/workers_supervisor_private.h - the supervisor's parts: workers_supervisor.c (the snapshot
 * and life), workers_process.c (one process), workers_swap.c (a checkpoint that changes on disk).
 */
#ifndef HW_ROUTER_WORKERS_SUPERVISOR_PRIVATE_H
#define HW_ROUTER_WORKERS_SUPERVISOR_PRIVATE_H

#include "router/workers_copy.h"
#include "router/workers_dir.h"
#include "router/workers_private.h"

struct hw_worker_process {
    struct hw_workers_supervisor *supervisor;
    struct hw_worker_process *next;
    char *backend, *model;
    bool fast;                      /* --precision fast */
    size_t state_cache;             /* bytes, for --state-cache */
    char *trial_ask, *trial_expect; /* NULL: none */
    int model_fd;                   /* what it loads; -1: the file was not there, it says so */
    bool trial;                     /* of a checkpoint that is not yet in force */
    char path[HW_BOARD_PATH_BYTES];
    uint64_t slot;
    bool running, retiring, told; /* told: SIGTERM was sent */
    uint64_t started_ms, pause_ms;
    uv_process_t handle;
    bool handle_open;
    uv_timer_t timer; /* restart, or SIGKILL */
};

struct hw_checkpoint {
    struct hw_file_mark mark; /* of the file */
    int fd;                   /* what workers load; -1: none was there */
    bool is_copy;
};

/* Outlives its backend until the loop has closed the handles. */
struct hw_model_watch {
    struct hw_workers_supervisor *supervisor;
    struct hw_worker_backend *backend; /* NULL: gone */
    struct hw_checkpoint taken, tried; /* in force; on trial, while `trying` */
    struct hw_file_mark refused;
    struct hw_copy *copy; /* being made; NULL: none */
    bool trying;
    bool settled; /* a quiet time has passed since the start */
    bool told_busy;
    uv_fs_poll_t poll;
    uv_timer_t quiet_timer, late_timer;
    unsigned open_handles;
};

struct hw_worker_backend {
    struct hw_worker_backend *next;
    char *name, *model;
    char *trial_ask, *trial_expect; /* NULL: none */
    struct hw_model_watch *watch;
    bool fast;
    size_t state_cache;
    uint32_t workers;
    bool wanted; /* by the snapshot being applied */
};

struct hw_workers_supervisor {
    uv_loop_t *loop;
    char *executable;
    struct hw_workers_dir dir; /* made for the first local backend */
    struct hw_board *board;
    struct hw_worker_backend *backends;
    struct hw_worker_process *processes;
    uint32_t path_counter;
    size_t watch_count;
    uint32_t look_ms, settle_ms;
    uv_async_t async;
    bool closing, async_closed;
    void (*closed_cb)(void *ctx);
    void *closed_ctx;
};

/* workers_supervisor.c: when the last process or watch is gone and the supervisor closes. */
void hw_supervisor_finish_close(struct hw_workers_supervisor *supervisor);
/* Retires what runs another model than it should, or is one too many; starts what is missing. */
void hw_supervisor_adjust(struct hw_workers_supervisor *supervisor,
                          const struct hw_worker_backend *backend);

/* workers_process.c */
#define HW_NAME_IN_PATH 16 /* bytes of a backend's name that appear in its sockets' */

/* trial: it loads what backend->watch tries, and no query comes to it. */
void hw_process_add(struct hw_workers_supervisor *supervisor,
                    const struct hw_worker_backend *backend, bool trial);
/* Duplicates fd; -1: it opens the file itself. */
void hw_process_set_model(struct hw_worker_process *process, int fd);
/* It gets no more asks, and ends when the loops have let go of it. */
void hw_process_retire(struct hw_worker_process *process);
/* SIGTERM, and SIGKILL if that does not help. */
void hw_process_stop(struct hw_worker_process *process);

/* workers_swap.c: backend->watch */
void hw_swap_watch(struct hw_workers_supervisor *supervisor, struct hw_worker_backend *backend);
void hw_swap_unwatch(struct hw_worker_backend *backend); /* harmless without a watch */
/* The processes of a trial under way go, for they run by old settings: it is begun again. */
void hw_swap_abandon(struct hw_worker_backend *backend);
/* Whether a trial has been passed. */
void hw_swap_settle(struct hw_workers_supervisor *supervisor);
/* A trial has failed; harmless when none is on. */
void hw_swap_refuse(struct hw_workers_supervisor *supervisor, struct hw_worker_backend *backend,
                    const char *why);

#endif
