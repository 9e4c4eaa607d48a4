/* router/api/openai.c - the OpenAI dialect: POST /v1/chat/completions.
 *
 * Only what routing, caching and translating need is interpreted; everything else stays in the
 * body, which a backend of the same dialect gets as it came. So an unknown field is no error, but a
 * known one of the wrong type is, and so is a known one that is given twice: two readers could take
 * different ones. null stands for "not given", as SDKs send it. */
#include "router/api/openai.h"

#include <string.h>

#include "router/api/fields.h"

struct parse {
    struct hw_arena *arena;
    struct hw_query *query;
    struct hw_err *err;
    bool has_messages;
    bool has_completion_tokens; /* max_completion_tokens is the newer word and wins */
    bool tools_off;
};

static int
take_model(struct parse *parse, const struct hw_json *value)
{
    return hw_field_model(value, parse->arena, parse->query, parse->err);
}

static int
take_messages(struct parse *parse, const struct hw_json *value)
{
    parse->has_messages = true;
    return hw_openai_parse_messages(value, parse->arena, parse->query, parse->err);
}

static int
take_stream(struct parse *parse, const struct hw_json *value)
{
    return hw_field_bool("stream", value, &parse->query->stream, parse->err);
}

static int
take_stream_options(struct parse *parse, const struct hw_json *value)
{
    struct hw_json usage;

    if (value->type != HW_JSON_OBJECT)
        return hw_field_wrong("stream_options", "an object", value, parse->err);
    if (!hw_json_get(value, "include_usage", &usage) || usage.type == HW_JSON_NULL)
        return 0;
    return hw_field_bool("stream_options.include_usage", &usage, &parse->query->include_usage,
                         parse->err);
}

static int
take_max_tokens(struct parse *parse, const struct hw_json *value)
{
    uint32_t newer = parse->query->max_tokens;
    int rc = hw_field_max_tokens("max_tokens", value, parse->query, parse->err);

    if (parse->has_completion_tokens)
        parse->query->max_tokens = newer;
    return rc;
}

static int
take_max_completion_tokens(struct parse *parse, const struct hw_json *value)
{
    parse->has_completion_tokens = true;
    return hw_field_max_tokens("max_completion_tokens", value, parse->query, parse->err);
}

static int
take_temperature(struct parse *parse, const struct hw_json *value)
{
    return hw_field_temperature(value, parse->query, parse->err);
}

static int
take_top_p(struct parse *parse, const struct hw_json *value)
{
    return hw_field_top_p(value, parse->query, parse->err);
}

static int
take_top_k(struct parse *parse, const struct hw_json *value)
{
    return hw_field_top_k(value, parse->query, parse->err);
}

static int
take_min_p(struct parse *parse, const struct hw_json *value)
{
    double min_p; /* checked here, carried as source text by to_ollama.c */

    return hw_field_number("min_p", value, 0.0, 1.0, &min_p, parse->err);
}

static int
take_seed(struct parse *parse, const struct hw_json *value)
{
    return hw_field_seed(value, parse->query, parse->err);
}

static int
take_n(struct parse *parse, const struct hw_json *value)
{
    uint32_t n = 1;
    int rc = hw_field_uint("n", value, 1, 128, &n, parse->err);

    if (n > 1)
        parse->query->keepable = false;
    return rc;
}

static int
take_stop(struct parse *parse, const struct hw_json *value)
{
    return hw_field_stops("stop", value, 4, parse->arena, parse->query, parse->err);
}

static int
take_tools(struct parse *parse, const struct hw_json *value)
{
    struct hw_json_iter iter;
    struct hw_json tool;
    size_t count = 0;

    if (value->type != HW_JSON_ARRAY)
        return hw_field_wrong("tools", "an array", value, parse->err);
    hw_json_iter_init(&iter, value);
    for (; hw_json_next(&iter, NULL, &tool); count++) {
        if (tool.type == HW_JSON_OBJECT)
            continue;
        return hw_err_set(parse->err, HW_EINVAL, "tools[%zu] must be an object, got %s", count,
                          hw_json_kind(&tool));
    }
    if (count > 0) {
        parse->query->tools = *value;
        parse->query->prompt_bytes += value->len;
    }
    return 0;
}

static int
take_tool_choice(struct parse *parse, const struct hw_json *value)
{
    if (value->type != HW_JSON_STRING && value->type != HW_JSON_OBJECT)
        return hw_field_wrong("tool_choice", "a string or an object", value, parse->err);
    parse->query->tool_choice = *value;
    parse->tools_off = hw_json_string_is(value, "none");
    return 0;
}

