/* router/workers_copy.h - a checkpoint's bytes as they were when nobody wrote them.
 *
 * A file that is written in place changes under whoever has it open. So a copy without a name is
 * kept, of what serves and of what is tried: all workers read the same bytes, now and when they
 * are started again. */
#ifndef HW_ROUTER_WORKERS_COPY_H
#define HW_ROUTER_WORKERS_COPY_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct stat;

struct hw_file_mark {
    uint64_t device, inode, bytes;
    int64_t changed_s, changed_ns; /* its content, as it says */
    int64_t touched_s, touched_ns; /* anything of it */
};

struct hw_file_mark hw_file_mark_of(const struct stat *st);
bool hw_file_mark_equal(const struct hw_file_mark *a, const struct hw_file_mark *b);

/* Opens a regular file for reading and marks it. -1: there is none, *mark is zero. */
int hw_model_open(const char *path, struct hw_file_mark *mark);

enum hw_copy_result {
    HW_COPY_GONE,    /* there is no regular file of that name that we may read */
    HW_COPY_BUSY,    /* somebody has it open for writing, or it changed meanwhile: ask again */
    HW_COPY_KNOWN,   /* its mark is one of the wish's */
    HW_COPY_SAME,    /* its bytes are those of wish.compare */
    HW_COPY_MADE,    /* fd is a copy */
    HW_COPY_ORIGINAL /* none could be made (error): fd is the file itself */
};

struct hw_copy_outcome {
    enum hw_copy_result result;
    struct hw_file_mark mark; /* of the file */
    int fd;                   /* the callback's to close; -1: none */
    int error;                /* errno */
};

struct hw_copy_wish {
    const char *path;
    struct hw_file_mark known[2]; /* as these it need not be read; zero: no file's */
    int compare;                  /* an open file that may have the same bytes; -1: none */
};

struct hw_copy;

/* Copies in a thread of libuv's pool; done_cb fires on the loop, once. Keeps nothing of wish. */
struct hw_copy *hw_copy_start(uv_loop_t *loop, const struct hw_copy_wish *wish,
                              void (*done_cb)(void *ctx, const struct hw_copy_outcome *outcome),
                              void *ctx);
/* Nobody wants it any more: done_cb fires all the same, sooner, and what it brings is not whole. */
void hw_copy_hurry(struct hw_copy *copy);

#endif
