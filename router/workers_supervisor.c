/* router/workers_supervisor.c - starts worker processes, watches them, starts them again.
 *
 *   process:   STOPPED -> RUNNING -> EXITED -> (after a pause) RUNNING ...
 *                            |         +-> gone, when retired or closing
 *
 * A worker that dies after it was up is back within the shortest pause; one that dies young (before
 * anybody heard its HELLO, or in its first second) waits twice as long each time, so that a broken
 * model does not keep a core busy. A retired worker ends when the loops have let go of it: it exits
 * by itself when its last connection closes, SIGTERM only makes sure. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hatchway/assert.h"
#include "router/log.h"
#include "router/workers_dir.h"
#include "router/workers_private.h"

#define YOUNG_MS 1000u
#define PAUSE_MIN_MS 50u
#define PAUSE_MAX_MS 5000u
#define KILL_AFTER_MS 2000u
#define NAME_IN_PATH 16 /* bytes of a backend's name that appear in its sockets' */

struct process {
    struct hw_workers_supervisor *supervisor;
    struct process *next;
    char *backend, *model;
    bool fast; /* --precision fast */
    char path[HW_BOARD_PATH_BYTES];
    uint64_t slot;
    bool running, retiring, told; /* told: SIGTERM was sent */
    uint64_t started_ms, pause_ms;
    uv_process_t handle;
    bool handle_open;
    uv_timer_t timer; /* restart, or SIGKILL */
};

struct backend {
    struct backend *next;
    char *name, *model;
    bool fast;
    uint32_t workers;
    bool wanted; /* by the snapshot being applied */
};

struct hw_workers_supervisor {
    uv_loop_t *loop;
    char *executable;
    struct hw_workers_dir dir; /* made for the first local backend */
    struct hw_board *board;
    struct backend *backends;
    struct process *processes;
    uint32_t path_counter;
    uv_async_t async;
    bool closing, async_closed;
    void (*closed_cb)(void *ctx);
    void *closed_ctx;
};

static void start(struct process *process);

static char *
copy_text(const char *text)
{
    char *copy = strdup(text);

    HW_ASSERT(copy != NULL);
    return copy;
}

static void
finish_close(struct hw_workers_supervisor *supervisor)
{
    if (supervisor->processes != NULL || !supervisor->async_closed)
        return;
    void (*closed_cb)(void *) = supervisor->closed_cb;
    void *ctx = supervisor->closed_ctx;
    while (supervisor->backends != NULL) {
        struct backend *backend = supervisor->backends;
        supervisor->backends = backend->next;
        free(backend->name);
        free(backend->model);
        free(backend);
    }
    hw_workers_dir_remove(&supervisor->dir);
    free(supervisor->executable);
    hw_board_unref(supervisor->board);
    free(supervisor);
    if (closed_cb != NULL)
        closed_cb(ctx);
}

/* --- one process ----------------------------------------------------------------------------- */

static void
on_timer_closed(uv_handle_t *handle)
{
    struct process *process = handle->data;
    struct hw_workers_supervisor *supervisor = process->supervisor;
    struct process **link = &supervisor->processes;

    while (*link != process)
        link = &(*link)->next;
    *link = process->next;
    free(process->backend);
    free(process->model);
    free(process);
    if (supervisor->closing)
        finish_close(supervisor);
}

/* It runs no more and is not to run again. */
static void
dispose(struct process *process)
{
    if (uv_is_closing((uv_handle_t *)&process->timer))
        return;
    unlink(process->path);
    hw_board_remove_slot(process->supervisor->board, process->slot);
    uv_close((uv_handle_t *)&process->timer, on_timer_closed);
}

static void
on_restart(uv_timer_t *timer)
{
    start(timer->data);
}

static void
on_handle_closed(uv_handle_t *handle)
{
    struct process *process = handle->data;

    process->handle_open = false;
    if (process->retiring)
        dispose(process);
    else
        uv_timer_start(&process->timer, on_restart, process->pause_ms, 0);
}

/* was_up: it served, so its death says little of its successor's chances. */
static void
choose_pause(struct process *process, bool was_up)
{
    uint64_t lived_ms = uv_now(process->supervisor->loop) - process->started_ms;

    if (was_up && lived_ms >= YOUNG_MS)
        process->pause_ms = 0;
    process->pause_ms = process->pause_ms == 0 ? PAUSE_MIN_MS : process->pause_ms * 2;
    if (process->pause_ms > PAUSE_MAX_MS)
        process->pause_ms = PAUSE_MAX_MS;
}

