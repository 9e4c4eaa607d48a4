/* Any bytes as JSON: refused, or walked whole; strings that are written again are valid and equal.
 */
#include "router/api/json.h"

#include "hatchway/assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct hw_json_limits limits = {.depth = 32, .nodes = 10000};

static void
check_string(const struct hw_json *string)
{
    struct hw_buf text, written;
    struct hw_json again;

    hw_buf_init(&text, string->len + 1);
    hw_buf_init(&written, string->len * 6 + 2);
    HW_ASSERT(hw_json_append_decoded(string, &text) == 0);
    HW_ASSERT(hw_json_write_string(&written, text.data, text.len) == 0);
    HW_ASSERT(hw_json_validate(written.data, written.len, &limits, &again, NULL) == 0);
    char *back = malloc(again.len);
    HW_ASSERT(back != NULL);
    HW_ASSERT(hw_json_decode(&again, back) == text.len);
    HW_ASSERT(memcmp(back, text.data, text.len) == 0);
    free(back);
    hw_buf_free(&written);
    hw_buf_free(&text);
}

static void
walk(const struct hw_json *value)
{
    struct hw_json_iter iter;
    struct hw_json key, inner, again;
    double number;
    uint64_t whole;

    /* What a cursor hands out is a document of its own. */
    HW_ASSERT(hw_json_validate(value->p, value->len, &limits, &again, NULL) == 0);
    HW_ASSERT(again.len == value->len && again.type == value->type);
    if (value->type == HW_JSON_STRING)
        check_string(value);
    hw_json_number(value, &number);
    hw_json_uint(value, &whole);
    hw_json_string_is(value, "model");
    hw_json_get(value, "model", &inner);
    hw_json_iter_init(&iter, value);
    while (hw_json_next(&iter, &key, &inner)) {
        if (value->type == HW_JSON_OBJECT)
            check_string(&key);
        walk(&inner);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hw_json root;
    struct hw_err err;

    if (hw_json_validate((const char *)data, size, &limits, &root, &err) == 0)
        walk(&root);
    return 0;
}
