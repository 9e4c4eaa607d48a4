/* router/api/responses_input.c - the items of a Responses query as messages.
 *
 * What an assistant did in one turn is several items there (thoughts, a message, calls of
 * functions) and one message elsewhere: they are gathered until somebody else speaks. They stay
 * where they stand: a message's text is that of the item's parts, its calls are the run of items
 * from the first of them to the last. */
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
    struct hw_json calls;
    size_t call_count;
};

/* What an item says. */
struct content {
    struct hw_json source; /* a string or an array of parts */
    size_t text_len;
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
        turn_of(reading)->has_calls = true;
        rc = hw_message_set(reading->query, turn_of(reading), HW_MEMBER_TOOL_CALLS, &reading->calls,
                            reading->arena, reading->err);
    }
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
add_text(struct reading *reading, const struct hw_json *part, const char *name,
         struct content *content)
{
    struct hw_json text;
    size_t len;

    if (!hw_json_get(part, name, &text) || text.type != HW_JSON_STRING)
        return hw_err_set(reading->err, HW_EINVAL, "%s must be a string", name);
    if (hw_text_measure(&text, &len, reading->err) != 0)
        return hw_err_set(reading->err, HW_EINVAL, "%s must not contain \\u0000", name);
    content->text_len += len;
    return 0;
}

static int
add_image(struct reading *reading, const struct hw_json *part, struct content *content, bool *lost)
{
    struct hw_json url;

    if (!hw_json_get(part, "image_url", &url) || url.type == HW_JSON_NULL) {
        *lost = true; /* a file of OpenAI's */
        return 0;
    }
    if (url.type != HW_JSON_STRING)
        return hw_field_wrong("image_url", "a string", &url, reading->err);
    content->has_image = true;
    return 0;
}

static int
read_part(struct reading *reading, const struct hw_json *part, struct content *content, bool *lost)
{
    struct hw_json type;

    if (part->type != HW_JSON_OBJECT || !hw_json_get(part, "type", &type) ||
        type.type != HW_JSON_STRING)
        return hw_err_set(reading->err, HW_EINVAL, "must be an object with a type");
    if (hw_json_string_is(&type, "input_text") || hw_json_string_is(&type, "output_text") ||
        hw_json_string_is(&type, "text") || hw_json_string_is(&type, "summary_text") ||
        hw_json_string_is(&type, "reasoning_text"))
        return add_text(reading, part, "text", content);
    if (hw_json_string_is(&type, "refusal"))
        return add_text(reading, part, "refusal", content);
    if (hw_json_string_is(&type, "input_image"))
        return add_image(reading, part, content, lost);
    *lost = true;
    return 0;
}

/* Checks a string or parts. */
static int
read_content(struct reading *reading, const char *name, const struct hw_json *value,
             struct content *content)
{
    struct hw_json_iter iter;
    struct hw_json part;
    int rc;

    *content = (struct content){.source = *value};
    if (value->type == HW_JSON_STRING) {
        rc = hw_text_measure(value, &content->text_len, reading->err);
        return rc == 0 ? 0 : hw_err_set(reading->err, rc, "%s must not contain \\u0000", name);
    }
    if (value->type != HW_JSON_ARRAY)
        return hw_field_wrong(name, "a string or an array of parts", value, reading->err);
    hw_json_iter_init(&iter, value);
    for (size_t i = 0; hw_json_next(&iter, NULL, &part); i++) {
        bool lost = false;
        rc = read_part(reading, &part, content, &lost);
        if (rc != 0)
            return hw_query_at(rc, name, i, reading->err);
        if (lost)
            hw_query_lose(reading->query, reading->arena, "input[%zu].%s[%zu]", reading->at, name,
                          i);
    }
    return 0;
}

