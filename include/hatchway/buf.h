/* hatchway/buf.h - a growing byte buffer that demands a maximum at init.
 *
 * Always NUL-terminated behind len, so that text in it can be handed to C functions. An append
 * that would pass max, or that finds no memory, returns HW_ELIMIT / HW_ENOMEM, leaves the content
 * as it was and sets `failed`, so a run of appends can be checked once at its end. */
#ifndef HATCHWAY_BUF_H
#define HATCHWAY_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hatchway/err.h"

struct hw_buf {
    char *data; /* NULL until the first append */
    size_t len;
    size_t cap;
    size_t max; /* bytes of content allowed */
    bool failed;
};

static inline void
hw_buf_init(struct hw_buf *buf, size_t max)
{
    *buf = (struct hw_buf){.max = max};
}

static inline void
hw_buf_free(struct hw_buf *buf)
{
    free(buf->data);
    *buf = (struct hw_buf){.max = buf->max};
}

/* Makes room for `more` bytes behind len. */
static inline int
hw_buf_reserve(struct hw_buf *buf, size_t more)
{
    if (more > buf->max || buf->len > buf->max - more) {
        buf->failed = true;
        return HW_ELIMIT;
    }
    size_t need = buf->len + more + 1;
    if (need <= buf->cap)
        return 0;
    size_t cap = buf->cap < 128 ? 128 : buf->cap;
    while (cap < need)
        cap += cap / 2;
    if (cap > buf->max + 1)
        cap = buf->max + 1;
    char *data = realloc(buf->data, cap);
    if (data == NULL) {
        buf->failed = true;
        return HW_ENOMEM;
    }
    buf->data = data;
    buf->cap = cap;
    return 0;
}

static inline int
hw_buf_append(struct hw_buf *buf, const void *bytes, size_t len)
{
    int rc = hw_buf_reserve(buf, len);
    if (rc != 0)
        return rc;
    if (len > 0)
        memcpy(buf->data + buf->len, bytes, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
    return 0;
}

static inline int
hw_buf_puts(struct hw_buf *buf, const char *text)
{
    return hw_buf_append(buf, text, strlen(text));
}

static inline int __attribute__((format(printf, 2, 3)))
hw_buf_printf(struct hw_buf *buf, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) {
        buf->failed = true;
        return HW_EINVAL;
    }
    int rc = hw_buf_reserve(buf, (size_t)n);
    if (rc != 0)
        return rc;
    va_start(ap, fmt);
    vsnprintf(buf->data + buf->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    buf->len += (size_t)n;
    return 0;
}

/* Drops the first n bytes. Costs a move of what is left: for buffers that are drained whole or
 * nearly so. */
static inline void
hw_buf_consume(struct hw_buf *buf, size_t n)
{
    if (n >= buf->len) {
        buf->len = 0;
    } else {
        memmove(buf->data, buf->data + n, buf->len - n);
        buf->len -= n;
    }
    if (buf->data != NULL)
        buf->data[buf->len] = '\0';
}

static inline void
hw_buf_clear(struct hw_buf *buf)
{
    hw_buf_consume(buf, buf->len);
    buf->failed = false;
}

#endif
