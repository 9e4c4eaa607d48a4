/* router/api/ollama_messages.c - the messages of an Ollama chat.
 *
 * Calls of tools need an id each elsewhere: calls.h makes one up where there is none. A tool's
 * answer that does not say which call it answers is taken for that of the first open call, of its
 * tool where it names one. */
#include <string.h>

#include "router/api/calls.h"
#include "router/api/canonical.h"
#include "router/api/fields.h"
#include "router/api/ollama.h"
#include "router/api/text.h"

struct reading {
    struct hw_arena *arena;
    struct hw_query *query;
    struct hw_message *message;
    struct hw_err *err;
    struct hw_json tool_name; /* of the message at hand */
    /* Of the message that called last: its calls, and which of them are answered. */
    struct hw_json ids[HW_MAX_TOOL_CALLS], names[HW_MAX_TOOL_CALLS];
    size_t call_count;
    uint64_t answered;
};

static int
read_role(void *ctx, const struct hw_json *value)
{
    static const struct {
        const char *name;
        enum hw_role_of_message role;
    } roles[] = {{"user", HW_MSG_USER},
                 {"assistant", HW_MSG_ASSISTANT},
                 {"system", HW_MSG_SYSTEM},
                 {"tool", HW_MSG_TOOL}};
    struct reading *reading = ctx;

    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
        if (hw_json_string_is(value, roles[i].name)) {
            reading->message->role = roles[i].role;
            return 0;
        }
    return hw_field_wrong("role", "system, user, assistant or tool", value, reading->err);
}

static int
read_content(void *ctx, const struct hw_json *value)
{
    struct reading *reading = ctx;

    if (value->type != HW_JSON_STRING)
        return hw_field_wrong("content", "a string", value, reading->err);
    int rc = hw_text_set(reading->message, value, reading->err);
    if (rc != 0)
        hw_err_prefix(reading->err, "content");
    return rc;
}

int
hw_ollama_parse_images(const struct hw_json *value, struct hw_json *out, struct hw_err *err)
{
    struct hw_json_iter iter;
    struct hw_json image;
    size_t count = 0;

    if (value->type != HW_JSON_ARRAY)
        return hw_field_wrong("images", "an array of base64 strings", value, err);
    hw_json_iter_init(&iter, value);
    for (; hw_json_next(&iter, NULL, &image); count++)
        if (image.type != HW_JSON_STRING)
            return hw_err_set(err, HW_EINVAL, "images[%zu] must be a base64 string, got %s", count,
                              hw_json_kind(&image));
    if (count > 0)
        *out = *value;
    return 0;
}

static int
read_images(void *ctx, const struct hw_json *value)
{
    struct reading *reading = ctx;
    struct hw_json images = {.p = NULL};
    int rc = hw_ollama_parse_images(value, &images, reading->err);

    if (rc != 0 || images.p == NULL)
        return rc;
    reading->message->has_image = true;
    return hw_message_set(reading->query, reading->message, HW_MEMBER_IMAGES, &images,
                          reading->arena, reading->err);
}

static int
check_call(const struct hw_json *call, struct hw_err *err)
{
    struct hw_json function, name, arguments;

    if (call->type != HW_JSON_OBJECT || !hw_json_get(call, "function", &function) ||
        function.type != HW_JSON_OBJECT)
        return hw_err_set(err, HW_EINVAL, "must be an object with a function");
    if (!hw_json_get(&function, "name", &name) || name.type != HW_JSON_STRING)
        return hw_err_set(err, HW_EINVAL, "function.name must be a string");
    if (hw_json_get(&function, "arguments", &arguments) && arguments.type != HW_JSON_OBJECT &&
        arguments.type != HW_JSON_NULL)
        return hw_field_wrong("function.arguments", "an object", &arguments, err);
    return 0;
}

