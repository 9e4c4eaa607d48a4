/* router/workers_board.c - a mutex over two short lists: backends, and slots of processes. */
#include "router/workers_board_private.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hatchway/assert.h"

void
hw_board_forget_greeted(struct hw_board_slot *slot, const uv_async_t *loop)
{
    struct hw_board_greeted **link = &slot->greeted;

    while (*link != NULL) {
        struct hw_board_greeted *greeted = *link;
        if (loop != NULL && greeted->loop != loop) {
            link = &greeted->next;
            continue;
        }
        *link = greeted->next;
        free(greeted);
    }
}

static uint32_t
count_greeted(const struct hw_board_slot *slot)
{
    uint32_t count = 0;

    for (struct hw_board_greeted *greeted = slot->greeted; greeted != NULL; greeted = greeted->next)
        count++;
    return count;
}

struct hw_board *
hw_board_create(void)
{
    struct hw_board *board = hw_xcalloc(1, sizeof(*board));

    HW_ASSERT(uv_mutex_init(&board->mutex) == 0);
    board->refs = 1;
    board->affinity = hw_affinity_create();
    return board;
}

struct hw_board *
hw_board_ref(struct hw_board *board)
{
    uv_mutex_lock(&board->mutex);
    board->refs++;
    uv_mutex_unlock(&board->mutex);
    return board;
}

static void
free_slot(struct hw_board_slot **link)
{
    struct hw_board_slot *slot = *link;

    *link = slot->next;
    hw_board_forget_greeted(slot, NULL);
    hw_slot_load_unref(&slot->load);
    free(slot->backend);
    free(slot);
}

static void
free_backend(struct hw_board_backend **link)
{
    struct hw_board_backend *backend = *link;

    *link = backend->next;
    free(backend->name);
    free(backend);
}

void
hw_board_unref(struct hw_board *board)
{
    uv_mutex_lock(&board->mutex);
    HW_ASSERT(board->refs > 0);
    bool last = --board->refs == 0;
    uv_mutex_unlock(&board->mutex);
    if (!last)
        return;
    HW_ASSERT(board->listeners == NULL);
    while (board->slots != NULL)
        free_slot(&board->slots);
    while (board->backends != NULL)
        free_backend(&board->backends);
    hw_affinity_destroy(&board->affinity);
    uv_mutex_destroy(&board->mutex);
    free(board);
}

void
hw_board_listen(struct hw_board *board, uv_async_t *async)
{
    struct hw_board_listener *listener = hw_xcalloc(1, sizeof(*listener));

    listener->async = async;
    uv_mutex_lock(&board->mutex);
    listener->next = board->listeners;
    board->listeners = listener;
    uv_mutex_unlock(&board->mutex);
}

void
hw_board_unlisten(struct hw_board *board, uv_async_t *async)
{
    uv_mutex_lock(&board->mutex);
    struct hw_board_listener **link = &board->listeners;
    while ((*link)->async != async)
        link = &(*link)->next;
    struct hw_board_listener *listener = *link;
    *link = listener->next;
    for (struct hw_board_slot *slot = board->slots; slot != NULL; slot = slot->next)
        hw_board_forget_greeted(slot, async);
    uv_mutex_unlock(&board->mutex);
    free(listener);
}

void
hw_board_poke_all(struct hw_board *board)
{
    for (struct hw_board_listener *listener = board->listeners; listener != NULL;
         listener = listener->next)
        uv_async_send(listener->async);
}

struct hw_board_backend **
hw_board_find_backend(struct hw_board *board, const char *name)
{
    struct hw_board_backend **link = &board->backends;

    while (*link != NULL && strcmp((*link)->name, name) != 0)
        link = &(*link)->next;
    return link;
}

struct hw_board_slot **
hw_board_find_slot(struct hw_board *board, uint64_t id)
{
    struct hw_board_slot **link = &board->slots;

    while (*link != NULL && (*link)->id != id)
        link = &(*link)->next;
    return link;
}

/* --- the supervisor's side ------------------------------------------------------------------- */

void
hw_board_set_backend(struct hw_board *board, const char *name, uint32_t workers, bool changed_model)
{
    uv_mutex_lock(&board->mutex);
    struct hw_board_backend *backend = *hw_board_find_backend(board, name);
    if (backend == NULL) {
        backend = hw_xcalloc(1, sizeof(*backend));
        backend->name = hw_xstrdup(name);
        backend->next = board->backends;
        board->backends = backend;
    }
    backend->workers = workers;
    if (changed_model)
        backend->known = false;
    uv_mutex_unlock(&board->mutex);
}

void
hw_board_drop_backend(struct hw_board *board, const char *name)
{
    uv_mutex_lock(&board->mutex);
    struct hw_board_backend **link = hw_board_find_backend(board, name);
    if (*link != NULL)
        free_backend(link);
    hw_board_poke_all(board);
    uv_mutex_unlock(&board->mutex);
}

uint64_t
hw_board_add_slot(struct hw_board *board, const char *backend, const char *path, bool trial)
{
    struct hw_board_slot *slot = hw_xcalloc(1, sizeof(*slot));

    slot->backend = hw_xstrdup(backend);
    HW_ASSERT(strlen(path) < sizeof(slot->path));
    memcpy(slot->path, path, strlen(path) + 1);
    slot->trial = trial;
    slot->load = hw_xcalloc(1, sizeof(*slot->load));
    slot->load->refs = 1;
    uv_mutex_lock(&board->mutex);
    slot->id = ++board->last_id;
    slot->next = board->slots;
    board->slots = slot;
    hw_board_poke_all(board);
    uv_mutex_unlock(&board->mutex);
    return slot->id;
}

