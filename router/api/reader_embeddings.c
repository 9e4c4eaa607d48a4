/* router/api/reader_embeddings.c - a backend's vectors as the canonical answer to a query that
 * embeds: a line of text each (embeddings.h). */
#include "router/api/embeddings.h"
#include "router/api/reader.h"

/* One vector, an array or base64, as an event: its line, with the end of the line before it. */
static bool
emit_vector(struct hw_reader *reader, const struct hw_json *vector, size_t at)
{
    hw_buf_clear(&reader->text);
    if (at > 0)
        hw_buf_append(&reader->text, "\n", 1);
    bool good = vector->type == HW_JSON_STRING ? hw_vector_from_base64(vector, &reader->text)
                                               : hw_vector_from_array(vector, &reader->text);
    if (!good) {
        hw_reader_fail(reader, 0, "the backend's embedding %zu is no list of numbers", at);
        return false;
    }
    struct hw_event event = {
        .type = HW_EVENT_TEXT, .text = reader->text.data, .len = reader->text.len};
    reader->saw_answer = true;
    hw_reader_emit(reader, &event);
    return !reader->done;
}

static void
finish(struct hw_reader *reader, size_t count)
{
    size_t asked = reader->query->input_count;

    if (reader->done)
        return;
    if (count != asked)
        hw_reader_fail(reader, 0, "the backend gave %zu embeddings for %zu inputs", count, asked);
    else
        hw_reader_finish(reader);
}

static void
take_list(struct hw_reader *reader, const struct hw_json *list)
{
    struct hw_json_iter iter;
    struct hw_json item;
    size_t count = 0;

    hw_json_iter_init(&iter, list);
    while (hw_json_next(&iter, NULL, &item))
        if (!emit_vector(reader, &item, count++))
            return;
    finish(reader, count);
}

/* {"data": [{"index": 0, "embedding": ...}]}, in whatever order. */
static void
take_data(struct hw_reader *reader, const struct hw_json *data)
{
    size_t asked = reader->query->input_count, count = 0;
    struct hw_json *vectors = calloc(asked + 1, sizeof(*vectors));
    struct hw_json_iter iter;
    struct hw_json item, index;
    uint64_t at;

    if (vectors == NULL) {
        hw_reader_fail(reader, 0, "out of memory for the backend's embeddings");
        return;
    }
    hw_json_iter_init(&iter, data);
    for (; hw_json_next(&iter, NULL, &item); count++) {
        at = count;
        if (item.type != HW_JSON_OBJECT ||
            (hw_json_get(&item, "index", &index) && !hw_json_uint(&index, &at)) || at >= asked ||
            vectors[at].p != NULL || !hw_json_get(&item, "embedding", &vectors[at])) {
            hw_reader_fail(reader, 0, "the backend's embedding %zu has no place among %zu inputs",
                           count, asked);
            break;
        }
    }
    for (size_t i = 0; !reader->done && i < count; i++)
        if (vectors[i].p == NULL || !emit_vector(reader, &vectors[i], i))
            break;
    free(vectors);
    finish(reader, count);
}

void
hw_reader_take_embeddings(struct hw_reader *reader, const struct hw_json *root)
{
    struct hw_json value, usage;
    uint64_t tokens;

    bool counted = hw_json_get(root, "usage", &usage)
                       ? hw_json_get(&usage, "prompt_tokens", &value)
                       : hw_json_get(root, "prompt_eval_count", &value);
    if (counted && hw_json_uint(&value, &tokens))
        reader->usage = (struct hw_usage){.known = true, .prompt_tokens = tokens};
    if (hw_json_get(root, "data", &value) && value.type == HW_JSON_ARRAY) {
        take_data(reader, &value);
    } else if (hw_json_get(root, "embeddings", &value) && value.type == HW_JSON_ARRAY) {
        take_list(reader, &value);
    } else if (hw_json_get(root, "embedding", &value)) {
        if (emit_vector(reader, &value, 0))
            finish(reader, 1);
    } else {
        hw_reader_fail(reader, 0, "the backend's answer has no embeddings in it");
    }
}