static void
on_exit_of_child(uv_process_t *handle, int64_t status, int signal_number)
{
    struct process *process = handle->data;
    int pid = uv_process_get_pid(handle);

    process->running = false;
    uv_timer_stop(&process->timer);
    bool was_up = hw_board_slot_died(process->supervisor->board, process->slot, !process->retiring);
    choose_pause(process, was_up);
    if (process->retiring)
        hw_log(HW_LOG_INFO, "worker %d of %s has stopped", pid, process->backend);
    else if (signal_number != 0)
        hw_log(HW_LOG_WARN, "worker %d of %s was killed by signal %d, restart in %llu ms", pid,
               process->backend, signal_number, (unsigned long long)process->pause_ms);
    else
        hw_log(HW_LOG_WARN, "worker %d of %s exited with status %lld, restart in %llu ms", pid,
               process->backend, (long long)status, (unsigned long long)process->pause_ms);
    uv_close((uv_handle_t *)handle, on_handle_closed);
}

/* stdout goes where stderr goes: the access log may be on ours. */
static void
start(struct process *process)
{
    struct hw_workers_supervisor *supervisor = process->supervisor;
    char *args[] = {"hatchway",
                    "worker",
                    "--model",
                    process->model,
                    "--socket",
                    process->path,
                    process->fast ? "--precision" : NULL,
                    "fast",
                    NULL};
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
        {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
    };
    uv_process_options_t options = {
        .file = supervisor->executable,
        .args = args,
        .exit_cb = on_exit_of_child,
        .stdio = stdio,
        .stdio_count = 3,
        .env = hw_worker_environment(),
    };

    unlink(process->path);
    uv_update_time(supervisor->loop);
    process->started_ms = uv_now(supervisor->loop);
    process->handle_open = true;
    process->handle.data = process;
    int rc = uv_spawn(supervisor->loop, &process->handle, &options);
    free(options.env);
    if (rc != 0) {
        choose_pause(process, false);
        hw_log(HW_LOG_ERROR, "cannot start a worker of %s (%s): %s; again in %llu ms",
               process->backend, supervisor->executable, uv_strerror(rc),
               (unsigned long long)process->pause_ms);
        uv_close((uv_handle_t *)&process->handle, on_handle_closed);
        return;
    }
    process->running = true;
    process->told = false;
    hw_board_slot_started(supervisor->board, process->slot, uv_process_get_pid(&process->handle));
    hw_log(HW_LOG_INFO, "worker %d of %s started (%s)", uv_process_get_pid(&process->handle),
           process->backend, process->model);
}

static void
on_kill(uv_timer_t *timer)
{
    struct process *process = timer->data;

    hw_log(HW_LOG_WARN, "worker %d of %s does not stop: killed",
           uv_process_get_pid(&process->handle), process->backend);
    uv_process_kill(&process->handle, SIGKILL);
}

static void
stop(struct process *process)
{
    if (process->running) {
        if (process->told)
            return;
        process->told = true;
        uv_process_kill(&process->handle, SIGTERM);
        uv_timer_start(&process->timer, on_kill, KILL_AFTER_MS, 0);
    } else if (!process->handle_open) { /* else on_handle_closed disposes of it */
        dispose(process);
    }
}

static void
retire(struct process *process)
{
    if (process->retiring)
        return;
    process->retiring = true;
    hw_board_slot_retire(process->supervisor->board, process->slot);
    if (!process->running)
        stop(process);
}

static void
make_path(const struct hw_workers_supervisor *supervisor, const char *backend, uint32_t number,
          char *out)
{
    char name[NAME_IN_PATH + 1];
    size_t len = strlen(backend) < NAME_IN_PATH ? strlen(backend) : NAME_IN_PATH;

    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)backend[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        name[i] = plain ? (char)c : '_';
    }
    name[len] = '\0';
    int n = snprintf(out, HW_BOARD_PATH_BYTES, "%s/%s-%u.sock", supervisor->dir.path, name,
                     (unsigned)number);
    HW_ASSERT(n > 0 && (size_t)n < HW_BOARD_PATH_BYTES); /* make_dir bounds the folder's */
}

static void
add_process(struct hw_workers_supervisor *supervisor, const struct backend *backend)
{
    struct process *process = hw_xcalloc(1, sizeof(*process));

    process->supervisor = supervisor;
    process->backend = copy_text(backend->name);
    process->model = copy_text(backend->model);
    process->fast = backend->fast;
    make_path(supervisor, backend->name, supervisor->path_counter++, process->path);
    process->slot = hw_board_add_slot(supervisor->board, backend->name, process->path);
    uv_timer_init(supervisor->loop, &process->timer);
    process->timer.data = process;
    process->next = supervisor->processes;
    supervisor->processes = process;
    start(process);
}

/* --- the snapshot ---------------------------------------------------------------------------- */

