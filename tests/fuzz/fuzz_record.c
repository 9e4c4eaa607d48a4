/* A line of a decision log: whatever can be read can be written, and reads the same again. */
#include <string.h>

#include "hatchway/assert.h"
#include "router/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
write_line(const struct hw_record *record, struct hw_buf *out)
{
    hw_buf_init(out, 8 * HW_RECORD_LINE_MAX); /* escapes may be longer than what was read */
    HW_ASSERT(hw_record_write(record, out) == 0 || out->len > HW_RECORD_LINE_MAX);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hw_record first, second;
    struct hw_buf once, twice;
    struct hw_arena arena;
    struct hw_err err;

    if (size > 16384)
        return 0;
    hw_arena_init(&arena, 4u << 20);
    if (hw_record_read((const char *)data, size, &arena, &first, &err) == 0) {
        write_line(&first, &once);
        HW_ASSERT(hw_record_read(once.data, once.len - 1, &arena, &second, &err) == 0);
        write_line(&second, &twice);
        HW_ASSERT(once.len == twice.len && memcmp(once.data, twice.data, once.len) == 0);
        hw_buf_free(&once);
        hw_buf_free(&twice);
    }
    hw_arena_free(&arena);
    return 0;
}
