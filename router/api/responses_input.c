/* router/api/responses_input.c - the items of a Responses query as messages.
 *
 * What an assistant did in one turn is several items there (thoughts, a message, calls of
 * functions) and one message elsewhere: they are gathered until somebody else speaks. */
#include <string.h>

#include "router/api/canonical.h"
#include "router/api/fields.h"
#include "router/api/responses.h"

struct reading {
    struct hw_arena *arena;
    struct hw_query *query;
    struct hw_err *err;
    size_t at; /* index of the item, for names */
    /* The assistant's turn that is open. */
    bool open;
    size_t turn; /* its message */
    struct hw_buf calls;
    size_t call_count;
    /* Of the content at hand. */
    char *text;
    size_t text_len;
    struct hw_buf parts; /* as OpenAI's chat has them: used when there is an image */
    bool has_image;
};

static struct hw_message *
turn_of(struct reading *reading)
{
    return &reading->query->messages[reading->turn];
}

/* Somebody else speaks, or nobody any more. */
static int
close_turn(struct reading *reading)
{
    int rc = 0;

    if (reading->open && reading->call_count > 0) {
        hw_buf_puts(&reading->calls, "]");
        rc = hw_query_keep(&reading->calls, HW_JSON_ARRAY, reading->arena,
                           &turn_of(reading)->tool_calls, reading->err);
    }
    hw_buf_free(&reading->calls);
    reading->open = false;
    reading->call_count = 0;
    return rc;
}

static int
open_turn(struct reading *reading)
{
    if (reading->open)
        return 0;
    struct hw_message *message = hw_query_add_message(reading->query, reading->arena, reading->err);
    if (message == NULL)
        return HW_ELIMIT;
    message->role = HW_MSG_ASSISTANT;
    reading->turn = reading->query->message_count - 1;
    reading->open = true;
    return 0;
}

/* ---- content ---- */

static int
add_text(struct reading *reading, const struct hw_json *part, const char *name)
{
    struct hw_json text;

    if (!hw_json_get(part, name, &text) || text.type != HW_JSON_STRING)
        return hw_err_set(reading->err, HW_EINVAL, "%s must be a string", name);
    size_t n = hw_json_decode(&text, reading->text + reading->text_len);
    if (memchr(reading->text + reading->text_len, '\0', n) != NULL)
        return hw_err_set(reading->err, HW_EINVAL, "%s must not contain \\u0000", name);
    reading->text_len += n;
    hw_buf_puts(&reading->parts, reading->parts.len > 1 ? "," : "");
    hw_buf_puts(&reading->parts, "{\"type\":\"text\",\"text\":");
    hw_buf_append(&reading->parts, text.p, text.len);
    hw_buf_puts(&reading->parts, "}");
    return 0;
}

static int
add_image(struct reading *reading, const struct hw_json *part, bool *lost)
{
    struct hw_json url, detail;

    if (!hw_json_get(part, "image_url", &url) || url.type == HW_JSON_NULL) {
        *lost = true; /* a file of OpenAI's */
        return 0;
    }
    if (url.type != HW_JSON_STRING)
        return hw_field_wrong("image_url", "a string", &url, reading->err);
    hw_buf_puts(&reading->parts, reading->parts.len > 1 ? "," : "");
    hw_buf_puts(&reading->parts, "{\"type\":\"image_url\",\"image_url\":{\"url\":");
    hw_buf_append(&reading->parts, url.p, url.len);
    if (hw_json_get(part, "detail", &detail) && detail.type == HW_JSON_STRING) {
        hw_buf_puts(&reading->parts, ",\"detail\":");
        hw_buf_append(&reading->parts, detail.p, detail.len);
    }
    hw_buf_puts(&reading->parts, "}}");
    reading->has_image = true;
    return 0;
}

static int
read_part(struct reading *reading, const struct hw_json *part, bool *lost)
{
    struct hw_json type;

    if (part->type != HW_JSON_OBJECT || !hw_json_get(part, "type", &type) ||
        type.type != HW_JSON_STRING)
        return hw_err_set(reading->err, HW_EINVAL, "must be an object with a type");
    if (hw_json_string_is(&type, "input_text") || hw_json_string_is(&type, "output_text") ||
        hw_json_string_is(&type, "text") || hw_json_string_is(&type, "summary_text") ||
        hw_json_string_is(&type, "reasoning_text"))
        return add_text(reading, part, "text");
    if (hw_json_string_is(&type, "refusal"))
        return add_text(reading, part, "refusal");
    if (hw_json_string_is(&type, "input_image"))
        return add_image(reading, part, lost);
    *lost = true;
    return 0;
}

/* A string or parts, as reading->text and ->parts. content: where the string stands, if it was
 * one. */
