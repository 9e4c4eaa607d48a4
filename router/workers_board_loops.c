/* router/workers_board_loops.c - what loops read on the board, and write there of the workers they
 * are connected to. */
#include "router/workers_board_private.h"

#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"

size_t
hw_board_views(struct hw_board *board, struct hw_board_view **out)
{
    size_t count = 0, at = 0;

    uv_mutex_lock(&board->mutex);
    for (struct hw_board_slot *slot = board->slots; slot != NULL; slot = slot->next)
        count++;
    struct hw_board_view *views = hw_xcalloc(count + 1, sizeof(*views));
    for (struct hw_board_slot *slot = board->slots; slot != NULL; slot = slot->next) {
        struct hw_board_view *view = &views[at++];
        view->id = slot->id;
        view->running = slot->running;
        view->retiring = slot->retiring;
        view->trial = slot->trial;
        view->backend = hw_xstrdup(slot->backend);
        memcpy(view->path, slot->path, sizeof(view->path));
    }
    uv_mutex_unlock(&board->mutex);
    *out = views;
    return count;
}

void
hw_board_views_free(struct hw_board_view *views, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(views[i].backend);
    free(views);
}

struct hw_affinity *
hw_board_affinity(struct hw_board *board)
{
    return board->affinity;
}

bool
hw_board_has_backend(struct hw_board *board, const char *name)
{
    uv_mutex_lock(&board->mutex);
    bool has = *hw_board_find_backend(board, name) != NULL;
    uv_mutex_unlock(&board->mutex);
    return has;
}

bool
hw_board_slot_running(struct hw_board *board, uint64_t id)
{
    uv_mutex_lock(&board->mutex);
    struct hw_board_slot *slot = *hw_board_find_slot(board, id);
    bool running = slot != NULL && slot->running;
    uv_mutex_unlock(&board->mutex);
    return running;
}

void
hw_board_slot_linked(struct hw_board *board, uint64_t id, int delta)
{
    uv_mutex_lock(&board->mutex);
    struct hw_board_slot *slot = *hw_board_find_slot(board, id);
    if (slot != NULL) {
        slot->links = (uint32_t)((int)slot->links + delta);
        if (slot->links == 0)
            hw_board_poke_all(board);
    }
    uv_mutex_unlock(&board->mutex);
}

struct hw_slot_load *
hw_board_slot_load(struct hw_board *board, uint64_t id)
{
    uv_mutex_lock(&board->mutex);
    const struct hw_board_slot *slot = *hw_board_find_slot(board, id);
    /* Or it has gone since it was seen: then nobody else counts. */
    struct hw_slot_load *load = slot != NULL ? slot->load : hw_xcalloc(1, sizeof(*load));
    atomic_fetch_add(&load->refs, 1);
    uv_mutex_unlock(&board->mutex);
    return load;
}

void
hw_slot_load_unref(struct hw_slot_load **load)
{
    if (atomic_fetch_sub(&(*load)->refs, 1) == 1)
        free(*load);
    *load = NULL;
}

static void
note_greeted(struct hw_board_slot *slot, const uv_async_t *loop)
{
    struct hw_board_greeted *greeted = hw_xcalloc(1, sizeof(*greeted));

    hw_board_forget_greeted(slot, loop); /* a loop counts once */
    greeted->loop = loop;
    greeted->next = slot->greeted;
    slot->greeted = greeted;
}

void
hw_board_slot_greeted(struct hw_board *board, uint64_t id, const uv_async_t *loop,
                      const struct hw_frame_hello *hello)
{
    uv_mutex_lock(&board->mutex);
    struct hw_board_slot *slot = *hw_board_find_slot(board, id);
    if (slot != NULL && slot->running) {
        slot->up = true;
        note_greeted(slot, loop);
        slot->hello = *hello;
        struct hw_board_backend *backend = *hw_board_find_backend(board, slot->backend);
        if (slot->trial) {
            hw_board_poke_all(board);
        } else if (backend != NULL && !slot->retiring) {
            backend->known = true;
            backend->hello = *hello;
        }
    }
    uv_mutex_unlock(&board->mutex);
}

void
hw_board_slot_parted(struct hw_board *board, uint64_t id, const uv_async_t *loop)
{
    uv_mutex_lock(&board->mutex);
    struct hw_board_slot *slot = *hw_board_find_slot(board, id);
    if (slot != NULL)
        hw_board_forget_greeted(slot, loop);
    uv_mutex_unlock(&board->mutex);
}

void
hw_board_slot_reported(struct hw_board *board, uint64_t id, const struct hw_frame_report *report)
{
    uv_mutex_lock(&board->mutex);
    struct hw_board_slot *slot = *hw_board_find_slot(board, id);
    if (slot != NULL && slot->running)
        slot->report = *report;
    uv_mutex_unlock(&board->mutex);
}

static void
add_slot_info(struct hw_worker_info *info, const struct hw_board_slot *slot)
{
    if (slot->up && !slot->retiring && !slot->trial)
        info->up++;
    if (slot->running && info->pid_count < HW_WORKERS_MAX_PROCESSES)
        info->pids[info->pid_count++] = slot->pid;
    info->report.active += slot->report.active;
    info->report.queued += slot->report.queued;
    hw_board_add_counts(&info->report, &slot->report);
    info->report.state_bytes += slot->report.state_bytes;
}

bool
hw_board_info(struct hw_board *board, const char *name, struct hw_worker_info *out)
{
    uv_mutex_lock(&board->mutex);
    struct hw_board_backend *backend = *hw_board_find_backend(board, name);
    if (backend != NULL) {
        struct hw_worker_info info = {
            .known = backend->known,
            .hello = backend->hello,
            .workers = backend->workers,
            .restarts = backend->restarts,
            .swaps_taken = backend->swaps_taken,
            .swaps_refused = backend->swaps_refused,
            .swap = backend->swap,
            .report = backend->past,
        };
        for (struct hw_board_slot *slot = board->slots; slot != NULL; slot = slot->next)
            if (strcmp(slot->backend, name) == 0)
                add_slot_info(&info, slot);
        *out = info;
    }
    uv_mutex_unlock(&board->mutex);
    return backend != NULL;
}
