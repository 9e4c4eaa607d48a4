/* router/workers_board.h - what supervisor and loops know of the worker processes, in common.
 *
 * The supervisor writes which processes there are; each loop writes what a process told it (HELLO,
 * REPORT) and whether it still holds a connection. Everything here may be called from any thread
 * and holds the mutex for a few list steps only. Whoever listens is poked (uv_async_send) when
 * something changed that it may have to act upon, and reads the board then. */
#ifndef HW_ROUTER_WORKERS_BOARD_H
#define HW_ROUTER_WORKERS_BOARD_H

#include <stdatomic.h>
#include <sys/un.h>

#include "router/workers.h"
#include "router/workers_affinity.h"

#define HW_BOARD_PATH_BYTES sizeof(((struct sockaddr_un *)0)->sun_path)

struct hw_board;

struct hw_board *hw_board_create(void); /* one reference */
struct hw_board *hw_board_ref(struct hw_board *board);
void hw_board_unref(struct hw_board *board);

/* async is open until hw_board_unlisten has returned. */
void hw_board_listen(struct hw_board *board, uv_async_t *async);
void hw_board_unlisten(struct hw_board *board, uv_async_t *async);

/* --- the supervisor's side --- */

/* Adds a backend, or changes how many workers it should have. changed_model forgets its HELLO. */
void hw_board_set_backend(struct hw_board *board, const char *name, uint32_t workers,
                          bool changed_model);
void hw_board_drop_backend(struct hw_board *board, const char *name);

/* A slot is one worker process and its successors after a crash. On trial it is connected to, but
 * not asked. Returns its id, never 0. */
uint64_t hw_board_add_slot(struct hw_board *board, const char *backend, const char *path,
                           bool trial);
void hw_board_slot_started(struct hw_board *board, uint64_t id, int pid);
/* It died. True: it had said HELLO to somebody. restart counts it as one. */
bool hw_board_slot_died(struct hw_board *board, uint64_t id, bool restart);
/* No more asks; loops close their connections as they get idle. */
void hw_board_slot_retire(struct hw_board *board, uint64_t id);
void hw_board_remove_slot(struct hw_board *board, uint64_t id);
uint32_t hw_board_slot_links(struct hw_board *board, uint64_t id);
/* Whether every loop has heard HELLO from every slot of the backend that is on trial, and is still
 * connected to it. */
bool hw_board_trial_passed(struct hw_board *board, const char *backend);
/* In one step: slots on trial serve, the others retire. Counted as taken. */
void hw_board_swap(struct hw_board *board, const char *backend);
/* A trial has begun, or failed (reason: why; counted), or there is nothing to tell of any more. */
void hw_board_note_swap(struct hw_board *board, const char *backend, enum hw_swap_state state,
                        const char *reason);

/* --- a loop's side --- */

struct hw_board_view { /* of a slot */
    uint64_t id;
    bool running, retiring, trial;
    char *backend;
    char path[HW_BOARD_PATH_BYTES];
};
/* A copy of all slots; free with hw_board_views_free. */
size_t hw_board_views(struct hw_board *board, struct hw_board_view **out);
void hw_board_views_free(struct hw_board_view *views, size_t count);

/* Lives as long as the board does. */
struct hw_affinity *hw_board_affinity(struct hw_board *board);
bool hw_board_has_backend(struct hw_board *board, const char *name);
bool hw_board_slot_running(struct hw_board *board, uint64_t id);
void hw_board_slot_linked(struct hw_board *board, uint64_t id, int delta);
/* How many calls all loops together have at a slot's process: each counts its own, without a lock.
 * The caller owns a reference, and may outlive the slot with it. */
struct hw_slot_load {
    atomic_uint refs, calls;
};
struct hw_slot_load *hw_board_slot_load(struct hw_board *board, uint64_t id);
void hw_slot_load_unref(struct hw_slot_load **load);
/* HELLO came, to the loop that listens with that async; the connection has ended. */
void hw_board_slot_greeted(struct hw_board *board, uint64_t id, const uv_async_t *loop,
                           const struct hw_frame_hello *hello);
void hw_board_slot_parted(struct hw_board *board, uint64_t id, const uv_async_t *loop);
void hw_board_slot_reported(struct hw_board *board, uint64_t id,
                            const struct hw_frame_report *report);

bool hw_board_info(struct hw_board *board, const char *backend, struct hw_worker_info *out);

#endif
