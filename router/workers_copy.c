/* router/workers_copy.c - the copy lies beside the checkpoint, where there is room for one, as a
 * file that never had a name; in memory where that folder is not ours to write in.
 *
 * Whether a writer is at work is asked with a lease: the kernel grants none for reading while
 * somebody has the file open for writing. It is given back at once, for it would hold a writer up.
 * Where leases are not to be had (another's file, NFS) only the marks before and after tell. */
#include "router/workers_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hatchway/assert.h"

#define PIECE_BYTES (1u << 20)

struct hw_copy {
    uv_work_t work;
    struct hw_copy_wish wish; /* path and compare are our own */
    atomic_bool hurry;
    struct hw_copy_outcome outcome;
    void (*done_cb)(void *ctx, const struct hw_copy_outcome *outcome);
    void *ctx;
};

struct hw_file_mark
hw_file_mark_of(const struct stat *st)
{
    return (struct hw_file_mark){.device = (uint64_t)st->st_dev,
                                 .inode = (uint64_t)st->st_ino,
                                 .bytes = (uint64_t)st->st_size,
                                 .changed_s = (int64_t)st->st_mtim.tv_sec,
                                 .changed_ns = (int64_t)st->st_mtim.tv_nsec,
                                 .touched_s = (int64_t)st->st_ctim.tv_sec,
                                 .touched_ns = (int64_t)st->st_ctim.tv_nsec};
}

bool
hw_file_mark_equal(const struct hw_file_mark *a, const struct hw_file_mark *b)
{
    return a->device == b->device && a->inode == b->inode && a->bytes == b->bytes &&
           a->changed_s == b->changed_s && a->changed_ns == b->changed_ns &&
           a->touched_s == b->touched_s && a->touched_ns == b->touched_ns;
}

int
hw_model_open(const char *path, struct hw_file_mark *mark)
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
    *mark = hw_file_mark_of(&st);
    return fd;
}

/* A writer that comes while we hold the lease has us sent a signal: one that nobody minds. */
static bool
is_being_written(int fd)
{
    fcntl(fd, F_SETSIG, SIGURG);
    if (fcntl(fd, F_SETLEASE, F_RDLCK) != 0)
        return errno == EAGAIN;
    fcntl(fd, F_SETLEASE, F_UNLCK);
    return false;
}

/* 0, or an errno. */
static int
write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno != EINTR)
            return errno;
        if (n > 0) {
            bytes += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

/* Bytes read, 0 at the end; -1 with errno. */
static ssize_t
read_piece(int fd, char *bytes, uint64_t at)
{
    ssize_t n;

    do
        n = pread(fd, bytes, PIECE_BYTES, (off_t)at);
    while (n < 0 && errno == EINTR);
    return n;
}

static bool
have_same_bytes(const struct hw_copy *copy, int fd, char *piece)
{
    char *other = piece + PIECE_BYTES;
    struct stat st;
    uint64_t at = 0;
    ssize_t n;

    int compare = copy->wish.compare;

    if (compare < 0 || fstat(compare, &st) != 0 || (uint64_t)st.st_size != copy->outcome.mark.bytes)
        return false;
    do {
        n = read_piece(fd, piece, at);
        if (n < 0 || read_piece(compare, other, at) != n || memcmp(piece, other, (size_t)n) != 0)
            return false;
        at += (uint64_t)n;
    } while (n > 0 && !atomic_load(&copy->hurry));
    return true;
}

static int
open_beside(const char *path)
{
    char *folder = hw_xstrdup(path);
    char *slash = strrchr(folder, '/');

    if (slash != NULL)
        slash[slash == folder ? 1 : 0] = '\0';
    int fd = open(slash != NULL ? folder : ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0400);
    free(folder);
    return fd;
}

/* Takes `to` over and makes it one that nobody can write to. */
static int
reopen_to_read(int to)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", to);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return to;
    close(to);
    return fd;
}