static void
settle_content(struct hw_message *message, const struct content *content)
{
    hw_text_set_parts(
        message, content->source.type == HW_JSON_STRING ? HW_SOURCE_STRING : HW_SOURCE_ITEM_PARTS,
        &content->source);
    message->text_len = (uint32_t)content->text_len;
    message->has_image = content->has_image;
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
    struct content content;
    struct hw_json role, value;
    size_t r = 0;

    if (!hw_json_get(item, "role", &role))
        return hw_err_set(reading->err, HW_EINVAL, "role is missing");
    while (r < 4 && !hw_json_string_is(&role, roles[r].name))
        r++;
    if (r == 4)
        return hw_field_wrong("role", "user, assistant, system or developer", &role, reading->err);
    if (!hw_json_get(item, "content", &value))
        return hw_err_set(reading->err, HW_EINVAL, "content is missing");
    int rc = read_content(reading, "content", &value, &content);
    bool assistant = roles[r].role == HW_MSG_ASSISTANT;
    if (rc == 0 && (!assistant || (reading->open && turn_of(reading)->text_len > 0)))
        rc = close_turn(reading);
    if (rc == 0 && assistant) {
        rc = open_turn(reading);
        if (rc == 0)
            settle_content(turn_of(reading), &content);
        return rc;
    }
    struct hw_message *message =
        rc == 0 ? hw_query_add_message(reading->query, reading->arena, reading->err) : NULL;
    if (message == NULL)
        return rc != 0 ? rc : HW_ELIMIT;
    message->role = roles[r].role;
    settle_content(message, &content);
    return 0;
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
    reading->query->prompt_bytes += item->len;
    if (reading->call_count++ == 0)
        reading->calls = *item;
    reading->calls.len = (size_t)(item->p + item->len - reading->calls.p);
    return 0;
}

static int
read_output(struct reading *reading, const struct hw_json *item)
{
    struct content content;
    struct hw_json id, output;

    if (!hw_json_get(item, "call_id", &id) || id.type != HW_JSON_STRING)
        return hw_err_set(reading->err, HW_EINVAL, "call_id must be a string");
    if (!hw_json_get(item, "output", &output))
        return hw_err_set(reading->err, HW_EINVAL, "output is missing");
    int rc = read_content(reading, "output", &output, &content);
    if (rc == 0)
        rc = close_turn(reading);
    if (rc != 0)
        return rc;
    struct hw_message *message = hw_query_add_message(reading->query, reading->arena, reading->err);
    if (message == NULL)
        return HW_ELIMIT;
    message->role = HW_MSG_TOOL;
    settle_content(message, &content);
    return hw_message_set(reading->query, message, HW_MEMBER_TOOL_CALL_ID, &id, reading->arena,
                          reading->err);
}

/* As one string: in place where it is one part, which is what backends send. */
static int
keep_thoughts(struct reading *reading, const struct content *content, struct hw_json *out)
{
    struct hw_message said = {.source = NULL};
    struct hw_json_iter iter;
    struct hw_json part, more;
    struct hw_buf text;

    hw_json_iter_init(&iter, &content->source);
    if (hw_json_next(&iter, NULL, &part) && !hw_json_next(&iter, NULL, &more) &&
        hw_json_get(&part, "text", out) && out->type == HW_JSON_STRING)
        return 0;
    settle_content(&said, content);
    hw_buf_init(&text, content->source.len);
    hw_text_put(&text, &said);
    return hw_query_keep(&text, HW_JSON_STRING, reading->arena, out, reading->err);
}

/* Thoughts of an earlier turn: its content, or what the summary tells. */
static int
read_reasoning(struct reading *reading, const struct hw_json *item)
{
    static const char *const members[] = {"content", "summary"};
    struct content content = {.text_len = 0};
    struct hw_json value;
    int rc;

    for (size_t i = 0; i < 2 && content.text_len == 0; i++) {
        if (!hw_json_get(item, members[i], &value) || value.type != HW_JSON_ARRAY)
            continue;
        rc = read_content(reading, members[i], &value, &content);
        if (rc != 0)
            return rc;
    }
    if (content.text_len == 0)
        return 0;
    if ((rc = open_turn(reading)) != 0 || (rc = keep_thoughts(reading, &content, &value)) != 0)
        return rc;
    return hw_message_set(reading->query, turn_of(reading), HW_MEMBER_REASONING, &value,
                          reading->arena, reading->err);
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
    int rc = hw_text_set(message, value, reading->err);
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
    if (rc == 0 && query->message_count == 0)
        rc = hw_err_set(err, HW_EINVAL, "input must not be empty");
    return rc;
}