void
hw_board_slot_started(struct hw_board *board, uint64_t id, int pid)
{
    uv_mutex_lock(&board->mutex);
    struct hw_board_slot *slot = *hw_board_find_slot(board, id);
    HW_ASSERT(slot != NULL);
    slot->running = true;
    slot->pid = pid;
    hw_board_poke_all(board);
    uv_mutex_unlock(&board->mutex);
}

void
hw_board_add_counts(struct hw_frame_report *sum, const struct hw_frame_report *one)
{
    sum->prompt_tokens += one->prompt_tokens;
    sum->output_tokens += one->output_tokens;
    sum->steps += one->steps;
    sum->kept_prompts += one->kept_prompts;
    sum->kept_tokens += one->kept_tokens;
}

bool
hw_board_slot_died(struct hw_board *board, uint64_t id, bool restart)
{
    uv_mutex_lock(&board->mutex);
    struct hw_board_slot *slot = *hw_board_find_slot(board, id);
    HW_ASSERT(slot != NULL);
    bool was_up = slot->up;
    struct hw_board_backend *backend = *hw_board_find_backend(board, slot->backend);
    if (backend != NULL) {
        backend->restarts += restart ? 1 : 0;
        hw_board_add_counts(&backend->past, &slot->report);
    }
    slot->report = (struct hw_frame_report){0};
    slot->running = slot->up = false;
    hw_board_forget_greeted(slot, NULL);
    slot->pid = 0;
    hw_board_poke_all(board);
    uv_mutex_unlock(&board->mutex);
    return was_up;
}

void
hw_board_slot_retire(struct hw_board *board, uint64_t id)
{
    uv_mutex_lock(&board->mutex);
    struct hw_board_slot *slot = *hw_board_find_slot(board, id);
    HW_ASSERT(slot != NULL);
    slot->retiring = true;
    hw_board_poke_all(board);
    uv_mutex_unlock(&board->mutex);
}

void
hw_board_remove_slot(struct hw_board *board, uint64_t id)
{
    uv_mutex_lock(&board->mutex);
    struct hw_board_slot **link = hw_board_find_slot(board, id);
    HW_ASSERT(*link != NULL);
    free_slot(link);
    hw_board_poke_all(board);
    uv_mutex_unlock(&board->mutex);
}

uint32_t
hw_board_slot_links(struct hw_board *board, uint64_t id)
{
    uv_mutex_lock(&board->mutex);
    struct hw_board_slot *slot = *hw_board_find_slot(board, id);
    uint32_t links = slot != NULL ? slot->links : 0;
    uv_mutex_unlock(&board->mutex);
    return links;
}

bool
hw_board_trial_passed(struct hw_board *board, const char *backend)
{
    uint32_t listeners = 0, on_trial = 0, passed = 0;

    uv_mutex_lock(&board->mutex);
    for (struct hw_board_listener *listener = board->listeners; listener != NULL;
         listener = listener->next)
        listeners++;
    for (struct hw_board_slot *slot = board->slots; slot != NULL; slot = slot->next) {
        if (!slot->trial || slot->retiring || strcmp(slot->backend, backend) != 0)
            continue;
        on_trial++;
        passed +=
            slot->up && count_greeted(slot) + 1 >= listeners ? 1 : 0; /* the supervisor listens */
    }
    uv_mutex_unlock(&board->mutex);
    return on_trial > 0 && passed == on_trial;
}

static void
set_swap(struct hw_board_backend *backend, enum hw_swap_state state, const char *reason)
{
    backend->swap = (struct hw_worker_swap){.state = state, .since_s = (uint64_t)time(NULL)};
    if (reason != NULL)
        snprintf(backend->swap.reason, sizeof(backend->swap.reason), "%s", reason);
}

void
hw_board_swap(struct hw_board *board, const char *name)
{
    uv_mutex_lock(&board->mutex);
    struct hw_board_backend *backend = *hw_board_find_backend(board, name);
    for (struct hw_board_slot *slot = board->slots; slot != NULL; slot = slot->next) {
        if (slot->retiring || strcmp(slot->backend, name) != 0)
            continue;
        slot->retiring = !slot->trial;
        if (slot->trial && backend != NULL) {
            backend->known = true;
            backend->hello = slot->hello;
        }
        slot->trial = false;
    }
    if (backend != NULL) {
        backend->swaps_taken++;
        set_swap(backend, HW_SWAP_TAKEN, NULL);
    }
    hw_board_poke_all(board);
    uv_mutex_unlock(&board->mutex);
}

void
hw_board_note_swap(struct hw_board *board, const char *name, enum hw_swap_state state,
                   const char *reason)
{
    uv_mutex_lock(&board->mutex);
    struct hw_board_backend *backend = *hw_board_find_backend(board, name);
    if (backend != NULL) {
        backend->swaps_refused += state == HW_SWAP_REFUSED;
        set_swap(backend, state, reason);
    }
    uv_mutex_unlock(&board->mutex);
}
