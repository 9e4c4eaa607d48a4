/* router/workers_supervisor.c - which workers there should be, by the snapshot in force. */
#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"
#include "router/workers_supervisor_private.h"

#define LOOK_MS 500u
#define SETTLE_MS 1500u

static void
free_backend(struct hw_worker_backend *backend)
{
    free(backend->name);
    free(backend->model);
    free(backend->trial_ask);
    free(backend->trial_expect);
    free(backend);
}

void
hw_supervisor_finish_close(struct hw_workers_supervisor *supervisor)
{
    if (supervisor->processes != NULL || supervisor->watch_count > 0 || !supervisor->async_closed)
        return;
    void (*closed_cb)(void *) = supervisor->closed_cb;
    void *ctx = supervisor->closed_ctx;
    while (supervisor->backends != NULL) {
        struct hw_worker_backend *backend = supervisor->backends;
        supervisor->backends = backend->next;
        free_backend(backend);
    }
    hw_workers_dir_remove(&supervisor->dir);
    free(supervisor->executable);
    hw_board_unref(supervisor->board);
    free(supervisor);
    if (closed_cb != NULL)
        closed_cb(ctx);
}

/* --- the snapshot ---------------------------------------------------------------------------- */

static int
make_dir(struct hw_workers_supervisor *supervisor, const char *parent, struct hw_err *err)
{
    /* Behind it must fit: "/", the name, "-", a number, ".sock". */
    size_t behind = HW_NAME_IN_PATH + 18;

    if (supervisor->dir.path != NULL)
        return 0;
    return hw_workers_dir_make(&supervisor->dir, parent, HW_BOARD_PATH_BYTES - behind + 1, err);
}

static bool
is_local(const struct hw_conf_backend *conf)
{
    return conf->kind == HW_KIND_BDH && conf->model != NULL;
}

static struct hw_worker_backend *
find_backend(struct hw_workers_supervisor *supervisor, const char *name)
{
    struct hw_worker_backend *backend = supervisor->backends;

    while (backend != NULL && strcmp(backend->name, name) != 0)
        backend = backend->next;
    return backend;
}

void
hw_supervisor_adjust(struct hw_workers_supervisor *supervisor,
                     const struct hw_worker_backend *backend)
{
    uint32_t have = 0;

    for (struct hw_worker_process *process = supervisor->processes, *next; process != NULL;
         process = next) {
        next = process->next;
        if (process->retiring || strcmp(process->backend, backend->name) != 0)
            continue;
        bool same = strcmp(process->model, backend->model) == 0 && process->fast == backend->fast &&
                    process->state_cache == backend->state_cache;
        if (process->trial && same && backend->workers > 0)
            continue;
        if (!same || have >= backend->workers)
            hw_process_retire(process);
        else
            have++;
    }
    for (; have < backend->workers; have++)
        hw_process_add(supervisor, backend, false);
}

static void
take_text(char **own, const char *text)
{
    free(*own);
    *own = text != NULL ? hw_xstrdup(text) : NULL;
}

static void
apply_backend(struct hw_workers_supervisor *supervisor, const struct hw_conf_backend *conf)
{
    struct hw_worker_backend *backend = find_backend(supervisor, conf->name);
    bool fast = conf->precision == HW_PRECISION_FAST;
    bool changed = false, other_file = backend == NULL;

    if (backend == NULL) {
        backend = hw_xcalloc(1, sizeof(*backend));
        backend->name = hw_xstrdup(conf->name);
        backend->next = supervisor->backends;
        supervisor->backends = backend;
    } else {
        other_file = strcmp(backend->model, conf->model) != 0;
        changed = other_file || backend->fast != fast || backend->state_cache != conf->state_cache;
    }
    take_text(&backend->trial_ask, conf->trial.ask);
    take_text(&backend->trial_expect, conf->trial.expect);
    if (other_file) {
        take_text(&backend->model, conf->model);
        hw_swap_unwatch(backend);
        hw_swap_watch(supervisor, backend);
    } else if (changed) { /* fresh workers from the checkpoint that serves, whatever the file is now
                           */
        hw_swap_abandon(backend);
    }
    backend->fast = fast;
    backend->state_cache = conf->state_cache;
    backend->wanted = true;
    backend->workers =
        conf->workers < HW_WORKERS_MAX_PROCESSES ? conf->workers : HW_WORKERS_MAX_PROCESSES;
    hw_board_set_backend(supervisor->board, backend->name, backend->workers, changed);
    hw_supervisor_adjust(supervisor, backend);
}

