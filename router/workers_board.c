/* router/workers_board.c - a mutex over two short lists: backends, and slots of processes. */
#include "router/workers_board.h"

#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"

struct listener {
    struct listener *next;
    uv_async_t *async;
};

struct backend {
    struct backend *next;
    char *name;
    uint32_t workers;
    bool known;
    struct hw_frame_hello hello;
    uint64_t restarts, swaps_taken, swaps_refused;
    struct hw_frame_report past; /* counts of processes that are gone */
};

struct slot {
    struct slot *next;
    uint64_t id;
    char *backend;
    char path[HW_BOARD_PATH_BYTES];
    bool running, retiring, up, trial;
    uint32_t greets; /* loops that had its HELLO */
    struct hw_frame_hello hello;
    int pid;
    uint32_t links;
    struct hw_frame_report report;
};

struct hw_board {
    uv_mutex_t mutex;
    unsigned refs;
    struct listener *listeners;
    struct backend *backends;
    struct slot *slots;
    uint64_t last_id;
};

struct hw_board *
hw_board_create(void)
{
    struct hw_board *board = hw_xcalloc(1, sizeof(*board));

    HW_ASSERT(uv_mutex_init(&board->mutex) == 0);
    board->refs = 1;
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
free_slot(struct slot **link)
{
    struct slot *slot = *link;

    *link = slot->next;
    free(slot->backend);
    free(slot);
}

static void
free_backend(struct backend **link)
{
    struct backend *backend = *link;

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
    uv_mutex_destroy(&board->mutex);
    free(board);
}

void
hw_board_listen(struct hw_board *board, uv_async_t *async)
{
    struct listener *listener = hw_xcalloc(1, sizeof(*listener));

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
    struct listener **link = &board->listeners;
    while ((*link)->async != async)
        link = &(*link)->next;
    struct listener *listener = *link;
    *link = listener->next;
    uv_mutex_unlock(&board->mutex);
    free(listener);
}

/* With the mutex held, so that no listener's async can be closed meanwhile. */
static void
poke_all(struct hw_board *board)
{
    for (struct listener *listener = board->listeners; listener != NULL; listener = listener->next)
        uv_async_send(listener->async);
}

static struct backend **
find_backend(struct hw_board *board, const char *name)
{
    struct backend **link = &board->backends;

    while (*link != NULL && strcmp((*link)->name, name) != 0)
        link = &(*link)->next;
    return link;
}

static struct slot **
find_slot(struct hw_board *board, uint64_t id)
{
    struct slot **link = &board->slots;

    while (*link != NULL && (*link)->id != id)
        link = &(*link)->next;
    return link;
}

/* --- the supervisor's side ------------------------------------------------------------------- */

void
hw_board_set_backend(struct hw_board *board, const char *name, uint32_t workers, bool changed_model)
{
    uv_mutex_lock(&board->mutex);
    struct backend *backend = *find_backend(board, name);
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
    struct backend **link = find_backend(board, name);
    if (*link != NULL)
        free_backend(link);
    poke_all(board);
    uv_mutex_unlock(&board->mutex);
}

uint64_t
hw_board_add_slot(struct hw_board *board, const char *backend, const char *path, bool trial)
{
    struct slot *slot = hw_xcalloc(1, sizeof(*slot));

    slot->backend = hw_xstrdup(backend);
    HW_ASSERT(strlen(path) < sizeof(slot->path));
    memcpy(slot->path, path, strlen(path) + 1);
    slot->trial = trial;
    uv_mutex_lock(&board->mutex);
    slot->id = ++board->last_id;
    slot->next = board->slots;
    board->slots = slot;
    poke_all(board);
    uv_mutex_unlock(&board->mutex);
    return slot->id;
}

void
hw_board_slot_started(struct hw_board *board, uint64_t id, int pid)
{
    uv_mutex_lock(&board->mutex);
    struct slot *slot = *find_slot(board, id);
    HW_ASSERT(slot != NULL);
    slot->running = true;
    slot->pid = pid;
    poke_all(board);
    uv_mutex_unlock(&board->mutex);
}

static void
add_counts(struct hw_frame_report *sum, const struct hw_frame_report *one)
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
    struct slot *slot = *find_slot(board, id);
    HW_ASSERT(slot != NULL);
    bool was_up = slot->up;
    struct backend *backend = *find_backend(board, slot->backend);
    if (backend != NULL) {
        backend->restarts += restart ? 1 : 0;
        add_counts(&backend->past, &slot->report);
    }
    slot->report = (struct hw_frame_report){0};
    slot->running = slot->up = false;
    slot->greets = 0;
    slot->pid = 0;
    poke_all(board);
    uv_mutex_unlock(&board->mutex);
    return was_up;
}

void
hw_board_slot_retire(struct hw_board *board, uint64_t id)
{
    uv_mutex_lock(&board->mutex);
    struct slot *slot = *find_slot(board, id);
    HW_ASSERT(slot != NULL);
    slot->retiring = true;
    poke_all(board);
    uv_mutex_unlock(&board->mutex);
}

void
hw_board_remove_slot(struct hw_board *board, uint64_t id)
{
    uv_mutex_lock(&board->mutex);
    struct slot **link = find_slot(board, id);
    HW_ASSERT(*link != NULL);
    free_slot(link);
    poke_all(board);
    uv_mutex_unlock(&board->mutex);
}