static int
read_content(struct reading *reading, const char *name, const struct hw_json *value)
{
    struct hw_json_iter iter;
    struct hw_json part;
    int rc = 0;

    reading->text_len = 0;
    reading->has_image = false;
    if (value->type != HW_JSON_STRING && value->type != HW_JSON_ARRAY)
        return hw_field_wrong(name, "a string or an array of parts", value, reading->err);
    reading->text = hw_arena_alloc(reading->arena, value->len + 1);
    if (reading->text == NULL)
        return hw_err_set(reading->err, HW_ELIMIT, "%s takes more memory than one query may have",
                          name);
    if (value->type == HW_JSON_STRING) {
        reading->text_len = hw_json_decode(value, reading->text);
        if (memchr(reading->text, '\0', reading->text_len) != NULL)
            return hw_err_set(reading->err, HW_EINVAL, "%s must not contain \\u0000", name);
    }
    hw_buf_init(&reading->parts, value->len * 4 + 256);
    hw_buf_puts(&reading->parts, "[");
    hw_json_iter_init(&iter, value);
    for (size_t i = 0; value->type == HW_JSON_ARRAY && hw_json_next(&iter, NULL, &part); i++) {
        bool lost = false;
        rc = read_part(reading, &part, &lost);
        if (rc != 0)
            return hw_query_at(rc, name, i, reading->err);
        if (lost)
            hw_query_lose(reading->query, reading->arena, "input[%zu].%s[%zu]", reading->at, name,
                          i);
    }
    reading->text[reading->text_len] = '\0';
    return 0;
}

static int
settle_content(struct reading *reading, struct hw_message *message)
{
    message->text = reading->text;
    message->text_len = reading->text_len;
    message->has_image = reading->has_image;
    if (!reading->has_image)
        return 0;
    hw_buf_puts(&reading->parts, "]");
    return hw_query_keep(&reading->parts, HW_JSON_ARRAY, reading->arena, &message->content,
                         reading->err);
}

/* ---- items ---- */

static int
read_message(struct reading *reading, const struct hw_json *item)
{
    static const struct {
        const char *name;
        enum hw_role_of_message role;
    } roles[] = {{"user", HW_MSG_USER},
                 {"assistant", HW_MSG_ASSISTANT},
                 {"system", HW_MSG_SYSTEM},
                 {"developer", HW_MSG_SYSTEM}};
    struct hw_json role, content;
    size_t r = 0;

    if (!hw_json_get(item, "role", &role))
        return hw_err_set(reading->err, HW_EINVAL, "role is missing");
    while (r < 4 && !hw_json_string_is(&role, roles[r].name))
        r++;
    if (r == 4)
        return hw_field_wrong("role", "user, assistant, system or developer", &role, reading->err);
    if (!hw_json_get(item, "content", &content))
        return hw_err_set(reading->err, HW_EINVAL, "content is missing");
    int rc = read_content(reading, "content", &content);
    bool assistant = roles[r].role == HW_MSG_ASSISTANT;
    if (rc == 0 && (!assistant || (reading->open && turn_of(reading)->text_len > 0)))
        rc = close_turn(reading);
    if (rc == 0 && assistant) {
        rc = open_turn(reading);
        return rc == 0 ? settle_content(reading, turn_of(reading)) : rc;
    }
    struct hw_message *message =
        rc == 0 ? hw_query_add_message(reading->query, reading->arena, reading->err) : NULL;
    if (message == NULL)
        return rc != 0 ? rc : HW_ELIMIT;
    message->role = roles[r].role;
    return settle_content(reading, message);
}

static int
read_call(struct reading *reading, const struct hw_json *item)
{
    struct hw_json id, name, arguments;

    if (!hw_json_get(item, "call_id", &id) || id.type != HW_JSON_STRING)
        return hw_err_set(reading->err, HW_EINVAL, "call_id must be a string");
    if (!hw_json_get(item, "name", &name) || name.type != HW_JSON_STRING)
        return hw_err_set(reading->err, HW_EINVAL, "name must be a string");
    if (!hw_json_get(item, "arguments", &arguments) || arguments.type != HW_JSON_STRING)
        return hw_err_set(reading->err, HW_EINVAL, "arguments must be a string of JSON");
    int rc = open_turn(reading);
    if (rc != 0)
        return rc;
    if (reading->call_count == HW_MAX_TOOL_CALLS)
        return hw_err_set(reading->err, HW_EINVAL, "must be one of at most %d calls",
                          HW_MAX_TOOL_CALLS);
    if (reading->call_count++ == 0) {
        hw_buf_init(&reading->calls, reading->query->body->len + HW_MAX_TOOL_CALLS * 128);
        hw_buf_puts(&reading->calls, "[");
    }
    hw_buf_puts(&reading->calls, reading->calls.len > 1 ? ",{\"id\":" : "{\"id\":");
    hw_buf_append(&reading->calls, id.p, id.len);
    hw_buf_puts(&reading->calls, ",\"type\":\"function\",\"function\":{\"name\":");
    hw_buf_append(&reading->calls, name.p, name.len);
    hw_buf_puts(&reading->calls, ",\"arguments\":");
    hw_buf_append(&reading->calls, arguments.p, arguments.len);
    hw_buf_puts(&reading->calls, "}}");
    return 0;
}

