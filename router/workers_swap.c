/* router/workers_swap.c - a checkpoint that changes on disk, taken without a lost query.
 *
 *   the file changed --(quiet for settle_ms, and nobody has it open for writing)--> it is copied
 *   -- it is not what serves already --> fresh workers load the copy, on trial: no query comes to
 *   them -- all loops have their HELLO --> they serve, the old ones retire
 *          -- one of them exits, or LATE_MS pass --> they are stopped, the old ones go on, and this
 *             file is not tried again before it changes
 *
 * A worker reads its checkpoint through a descriptor of the copy (workers_copy.h): one that is
 * killed comes back with what was serving, whatever has become of the file by then. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hatchway/assert.h"
#include "router/log.h"
#include "router/workers_supervisor_private.h"

#define LATE_MS 120000u /* for the fresh workers to load, and to answer the trial question */

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

static struct hw_checkpoint
checkpoint_of(const struct hw_copy_outcome *outcome)
{
    return (struct hw_checkpoint){
        .mark = outcome->mark, .fd = outcome->fd, .is_copy = outcome->result == HW_COPY_MADE};
}

static void
wait_for_quiet(struct hw_model_watch *watch)
{
    uv_timer_start(&watch->quiet_timer, on_quiet, watch->supervisor->settle_ms, 0);
}

/* The file may have changed again meanwhile. */
static void
end_trial(struct hw_model_watch *watch)
{
    uv_timer_stop(&watch->late_timer);
    wait_for_quiet(watch);
    watch->trying = false;
    close_fd(&watch->tried.fd);
}

static void
on_late(uv_timer_t *timer)
{
    struct hw_model_watch *watch = timer->data;

    if (watch->backend != NULL)
        hw_swap_refuse(watch->supervisor, watch->backend, "its workers do not come up");
}

static void
begin_trial(struct hw_model_watch *watch, const struct hw_copy_outcome *outcome)
{
    struct hw_worker_backend *backend = watch->backend;

    hw_log(HW_LOG_INFO, "%s has changed: fresh workers of %s try it", backend->model,
           backend->name);
    watch->trying = true;
    watch->tried = checkpoint_of(outcome);
    hw_board_note_swap(watch->supervisor->board, backend->name, HW_SWAP_ON_TRIAL, NULL);
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
    watch->refused = watch->tried.mark;
    end_trial(watch);
    for (struct hw_worker_process *process = supervisor->processes, *next; process != NULL;
         process = next) {
        next = process->next;
        if (process->trial && is_of(process, backend))
            hw_process_retire(process);
    }
    hw_board_note_swap(supervisor->board, backend->name, HW_SWAP_REFUSED, why);
    hw_log(HW_LOG_ERROR,
           "%s is not taken: %s. Workers of %s go on with what they have; the file is looked at "
           "again when it changes",
           backend->model, why, backend->name);
}

