/* router/api/responses.c - OpenAI's Responses dialect: POST /v1/responses.
 *
 * No backend is assumed to speak it: the items become messages (responses_input.c), the answer's
 * events become its own. Nothing is stored here, so what leans on earlier responses is refused
 * rather than answered without them. */
#include "router/api/responses.h"

#include <string.h>

#include "router/api/canonical.h"
#include "router/api/fields.h"
#include "router/api/openai.h"
#include "router/api/text.h"

static int
take_input(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;

    parse->messages = *value;
    return 0;
}

static int
take_instructions(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;

    if (value->type != HW_JSON_STRING)
        return hw_field_wrong("instructions", "a string", value, parse->err);
    parse->system = *value;
    return 0;
}

static int
take_max_output_tokens(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;
    return hw_field_max_tokens("max_output_tokens", value, parse->query, parse->err);
}

static int
take_previous(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;

    (void)value;
    return hw_err_set(parse->err, HW_EINVAL,
                      "previous_response_id: responses are not stored here; send the earlier items "
                      "in input");
}

static int
take_conversation(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;

    (void)value;
    return hw_err_set(parse->err, HW_EINVAL,
                      "conversation: conversations are not stored here; send the earlier items in "
                      "input");
}

static int
take_prompt(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;

    (void)value;
    return hw_err_set(parse->err, HW_EINVAL,
                      "prompt: prompts are not stored here; send its text as instructions");
}

static int
take_background(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;
    bool wanted = false;
    int rc = hw_field_bool("background", value, &wanted, parse->err);

    if (rc == 0 && wanted)
        rc = hw_err_set(parse->err, HW_EINVAL,
                        "background: responses are not stored here; ask for a stream instead");
    return rc;
}

/* ---- tools ---- */

/* Flat here, within "function" elsewhere. */
static int
write_tool(struct hw_parse *parse, const struct hw_json *tool, size_t i, struct hw_buf *out)
{
    static const char *const members[] = {"description", "parameters", "strict"};
    struct hw_json type, name, member;

    if (tool->type != HW_JSON_OBJECT || !hw_json_get(tool, "type", &type) ||
        type.type != HW_JSON_STRING)
        return hw_err_set(parse->err, HW_EINVAL, "must be an object with a type");
    if (!hw_json_string_is(&type, "function")) {
        hw_query_lose(parse->query, parse->arena, "tools[%zu]", i); /* one that OpenAI runs */
        return 0;
    }
    if (!hw_json_get(tool, "name", &name) || name.type != HW_JSON_STRING)
        return hw_err_set(parse->err, HW_EINVAL, "name must be a string");
    hw_buf_puts(out, out->len > 1 ? ",{" : "{");
    hw_buf_puts(out, "\"type\":\"function\",\"function\":{\"name\":");
    hw_buf_append(out, name.p, name.len);
    for (size_t m = 0; m < sizeof(members) / sizeof(members[0]); m++) {
        if (!hw_json_get(tool, members[m], &member) || member.type == HW_JSON_NULL)
            continue;
        hw_buf_printf(out, ",\"%s\":", members[m]);
        hw_buf_append(out, member.p, member.len);
    }
    hw_buf_puts(out, "}}");
    return 0;
}

static int
take_tools(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;
    struct hw_json_iter iter;
    struct hw_json tool;
    struct hw_buf text;
    size_t count = 0;

    if (value->type != HW_JSON_ARRAY)
        return hw_field_wrong("tools", "an array", value, parse->err);
    hw_buf_init(&text, value->len * 8 + 128);
    hw_buf_puts(&text, "[");
    hw_json_iter_init(&iter, value);
    for (; hw_json_next(&iter, NULL, &tool); count++) {
        int rc = write_tool(parse, &tool, count, &text);
        if (rc != 0) {
            hw_buf_free(&text);
            return hw_query_at(rc, "tools", count, parse->err);
        }
    }
    if (text.len == 1) {
        hw_buf_free(&text);
        return 0;
    }
    hw_buf_puts(&text, "]");
    parse->query->prompt_bytes += text.len;
    return hw_query_keep(&text, HW_JSON_ARRAY, parse->arena, &parse->query->tools, parse->err);
}

static int
take_tool_choice(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;
    struct hw_json type, name;
    struct hw_buf text;

    if (value->type == HW_JSON_STRING) {
        parse->query->tool_choice = *value;
        parse->tools_off = hw_json_string_is(value, "none");
        return 0;
    }
    if (value->type != HW_JSON_OBJECT || !hw_json_get(value, "type", &type))
        return hw_field_wrong("tool_choice", "a string, or an object with a type", value,
                              parse->err);
    if (!hw_json_string_is(&type, "function") || !hw_json_get(value, "name", &name) ||
        name.type != HW_JSON_STRING) {
        hw_query_lose(parse->query, parse->arena, "tool_choice");
        return 0;
    }
    hw_buf_init(&text, name.len + 64);
    hw_buf_puts(&text, "{\"type\":\"function\",\"function\":{\"name\":");
    hw_buf_append(&text, name.p, name.len);
    hw_buf_puts(&text, "}}");
    return hw_query_keep(&text, HW_JSON_OBJECT, parse->arena, &parse->query->tool_choice,
                         parse->err);
}

/* ---- text, reasoning, include ---- */

