/* router/api/anthropic.c - the Anthropic dialect: POST /v1/messages.
 *
 * No backend speaks it, so everything is rewritten as OpenAI's (canonical.h), and what has no word
 * there is named as lost when it is met. */
#include "router/api/anthropic.h"

#include <string.h>

#include "router/api/canonical.h"
#include "router/api/fields.h"

static int
take_messages(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;

    parse->messages = *value;
    return 0;
}

static int
take_system(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;

    parse->system = *value;
    return 0;
}

static int
take_stop_sequences(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;

    if (value->type != HW_JSON_ARRAY)
        return hw_field_wrong("stop_sequences", "an array of strings", value, parse->err);
    return hw_field_stops("stop_sequences", value, HW_MAX_STOPS, parse->arena, parse->query,
                          parse->err);
}

/* ---- tools ---- */

static int
write_tool(struct hw_parse *parse, const struct hw_json *tool, size_t i, struct hw_buf *out)
{
    struct hw_json type, name, member;

    if (tool->type != HW_JSON_OBJECT)
        return hw_err_set(parse->err, HW_EINVAL, "must be an object, got %s", hw_json_kind(tool));
    if (hw_json_get(tool, "type", &type) && type.type != HW_JSON_NULL &&
        !hw_json_string_is(&type, "custom")) {
        hw_query_lose(parse->query, parse->arena, "tools[%zu]", i); /* one that Anthropic runs */
        return 0;
    }
    if (!hw_json_get(tool, "name", &name) || name.type != HW_JSON_STRING)
        return hw_err_set(parse->err, HW_EINVAL, "name must be a string");
    hw_buf_puts(out, out->len > 1 ? ",{" : "{");
    hw_buf_puts(out, "\"type\":\"function\",\"function\":{\"name\":");
    hw_buf_append(out, name.p, name.len);
    if (hw_json_get(tool, "description", &member) && member.type == HW_JSON_STRING) {
        hw_buf_puts(out, ",\"description\":");
        hw_buf_append(out, member.p, member.len);
    }
    if (hw_json_get(tool, "input_schema", &member)) {
        if (member.type != HW_JSON_OBJECT)
            return hw_field_wrong("input_schema", "an object", &member, parse->err);
        hw_buf_puts(out, ",\"parameters\":");
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
    static const char automatic[] = "\"auto\"", required[] = "\"required\"", none[] = "\"none\"";
    struct hw_parse *parse = ctx;
    struct hw_json *choice = &parse->query->tool_choice, type, name, alone;
    struct hw_buf text;
    bool set = false;

    if (value->type != HW_JSON_OBJECT || !hw_json_get(value, "type", &type))
        return hw_err_set(parse->err, HW_EINVAL, "tool_choice must be an object with a type");
    if (hw_json_get(value, "disable_parallel_tool_use", &alone) && hw_json_bool(&alone, &set) &&
        set)
        hw_query_lose(parse->query, parse->arena, "tool_choice.disable_parallel_tool_use");
    if (hw_json_string_is(&type, "auto")) {
        *choice = (struct hw_json){HW_JSON_STRING, automatic, sizeof(automatic) - 1};
    } else if (hw_json_string_is(&type, "any")) {
        *choice = (struct hw_json){HW_JSON_STRING, required, sizeof(required) - 1};
    } else if (hw_json_string_is(&type, "none")) {
        *choice = (struct hw_json){HW_JSON_STRING, none, sizeof(none) - 1};
        parse->tools_off = true;
    } else if (hw_json_string_is(&type, "tool") && hw_json_get(value, "name", &name) &&
               name.type == HW_JSON_STRING) {
        hw_buf_init(&text, name.len + 64);
        hw_buf_puts(&text, "{\"type\":\"function\",\"function\":{\"name\":");
        hw_buf_append(&text, name.p, name.len);
        hw_buf_puts(&text, "}}");
        return hw_query_keep(&text, HW_JSON_OBJECT, parse->arena, choice, parse->err);
    } else {
        return hw_err_set(parse->err, HW_EINVAL,
                          "tool_choice.type must be auto, any, none, or tool with a name");
    }
    return 0;
}

/* ---- thinking, formats ---- */

static int
take_thinking(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;
    struct hw_json type;

    if (value->type != HW_JSON_OBJECT || !hw_json_get(value, "type", &type) ||
        type.type != HW_JSON_STRING)
        return hw_err_set(parse->err, HW_EINVAL, "thinking must be an object with a type");
    parse->query->think = hw_json_string_is(&type, "disabled")
                              ? (struct hw_json){HW_JSON_BOOL, "false", 5}
                              : (struct hw_json){HW_JSON_BOOL, "true", 4};
    return 0;
}

static int
take_format(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;
    struct hw_json type, schema;
    struct hw_buf text;

    if (value->type != HW_JSON_OBJECT || !hw_json_get(value, "type", &type) ||
        !hw_json_string_is(&type, "json_schema") || !hw_json_get(value, "schema", &schema) ||
        schema.type != HW_JSON_OBJECT)
        return hw_err_set(parse->err, HW_EINVAL,
                          "the output's format must be of type json_schema, with a schema");
    parse->query->wants_json = true;
    hw_buf_init(&text, schema.len + 128);
    hw_buf_puts(&text, "{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"answer\","
                       "\"schema\":");
    hw_buf_append(&text, schema.p, schema.len);
    hw_buf_puts(&text, "}}");
    return hw_query_keep(&text, HW_JSON_OBJECT, parse->arena, &parse->query->response_format,
                         parse->err);
}

static int
take_output_config(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;
    struct hw_json format, effort;

    if (value->type != HW_JSON_OBJECT)
        return hw_field_wrong("output_config", "an object", value, parse->err);
    if (hw_json_get(value, "effort", &effort) && effort.type != HW_JSON_NULL)
        hw_query_lose(parse->query, parse->arena, "output_config.effort");
    if (!hw_json_get(value, "format", &format) || format.type == HW_JSON_NULL)
        return 0;
    return take_format(ctx, &format);
}

/* ---- the body ---- */

static int
parse_body(struct hw_body *body, const struct hw_json_limits *limits, struct hw_arena *arena,
           struct hw_query *query, struct hw_err *err)
{
    static const struct hw_field_taker fields[] = {
        {"model", hw_take_model},
        {"messages", take_messages},
        {"system", take_system},
        {"max_tokens", hw_take_max_tokens},
        {"stream", hw_take_stream},
        {"temperature", hw_take_temperature},
        {"top_p", hw_take_top_p},
        {"top_k", hw_take_top_k},
        {"stop_sequences", take_stop_sequences},
        {"tools", take_tools},
        {"tool_choice", take_tool_choice},
        {"thinking", take_thinking},
        {"output_format", take_format},
        {"output_config", take_output_config},
    };
    struct hw_parse parse;

    hw_parse_init(&parse, &hw_dialect_anthropic, body, arena, query, err);
    int rc = hw_parse_body(&parse, limits, fields, sizeof(fields) / sizeof(fields[0]));
    if (rc != 0)
        return rc;
    if (parse.messages.p == NULL)
        return hw_err_set(parse.err, HW_EINVAL, "messages is missing");
    if (parse.system.p != NULL)
        rc = hw_anthropic_parse_system(&parse.system, arena, query, parse.err);
    if (rc == 0)
        rc = hw_anthropic_parse_messages(&parse.messages, arena, query, parse.err);
    if (rc != 0)
        return rc;
    hw_query_settle(query);
    query->wants_tools = query->tools.p != NULL && !parse.tools_off;
    return 0;
}

const struct hw_dialect hw_dialect_anthropic = {
    .name = "anthropic",
    .path = "/v1/messages",
    .stream_content_type = "text/event-stream",
    .parse = parse_body,
    .write_whole = hw_anthropic_write_whole,
    .write_event = hw_anthropic_write_event,
    .keepalive = "event: ping\ndata: {\"type\":\"ping\"}\n\n",
    .write_error = hw_anthropic_write_error,
};
