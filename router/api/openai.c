/* router/api/openai.c - the OpenAI dialect: POST /v1/chat/completions.
 *
 * Only what routing, caching and translating need is interpreted; everything else stays in the
 * body, which a backend of the same dialect gets as it came. So an unknown field is no error, but a
 * known one of the wrong type is, and so is a known one that is given twice: two readers could take
 * different ones. null stands for "not given", as SDKs send it. */
#include "router/api/openai.h"

#include "router/api/fields.h"

static int
take_messages(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;

    parse->messages = *value;
    return hw_openai_parse_messages(value, parse->arena, parse->query, parse->err);
}

static int
take_max_tokens(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;
    uint32_t newer = parse->query->max_tokens;
    int rc = hw_field_max_tokens("max_tokens", value, parse->query, parse->err);

    if (parse->has_completion_tokens)
        parse->query->max_tokens = newer;
    return rc;
}

static int
take_max_completion_tokens(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;

    parse->has_completion_tokens = true;
    return hw_field_max_tokens("max_completion_tokens", value, parse->query, parse->err);
}

static int
take_tool_choice(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;

    if (value->type != HW_JSON_STRING && value->type != HW_JSON_OBJECT)
        return hw_field_wrong("tool_choice", "a string or an object", value, parse->err);
    parse->query->tool_choice = *value;
    parse->tools_off = hw_json_string_is(value, "none");
    return 0;
}

static int
take_response_format(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;
    struct hw_json type, schema;

    if (value->type != HW_JSON_OBJECT)
        return hw_field_wrong("response_format", "an object", value, parse->err);
    if (!hw_json_get(value, "type", &type) || type.type != HW_JSON_STRING)
        return hw_err_set(parse->err, HW_EINVAL,
                          "response_format.type must be text, json_object or json_schema");
    parse->query->response_format = *value;
    if (hw_json_string_is(&type, "json_schema")) {
        if (!hw_json_get(value, "json_schema", &schema) || schema.type != HW_JSON_OBJECT)
            return hw_err_set(parse->err, HW_EINVAL,
                              "response_format.json_schema must be an object with the schema");
        parse->query->wants_json = true;
    } else if (hw_json_string_is(&type, "json_object")) {
        parse->query->wants_json = true;
    }
    return 0;
}

static int
take_modalities(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;
    struct hw_json_iter iter;
    struct hw_json item;

    if (value->type != HW_JSON_ARRAY)
        return hw_field_wrong("modalities", "an array", value, parse->err);
    hw_json_iter_init(&iter, value);
    while (hw_json_next(&iter, NULL, &item))
        if (!hw_json_string_is(&item, "text"))
            parse->query->keepable = false;
    return 0;
}

static int
parse_body(struct hw_body *body, const struct hw_json_limits *limits, struct hw_arena *arena,
           struct hw_query *query, struct hw_err *err)
{
    static const struct hw_field_taker fields[] = {
        {"model", hw_take_model},
        {"messages", take_messages},
        {"stream", hw_take_stream},
        {"stream_options", hw_take_stream_options},
        {"max_tokens", take_max_tokens},
        {"max_completion_tokens", take_max_completion_tokens},
        {"temperature", hw_take_temperature},
        {"top_p", hw_take_top_p},
        {"top_k", hw_take_top_k},
        {"min_p", hw_take_min_p},
        {"repetition_penalty", hw_take_repetition_penalty},
        {"seed", hw_take_seed},
        {"n", hw_take_n},
        {"stop", hw_take_stop},
        {"tools", hw_take_tools},
        {"tool_choice", take_tool_choice},
        {"response_format", take_response_format},
        {"presence_penalty", hw_take_presence_penalty},
        {"frequency_penalty", hw_take_frequency_penalty},
        {"logprobs", hw_take_logprobs},
        {"top_logprobs", hw_take_top_logprobs},
        {"modalities", take_modalities},
        {"audio", hw_take_unkept},
        {"store", hw_take_unkept},
        {"web_search_options", hw_take_unkept},
        {"functions", hw_take_unkept},
        {"function_call", hw_take_unkept},
    };
    struct hw_parse parse;

    hw_parse_init(&parse, &hw_dialect_openai, body, arena, query, err);
    int rc = hw_parse_body(&parse, limits, fields, sizeof(fields) / sizeof(fields[0]));
    if (rc != 0)
        return rc;
    if (parse.messages.p == NULL)
        return hw_err_set(parse.err, HW_EINVAL, "messages is missing");
    query->wants_tools = query->tools.p != NULL && !parse.tools_off;
    return 0;
}

const struct hw_dialect hw_dialect_openai = {
    .name = "openai",
    .path = "/v1/chat/completions",
    .stream_content_type = "text/event-stream",
    .parse = parse_body,
    .write_whole = hw_openai_write_whole,
    .write_event = hw_openai_write_event,
    .keepalive = ": keep-alive\n\n",
    .terminal = "data: [DONE]\n\n",
    .write_error = hw_openai_write_error,
};
