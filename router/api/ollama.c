/* router/api/ollama.c - the Ollama dialect: POST /api/chat and /api/generate.
 *
 * As in openai.c only what routing, caching and translating need is interpreted, and the body goes
 * as it came to a backend of the same dialect. Numbers beyond OpenAI's ranges are Ollama's to
 * judge: here they only have to be numbers. */
#include "router/api/ollama.h"

#include <string.h>

#include "router/api/canonical.h"
#include "router/api/fields.h"
#include "router/api/text.h"

static int
take_messages(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;
    return hw_ollama_parse_messages(value, parse->arena, parse->query, parse->err);
}

static int
take_prompt(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;

    parse->prompt = *value;
    return value->type == HW_JSON_STRING ? 0
                                         : hw_field_wrong("prompt", "a string", value, parse->err);
}

static int
take_system(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;

    parse->system = *value;
    return value->type == HW_JSON_STRING ? 0
                                         : hw_field_wrong("system", "a string", value, parse->err);
}

static int
take_images(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;
    return hw_ollama_parse_images(value, &parse->images, parse->err);
}

/* "json" or a schema. */
static int
take_format(void *ctx, const struct hw_json *value)
{
    static const char any_json[] = "{\"type\":\"json_object\"}";
    struct hw_parse *parse = ctx;
    struct hw_query *query = parse->query;
    struct hw_buf text;

    if (value->type == HW_JSON_OBJECT) {
        query->wants_json = true;
        hw_buf_init(&text, value->len + 128);
        hw_buf_puts(&text, "{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"answer\","
                           "\"schema\":");
        hw_buf_append(&text, value->p, value->len);
        hw_buf_puts(&text, "}}");
        return hw_query_keep(&text, HW_JSON_OBJECT, parse->arena, &query->response_format,
                             parse->err);
    }
    if (hw_json_string_is(value, "json")) {
        query->wants_json = true;
        query->response_format = (struct hw_json){HW_JSON_OBJECT, any_json, sizeof(any_json) - 1};
        return 0;
    }
    if (hw_json_string_is(value, ""))
        return 0;
    return hw_field_wrong("format", "\"json\" or a schema", value, parse->err);
}

static int
take_think(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;

    if (value->type != HW_JSON_BOOL && value->type != HW_JSON_STRING)
        return hw_field_wrong("think", "a boolean or a level", value, parse->err);
    parse->query->think = *value;
    return 0;
}

/* ---- options ---- */

static int
take_num_predict(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;

    /* -1: without end, -2: fill the context. Neither is a number of tokens. */
    if (value->type == HW_JSON_NUMBER &&
        (*value->p == '-' || (value->len == 1 && *value->p == '0')))
        return 0;
    return hw_field_max_tokens("num_predict", value, parse->query, parse->err);
}

static int
take_temperature(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;
    struct hw_query *query = parse->query;
    int rc = hw_field_number("temperature", value, 0.0, 1000.0, &query->temperature, parse->err);

    query->has_temperature = rc == 0;
    query->temperature_raw = *value;
    return rc;
}

static int
take_stop(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;
    return hw_field_stops("stop", value, HW_MAX_STOPS, parse->arena, parse->query, parse->err);
}

static int
take_presence_penalty(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;
    double number;

    parse->query->presence_penalty = *value;
    return hw_field_number("presence_penalty", value, -1000.0, 1000.0, &number, parse->err);
}

static int
take_frequency_penalty(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;
    double number;

    parse->query->frequency_penalty = *value;
    return hw_field_number("frequency_penalty", value, -1000.0, 1000.0, &number, parse->err);
}

/* -1: all of the context, 0: nothing. */
static int
take_repeat_last_n(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;
    struct hw_query *query = parse->query;
    double tokens = 0.0;
    int rc = hw_field_number("repeat_last_n", value, -1.0, 1e9, &tokens, parse->err);

    query->repeat_last_raw = *value;
    query->repeat_last = tokens < 0.0 ? UINT32_MAX : (uint32_t)tokens;
    if (rc == 0 && tokens == 0.0)
        query->repetition_penalty = 1.0;
    return rc;
}