static int
take_schema(struct hw_parse *parse, const struct hw_json *format)
{
    static const char *const members[] = {"name", "schema", "strict", "description"};
    struct hw_json member;
    struct hw_buf text;
    bool any = false;

    if (!hw_json_get(format, "schema", &member) || member.type != HW_JSON_OBJECT)
        return hw_err_set(parse->err, HW_EINVAL, "text.format.schema must be an object");
    parse->query->wants_json = true;
    hw_buf_init(&text, format->len + 128);
    hw_buf_puts(&text, "{\"type\":\"json_schema\",\"json_schema\":{");
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        if (!hw_json_get(format, members[i], &member) || member.type == HW_JSON_NULL)
            continue;
        hw_buf_printf(&text, any ? ",\"%s\":" : "\"%s\":", members[i]);
        hw_buf_append(&text, member.p, member.len);
        any = true;
    }
    hw_buf_puts(&text, "}}");
    return hw_query_keep(&text, HW_JSON_OBJECT, parse->arena, &parse->query->response_format,
                         parse->err);
}

static int
take_text(void *ctx, const struct hw_json *value)
{
    static const char any_json[] = "{\"type\":\"json_object\"}";
    struct hw_parse *parse = ctx;
    struct hw_json format, type, verbosity;

    if (value->type != HW_JSON_OBJECT)
        return hw_field_wrong("text", "an object", value, parse->err);
    if (hw_json_get(value, "verbosity", &verbosity) && verbosity.type != HW_JSON_NULL &&
        !hw_json_string_is(&verbosity, "medium"))
        hw_query_lose(parse->query, parse->arena, "text.verbosity");
    if (!hw_json_get(value, "format", &format) || format.type == HW_JSON_NULL)
        return 0;
    if (format.type != HW_JSON_OBJECT || !hw_json_get(&format, "type", &type))
        return hw_err_set(parse->err, HW_EINVAL, "text.format must be an object with a type");
    if (hw_json_string_is(&type, "json_schema"))
        return take_schema(parse, &format);
    if (hw_json_string_is(&type, "json_object")) {
        parse->query->wants_json = true;
        parse->query->response_format =
            (struct hw_json){HW_JSON_OBJECT, any_json, sizeof(any_json) - 1};
        return 0;
    }
    if (hw_json_string_is(&type, "text"))
        return 0;
    return hw_err_set(parse->err, HW_EINVAL,
                      "text.format.type must be text, json_object or json_schema");
}

static int
take_reasoning(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;
    struct hw_json effort;

    if (value->type != HW_JSON_OBJECT)
        return hw_field_wrong("reasoning", "an object", value, parse->err);
    if (!hw_json_get(value, "effort", &effort) || effort.type == HW_JSON_NULL)
        return 0;
    if (effort.type != HW_JSON_STRING)
        return hw_field_wrong("reasoning.effort", "a level", &effort, parse->err);
    parse->query->effort = effort;
    return 0;
}

static int
take_include(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;
    struct hw_json_iter iter;
    struct hw_json item;

    if (value->type != HW_JSON_ARRAY)
        return hw_field_wrong("include", "an array of strings", value, parse->err);
    hw_json_iter_init(&iter, value);
    for (size_t i = 0; hw_json_next(&iter, NULL, &item); i++) {
        if (hw_json_string_is(&item, "message.output_text.logprobs")) {
            parse->query->wants_logprobs = true;
            parse->query->keepable = false;
        } else {
            hw_query_lose(parse->query, parse->arena, "include[%zu]", i);
        }
    }
    return 0;
}

/* ---- the body ---- */

static int
add_instructions(struct hw_parse *parse)
{
    struct hw_message *message = hw_query_add_message(parse->query, parse->arena, parse->err);

    if (message == NULL)
        return HW_ELIMIT;
    message->role = HW_MSG_SYSTEM;
    int rc = hw_text_set(message, &parse->system, parse->err);
    if (rc != 0)
        hw_err_prefix(parse->err, "instructions");
    else if (message->text_len == 0)
        parse->query->message_count--; /* none, in as many words */
    return rc;
}

static int
parse_body(struct hw_body *body, const struct hw_json_limits *limits, struct hw_arena *arena,
           struct hw_query *query, struct hw_err *err)
{
    static const struct hw_field_taker fields[] = {
        {"model", hw_take_model},
        {"input", take_input},
        {"instructions", take_instructions},
        {"max_output_tokens", take_max_output_tokens},
        {"stream", hw_take_stream},
        {"temperature", hw_take_temperature},
        {"top_p", hw_take_top_p},
        {"top_logprobs", hw_take_top_logprobs},
        {"tools", take_tools},
        {"tool_choice", take_tool_choice},
        {"text", take_text},
        {"reasoning", take_reasoning},
        {"include", take_include},
        {"previous_response_id", take_previous},
        {"conversation", take_conversation},
        {"prompt", take_prompt},
        {"background", take_background},
    };
    struct hw_parse parse;

    hw_parse_init(&parse, &hw_dialect_responses, body, arena, query, err);
    int rc = hw_parse_body(&parse, limits, fields, sizeof(fields) / sizeof(fields[0]));
    if (rc != 0)
        return rc;
    if (parse.messages.p == NULL)
        return hw_err_set(parse.err, HW_EINVAL, "input is missing");
    if (parse.system.p != NULL)
        rc = add_instructions(&parse);
    if (rc == 0)
        rc = hw_responses_parse_input(&parse.messages, arena, query, parse.err);
    if (rc != 0)
        return rc;
    hw_query_settle(query);
    query->wants_tools = query->tools.p != NULL && !parse.tools_off;
    return 0;
}

const struct hw_dialect hw_dialect_responses = {
    .name = "openai",
    .path = "/v1/responses",
    .stream_content_type = "text/event-stream",
    .parse = parse_body,
    .write_whole = hw_responses_write_whole,
    .write_event = hw_responses_write_event,
    .keepalive = ": keep-alive\n\n",
    .write_error = hw_openai_write_error,
};
