/* Any bytes as a kept answer: refused, or the one that encodes to the same bytes. */
#include "hatchway/assert.h"
#include "router/api/answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hw_kept kept;
    struct hw_answer answer;
    struct hw_err err;
    struct hw_buf again;

    if (hw_answer_decode(data, size, 4096, &kept, &answer, &err) != 0)
        return 0;
    hw_buf_init(&again, size);
    HW_ASSERT(hw_answer_encode(&answer, &kept, &again) == 0);
    HW_ASSERT(again.len == size && memcmp(again.data, data, size) == 0);
    hw_buf_free(&again);
    hw_answer_free(&answer);
    return 0;
}
