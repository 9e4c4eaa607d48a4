/* hatchway/large.h - memory for a table that is read here and there.
 *
 * Where the kernel gives large pages (2 MiB), a table lies on few of them, and a reader does not
 * pay for a walk through the page tables with nearly every line. */
#ifndef HATCHWAY_LARGE_H
#define HATCHWAY_LARGE_H

#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>

#define HW_LARGE_PAGE ((size_t)2 << 20)

/* At least size bytes, unset, to be given to free(). NULL: no memory. */
static inline void *
hw_large_alloc(size_t size)
{
    size_t whole = (size + HW_LARGE_PAGE - 1) / HW_LARGE_PAGE * HW_LARGE_PAGE;
    void *memory = aligned_alloc(HW_LARGE_PAGE, whole);

    if (memory != NULL)
        madvise(memory, whole, MADV_HUGEPAGE); /* small pages serve as well, only slower */
    return memory;
}

#endif
