/* A file of the learned classifier: what can be read can be answered with, and is written back the
 * same. */
#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"
#include "policies/learn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char text[] = "Is the spread on gold widening, and should we hedge it?";
    struct hw_learned *learned = NULL;
    struct hw_learned_answer answer;
    struct hw_learned_word words[3];
    struct hw_err err;
    struct hw_buf out;

    if (hw_learned_read(data, size, &learned, &err) != 0)
        return 0;
    hw_learned_answer(learned, text, strlen(text), &answer);
    HW_ASSERT(answer.label >= 0 && (size_t)answer.label < hw_learned_classes(learned));
    hw_learned_explain(learned, text, strlen(text), answer.label, words, 3);
    hw_buf_init(&out, HW_LEARNED_FILE_MAX);
    HW_ASSERT(hw_learned_write(learned, &out) == 0);
    HW_ASSERT(out.len == size && memcmp(out.data, data, size) == 0);
    hw_buf_free(&out);
    hw_learned_destroy(&learned);
    return 0;
}