static int
read_tool_calls(void *ctx, const struct hw_json *value)
{
    struct reading *reading = ctx;
    struct hw_json_iter iter;
    struct hw_json call;
    size_t count = 0;

    if (value->type != HW_JSON_ARRAY)
        return hw_field_wrong("tool_calls", "an array", value, reading->err);
    hw_json_iter_init(&iter, value);
    for (; hw_json_next(&iter, NULL, &call); count++) {
        int rc = count < HW_MAX_TOOL_CALLS
                     ? check_call(&call, reading->err)
                     : hw_err_set(reading->err, HW_EINVAL, "must be one of at most %d calls",
                                  HW_MAX_TOOL_CALLS);
        if (rc != 0)
            return hw_query_at(rc, "tool_calls", count, reading->err);
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

    if (value->type != HW_JSON_STRING)
        return hw_field_wrong("tool_call_id", "a string", value, reading->err);
    if (value->len == 2)
        return 0;
    return hw_message_set(reading->query, reading->message, HW_MEMBER_TOOL_CALL_ID, value,
                          reading->arena, reading->err);
}

static int
read_tool_name(void *ctx, const struct hw_json *value)
{
    struct reading *reading = ctx;

    if (value->type != HW_JSON_STRING)
        return hw_field_wrong("tool_name", "a string", value, reading->err);
    if (value->len > 2)
        reading->tool_name = *value;
    return 0;
}

static int
read_thinking(void *ctx, const struct hw_json *value)
{
    struct reading *reading = ctx;

    if (value->type != HW_JSON_STRING)
        return hw_field_wrong("thinking", "a string", value, reading->err);
    if (value->len == 2)
        return 0;
    return hw_message_set(reading->query, reading->message, HW_MEMBER_REASONING, value,
                          reading->arena, reading->err);
}

static bool
same_string(const struct hw_json *a, const struct hw_json *b)
{
    return a->len == b->len && memcmp(a->p, b->p, a->len) == 0;
}

/* Notes what the last message's calls go by: once, for thousands of answers may follow. */
static int
note_calls(struct reading *reading)
{
    struct hw_calls calls;
    struct hw_call call;

    reading->call_count = 0;
    reading->answered = 0;
    hw_calls_init(&calls, reading->query, reading->query->message_count - 1);
    while (reading->call_count < HW_MAX_TOOL_CALLS && hw_calls_next(&calls, &call)) {
        if (call.id.p == call.invented)
            call.id.p = hw_arena_copy(reading->arena, call.invented, call.id.len);
        if (call.id.p == NULL)
            return hw_err_set(reading->err, HW_ELIMIT,
                              "must not take more memory than one query may have");
        reading->ids[reading->call_count] = call.id;
        reading->names[reading->call_count++] = call.name;
    }
    return 0;
}

/* Finds the open call that a tool's answer belongs to, by id, by the tool's name, or the first. */
static int
answer_call(struct reading *reading)
{
    struct hw_message *message = reading->message;
    struct hw_json id = {.p = NULL};
    bool named = hw_message_get(reading->query, message, HW_MEMBER_TOOL_CALL_ID, &id);

    for (size_t i = 0; i < reading->call_count; i++) {
        if ((reading->answered >> i & 1) != 0)
            continue;
        if (named ? !same_string(&id, &reading->ids[i])
                  : reading->tool_name.p != NULL &&
                        !same_string(&reading->tool_name, &reading->names[i]))
            continue;
        reading->answered |= (uint64_t)1 << i;
        return named ? 0
                     : hw_message_set(reading->query, message, HW_MEMBER_TOOL_CALL_ID,
                                      &reading->ids[i], reading->arena, reading->err);
    }
    return 0;
}

static int
read_message(void *ctx, const struct hw_json *value, size_t i)
{
    static const struct hw_field_taker fields[] = {
        {"role", read_role},
        {"content", read_content},
        {"images", read_images},
        {"tool_calls", read_tool_calls},
        {"tool_call_id", read_tool_call_id},
        {"tool_name", read_tool_name},
        {"thinking", read_thinking},
    };
    struct reading *reading = ctx;
    struct hw_json role;

    (void)i;
    reading->message = hw_query_add_message(reading->query, reading->arena, reading->err);
    if (reading->message == NULL)
        return HW_ELIMIT;
    reading->tool_name.p = NULL;
    if (value->type != HW_JSON_OBJECT)
        return hw_err_set(reading->err, HW_EINVAL, "must be an object, got %s",
                          hw_json_kind(value));
    int rc =
        hw_fields_take(value, fields, sizeof(fields) / sizeof(fields[0]), reading, reading->err);
    if (rc != 0)
        return rc;
    if (!hw_json_get(value, "role", &role) || role.type == HW_JSON_NULL)
        return hw_err_set(reading->err, HW_EINVAL, "role is missing");
    if (reading->message->has_calls)
        return note_calls(reading);
    return reading->message->role == HW_MSG_TOOL ? answer_call(reading) : 0;
}

int
hw_ollama_parse_messages(const struct hw_json *value, struct hw_arena *arena,
                         struct hw_query *query, struct hw_err *err)
{
    struct reading reading = {.arena = arena, .query = query, .err = err};

    return hw_query_read_messages(value, "messages", read_message, &reading, query, err);
}
