/* router/lines.h - lines on their way to a file: handed over by any thread, written by a thread of
 * its own.
 *
 * Handing over never blocks for long: a full queue, a slow or a full disk cost lines (counted),
 * never a query. A file may be bounded: when it has grown to its size it becomes FILE.1, FILE.1
 * becomes FILE.2, and so on; what would be more than `keep` of them is removed. */
#ifndef HW_ROUTER_LINES_H
#define HW_ROUTER_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hatchway/err.h"

struct hw_lines;

struct hw_lines_target {
    const char *path;   /* appended to, made 0640; NULL: fd */
    int fd;             /* without path: already open, stays open; -1: nowhere */
    uint64_t max_bytes; /* of a file before it is set aside; 0: it grows */
    uint32_t keep;      /* how many are kept that were set aside */
};

/* what: "access log", for messages. A line has at most queue_bytes. The path is copied. */
int hw_lines_create(const char *what, const struct hw_lines_target *target, size_t queue_bytes,
                    struct hw_lines **out, struct hw_err *err);
/* Whole lines, each with its '\n'. */
void hw_lines_put(struct hw_lines *lines, const char *bytes, size_t len);
/* One more is lost, for a reason of the caller's. */
void hw_lines_lose(struct hw_lines *lines);
uint64_t hw_lines_lost(const struct hw_lines *lines);
/* The writer opens the path again: after logrotate has moved it. */
void hw_lines_reopen(struct hw_lines *lines);
/* What comes from now on goes there. The writer opens it: a path that cannot be opened is said in
 * the log, and loses lines until it is given another. */
void hw_lines_retarget(struct hw_lines *lines, const struct hw_lines_target *target);
void hw_lines_destroy(struct hw_lines **lines); /* writes out what is queued; NULL-safe */

#endif
