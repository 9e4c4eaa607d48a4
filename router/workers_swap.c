/* router/workers_swap.c - a checkpoint that changes on disk, taken without a lost query.
 *
 *   the file changed --(quiet for SETTLE_MS)--> fresh workers load it, on trial: no query comes to
 *   them -- all loops have their HELLO --> they serve, the old ones retire
 *          -- one of them exits, or LATE_MS pass --> they are stopped, the old ones go on, and this
 *             file is not tried again before it changes
 *
 * A worker reads its checkpoint through a descriptor that is kept here: one that is killed comes
 * back with what was serving, though another file may have its name by then. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hatchway/assert.h"
#include "router/log.h"
#include "router/workers_supervisor_private.h"

#define LOOK_MS 500u    /* between two looks at the file */
#define SETTLE_MS 1500u /* without a change: whoever writes it has done */
#define LATE_MS 120000u /* for the fresh workers to load, and to answer the trial question */

static struct hw_file_mark
mark_of(const struct stat *st)
{
    return (struct hw_file_mark){.device = (uint64_t)st->st_dev,
                                 .inode = (uint64_t)st->st_ino,
                                 .bytes = (uint64_t)st->st_size,
                                 .seconds = (int64_t)st->st_mtim.tv_sec,
                                 .nanoseconds = (int64_t)st->st_mtim.tv_nsec};
}

static bool
same_mark(const struct hw_file_mark *a, const struct hw_file_mark *b)
{
    return a->device == b->device && a->inode == b->inode && a->bytes == b->bytes &&
           a->seconds == b->seconds && a->nanoseconds == b->nanoseconds;
}

/* -1: there is no such file now, and a worker will say so. */
static int
open_model(const char *path, struct hw_file_mark *mark)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hold us up */

    *mark = (struct hw_file_mark){0};
    if (fd < 0)
        return -1;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return -1;
    }
    *mark = mark_of(&st);
    return fd;
}

static void
close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static bool
is_of(const struct hw_worker_process *process, const struct hw_worker_backend *backend)
{
    return !process->retiring && strcmp(process->backend, backend->name) == 0;
}

/* --- the trial ------------------------------------------------------------------------------- */

static void on_quiet(uv_timer_t *timer);

/* The file may have changed again meanwhile. */
static void
end_trial(struct hw_model_watch *watch)
{
    uv_timer_stop(&watch->late_timer);
    uv_timer_start(&watch->quiet_timer, on_quiet, SETTLE_MS, 0);
    watch->trying = false;
    close_fd(&watch->tried_fd);
}

static void
on_late(uv_timer_t *timer)
{
    struct hw_model_watch *watch = timer->data;

    if (watch->backend != NULL)
        hw_swap_refuse(watch->supervisor, watch->backend, "its workers do not come up");
}

static void
begin_trial(struct hw_model_watch *watch)
{
    struct hw_worker_backend *backend = watch->backend;
    struct hw_file_mark mark;
    int fd = open_model(backend->model, &mark);

    if (fd < 0 || same_mark(&mark, &watch->taken) || same_mark(&mark, &watch->refused)) {
        close_fd(&fd);
        return;
    }
    hw_log(HW_LOG_INFO, "%s has changed: fresh workers of %s try it", backend->model,
           backend->name);
    watch->trying = true;
    watch->tried = mark;
    watch->tried_fd = fd;
    uv_timer_start(&watch->late_timer, on_late, LATE_MS, 0);
    for (uint32_t i = 0; i < backend->workers; i++)
        hw_process_add(watch->supervisor, backend, true);
}

void
hw_swap_refuse(struct hw_workers_supervisor *supervisor, struct hw_worker_backend *backend,
               const char *why)
{
    struct hw_model_watch *watch = backend->watch;

    if (!watch->trying)
        return;
    watch->refused = watch->tried;
    end_trial(watch);
    for (struct hw_worker_process *process = supervisor->processes, *next; process != NULL;
         process = next) {
        next = process->next;
        if (process->trial && is_of(process, backend))
            hw_process_retire(process);
    }
    hw_board_count_refused(supervisor->board, backend->name);
    hw_log(HW_LOG_ERROR,
           "%s is not taken: %s. Workers of %s go on with what they have; the file is looked at "
           "again when it changes",
           backend->model, why, backend->name);
}

