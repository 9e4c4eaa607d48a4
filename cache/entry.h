/* cache/entry.h - one answer kept: immutable bytes under an atomic reference count.
 *
 * The blob is what the router's api/answer codec wrote (dialect-neutral, so that whole and streamed
 * answers serve each other); the stores do not look inside. */
#ifndef HW_CACHE_ENTRY_H
#define HW_CACHE_ENTRY_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct hw_cache_entry {
    atomic_uint refs;
    uint64_t expires_ms; /* wall clock, Unix epoch: entries travel between processes */
    size_t len;
    uint8_t bytes[];
};

/* A copy of bytes with one reference; NULL when there is no memory. */
struct hw_cache_entry *hw_cache_entry_create(const void *bytes, size_t len, uint64_t expires_ms);
struct hw_cache_entry *hw_cache_entry_ref(struct hw_cache_entry *entry);
void hw_cache_entry_unref(struct hw_cache_entry *entry); /* NULL-safe */

#endif
