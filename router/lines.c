/* router/lines.c - see lines.h.
 *
 * A loop puts its line together outside of the lock, appends it to the filling buffer and goes on.
 * Only a line into an empty queue wakes the writer, which then waits a moment for company: some
 * fifty wake-ups a second at any load, and one large write instead of many small ones. The two
 * buffers trade places, so that the writer holds no lock while it writes. */
#include "router/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "hatchway/assert.h"
#include "hatchway/buf.h"
#include "router/log.h"
#include "router/log_private.h"

#define QUEUE_HURRY_BYTES ((size_t)256 * 1024) /* company enough: write now */
#define COMPANY_NS (20L * 1000 * 1000)
#define PATIENCE_MS 1000 /* with a reader that takes nothing: then lines are lost, not the exit */

/* Where lines go. The writer's own, but for `next`. */
struct place {
    char *path; /* NULL: somebody else's fd */
    int fd;     /* -1: nowhere */
    uint64_t max_bytes, size;
    uint32_t keep;
    bool torn; /* the last write stopped within a line */
};

struct hw_lines {
    const char *what;
    struct place place;
    size_t queue_bytes;
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t wake;
    struct hw_buf filling;
    struct place next; /* with `moved`: the place from now on, not opened yet */
    bool reopen, moved, stop;
    _Atomic uint64_t lost;
};

/* --- the file --- */

static void
place_set(struct place *place, const struct hw_lines_target *target)
{
    *place = (struct place){.fd = target->path != NULL ? -1 : target->fd,
                            .max_bytes = target->path != NULL ? target->max_bytes : 0,
                            .keep = target->keep};
    if (target->path == NULL)
        return;
    size_t size = strlen(target->path) + 1;
    place->path = hw_xcalloc(size, 1);
    memcpy(place->path, target->path, size);
}

static int
place_open(struct place *place)
{
    struct stat st;
    int fd = open(place->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);

    if (fd < 0)
        return -1;
    if (place->fd >= 0)
        close(place->fd);
    place->fd = fd;
    place->size = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
    place->torn = false;
    return 0;
}

static void
place_close(struct place *place)
{
    if (place->path != NULL && place->fd >= 0)
        close(place->fd);
    free(place->path);
    *place = (struct place){.fd = -1};
}

/* A file that cannot be opened again leaves the old one in use: better a line in the rotated file
 * than none. */
static void
reopen_place(struct hw_lines *lines)
{
    struct place *place = &lines->place;

    if (place->path != NULL && place_open(place) != 0)
        hw_log(HW_LOG_ERROR, "%s %s: %s%s", lines->what, place->path, strerror(errno),
               place->fd >= 0 ? "; the old file stays open" : "; its lines are lost");
}

static void
move_place(struct hw_lines *lines, struct place *next)
{
    place_close(&lines->place);
    lines->place = *next;
    *next = (struct place){.fd = -1};
    reopen_place(lines);
}

/* FILE -> FILE.1 -> FILE.2 ...: the last is overwritten. Without any to keep the file starts anew.
 */
static void
set_aside(struct hw_lines *lines)
{
    struct place *place = &lines->place;
    size_t size = strlen(place->path) + 16;
    char *from = hw_xcalloc(2, size), *to = from + size;
    bool moved = true;

    for (uint32_t i = place->keep; i > 0 && moved; i--) {
        snprintf(to, size, "%s.%u", place->path, (unsigned)i);
        if (i > 1)
            snprintf(from, size, "%s.%u", place->path, (unsigned)(i - 1));
        else
            snprintf(from, size, "%s", place->path);
        moved = rename(from, to) == 0 || (i > 1 && errno == ENOENT);
    }
    free(from);
    if (place->keep == 0)
        moved = ftruncate(place->fd, 0) == 0;
    if (moved)
        moved = place_open(place) == 0;
    if (!moved) {
        hw_log(HW_LOG_ERROR, "%s %s cannot be set aside: %s; it grows beyond its size", lines->what,
               place->path, strerror(errno));
        place->size = 0; /* asked again when as much has been written */
    }
}

/* After a write that stopped within a line the next begins on a line of its own. */
static bool
write_to(struct place *place, const char *bytes, size_t len)
{
    if (place->fd < 0)
        return place->path == NULL; /* nobody wants them; else nobody could open it */
    if (place->torn && !hw_log_write_all(place->fd, "\n", 1, PATIENCE_MS))
        return false;
    place->torn = !hw_log_write_all(place->fd, bytes, len, PATIENCE_MS);
    return !place->torn;
}

/* How many of the bytes, which are whole lines, still fit into the file; a line that is too long
 * for any file gets one of its own. */
static size_t
fitting(const struct place *place, const char *bytes, size_t len)
{
    if (place->max_bytes == 0 || place->size + len <= place->max_bytes)
        return len;
    size_t room = place->size < place->max_bytes ? (size_t)(place->max_bytes - place->size) : 0;
    const char *end = memrchr(bytes, '\n', room);
    if (end == NULL && place->size == 0)
        end = memchr(bytes, '\n', len);
    return end != NULL ? (size_t)(end - bytes) + 1 : 0;
}