static int
take_options(void *ctx, const struct hw_json *value)
{
    static const struct hw_field_taker options[] = {
        {"num_predict", take_num_predict},
        {"temperature", take_temperature},
        {"top_p", hw_take_top_p},
        {"top_k", hw_take_top_k},
        {"min_p", hw_take_min_p},
        {"repeat_penalty", hw_take_repeat_penalty},
        {"repeat_last_n", take_repeat_last_n},
        {"seed", hw_take_seed},
        {"stop", take_stop},
        {"presence_penalty", take_presence_penalty},
        {"frequency_penalty", take_frequency_penalty},
    };
    struct hw_parse *parse = ctx;

    if (value->type != HW_JSON_OBJECT)
        return hw_field_wrong("options", "an object", value, parse->err);
    int rc =
        hw_fields_take(value, options, sizeof(options) / sizeof(options[0]), parse, parse->err);
    if (rc != 0) {
        struct hw_err inner = *parse->err;
        hw_err_set(parse->err, rc, "options.%.480s", inner.msg);
    }
    return rc;
}

/* ---- bodies ---- */

#define SHARED_FIELDS                                                                              \
    {"model", hw_take_model}, {"stream", hw_take_stream}, {"format", take_format},                 \
        {"think", take_think}, {"options", take_options}, {"logprobs", hw_take_logprobs},          \
    {                                                                                              \
        "top_logprobs", hw_take_top_logprobs                                                       \
    }

static int
parse_chat(struct hw_body *body, const struct hw_json_limits *limits, struct hw_arena *arena,
           struct hw_query *query, struct hw_err *err)
{
    static const struct hw_field_taker fields[] = {
        SHARED_FIELDS, {"messages", take_messages}, {"tools", hw_take_tools}};
    struct hw_parse parse;

    hw_parse_init(&parse, &hw_dialect_ollama, body, arena, query, err);
    query->stream = true; /* unless it says otherwise */
    int rc = hw_parse_body(&parse, limits, fields, sizeof(fields) / sizeof(fields[0]));
    if (rc != 0)
        return rc;
    query->wants_tools = query->tools.p != NULL;
    query->loads = query->message_count == 0;
    hw_query_settle(query);
    return 0;
}

static int
add_text(struct hw_parse *parse, enum hw_role_of_message role, const char *name,
         const struct hw_json *text)
{
    struct hw_message *message = hw_query_add_message(parse->query, parse->arena, parse->err);

    if (message == NULL)
        return HW_ELIMIT;
    message->role = role;
    int rc = hw_text_set(message, text, parse->err);
    if (rc != 0)
        hw_err_prefix(parse->err, "%s", name);
    return rc;
}

static int
parse_generate(struct hw_body *body, const struct hw_json_limits *limits, struct hw_arena *arena,
               struct hw_query *query, struct hw_err *err)
{
    static const struct hw_field_taker fields[] = {SHARED_FIELDS,
                                                   {"prompt", take_prompt},
                                                   {"system", take_system},
                                                   {"images", take_images},
                                                   {"context", hw_take_unkept}};
    static const struct hw_json nothing = {HW_JSON_STRING, "\"\"", 2};
    struct hw_parse parse;

    hw_parse_init(&parse, &hw_dialect_ollama_generate, body, arena, query, err);
    query->stream = true;
    int rc = hw_parse_body(&parse, limits, fields, sizeof(fields) / sizeof(fields[0]));
    if (rc == 0 && parse.prompt.p == NULL)
        parse.prompt = nothing;
    if (rc == 0 && parse.system.p != NULL && parse.system.len > 2)
        rc = add_text(&parse, HW_MSG_SYSTEM, "system", &parse.system);
    if (rc == 0)
        rc = add_text(&parse, HW_MSG_USER, "prompt", &parse.prompt);
    if (rc != 0)
        return rc;
    struct hw_message *asked = &query->messages[query->message_count - 1];
    asked->has_image = parse.images.p != NULL;
    if (asked->has_image &&
        hw_message_set(query, asked, HW_MEMBER_IMAGES, &parse.images, arena, parse.err) != 0)
        return HW_ELIMIT;
    query->loads = asked->text_len == 0 && !asked->has_image;
    hw_query_settle(query);
    return 0;
}

const struct hw_dialect hw_dialect_ollama = {
    .name = "ollama",
    .path = "/api/chat",
    .stream_content_type = "application/x-ndjson",
    .parse = parse_chat,
    .write_whole = hw_ollama_write_whole,
    .write_event = hw_ollama_write_event,
    .write_error = hw_ollama_write_error,
};

const struct hw_dialect hw_dialect_ollama_generate = {
    .name = "ollama",
    .path = "/api/generate",
    .stream_content_type = "application/x-ndjson",
    .parse = parse_generate,
    .write_whole = hw_ollama_write_whole,
    .write_event = hw_ollama_write_event,
    .write_error = hw_ollama_write_error,
};
