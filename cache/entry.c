/* cache/entry.c - the reference count is the only thing that ever changes in an entry, so loops
 * share entries without a lock: a hit costs one atomic add. */
#include "cache/entry.h"

#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"

struct hw_cache_entry *
hw_cache_entry_create(const void *bytes, size_t len, uint64_t expires_ms)
{
    struct hw_cache_entry *entry;

    if (len > SIZE_MAX - sizeof(*entry))
        return NULL;
    entry = malloc(sizeof(*entry) + len);
    if (entry == NULL)
        return NULL;
    atomic_init(&entry->refs, 1);
    entry->expires_ms = expires_ms;
    entry->len = len;
    if (len > 0)
        memcpy(entry->bytes, bytes, len);
    return entry;
}

struct hw_cache_entry *
hw_cache_entry_ref(struct hw_cache_entry *entry)
{
    unsigned old = atomic_fetch_add_explicit(&entry->refs, 1, memory_order_relaxed);

    HW_ASSERT(old > 0);
    return entry;
}

void
hw_cache_entry_unref(struct hw_cache_entry *entry)
{
    if (entry == NULL)
        return;
    /* Release: this thread's reads are done before another thread frees; acquire: see theirs. */
    unsigned old = atomic_fetch_sub_explicit(&entry->refs, 1, memory_order_acq_rel);
    HW_ASSERT(old > 0);
    if (old == 1)
        free(entry);
}
