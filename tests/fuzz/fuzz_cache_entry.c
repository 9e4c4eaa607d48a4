/* Bytes from Redis: values as the store reads them, and whatever is read must be written back the
 * same. */
#include <stdlib.h>
#include <string.h>

#include "cache/redis_wire.h"
#include "hatchway/assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_ENTRY_BYTES 512
#define NOW_MS 1000

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct hw_cache_key key;
    struct hw_cache_entry *entry = hw_redis_read_value(data, size, MAX_ENTRY_BYTES, NOW_MS);
    struct hw_buf out;

    if (entry == NULL)
        return 0;
    HW_ASSERT(entry->len == size - HW_REDIS_VALUE_HEAD && entry->len <= MAX_ENTRY_BYTES);
    HW_ASSERT(entry->expires_ms > NOW_MS);
    hw_buf_init(&out, 4096);
    HW_ASSERT(hw_redis_write_set(&out, &key, entry, entry->expires_ms - NOW_MS) == 0);
    HW_ASSERT(memmem(out.data, out.len, data, size) != NULL);
    hw_buf_free(&out);
    hw_cache_entry_unref(entry);
    return 0;
}