static void
take(struct hw_workers_supervisor *supervisor, struct hw_worker_backend *backend)
{
    struct hw_model_watch *watch = backend->watch;

    close_fd(&watch->taken.fd);
    watch->taken = watch->tried;
    watch->refused = (struct hw_file_mark){0};
    watch->tried.fd = -1;
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
release(struct hw_model_watch *watch)
{
    struct hw_workers_supervisor *supervisor = watch->supervisor;

    if (--watch->open_handles > 0)
        return;
    free(watch);
    supervisor->watch_count--;
    if (supervisor->closing)
        hw_supervisor_finish_close(supervisor);
}

/* The copy of what serves is there: who is started again from now on reads that. */
static void
keep_copy(struct hw_model_watch *watch, const struct hw_copy_outcome *outcome)
{
    close_fd(&watch->taken.fd);
    watch->taken = checkpoint_of(outcome);
    for (struct hw_worker_process *process = watch->supervisor->processes; process != NULL;
         process = process->next)
        if (is_of(process, watch->backend) && !process->trial)
            hw_process_set_model(process, outcome->fd);
}

static void
tell_of_original(const struct hw_model_watch *watch, int error)
{
    hw_log(HW_LOG_WARN,
           "no copy of %s can be kept (%s): if it is written in place, a worker of %s that is "
           "started again reads what is there by then",
           watch->backend->model, strerror(error), watch->backend->name);
}

static void
take_copy(struct hw_model_watch *watch, const struct hw_copy_outcome *outcome, bool is_taken)
{
    int fd = outcome->fd;

    if (outcome->result == HW_COPY_ORIGINAL)
        tell_of_original(watch, outcome->error);
    if (is_taken && outcome->result == HW_COPY_MADE) {
        keep_copy(watch, outcome);
    } else if (!is_taken && watch->settled) {
        begin_trial(watch, outcome);
    } else {
        close_fd(&fd);
        if (!is_taken)
            wait_for_quiet(watch);
    }
}

/* The file is what serves: put back perhaps, after one that was refused. */
static void
take_same(struct hw_model_watch *watch, const struct hw_copy_outcome *outcome)
{
    watch->taken.mark = outcome->mark;
    if (watch->refused.inode == 0)
        return;
    watch->refused = (struct hw_file_mark){0};
    hw_board_note_swap(watch->supervisor->board, watch->backend->name, HW_SWAP_NONE, NULL);
}

/* A roll-back by symlink brings back the very file that serves, and not only its bytes. */
static void
look_at(struct hw_model_watch *watch, const struct hw_copy_outcome *outcome)
{
    bool is_taken = hw_file_mark_equal(&outcome->mark, &watch->taken.mark);

    if (outcome->result == HW_COPY_GONE)
        return;
    if (is_taken || outcome->result == HW_COPY_SAME)
        take_same(watch, outcome);
    if (outcome->fd >= 0)
        take_copy(watch, outcome, is_taken);
}

static void
on_copied(void *ctx, const struct hw_copy_outcome *outcome)
{
    struct hw_model_watch *watch = ctx;
    int fd = outcome->fd;

    watch->copy = NULL;
    if (watch->backend == NULL) {
        close_fd(&fd);
    } else if (outcome->result == HW_COPY_BUSY) {
        if (!watch->told_busy)
            hw_log(HW_LOG_INFO, "%s is being written: it is tried when that has ended",
                   watch->backend->model);
        watch->told_busy = true;
        wait_for_quiet(watch);
    } else {
        watch->told_busy = false;
        look_at(watch, outcome);
    }
    release(watch);
}

static void
begin_copy(struct hw_model_watch *watch)
{
    struct hw_copy_wish wish = {
        .path = watch->backend->model, .known = {watch->refused}, .compare = -1};

    if (watch->taken.is_copy) {
        wish.known[1] = watch->taken.mark;
        wish.compare = watch->taken.fd;
    }
    watch->open_handles++;
    watch->copy = hw_copy_start(watch->supervisor->loop, &wish, on_copied, watch);
}

static void
on_quiet(uv_timer_t *timer)
{
    struct hw_model_watch *watch = timer->data;

    if (watch->backend == NULL || watch->trying)
        return; /* its end looks again */
    if (watch->copy != NULL) {
        wait_for_quiet(watch);
        return;
    }
    watch->settled = true;
    begin_copy(watch);
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
    wait_for_quiet(watch);
}

static void
on_handle_closed(uv_handle_t *handle)
{
    release(handle->data);
}

/* What changes between our look and the poll's first is found by the copy's. */
void
hw_swap_watch(struct hw_workers_supervisor *supervisor, struct hw_worker_backend *backend)
{
    struct hw_model_watch *watch = hw_xcalloc(1, sizeof(*watch));

    watch->supervisor = supervisor;
    watch->backend = backend;
    watch->tried.fd = -1;
    watch->taken.fd = hw_model_open(backend->model, &watch->taken.mark);
    uv_fs_poll_init(supervisor->loop, &watch->poll);
    uv_timer_init(supervisor->loop, &watch->late_timer);
    uv_timer_init(supervisor->loop, &watch->quiet_timer);
    watch->poll.data = watch->late_timer.data = watch->quiet_timer.data = watch;
    watch->open_handles = 3;
    supervisor->watch_count++;
    uv_fs_poll_start(&watch->poll, on_change, backend->model, supervisor->look_ms);
    begin_copy(watch);
    backend->watch = watch;
    hw_board_note_swap(supervisor->board, backend->name, HW_SWAP_NONE, NULL); /* of another file */
}

void
hw_swap_abandon(struct hw_worker_backend *backend)
{
    if (backend->watch == NULL || !backend->watch->trying)
        return;
    end_trial(backend->watch);
    hw_board_note_swap(backend->watch->supervisor->board, backend->name, HW_SWAP_NONE, NULL);
}

void
hw_swap_unwatch(struct hw_worker_backend *backend)
{
    struct hw_model_watch *watch = backend->watch;

    if (watch == NULL)
        return;
    watch->backend = NULL;
    if (watch->copy != NULL)
        hw_copy_hurry(watch->copy);
    close_fd(&watch->taken.fd);
    close_fd(&watch->tried.fd);
    uv_close((uv_handle_t *)&watch->poll, on_handle_closed);
    uv_close((uv_handle_t *)&watch->late_timer, on_handle_closed);
    uv_close((uv_handle_t *)&watch->quiet_timer, on_handle_closed);
    backend->watch = NULL;
}