uint32_t
hw_board_slot_links(struct hw_board *board, uint64_t id)
{
    uv_mutex_lock(&board->mutex);
    struct slot *slot = *find_slot(board, id);
    uint32_t links = slot != NULL ? slot->links : 0;
    uv_mutex_unlock(&board->mutex);
    return links;
}

bool
hw_board_trial_passed(struct hw_board *board, const char *backend)
{
    uint32_t listeners = 0, on_trial = 0, passed = 0;

    uv_mutex_lock(&board->mutex);
    for (struct listener *listener = board->listeners; listener != NULL; listener = listener->next)
        listeners++;
    for (struct slot *slot = board->slots; slot != NULL; slot = slot->next) {
        if (!slot->trial || slot->retiring || strcmp(slot->backend, backend) != 0)
            continue;
        on_trial++;
        passed += slot->up && slot->greets + 1 >= listeners ? 1 : 0; /* the supervisor listens */
    }
    uv_mutex_unlock(&board->mutex);
    return on_trial > 0 && passed == on_trial;
}

void
hw_board_swap(struct hw_board *board, const char *name)
{
    uv_mutex_lock(&board->mutex);
    struct backend *backend = *find_backend(board, name);
    for (struct slot *slot = board->slots; slot != NULL; slot = slot->next) {
        if (slot->retiring || strcmp(slot->backend, name) != 0)
            continue;
        slot->retiring = !slot->trial;
        if (slot->trial && backend != NULL) {
            backend->known = true;
            backend->hello = slot->hello;
        }
        slot->trial = false;
    }
    if (backend != NULL)
        backend->swaps_taken++;
    poke_all(board);
    uv_mutex_unlock(&board->mutex);
}

void
hw_board_count_refused(struct hw_board *board, const char *name)
{
    uv_mutex_lock(&board->mutex);
    struct backend *backend = *find_backend(board, name);
    if (backend != NULL)
        backend->swaps_refused++;
    uv_mutex_unlock(&board->mutex);
}

/* --- a loop's side --------------------------------------------------------------------------- */

size_t
hw_board_views(struct hw_board *board, struct hw_board_view **out)
{
    size_t count = 0, at = 0;

    uv_mutex_lock(&board->mutex);
    for (struct slot *slot = board->slots; slot != NULL; slot = slot->next)
        count++;
    struct hw_board_view *views = hw_xcalloc(count + 1, sizeof(*views));
    for (struct slot *slot = board->slots; slot != NULL; slot = slot->next) {
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

bool
hw_board_has_backend(struct hw_board *board, const char *name)
{
    uv_mutex_lock(&board->mutex);
    bool has = *find_backend(board, name) != NULL;
    uv_mutex_unlock(&board->mutex);
    return has;
}

bool
hw_board_slot_running(struct hw_board *board, uint64_t id)
{
    uv_mutex_lock(&board->mutex);
    struct slot *slot = *find_slot(board, id);
    bool running = slot != NULL && slot->running;
    uv_mutex_unlock(&board->mutex);
    return running;
}

void
hw_board_slot_linked(struct hw_board *board, uint64_t id, int delta)
{
    uv_mutex_lock(&board->mutex);
    struct slot *slot = *find_slot(board, id);
    if (slot != NULL) {
        slot->links = (uint32_t)((int)slot->links + delta);
        if (slot->links == 0)
            poke_all(board);
    }
    uv_mutex_unlock(&board->mutex);
}

void
hw_board_slot_greeted(struct hw_board *board, uint64_t id, const struct hw_frame_hello *hello)
{
    uv_mutex_lock(&board->mutex);
    struct slot *slot = *find_slot(board, id);
    if (slot != NULL && slot->running) {
        slot->up = true;
        slot->greets++;
        slot->hello = *hello;
        struct backend *backend = *find_backend(board, slot->backend);
        if (slot->trial) {
            poke_all(board);
        } else if (backend != NULL && !slot->retiring) {
            backend->known = true;
            backend->hello = *hello;
        }
    }
    uv_mutex_unlock(&board->mutex);
}

void
hw_board_slot_reported(struct hw_board *board, uint64_t id, const struct hw_frame_report *report)
{
    uv_mutex_lock(&board->mutex);
    struct slot *slot = *find_slot(board, id);
    if (slot != NULL && slot->running)
        slot->report = *report;
    uv_mutex_unlock(&board->mutex);
}

static void
add_slot_info(struct hw_worker_info *info, const struct slot *slot)
{
    if (slot->up && !slot->retiring && !slot->trial)
        info->up++;
    if (slot->running && info->pid_count < HW_WORKERS_MAX_PROCESSES)
        info->pids[info->pid_count++] = slot->pid;
    info->report.active += slot->report.active;
    info->report.queued += slot->report.queued;
    add_counts(&info->report, &slot->report);
    info->report.state_bytes += slot->report.state_bytes;
}

bool
hw_board_info(struct hw_board *board, const char *name, struct hw_worker_info *out)
{
    uv_mutex_lock(&board->mutex);
    struct backend *backend = *find_backend(board, name);
    if (backend != NULL) {
        struct hw_worker_info info = {
            .known = backend->known,
            .hello = backend->hello,
            .workers = backend->workers,
            .restarts = backend->restarts,
            .swaps_taken = backend->swaps_taken,
            .swaps_refused = backend->swaps_refused,
            .report = backend->past,
        };
        for (struct slot *slot = board->slots; slot != NULL; slot = slot->next)
            if (strcmp(slot->backend, name) == 0)
                add_slot_info(&info, slot);
        *out = info;
    }
    uv_mutex_unlock(&board->mutex);
    return backend != NULL;
}
