/* router/api/responses_input.c - the items of a Responses query as messages.
 *
 * What an assistant did in one turn is several items there (thoughts, a message, calls of
 * functions) and one message elsewhere: they are gathered until somebody else speaks. */
#include <string.h>

#include "router/api/canonical.h"
#include "router/api/fields.h"
#include "router/api/responses.h"
#include "router/api/text.h"

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
check_image(struct reading *reading, const struct hw_json *part, struct hw_message *message,
            bool *lost)
{
    struct hw_json url;

    if (!hw_json_get(part, "image_url", &url) || url.type == HW_JSON_NULL) {
        *lost = true; /* a file of OpenAI's */
        return 0;
    }
    if (url.type != HW_JSON_STRING)
        return hw_field_wrong("image_url", "a string", &url, reading->err);
    message->has_image = true;
    return 0;
}

static int
read_part(struct reading *reading, const struct hw_json *part, struct hw_message *message,
          bool *lost)
{
    struct hw_json type, text;
    size_t len;

    if (part->type != HW_JSON_OBJECT || !hw_json_get(part, "type", &type) ||
        type.type != HW_JSON_STRING)
        return hw_err_set(reading->err, HW_EINVAL, "must be an object with a type");
    if (hw_json_string_is(&type, "input_image"))
        return check_image(reading, part, message, lost);
    const char *name = hw_json_string_is(&type, "refusal") ? "refusal" : "text";
    if (!hw_text_of_part(message, part, &text)) {
        *lost = true;
        return 0;
    }
    if (text.type != HW_JSON_STRING)
        return hw_err_set(reading->err, HW_EINVAL, "%s must be a string", name);
    int rc = hw_text_measure(&text, &len, reading->err);
    if (rc != 0)
        return hw_err_set(reading->err, rc, "%s must not contain \\u0000", name);
    message->text_len += len;
    return 0;
}

/* A string or parts, which stay where they are. */
static int
read_content(struct reading *reading, const char *name, const struct hw_json *value,
             struct hw_message *message)
{
    struct hw_json_iter iter;
    struct hw_json part;

    if (value->type != HW_JSON_STRING && value->type != HW_JSON_ARRAY)
        return hw_field_wrong(name, "a string or an array of parts", value, reading->err);
    message->content.p = message->blocks.p = NULL; /* of an empty message before it */
    message->has_image = false;
    message->text_len = 0;
    if (value->type == HW_JSON_STRING) {
        int rc = hw_text_set(message, value, reading->arena, reading->err);
        return rc == HW_EINVAL ? hw_err_set(reading->err, rc, "%s must not contain \\u0000", name)
                               : rc;
    }
    message->blocks = *value;
    message->runs_on = true;
    hw_json_iter_init(&iter, value);
    for (size_t i = 0; hw_json_next(&iter, NULL, &part); i++) {
        bool lost = false;
        int rc = read_part(reading, &part, message, &lost);
        if (rc != 0)
            return hw_query_at(rc, name, i, reading->err);
        if (lost)
            hw_query_lose(reading->query, reading->arena, "input[%zu].%s[%zu]", reading->at, name,
                          i);
    }
    return hw_text_settle(message, reading->arena, reading->err);
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
    bool assistant = roles[r].role == HW_MSG_ASSISTANT;
    int rc = 0;
    if (!assistant || (reading->open && turn_of(reading)->text_len > 0))
        rc = close_turn(reading);
    if (rc == 0 && assistant) {
        rc = open_turn(reading);
        return rc == 0 ? read_content(reading, "content", &content, turn_of(reading)) : rc;
    }
    struct hw_message *message =
        rc == 0 ? hw_query_add_message(reading->query, reading->arena, reading->err) : NULL;
    if (message == NULL)
        return rc != 0 ? rc : HW_ELIMIT;
    message->role = roles[r].role;
    return read_content(reading, "content", &content, message);
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
    int rc = close_turn(reading);
    if (rc != 0)
        return rc;
    struct hw_message *message = hw_query_add_message(reading->query, reading->arena, reading->err);
    if (message == NULL)
        return HW_ELIMIT;
    message->role = HW_MSG_TOOL;
    message->tool_call_id = id;
    return read_content(reading, "output", &output, message);
}

/* Thoughts of an earlier turn: its content, or what the summary tells. */
static int
read_reasoning(struct reading *reading, const struct hw_json *item)
{
    static const char *const members[] = {"content", "summary"};
    struct hw_message thoughts = {.text = ""};
    struct hw_json value;
    struct hw_buf text;

    for (size_t i = 0; i < 2 && thoughts.text_len == 0; i++) {
        if (!hw_json_get(item, members[i], &value) || value.type != HW_JSON_ARRAY)
            continue;
        int rc = read_content(reading, members[i], &value, &thoughts);
        if (rc != 0)
            return rc;
    }
    if (thoughts.text_len == 0)
        return 0;
    int rc = open_turn(reading);
    if (rc != 0)
        return rc;
    hw_buf_init(&text, value.len * 6 + 2);
    hw_text_put(&text, &thoughts);
    return hw_query_keep(&text, HW_JSON_STRING, reading->arena, &turn_of(reading)->reasoning,
                         reading->err);
}

static int
read_item(void *ctx, const struct hw_json *item, size_t i)
{
    struct reading *reading = ctx;
    struct hw_json type;

    reading->at = i;
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
read_text(struct reading *reading, const struct hw_json *value)
{
    struct hw_message *message = hw_query_add_message(reading->query, reading->arena, reading->err);

    if (message == NULL)
        return HW_ELIMIT;
    message->role = HW_MSG_USER;
    return read_content(reading, "input", value, message);
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
