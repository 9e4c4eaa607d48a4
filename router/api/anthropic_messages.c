/* router/api/anthropic_messages.c - the system prompt and the messages of an Anthropic query.
 *
 * A message is a list of blocks that may mean several messages elsewhere: each tool_result of a
 * user's becomes a tool's message, what is left the user's own. Texts of one message are joined by
 * newlines. */
#include <string.h>

#include "router/api/anthropic.h"
#include "router/api/canonical.h"
#include "router/api/fields.h"
#include "router/api/text.h"

struct reading {
    struct hw_arena *arena;
    struct hw_query *query;
    struct hw_err *err;
    size_t at; /* index of the message in the agent's array, for names */
    /* Of the message at hand. */
    bool assistant;
    size_t text_len;
    size_t call_count;
    struct hw_json thoughts; /* the first block of them; .p NULL: none */
    bool has_image, has_own; /* something beside tool_results */
};

static void
lose(struct reading *reading, size_t block, const char *what)
{
    hw_query_lose(reading->query, reading->arena, "messages[%zu].content[%zu]%s", reading->at,
                  block, what);
}

/* One more string of a text whose lines they are. */
static int
measure_line(const struct hw_json *string, size_t *text_len, const char *name, struct hw_err *err)
{
    size_t len;
    int rc = hw_text_measure(string, &len, err);

    if (rc != 0)
        return hw_err_set(err, rc, "%s must not contain \\u0000", name);
    *text_len += len + (*text_len > 0); /* the end of the line before it */
    return 0;
}

static int
add_text(struct reading *reading, const struct hw_json *block)
{
    struct hw_json text;

    if (!hw_json_get(block, "text", &text) || text.type != HW_JSON_STRING)
        return hw_err_set(reading->err, HW_EINVAL, "text must be a string");
    reading->has_own = true;
    return measure_line(&text, &reading->text_len, "text", reading->err);
}

/* Beside the message's own text: alone they make no message. */
static int
add_thoughts(struct reading *reading, const struct hw_json *block)
{
    struct hw_json text;

    if (!hw_json_get(block, "thinking", &text) || text.type != HW_JSON_STRING)
        return hw_err_set(reading->err, HW_EINVAL, "thinking must be a string");
    if (reading->assistant && text.len > 2 && reading->thoughts.p == NULL)
        reading->thoughts = text;
    return 0;
}

static int
add_image(struct reading *reading, const struct hw_json *block)
{
    struct hw_json source, type, media, data;

    if (!hw_json_get(block, "source", &source) || !hw_json_get(&source, "type", &type))
        return hw_err_set(reading->err, HW_EINVAL, "source must be an object with a type");
    bool by_url = hw_json_string_is(&type, "url");
    if (!hw_json_get(&source, by_url ? "url" : "data", &data) || data.type != HW_JSON_STRING)
        return hw_err_set(reading->err, HW_EINVAL, "source.%s must be a string",
                          by_url ? "url" : "data");
    if (!by_url && (!hw_json_get(&source, "media_type", &media) || media.type != HW_JSON_STRING))
        return hw_err_set(reading->err, HW_EINVAL, "source.media_type must be a string");
    reading->has_image = reading->has_own = true;
    return 0;
}

static int
add_call(struct reading *reading, const struct hw_json *block)
{
    struct hw_json id, name, input;

    if (!hw_json_get(block, "id", &id) || id.type != HW_JSON_STRING)
        return hw_err_set(reading->err, HW_EINVAL, "id must be a string");
    if (!hw_json_get(block, "name", &name) || name.type != HW_JSON_STRING)
        return hw_err_set(reading->err, HW_EINVAL, "name must be a string");
    if (!hw_json_get(block, "input", &input) || input.type != HW_JSON_OBJECT)
        return hw_err_set(reading->err, HW_EINVAL, "input must be an object");
    if (reading->call_count++ == HW_MAX_TOOL_CALLS)
        return hw_err_set(reading->err, HW_EINVAL, "must be one of at most %d calls",
                          HW_MAX_TOOL_CALLS);
    reading->query->prompt_bytes += block->len;
    reading->has_own = true;
    return 0;
}

/* The text of a string or of an array of text blocks. lost: told of each other block. */
static int
join_text(struct reading *reading, const char *name, const struct hw_json *value,
          struct hw_message *message, bool *lost)
{
    struct hw_json_iter iter;
    struct hw_json block, text, type;

    if (value->type == HW_JSON_STRING) {
        int rc = hw_text_set(message, value, reading->err);
        if (rc != 0)
            hw_err_prefix(reading->err, "%s", name);
        return rc;
    }
    if (value->type != HW_JSON_ARRAY)
        return hw_field_wrong(name, "a string or an array of blocks", value, reading->err);
    size_t text_len = 0;
    hw_json_iter_init(&iter, value);
    for (size_t i = 0; hw_json_next(&iter, NULL, &block); i++) {
        if (!hw_json_get(&block, "type", &type) || !hw_json_string_is(&type, "text")) {
            *lost = true;
            continue;
        }
        if (!hw_json_get(&block, "text", &text) || text.type != HW_JSON_STRING)
            return hw_err_set(reading->err, HW_EINVAL, "%s[%zu].text must be a string", name, i);
        int rc = measure_line(&text, &text_len, "text", reading->err);
        if (rc != 0)
            return hw_query_at(rc, name, i, reading->err);
    }
    hw_text_set_parts(message, HW_SOURCE_BLOCKS, value);
    message->text_len = (uint32_t)text_len;
    return 0;
}