static int
make_dir(struct hw_workers_supervisor *supervisor, const char *parent, struct hw_err *err)
{
    /* Behind it must fit: "/", the name, "-", a number, ".sock". */
    size_t behind = NAME_IN_PATH + 18;

    if (supervisor->dir.path != NULL)
        return 0;
    return hw_workers_dir_make(&supervisor->dir, parent, HW_BOARD_PATH_BYTES - behind + 1, err);
}

static bool
is_local(const struct hw_conf_backend *conf)
{
    return conf->kind == HW_KIND_BDH && conf->model != NULL;
}

static struct backend *
find_backend(struct hw_workers_supervisor *supervisor, const char *name)
{
    struct backend *backend = supervisor->backends;

    while (backend != NULL && strcmp(backend->name, name) != 0)
        backend = backend->next;
    return backend;
}

/* Retires what runs another model than it should, or is one too many; starts what is missing. */
static void
adjust_processes(struct hw_workers_supervisor *supervisor, const struct backend *backend)
{
    uint32_t have = 0;

    for (struct process *process = supervisor->processes, *next; process != NULL; process = next) {
        next = process->next;
        if (process->retiring || strcmp(process->backend, backend->name) != 0)
            continue;
        bool same = strcmp(process->model, backend->model) == 0 && process->fast == backend->fast;
        if (!same || have >= backend->workers)
            retire(process);
        else
            have++;
    }
    for (; have < backend->workers; have++)
        add_process(supervisor, backend);
}

static void
apply_backend(struct hw_workers_supervisor *supervisor, const struct hw_conf_backend *conf)
{
    struct backend *backend = find_backend(supervisor, conf->name);
    bool fast = conf->precision == HW_PRECISION_FAST;
    bool changed = false;

    if (backend == NULL) {
        backend = hw_xcalloc(1, sizeof(*backend));
        backend->name = copy_text(conf->name);
        backend->model = copy_text(conf->model);
        backend->next = supervisor->backends;
        supervisor->backends = backend;
    } else if (strcmp(backend->model, conf->model) != 0 || backend->fast != fast) {
        changed = true;
        free(backend->model);
        backend->model = copy_text(conf->model);
    }
    backend->fast = fast;
    backend->wanted = true;
    backend->workers =
        conf->workers < HW_WORKERS_MAX_PROCESSES ? conf->workers : HW_WORKERS_MAX_PROCESSES;
    hw_board_set_backend(supervisor->board, backend->name, backend->workers, changed);
    adjust_processes(supervisor, backend);
}

static void
drop_backend(struct hw_workers_supervisor *supervisor, struct backend **link)
{
    struct backend *backend = *link;

    *link = backend->next;
    backend->workers = 0;
    adjust_processes(supervisor, backend);
    hw_board_drop_backend(supervisor->board, backend->name);
    free(backend->name);
    free(backend->model);
    free(backend);
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
    for (struct backend *backend = supervisor->backends; backend != NULL; backend = backend->next)
        backend->wanted = false;
    for (size_t i = 0; i < snapshot->backend_count; i++)
        if (is_local(&snapshot->backends[i]))
            apply_backend(supervisor, &snapshot->backends[i]);
    for (struct backend **link = &supervisor->backends; *link != NULL;) {
        if ((*link)->wanted)
            link = &(*link)->next;
        else
            drop_backend(supervisor, link);
    }
    return 0;
}

/* --- life ------------------------------------------------------------------------------------ */

/* A loop let go of a worker: a retired one that nobody holds is told to stop. */
static void
on_poke(uv_async_t *async)
{
    struct hw_workers_supervisor *supervisor = async->data;

    for (struct process *process = supervisor->processes, *next; process != NULL; process = next) {
        next = process->next;
        if (process->retiring && hw_board_slot_links(supervisor->board, process->slot) == 0)
            stop(process);
    }
}

struct hw_workers_supervisor *
hw_workers_supervisor_create(uv_loop_t *loop, const char *executable)
{
    struct hw_workers_supervisor *supervisor = hw_xcalloc(1, sizeof(*supervisor));

    supervisor->loop = loop;
    supervisor->executable = copy_text(executable != NULL ? executable : "/proc/self/exe");
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
    finish_close(supervisor);
}

void
hw_workers_supervisor_close(struct hw_workers_supervisor *supervisor, void (*closed_cb)(void *ctx),
                            void *ctx)
{
    supervisor->closing = true;
    supervisor->closed_cb = closed_cb;
    supervisor->closed_ctx = ctx;
    for (struct process *process = supervisor->processes, *next; process != NULL; process = next) {
        next = process->next;
        process->retiring = true;
        stop(process);
    }
    hw_board_unlisten(supervisor->board, &supervisor->async);
    uv_close((uv_handle_t *)&supervisor->async, on_async_closed);
}
