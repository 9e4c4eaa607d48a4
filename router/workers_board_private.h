/* router/workers_board_private.h - the board's two lists, shared by workers_board.c (the
 * supervisor's side) and workers_board_loops.c (a loop's). All of it is read and written with the
 * mutex held. */
#ifndef HW_ROUTER_WORKERS_BOARD_PRIVATE_H
#define HW_ROUTER_WORKERS_BOARD_PRIVATE_H

#include "router/workers_board.h"

struct hw_board_listener {
    struct hw_board_listener *next;
    uv_async_t *async;
};

struct hw_board_backend {
    struct hw_board_backend *next;
    char *name;
    uint32_t workers;
    bool known;
    struct hw_frame_hello hello;
    uint64_t restarts, swaps_taken, swaps_refused;
    struct hw_worker_swap swap;
    struct hw_frame_report past; /* counts of processes that are gone */
};

/* A loop that had the HELLO of a slot's process, on the connection that it has now. */
struct hw_board_greeted {
    struct hw_board_greeted *next;
    const uv_async_t *loop; /* as it listens */
};

struct hw_board_slot {
    struct hw_board_slot *next;
    uint64_t id;
    char *backend;
    char path[HW_BOARD_PATH_BYTES];
    bool running, retiring, up, trial;
    struct hw_board_greeted *greeted;
    struct hw_slot_load *load;
    struct hw_frame_hello hello;
    int pid;
    uint32_t links;
    struct hw_frame_report report;
};

struct hw_board {
    uv_mutex_t mutex;
    unsigned refs;
    struct hw_board_listener *listeners;
    struct hw_board_backend *backends;
    struct hw_board_slot *slots;
    uint64_t last_id;
    struct hw_affinity *affinity; /* has its own mutex */
};

/* So that no listener's async can be closed meanwhile. */
void hw_board_poke_all(struct hw_board *board);
/* Where it hangs; what hangs there is NULL when there is none. */
struct hw_board_backend **hw_board_find_backend(struct hw_board *board, const char *name);
struct hw_board_slot **hw_board_find_slot(struct hw_board *board, uint64_t id);
/* NULL: of all loops. */
void hw_board_forget_greeted(struct hw_board_slot *slot, const uv_async_t *loop);
void hw_board_add_counts(struct hw_frame_report *sum, const struct hw_frame_report *one);

#endif