static int
take_response_format(struct parse *parse, const struct hw_json *value)
{
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
take_presence_penalty(struct parse *parse, const struct hw_json *value)
{
    double number;

    parse->query->presence_penalty = *value;
    return hw_field_number("presence_penalty", value, -2.0, 2.0, &number, parse->err);
}

static int
take_frequency_penalty(struct parse *parse, const struct hw_json *value)
{
    double number;

    parse->query->frequency_penalty = *value;
    return hw_field_number("frequency_penalty", value, -2.0, 2.0, &number, parse->err);
}

static int
take_logprobs(struct parse *parse, const struct hw_json *value)
{
    bool wanted = false;
    int rc = hw_field_bool("logprobs", value, &wanted, parse->err);

    if (wanted)
        parse->query->keepable = false;
    return rc;
}

/* Fields that ask for what a kept answer cannot hold, or for an effect beside the answer. */
static int
take_unkept(struct parse *parse, const struct hw_json *value)
{
    if (value->type != HW_JSON_BOOL || *value->p == 't')
        parse->query->keepable = false;
    return 0;
}

static int
take_modalities(struct parse *parse, const struct hw_json *value)
{
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

#define FIELD(name, take)                                                                          \
    {                                                                                              \
        name, sizeof(name) - 1, take                                                               \
    }
static const struct field {
    const char *name;
    size_t len;
    int (*take)(struct parse *parse, const struct hw_json *value);
} fields[] = {
    FIELD("model", take_model),
    FIELD("messages", take_messages),
    FIELD("stream", take_stream),
    FIELD("stream_options", take_stream_options),
    FIELD("max_tokens", take_max_tokens),
    FIELD("max_completion_tokens", take_max_completion_tokens),
    FIELD("temperature", take_temperature),
    FIELD("top_p", take_top_p),
    FIELD("top_k", take_top_k),
    FIELD("min_p", take_min_p),
    FIELD("seed", take_seed),
    FIELD("n", take_n),
    FIELD("stop", take_stop),
    FIELD("tools", take_tools),
    FIELD("tool_choice", take_tool_choice),
    FIELD("response_format", take_response_format),
    FIELD("presence_penalty", take_presence_penalty),
    FIELD("frequency_penalty", take_frequency_penalty),
    FIELD("logprobs", take_logprobs),
    FIELD("top_logprobs", take_unkept),
    FIELD("modalities", take_modalities),
    FIELD("audio", take_unkept),
    FIELD("store", take_unkept),
    FIELD("web_search_options", take_unkept),
    FIELD("functions", take_unkept),
    FIELD("function_call", take_unkept),
};
#define FIELD_COUNT (sizeof(fields) / sizeof(fields[0]))

/* The index of a field that we interpret, or FIELD_COUNT. */
static size_t
field_of(const struct hw_json *key)
{
    bool escaped = memchr(key->p, '\\', key->len) != NULL;

    for (size_t i = 0; i < FIELD_COUNT; i++) {
        if (escaped ? hw_json_string_is(key, fields[i].name)
                    : key->len == fields[i].len + 2 &&
                          memcmp(key->p + 1, fields[i].name, fields[i].len) == 0)
            return i;
    }
    return FIELD_COUNT;
}

static int
take_fields(struct parse *parse, const struct hw_json *root)
{
    struct hw_json_iter iter;
    struct hw_json key, value;
    uint64_t seen = 0;

    _Static_assert(FIELD_COUNT <= 64, "seen has a bit each");
    hw_json_iter_init(&iter, root);
    while (hw_json_next(&iter, &key, &value)) {
        size_t i = field_of(&key);
        if (i == FIELD_COUNT)
            continue;
        if ((seen >> i & 1) != 0)
            return hw_err_set(parse->err, HW_EINVAL, "%s is given twice", fields[i].name);
        seen |= (uint64_t)1 << i;
        if (value.type == HW_JSON_NULL)
            continue;
        int rc = fields[i].take(parse, &value);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int
parse_body(struct hw_body *body, const struct hw_json_limits *limits, struct hw_arena *arena,
           struct hw_query *query, struct hw_err *err)
{
    struct hw_json root;
    struct parse parse = {.arena = arena, .query = query, .err = err};

    *query = (struct hw_query){.dialect = &hw_dialect_openai, .body = body, .keepable = true};
    int rc = hw_json_validate(body->bytes, body->len, limits, &root, err);
    if (rc != 0)
        return rc;
    if (root.type != HW_JSON_OBJECT)
        return hw_field_wrong("the body", "a JSON object", &root, err);
    rc = take_fields(&parse, &root);
    if (rc != 0)
        return rc;
    if (query->model == NULL)
        return hw_err_set(err, HW_EINVAL,
                          "model is missing: name one, or \"auto\" to let the policy choose");
    if (!parse.has_messages)
        return hw_err_set(err, HW_EINVAL, "messages is missing");
    query->wants_tools = query->tools.p != NULL && !parse.tools_off;
    query->deterministic = query->has_seed || (query->has_temperature && query->temperature == 0.0);
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
