/* router/api/openai_messages.c - the messages of a chat completion.
 *
 * Content is a string or an array of parts. It stays as it was sent, for those backends that take
 * all of it; text.h reads what is text in it for the classifier, and for those that know only that.
 */
#include <string.h>

#include "router/api/canonical.h"
#include "router/api/fields.h"
#include "router/api/openai.h"
#include "router/api/text.h"

#define CONTENT "a string or an array of parts"

struct reading {
    struct hw_arena *arena;
    struct hw_query *query;
    struct hw_message *message;
    struct hw_err *err;
    bool has_role;
};

static int
read_role(void *ctx, const struct hw_json *value)
{
    static const struct {
        const char *name;
        enum hw_role_of_message role;
    } roles[] = {
        {"user", HW_MSG_USER},        {"assistant", HW_MSG_ASSISTANT}, {"system", HW_MSG_SYSTEM},
        {"developer", HW_MSG_SYSTEM}, {"tool", HW_MSG_TOOL},           {"function", HW_MSG_TOOL},
    };
    struct reading *reading = ctx;

    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
        if (hw_json_string_is(value, roles[i].name)) {
            reading->message->role = roles[i].role;
            reading->has_role = true;
            return 0;
        }
    if (value->type == HW_JSON_STRING && value->len <= 34)
        return hw_err_set(reading->err, HW_EINVAL,
                          "role must be system, developer, user, assistant or tool, got %.*s",
                          (int)value->len, value->p);
    return hw_field_wrong("role", "system, developer, user, assistant or tool", value,
                          reading->err);
}

static int
add_text(struct reading *reading, const struct hw_json *part, const char *name)
{
    struct hw_json text;

    if (!hw_json_get(part, name, &text))
        return hw_err_set(reading->err, HW_EINVAL, "%s is missing", name);
    if (text.type != HW_JSON_STRING)
        return hw_field_wrong(name, "a string", &text, reading->err);
    size_t len;
    int rc = hw_text_measure(&text, &len, reading->err);
    if (rc != 0)
        return hw_err_set(reading->err, rc, "%s must not contain \\u0000", name);
    reading->message->text_len += (uint32_t)len;
    return 0;
}

static int
read_image(struct reading *reading, const struct hw_json *part)
{
    struct hw_json image, url;

    if (!hw_json_get(part, "image_url", &image) || image.type != HW_JSON_OBJECT)
        return hw_err_set(reading->err, HW_EINVAL, "image_url must be an object with a url");
    if (!hw_json_get(&image, "url", &url) || url.type != HW_JSON_STRING)
        return hw_err_set(reading->err, HW_EINVAL, "image_url.url must be a string");
    reading->message->has_image = true;
    return 0;
}

static int
read_part(struct reading *reading, const struct hw_json *part)
{
    struct hw_json type;

    if (part->type != HW_JSON_OBJECT)
        return hw_err_set(reading->err, HW_EINVAL, "must be an object with a type, got %s",
                          hw_json_kind(part));
    if (!hw_json_get(part, "type", &type) || type.type != HW_JSON_STRING)
        return hw_err_set(reading->err, HW_EINVAL, "type must be a string");
    if (hw_json_string_is(&type, "text"))
        return add_text(reading, part, "text");
    if (hw_json_string_is(&type, "refusal"))
        return add_text(reading, part, "refusal");
    if (hw_json_string_is(&type, "image_url"))
        return read_image(reading, part);
    /* Carried to backends of this dialect, named as dropped for others. */
    if (hw_json_string_is(&type, "input_audio") || hw_json_string_is(&type, "file"))
        return 0;
    return hw_err_set(reading->err, HW_EINVAL,
                      "type must be text, image_url, input_audio, file or refusal");
}

static int
read_parts(struct reading *reading, const struct hw_json *value)
{
    struct hw_json_iter iter;
    struct hw_json part;

    hw_json_iter_init(&iter, value);
    for (size_t i = 0; hw_json_next(&iter, NULL, &part); i++) {
        int rc = read_part(reading, &part);
        if (rc != 0) {
            hw_err_prefix(reading->err, "content[%zu]", i);
            return rc;
        }
    }
    hw_text_set_parts(reading->message, HW_SOURCE_PARTS, value);
    return 0;
}

static int
read_content(void *ctx, const struct hw_json *value)
{
    struct reading *reading = ctx;

    if (value->type == HW_JSON_NULL)
        return 0;
    if (value->type == HW_JSON_ARRAY)
        return read_parts(reading, value);
    if (value->type != HW_JSON_STRING)
        return hw_field_wrong("content", CONTENT, value, reading->err);
    int rc = hw_text_set(reading->message, value, reading->err);
    if (rc != 0)
        hw_err_prefix(reading->err, "content");
    return rc;
}