static void
take(struct hw_workers_supervisor *supervisor, struct hw_worker_backend *backend)
{
    struct hw_model_watch *watch = backend->watch;

    watch->taken = watch->tried;
    close_fd(&watch->fd);
    watch->fd = watch->tried_fd;
    watch->tried_fd = -1;
    end_trial(watch);
    hw_board_swap(supervisor->board, backend->name);
    for (struct hw_worker_process *process = supervisor->processes, *next; process != NULL;
         process = next) {
        next = process->next;
        if (!is_of(process, backend))
            continue;
        if (process->trial)
            process->trial = false;
        else
            hw_process_retire(process);
    }
    hw_supervisor_adjust(supervisor, backend);
    hw_log(HW_LOG_INFO, "%s is in force: fresh workers of %s serve it", backend->model,
           backend->name);
}

void
hw_swap_settle(struct hw_workers_supervisor *supervisor)
{
    for (struct hw_worker_backend *backend = supervisor->backends; backend != NULL;
         backend = backend->next)
        if (backend->watch->trying && hw_board_trial_passed(supervisor->board, backend->name))
            take(supervisor, backend);
}

/* --- the file -------------------------------------------------------------------------------- */

static void
on_quiet(uv_timer_t *timer)
{
    struct hw_model_watch *watch = timer->data;

    if (watch->backend != NULL && !watch->trying)
        begin_trial(watch);
}

/* While it changes the trial waits; a trial under way is not disturbed: the next one follows. */
static void
on_change(uv_fs_poll_t *poll, int status, const uv_stat_t *before, const uv_stat_t *now)
{
    struct hw_model_watch *watch = poll->data;

    (void)before;
    (void)now;
    if (status != 0 || watch->backend == NULL)
        return; /* gone: between two names perhaps */
    uv_timer_start(&watch->quiet_timer, on_quiet, SETTLE_MS, 0);
}

static void
on_handle_closed(uv_handle_t *handle)
{
    struct hw_model_watch *watch = handle->data;
    struct hw_workers_supervisor *supervisor = watch->supervisor;

    if (--watch->open_handles > 0)
        return;
    free(watch);
    supervisor->watch_count--;
    if (supervisor->closing)
        hw_supervisor_finish_close(supervisor);
}

void
hw_swap_watch(struct hw_workers_supervisor *supervisor, struct hw_worker_backend *backend)
{
    struct hw_model_watch *watch = hw_xcalloc(1, sizeof(*watch));

    watch->supervisor = supervisor;
    watch->backend = backend;
    watch->tried_fd = -1;
    watch->fd = open_model(backend->model, &watch->taken);
    uv_fs_poll_init(supervisor->loop, &watch->poll);
    uv_timer_init(supervisor->loop, &watch->late_timer);
    uv_timer_init(supervisor->loop, &watch->quiet_timer);
    watch->poll.data = watch->late_timer.data = watch->quiet_timer.data = watch;
    watch->open_handles = 3;
    supervisor->watch_count++;
    uv_fs_poll_start(&watch->poll, on_change, backend->model, LOOK_MS);
    /* What changed between our look and the poll's first. */
    uv_timer_start(&watch->quiet_timer, on_quiet, SETTLE_MS, 0);
    backend->watch = watch;
}

void
hw_swap_unwatch(struct hw_worker_backend *backend)
{
    struct hw_model_watch *watch = backend->watch;

    if (watch == NULL)
        return;
    watch->backend = NULL;
    close_fd(&watch->fd);
    close_fd(&watch->tried_fd);
    uv_close((uv_handle_t *)&watch->poll, on_handle_closed);
    uv_close((uv_handle_t *)&watch->late_timer, on_handle_closed);
    uv_close((uv_handle_t *)&watch->quiet_timer, on_handle_closed);
    backend->watch = NULL;
}
