/* hatchway/assert.h - HW_ASSERT guards memory and is always on.
 *
 * Lists, reference counts, magics: things only a bug of ours can break. Bytes from a peer never
 * reach an assertion; they get an error. */
#ifndef HATCHWAY_ASSERT_H
#define HATCHWAY_ASSERT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HW_ASSERT(cond)                                                                            \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0))                                                          \
            hw_assert_failed(#cond, __FILE__, __LINE__);                                           \
    } while (0)

static inline _Noreturn void
hw_assert_failed(const char *cond, const char *file, int line)
{
    fprintf(stderr, "hatchway: %s:%d: assertion failed: %s (this is a bug of ours)\n", file, line,
            cond);
    abort();
}

/* Small fixed allocations abort on failure; anything sized by the network must use malloc and
 * check. */
static inline void *
hw_xcalloc(size_t count, size_t size)
{
    void *p = calloc(count, size);
    if (p == NULL) {
        fputs("hatchway: out of memory\n", stderr);
        abort();
    }
    return p;
}

static inline char *
hw_xstrdup(const char *text)
{
    size_t size = strlen(text) + 1;

    return memcpy(hw_xcalloc(size, 1), text, size);
}

#endif