static int
check_call(const struct hw_json *call, struct hw_err *err)
{
    struct hw_json function, field;

    if (call->type != HW_JSON_OBJECT || !hw_json_get(call, "function", &function) ||
        function.type != HW_JSON_OBJECT)
        return hw_err_set(err, HW_EINVAL, "must be an object with a function");
    if (!hw_json_get(&function, "name", &field) || field.type != HW_JSON_STRING)
        return hw_err_set(err, HW_EINVAL, "function.name must be a string");
    if (hw_json_get(&function, "arguments", &field) && field.type != HW_JSON_STRING)
        return hw_field_wrong("function.arguments", "a string of JSON", &field, err);
    if (hw_json_get(call, "id", &field) && field.type != HW_JSON_STRING)
        return hw_field_wrong("id", "a string", &field, err);
    return 0;
}

static int
read_tool_calls(void *ctx, const struct hw_json *value)
{
    struct reading *reading = ctx;
    struct hw_json_iter iter;
    struct hw_json call;
    size_t count = 0;

    if (value->type == HW_JSON_NULL)
        return 0;
    if (value->type != HW_JSON_ARRAY)
        return hw_field_wrong("tool_calls", "an array", value, reading->err);
    hw_json_iter_init(&iter, value);
    for (; hw_json_next(&iter, NULL, &call); count++) {
        if (count == HW_MAX_TOOL_CALLS)
            return hw_err_set(reading->err, HW_EINVAL, "tool_calls must hold at most %d calls",
                              HW_MAX_TOOL_CALLS);
        int rc = check_call(&call, reading->err);
        if (rc != 0) {
            hw_err_prefix(reading->err, "tool_calls[%zu]", count);
            return rc;
        }
    }
    if (count == 0)
        return 0;
    reading->message->has_calls = true;
    reading->query->prompt_bytes += value->len;
    return hw_message_set(reading->query, reading->message, HW_MEMBER_TOOL_CALLS, value,
                          reading->arena, reading->err);
}

static int
read_tool_call_id(void *ctx, const struct hw_json *value)
{
    struct reading *reading = ctx;

    if (value->type == HW_JSON_NULL)
        return 0;
    if (value->type != HW_JSON_STRING)
        return hw_field_wrong("tool_call_id", "a string", value, reading->err);
    return hw_message_set(reading->query, reading->message, HW_MEMBER_TOOL_CALL_ID, value,
                          reading->arena, reading->err);
}

/* Thoughts of an earlier turn, as vLLM, llama.cpp and others call them. */
static int
read_reasoning(void *ctx, const struct hw_json *value)
{
    struct reading *reading = ctx;

    if (value->type != HW_JSON_STRING || value->len == 2)
        return 0;
    return hw_message_set(reading->query, reading->message, HW_MEMBER_REASONING, value,
                          reading->arena, reading->err);
}

static int
read_message(void *ctx, const struct hw_json *value, size_t i)
{
    static const struct hw_field_taker fields[] = {
        {"role", read_role},
        {"content", read_content},
        {"tool_calls", read_tool_calls},
        {"tool_call_id", read_tool_call_id},
        {"reasoning_content", read_reasoning},
        {"reasoning", read_reasoning},
    };
    struct reading *reading = ctx;
    struct hw_message *message = hw_query_add_message(reading->query, reading->arena, reading->err);

    (void)i;
    if (message == NULL)
        return HW_ELIMIT;
    reading->message = message;
    reading->has_role = false;
    if (value->type != HW_JSON_OBJECT)
        return hw_err_set(reading->err, HW_EINVAL, "must be an object, got %s",
                          hw_json_kind(value));
    int rc = hw_fields_take_nulls(value, fields, sizeof(fields) / sizeof(fields[0]), reading,
                                  reading->err);
    if (rc != 0)
        return rc;
    if (!reading->has_role)
        return hw_err_set(reading->err, HW_EINVAL, "role is missing");
    /* An assistant may have called tools, or refused, and said nothing. */
    if (message->kind == HW_SOURCE_NONE && message->role != HW_MSG_ASSISTANT)
        return hw_err_set(reading->err, HW_EINVAL, "content must be " CONTENT);
    return 0;
}

int
hw_openai_parse_messages(const struct hw_json *value, struct hw_arena *arena,
                         struct hw_query *query, struct hw_err *err)
{
    struct reading reading = {.arena = arena, .query = query, .err = err};
    int rc = hw_query_read_messages(value, "messages", read_message, &reading, query, err);

    if (rc != 0)
        return rc;
    if (query->message_count == 0)
        return hw_err_set(err, HW_EINVAL, "messages must not be empty");
    hw_query_settle(query);
    return 0;
}