static int
add_result(struct reading *reading, const struct hw_json *block, size_t i)
{
    struct hw_message *message = hw_query_add_message(reading->query, reading->arena, reading->err);
    struct hw_json id, content, failed;
    bool lost = false, set = false;

    if (message == NULL)
        return HW_ELIMIT;
    message->role = HW_MSG_TOOL;
    if (!hw_json_get(block, "tool_use_id", &id) || id.type != HW_JSON_STRING)
        return hw_err_set(reading->err, HW_EINVAL, "tool_use_id must be a string");
    int rc = hw_message_set(reading->query, message, HW_MEMBER_TOOL_CALL_ID, &id, reading->arena,
                            reading->err);
    if (rc != 0)
        return rc;
    if (hw_json_get(block, "is_error", &failed) && hw_json_bool(&failed, &set) && set)
        lose(reading, i, ".is_error");
    if (!hw_json_get(block, "content", &content) || content.type == HW_JSON_NULL)
        return 0;
    rc = join_text(reading, "content", &content, message, &lost);
    if (lost)
        lose(reading, i, ".content");
    return rc;
}

static int
read_block(struct reading *reading, const struct hw_json *block, size_t i)
{
    struct hw_json type;

    if (block->type != HW_JSON_OBJECT || !hw_json_get(block, "type", &type) ||
        type.type != HW_JSON_STRING)
        return hw_err_set(reading->err, HW_EINVAL, "must be an object with a type");
    if (hw_json_string_is(&type, "text"))
        return add_text(reading, block);
    if (hw_json_string_is(&type, "thinking"))
        return add_thoughts(reading, block);
    if (hw_json_string_is(&type, "redacted_thinking"))
        return 0; /* nobody else can read them */
    if (hw_json_string_is(&type, "image") && !reading->assistant)
        return add_image(reading, block);
    if (hw_json_string_is(&type, "tool_result") && !reading->assistant)
        return add_result(reading, block, i);
    if (hw_json_string_is(&type, "tool_use") && reading->assistant)
        return add_call(reading, block);
    lose(reading, i, "");
    return 0;
}

/* The message that what was gathered makes up. */
static int
finish_message(struct reading *reading, const struct hw_json *blocks)
{
    struct hw_message *message = hw_query_add_message(reading->query, reading->arena, reading->err);

    if (message == NULL)
        return HW_ELIMIT;
    message->role = reading->assistant ? HW_MSG_ASSISTANT : HW_MSG_USER;
    message->has_image = reading->has_image;
    message->has_calls = reading->call_count > 0;
    hw_text_set_parts(message, HW_SOURCE_BLOCKS, blocks);
    message->text_len = (uint32_t)reading->text_len;
    if (reading->thoughts.p == NULL)
        return 0;
    return hw_message_set(reading->query, message, HW_MEMBER_REASONING, &reading->thoughts,
                          reading->arena, reading->err);
}

static int
read_blocks(struct reading *reading, const struct hw_json *value)
{
    struct hw_json_iter iter;
    struct hw_json block;
    int rc = 0;

    reading->text_len = reading->call_count = 0;
    reading->thoughts.p = NULL;
    reading->has_image = reading->has_own = false;
    hw_json_iter_init(&iter, value);
    size_t before = reading->query->message_count;
    for (size_t i = 0; rc == 0 && hw_json_next(&iter, NULL, &block); i++) {
        rc = read_block(reading, &block, i);
        if (rc != 0)
            hw_query_at(rc, "content", i, reading->err);
    }
    if (rc == 0 && (reading->has_own || reading->query->message_count == before))
        rc = finish_message(reading, value);
    return rc;
}

static int
read_message(void *ctx, const struct hw_json *value, size_t i)
{
    struct reading *reading = ctx;
    struct hw_json role, content;
    bool lost = false;

    reading->at = i;
    if (value->type != HW_JSON_OBJECT)
        return hw_err_set(reading->err, HW_EINVAL, "must be an object, got %s",
                          hw_json_kind(value));
    if (!hw_json_get(value, "role", &role))
        return hw_err_set(reading->err, HW_EINVAL, "role is missing");
    reading->assistant = hw_json_string_is(&role, "assistant");
    if (!reading->assistant && !hw_json_string_is(&role, "user"))
        return hw_field_wrong("role", "user or assistant", &role, reading->err);
    if (!hw_json_get(value, "content", &content))
        return hw_err_set(reading->err, HW_EINVAL, "content is missing");
    if (content.type == HW_JSON_ARRAY)
        return read_blocks(reading, &content);
    struct hw_message *message = hw_query_add_message(reading->query, reading->arena, reading->err);
    if (message == NULL)
        return HW_ELIMIT;
    message->role = reading->assistant ? HW_MSG_ASSISTANT : HW_MSG_USER;
    return join_text(reading, "content", &content, message, &lost);
}

int
hw_anthropic_parse_messages(const struct hw_json *value, struct hw_arena *arena,
                            struct hw_query *query, struct hw_err *err)
{
    struct reading reading = {.arena = arena, .query = query, .err = err};
    size_t before = query->message_count;
    int rc = hw_query_read_messages(value, "messages", read_message, &reading, query, err);

    if (rc != 0)
        return rc;
    if (query->message_count == before)
        return hw_err_set(err, HW_EINVAL, "messages must not be empty");
    return 0;
}

int
hw_anthropic_parse_system(const struct hw_json *value, struct hw_arena *arena,
                          struct hw_query *query, struct hw_err *err)
{
    struct reading reading = {.arena = arena, .query = query, .err = err};
    struct hw_message *message = hw_query_add_message(query, arena, err);
    bool lost = false;

    if (message == NULL)
        return HW_ELIMIT;
    message->role = HW_MSG_SYSTEM;
    int rc = join_text(&reading, "system", value, message, &lost);
    if (lost)
        hw_query_lose(query, arena, "system");
    if (rc == 0 && message->text_len == 0)
        query->message_count--; /* none, in as many words */
    return rc;
}
