/* router/workers_process.c - one worker process: started, watched, started again.
 *
 *   process:   STOPPED -> RUNNING -> EXITED -> (after a pause) RUNNING ...
 *                            |         +-> gone, when retired or closing
 *
 * A worker that dies after it was up is back within the shortest pause; one that dies young (before
 * anybody heard its HELLO, or in its first second) waits twice as long each time, so that a broken
 * model does not keep a core busy. A retired worker ends when the loops have let go of it: it exits
 * by itself when its last connection closes, SIGTERM only makes sure. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hatchway/assert.h"
#include "router/log.h"
#include "router/workers_supervisor_private.h"

#define YOUNG_MS 1000u
#define PAUSE_MIN_MS 50u
#define PAUSE_MAX_MS 5000u
#define KILL_AFTER_MS 2000u
#define MAX_ARGS 20
#define MIB ((size_t)1 << 20)

static void start(struct hw_worker_process *process);

static void
on_timer_closed(uv_handle_t *handle)
{
    struct hw_worker_process *process = handle->data;
    struct hw_workers_supervisor *supervisor = process->supervisor;
    struct hw_worker_process **link = &supervisor->processes;

    while (*link != process)
        link = &(*link)->next;
    *link = process->next;
    free(process->backend);
    free(process->model);
    free(process->trial_ask);
    free(process->trial_expect);
    if (process->model_fd >= 0)
        close(process->model_fd);
    free(process);
    if (supervisor->closing)
        hw_supervisor_finish_close(supervisor);
}

/* It runs no more and is not to run again. */
static void
dispose(struct hw_worker_process *process)
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
    struct hw_worker_process *process = handle->data;

    process->handle_open = false;
    if (process->retiring)
        dispose(process);
    else
        uv_timer_start(&process->timer, on_restart, process->pause_ms, 0);
}

/* was_up: it served, so its death says little of its successor's chances. */
static void
choose_pause(struct hw_worker_process *process, bool was_up)
{
    uint64_t lived_ms = uv_now(process->supervisor->loop) - process->started_ms;

    if (was_up && lived_ms >= YOUNG_MS)
        process->pause_ms = 0;
    process->pause_ms = process->pause_ms == 0 ? PAUSE_MIN_MS : process->pause_ms * 2;
    if (process->pause_ms > PAUSE_MAX_MS)
        process->pause_ms = PAUSE_MAX_MS;
}

static void
fail_trial(struct hw_worker_process *process, int64_t status, int signal_number)
{
    struct hw_worker_backend *backend = process->supervisor->backends;
    char why[96];

    while (backend != NULL && strcmp(backend->name, process->backend) != 0)
        backend = backend->next;
    if (signal_number != 0)
        snprintf(why, sizeof(why), "its worker was killed by signal %d", signal_number);
    else
        snprintf(why, sizeof(why), "its worker exited with status %lld: the log has what it said",
                 (long long)status);
    if (backend != NULL)
        hw_swap_refuse(process->supervisor, backend, why);
}

static void
on_exit_of_child(uv_process_t *handle, int64_t status, int signal_number)
{
    struct hw_worker_process *process = handle->data;
    int pid = uv_process_get_pid(handle);

    process->running = false;
    uv_timer_stop(&process->timer);
    bool was_up = hw_board_slot_died(process->supervisor->board, process->slot,
                                     !process->retiring && !process->trial);
    choose_pause(process, was_up);
    if (process->trial && !process->retiring)
        fail_trial(process, status, signal_number);
    else if (process->retiring)
        hw_log(HW_LOG_INFO, "worker %d of %s has stopped", pid, process->backend);
    else if (signal_number != 0)
        hw_log(HW_LOG_WARN, "worker %d of %s was killed by signal %d, restart in %llu ms", pid,
               process->backend, signal_number, (unsigned long long)process->pause_ms);
    else
        hw_log(HW_LOG_WARN, "worker %d of %s exited with status %lld, restart in %llu ms", pid,
               process->backend, (long long)status, (unsigned long long)process->pause_ms);
    uv_close((uv_handle_t *)handle, on_handle_closed);
}