static int
read_output(struct reading *reading, const struct hw_json *item)
{
    struct hw_json id, output;

    if (!hw_json_get(item, "call_id", &id) || id.type != HW_JSON_STRING)
        return hw_err_set(reading->err, HW_EINVAL, "call_id must be a string");
    if (!hw_json_get(item, "output", &output))
        return hw_err_set(reading->err, HW_EINVAL, "output is missing");
    int rc = read_content(reading, "output", &output);
    if (rc == 0)
        rc = close_turn(reading);
    if (rc != 0)
        return rc;
    struct hw_message *message = hw_query_add_message(reading->query, reading->arena, reading->err);
    if (message == NULL)
        return HW_ELIMIT;
    message->role = HW_MSG_TOOL;
    message->tool_call_id = id;
    return settle_content(reading, message);
}

/* Thoughts of an earlier turn: its content, or what the summary tells. */
static int
read_reasoning(struct reading *reading, const struct hw_json *item)
{
    static const char *const members[] = {"content", "summary"};
    struct hw_json value;

    reading->text_len = 0;
    for (size_t i = 0; i < 2 && reading->text_len == 0; i++) {
        if (!hw_json_get(item, members[i], &value) || value.type != HW_JSON_ARRAY)
            continue;
        int rc = read_content(reading, members[i], &value);
        hw_buf_free(&reading->parts);
        if (rc != 0)
            return rc;
    }
    if (reading->text_len == 0)
        return 0;
    int rc = open_turn(reading);
    if (rc != 0)
        return rc;
    hw_buf_init(&reading->parts, reading->text_len * 6 + 2);
    hw_json_write_string(&reading->parts, reading->text, reading->text_len);
    return hw_query_keep(&reading->parts, HW_JSON_STRING, reading->arena,
                         &turn_of(reading)->reasoning, reading->err);
}

static int
read_item_of_type(struct reading *reading, const struct hw_json *item)
{
    struct hw_json type;

    if (item->type != HW_JSON_OBJECT)
        return hw_err_set(reading->err, HW_EINVAL, "must be an object, got %s", hw_json_kind(item));
    if (!hw_json_get(item, "type", &type) || hw_json_string_is(&type, "message"))
        return read_message(reading, item);
    if (hw_json_string_is(&type, "function_call"))
        return read_call(reading, item);
    if (hw_json_string_is(&type, "function_call_output"))
        return read_output(reading, item);
    if (hw_json_string_is(&type, "reasoning"))
        return read_reasoning(reading, item);
    if (hw_json_string_is(&type, "item_reference"))
        return hw_err_set(reading->err, HW_EINVAL,
                          "must be the item itself: items are not stored here");
    hw_query_lose(reading->query, reading->arena, "input[%zu]", reading->at);
    return 0;
}

static int
read_item(void *ctx, const struct hw_json *item, size_t i)
{
    struct reading *reading = ctx;

    reading->at = i;
    int rc = read_item_of_type(reading, item);
    hw_buf_free(&reading->parts);
    return rc;
}

static int
read_text(struct reading *reading, const struct hw_json *value)
{
    struct hw_message *message = hw_query_add_message(reading->query, reading->arena, reading->err);

    if (message == NULL)
        return HW_ELIMIT;
    message->role = HW_MSG_USER;
    message->content = *value;
    int rc =
        hw_json_string(value, reading->arena, &message->text, &message->text_len, reading->err);
    if (rc != 0)
        hw_err_prefix(reading->err, "input");
    return rc;
}

int
hw_responses_parse_input(const struct hw_json *value, struct hw_arena *arena,
                         struct hw_query *query, struct hw_err *err)
{
    struct reading reading = {.arena = arena, .query = query, .err = err};

    if (value->type == HW_JSON_STRING)
        return read_text(&reading, value);
    if (value->type != HW_JSON_ARRAY)
        return hw_field_wrong("input", "a string or an array of items", value, err);
    int rc = hw_query_read_messages(value, "input", read_item, &reading, query, err);
    if (rc == 0)
        rc = close_turn(&reading);
    hw_buf_free(&reading.calls);
    if (rc == 0 && query->message_count == 0)
        rc = hw_err_set(err, HW_EINVAL, "input must not be empty");
    return rc;
}