static void
drop_backend(struct hw_workers_supervisor *supervisor, struct hw_worker_backend **link)
{
    struct hw_worker_backend *backend = *link;

    *link = backend->next;
    backend->workers = 0;
    hw_supervisor_adjust(supervisor, backend);
    hw_board_drop_backend(supervisor->board, backend->name);
    hw_swap_unwatch(backend);
    free_backend(backend);
}

int
hw_workers_supervisor_apply(struct hw_workers_supervisor *supervisor,
                            const struct hw_snapshot *snapshot, struct hw_err *err)
{
    bool any = false;

    for (size_t i = 0; i < snapshot->backend_count; i++)
        any = any || is_local(&snapshot->backends[i]);
    if (any) {
        int rc = make_dir(supervisor, snapshot->worker_dir, err);
        if (rc != 0)
            return rc;
    }
    for (struct hw_worker_backend *backend = supervisor->backends; backend != NULL;
         backend = backend->next)
        backend->wanted = false;
    for (size_t i = 0; i < snapshot->backend_count; i++)
        if (is_local(&snapshot->backends[i]))
            apply_backend(supervisor, &snapshot->backends[i]);
    for (struct hw_worker_backend **link = &supervisor->backends; *link != NULL;) {
        if ((*link)->wanted)
            link = &(*link)->next;
        else
            drop_backend(supervisor, link);
    }
    return 0;
}

/* --- life ------------------------------------------------------------------------------------ */

/* A loop let go of a worker: a retired one that nobody holds is told to stop. Or greeted one. */
static void
on_poke(uv_async_t *async)
{
    struct hw_workers_supervisor *supervisor = async->data;

    hw_swap_settle(supervisor);
    for (struct hw_worker_process *process = supervisor->processes, *next; process != NULL;
         process = next) {
        next = process->next;
        if (process->retiring && hw_board_slot_links(supervisor->board, process->slot) == 0)
            hw_process_stop(process);
    }
}

void
hw_workers_supervisor_pace(struct hw_workers_supervisor *supervisor, uint32_t look_ms,
                           uint32_t settle_ms)
{
    supervisor->look_ms = look_ms;
    supervisor->settle_ms = settle_ms;
}

struct hw_workers_supervisor *
hw_workers_supervisor_create(uv_loop_t *loop, const char *executable)
{
    struct hw_workers_supervisor *supervisor = hw_xcalloc(1, sizeof(*supervisor));

    supervisor->loop = loop;
    hw_workers_supervisor_pace(supervisor, LOOK_MS, SETTLE_MS);
    supervisor->executable = hw_xstrdup(executable != NULL ? executable : "/proc/self/exe");
    supervisor->board = hw_board_create();
    HW_ASSERT(uv_async_init(loop, &supervisor->async, on_poke) == 0);
    supervisor->async.data = supervisor;
    hw_board_listen(supervisor->board, &supervisor->async);
    return supervisor;
}

struct hw_board *
hw_workers_supervisor_board(struct hw_workers_supervisor *supervisor)
{
    return supervisor->board;
}

bool
hw_workers_info(struct hw_workers_supervisor *supervisor, const char *backend,
                struct hw_worker_info *out)
{
    return hw_board_info(supervisor->board, backend, out);
}

static void
on_async_closed(uv_handle_t *handle)
{
    struct hw_workers_supervisor *supervisor = handle->data;

    supervisor->async_closed = true;
    hw_supervisor_finish_close(supervisor);
}

void
hw_workers_supervisor_close(struct hw_workers_supervisor *supervisor, void (*closed_cb)(void *ctx),
                            void *ctx)
{
    supervisor->closing = true;
    supervisor->closed_cb = closed_cb;
    supervisor->closed_ctx = ctx;
    for (struct hw_worker_process *process = supervisor->processes, *next; process != NULL;
         process = next) {
        next = process->next;
        process->retiring = true;
        hw_process_stop(process);
    }
    for (struct hw_worker_backend *backend = supervisor->backends; backend != NULL;
         backend = backend->next)
        hw_swap_unwatch(backend);
    hw_board_unlisten(supervisor->board, &supervisor->async);
    uv_close((uv_handle_t *)&supervisor->async, on_async_closed);
}