/* Takes `to` over. 0 and the copy in outcome.fd, or an errno. */
static int
fill(struct hw_copy *copy, int from, int to, char *piece)
{
    uint64_t at = 0;
    ssize_t n;
    int rc = 0;

    if (to < 0)
        return errno;
    do {
        n = read_piece(from, piece, at);
        rc = n < 0 ? errno : write_all(to, piece, (size_t)n);
        at += n > 0 ? (uint64_t)n : 0;
    } while (rc == 0 && n > 0 && !atomic_load(&copy->hurry));
    if (rc != 0)
        close(to);
    else
        copy->outcome.fd = reopen_to_read(to);
    return rc;
}

static bool
is_known(const struct hw_copy *copy)
{
    const struct hw_file_mark *mark = &copy->outcome.mark;

    return hw_file_mark_equal(mark, &copy->wish.known[0]) ||
           hw_file_mark_equal(mark, &copy->wish.known[1]);
}

/* A folder's error, not a full disk's: what does not fit there is not to fill the memory. */
static bool
is_not_ours_to_write(int error)
{
    return error == EACCES || error == EPERM || error == EROFS || error == EOPNOTSUPP ||
           error == EISDIR || error == ENOENT;
}

static void
copy_bytes(struct hw_copy *copy, int fd)
{
    struct hw_copy_outcome *outcome = &copy->outcome;
    char *piece = malloc(2 * PIECE_BYTES);

    outcome->error = ENOMEM;
    if (piece != NULL && have_same_bytes(copy, fd, piece)) {
        outcome->result = HW_COPY_SAME;
    } else {
        if (piece != NULL)
            outcome->error = fill(copy, fd, open_beside(copy->wish.path), piece);
        if (piece != NULL && is_not_ours_to_write(outcome->error))
            outcome->error = fill(copy, fd, memfd_create("hatchway-model", MFD_CLOEXEC), piece);
        outcome->result = outcome->error == 0 ? HW_COPY_MADE : HW_COPY_ORIGINAL;
        if (outcome->error != 0)
            outcome->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    }
    free(piece);
}

static void
take_back(struct hw_copy_outcome *outcome)
{
    if (outcome->fd >= 0)
        close(outcome->fd);
    outcome->fd = -1;
    outcome->result = HW_COPY_BUSY;
}

static void
on_work(uv_work_t *work)
{
    struct hw_copy *copy = work->data;
    struct hw_copy_outcome *outcome = &copy->outcome;
    int fd = hw_model_open(copy->wish.path, &outcome->mark);
    struct stat st;

    if (fd < 0)
        return;
    if (is_known(copy)) {
        outcome->result = HW_COPY_KNOWN;
    } else if (is_being_written(fd)) {
        outcome->result = HW_COPY_BUSY;
    } else {
        copy_bytes(copy, fd);
        struct hw_file_mark after = {0};
        if (fstat(fd, &st) == 0)
            after = hw_file_mark_of(&st);
        if (is_being_written(fd) || !hw_file_mark_equal(&outcome->mark, &after))
            take_back(outcome);
    }
    close(fd);
}

static void
on_worked(uv_work_t *work, int status)
{
    struct hw_copy *copy = work->data;

    (void)status; /* nobody cancels it */
    if (copy->wish.compare >= 0)
        close(copy->wish.compare);
    copy->done_cb(copy->ctx, &copy->outcome);
    free((char *)(uintptr_t)copy->wish.path);
    free(copy);
}

struct hw_copy *
hw_copy_start(uv_loop_t *loop, const struct hw_copy_wish *wish,
              void (*done_cb)(void *ctx, const struct hw_copy_outcome *outcome), void *ctx)
{
    struct hw_copy *copy = hw_xcalloc(1, sizeof(*copy));

    copy->wish = *wish;
    copy->wish.path = hw_xstrdup(wish->path);
    if (wish->compare >= 0)
        copy->wish.compare = fcntl(wish->compare, F_DUPFD_CLOEXEC, 0);
    copy->outcome = (struct hw_copy_outcome){.result = HW_COPY_GONE, .fd = -1};
    copy->done_cb = done_cb;
    copy->ctx = ctx;
    copy->work.data = copy;
    HW_ASSERT(uv_queue_work(loop, &copy->work, on_work, on_worked) == 0);
    return copy;
}

void
hw_copy_hurry(struct hw_copy *copy)
{
    atomic_store(&copy->hurry, true);
}