static void
write_out(struct hw_lines *lines, struct hw_buf *batch)
{
    struct place *place = &lines->place;
    const char *bytes = batch->data;
    size_t left = batch->len;

    while (left > 0) {
        size_t n = fitting(place, bytes, left);
        if (n == 0) {
            set_aside(lines);
            n = fitting(place, bytes, left);
            n = n != 0 ? n : left; /* it could not be, and somebody fills the file as well */
        }
        if (write_to(place, bytes, n)) {
            place->size += n;
        } else {
            uint64_t count = 0;
            for (size_t i = 0; i < n; i++)
                count += bytes[i] == '\n';
            atomic_fetch_add_explicit(&lines->lost, count, memory_order_relaxed);
        }
        bytes += n;
        left -= n;
    }
    hw_buf_clear(batch);
}

/* --- the writer --- */

static void
wait_for_company(struct hw_lines *lines)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += COMPANY_NS;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    while (!lines->stop && !lines->reopen && !lines->moved &&
           lines->filling.len < QUEUE_HURRY_BYTES)
        if (pthread_cond_timedwait(&lines->wake, &lines->lock, &until) == ETIMEDOUT)
            break;
}

static void *
run_writer(void *arg)
{
    struct hw_lines *lines = arg;
    struct place next = {.fd = -1};
    struct hw_buf writing;
    bool stop = false;

    hw_buf_init(&writing, lines->queue_bytes);
    while (!stop) {
        pthread_mutex_lock(&lines->lock);
        while (lines->filling.len == 0 && !lines->stop && !lines->reopen && !lines->moved)
            pthread_cond_wait(&lines->wake, &lines->lock);
        wait_for_company(lines);
        struct hw_buf batch = lines->filling;
        lines->filling = writing;
        writing = batch;
        bool reopen = lines->reopen, moved = lines->moved;
        if (moved)
            next = lines->next;
        lines->reopen = lines->moved = false;
        stop = lines->stop;
        pthread_mutex_unlock(&lines->lock);

        write_out(lines, &writing);
        if (moved)
            move_place(lines, &next);
        else if (reopen)
            reopen_place(lines);
    }
    hw_buf_free(&writing);
    return NULL;
}

static void
start_writer(struct hw_lines *lines)
{
    pthread_condattr_t attr;
    HW_ASSERT(pthread_condattr_init(&attr) == 0);
    HW_ASSERT(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
    HW_ASSERT(pthread_mutex_init(&lines->lock, NULL) == 0);
    HW_ASSERT(pthread_cond_init(&lines->wake, &attr) == 0);
    pthread_condattr_destroy(&attr);
    hw_buf_init(&lines->filling, lines->queue_bytes);
    HW_ASSERT(pthread_create(&lines->thread, NULL, run_writer, lines) == 0);
}

/* --- for everybody --- */

int
hw_lines_create(const char *what, const struct hw_lines_target *target, size_t queue_bytes,
                struct hw_lines **out, struct hw_err *err)
{
    struct hw_lines *lines = hw_xcalloc(1, sizeof(*lines));

    lines->what = what;
    lines->queue_bytes = queue_bytes;
    place_set(&lines->place, target);
    if (target->path != NULL && place_open(&lines->place) != 0) {
        int rc = hw_err_set(err, HW_EIO, "%s %s: %s", what, target->path, strerror(errno));
        place_close(&lines->place);
        free(lines);
        return rc;
    }
    start_writer(lines);
    *out = lines;
    return 0;
}

void
hw_lines_put(struct hw_lines *lines, const char *bytes, size_t len)
{
    pthread_mutex_lock(&lines->lock);
    size_t before = lines->filling.len;
    bool kept = hw_buf_append(&lines->filling, bytes, len) == 0;
    bool wake = kept && (before == 0 ||
                         (before < QUEUE_HURRY_BYTES && lines->filling.len >= QUEUE_HURRY_BYTES));
    pthread_mutex_unlock(&lines->lock);
    if (wake)
        pthread_cond_signal(&lines->wake);
    if (!kept)
        hw_lines_lose(lines);
}

void
hw_lines_lose(struct hw_lines *lines)
{
    atomic_fetch_add_explicit(&lines->lost, 1, memory_order_relaxed);
}

uint64_t
hw_lines_lost(const struct hw_lines *lines)
{
    return atomic_load_explicit(&lines->lost, memory_order_relaxed);
}

void
hw_lines_reopen(struct hw_lines *lines)
{
    pthread_mutex_lock(&lines->lock);
    lines->reopen = true;
    pthread_mutex_unlock(&lines->lock);
    pthread_cond_signal(&lines->wake);
}

void
hw_lines_retarget(struct hw_lines *lines, const struct hw_lines_target *target)
{
    pthread_mutex_lock(&lines->lock);
    if (lines->moved) /* nobody has gone to the last one yet */
        place_close(&lines->next);
    place_set(&lines->next, target);
    lines->moved = true;
    pthread_mutex_unlock(&lines->lock);
    pthread_cond_signal(&lines->wake);
}

void
hw_lines_destroy(struct hw_lines **lines_ptr)
{
    struct hw_lines *lines = *lines_ptr;

    if (lines == NULL)
        return;
    *lines_ptr = NULL;
    pthread_mutex_lock(&lines->lock);
    lines->stop = true;
    pthread_mutex_unlock(&lines->lock);
    pthread_cond_signal(&lines->wake);
    pthread_join(lines->thread, NULL);
    hw_buf_free(&lines->filling);
    if (lines->moved) /* asked for while it stopped */
        place_close(&lines->next);
    place_close(&lines->place);
    pthread_cond_destroy(&lines->wake);
    pthread_mutex_destroy(&lines->lock);
    free(lines);
}