static void
fill_args(const struct hw_worker_process *process, char *args[MAX_ARGS], char cache_mib[32])
{
    const char *const wanted[][2] = {
        {"--model", process->model},
        {"--socket", process->path},
        {"--precision", process->fast ? "fast" : NULL},
        {"--state-cache", cache_mib},
        {"--model-fd", process->model_fd >= 0 ? "3" : NULL},
        {"--trial-ask", process->trial_ask},
        {"--trial-expect", process->trial_expect},
    };
    size_t count = 0;

    snprintf(cache_mib, 32, "%zu", (process->state_cache + MIB - 1) / MIB);
    args[count++] = (char *)(uintptr_t) "hatchway";
    args[count++] = (char *)(uintptr_t) "worker";
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
        if (wanted[i][1] != NULL) {
            args[count++] = (char *)(uintptr_t)wanted[i][0];
            args[count++] = (char *)(uintptr_t)wanted[i][1];
        }
    args[count] = NULL;
}

/* stdout goes where stderr goes: the access log may be on ours. */
static void
start(struct hw_worker_process *process)
{
    struct hw_workers_supervisor *supervisor = process->supervisor;
    char *args[MAX_ARGS], cache_mib[32];
    uv_stdio_container_t stdio[4] = {
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
        {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
        {.flags = UV_INHERIT_FD, .data.fd = process->model_fd},
    };
    uv_process_options_t options = {
        .file = supervisor->executable,
        .args = args,
        .exit_cb = on_exit_of_child,
        .stdio = stdio,
        .stdio_count = process->model_fd >= 0 ? 4 : 3,
        .env = hw_worker_environment(),
    };

    fill_args(process, args, cache_mib);
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
    struct hw_worker_process *process = timer->data;

    hw_log(HW_LOG_WARN, "worker %d of %s does not stop: killed",
           uv_process_get_pid(&process->handle), process->backend);
    uv_process_kill(&process->handle, SIGKILL);
}

void
hw_process_stop(struct hw_worker_process *process)
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

void
hw_process_retire(struct hw_worker_process *process)
{
    if (process->retiring)
        return;
    process->retiring = true;
    hw_board_slot_retire(process->supervisor->board, process->slot);
    if (!process->running)
        hw_process_stop(process);
}

static void
make_path(const struct hw_workers_supervisor *supervisor, const char *backend, uint32_t number,
          char *out)
{
    char name[HW_NAME_IN_PATH + 1];
    size_t len = strlen(backend) < HW_NAME_IN_PATH ? strlen(backend) : HW_NAME_IN_PATH;

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

void
hw_process_set_model(struct hw_worker_process *process, int fd)
{
    if (process->model_fd >= 0)
        close(process->model_fd);
    process->model_fd = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;
}

void
hw_process_add(struct hw_workers_supervisor *supervisor, const struct hw_worker_backend *backend,
               bool trial)
{
    struct hw_worker_process *process = hw_xcalloc(1, sizeof(*process));

    process->supervisor = supervisor;
    process->backend = hw_xstrdup(backend->name);
    process->model = hw_xstrdup(backend->model);
    process->fast = backend->fast;
    process->state_cache = backend->state_cache;
    process->trial = trial;
    process->model_fd = -1;
    hw_process_set_model(process, trial ? backend->watch->tried.fd : backend->watch->taken.fd);
    if (backend->trial_ask != NULL)
        process->trial_ask = hw_xstrdup(backend->trial_ask);
    if (backend->trial_expect != NULL)
        process->trial_expect = hw_xstrdup(backend->trial_expect);
    make_path(supervisor, backend->name, supervisor->path_counter++, process->path);
    process->slot = hw_board_add_slot(supervisor->board, backend->name, process->path, trial);
    uv_timer_init(supervisor->loop, &process->timer);
    process->timer.data = process;
    process->next = supervisor->processes;
    supervisor->processes = process;
    start(process);
}
