/* router/api/completions.c - OpenAI's older way to ask: POST /v1/completions, a prompt without
 * turns.
 *
 * An OpenAI-compatible backend gets the body as it came; for everybody else the prompt is a user's
 * message. One prompt of text a query: neither several nor tokens (which model's would they be?).
 * Thoughts and calls of tools have no place in an answer of this shape. */
#include <string.h>

#include "router/api/canonical.h"
#include "router/api/fields.h"
#include "router/api/openai.h"
#include "router/api/write.h"

struct parse {
    struct hw_arena *arena;
    struct hw_query *query;
    struct hw_err *err;
    bool has_prompt;
};

static int
take_model(void *ctx, const struct hw_json *value)
{
    struct parse *parse = ctx;
    return hw_field_model(value, parse->arena, parse->query, parse->err);
}

static int
take_prompt(void *ctx, const struct hw_json *value)
{
    static const char wanted[] = "one string; several prompts, or tokens, are not taken";
    struct parse *parse = ctx;
    struct hw_json prompt = *value, more;
    struct hw_json_iter iter;

    if (value->type == HW_JSON_ARRAY) {
        hw_json_iter_init(&iter, value);
        if (!hw_json_next(&iter, NULL, &prompt) || hw_json_next(&iter, NULL, &more))
            return hw_field_wrong("prompt", wanted, value, parse->err);
    }
    if (prompt.type != HW_JSON_STRING)
        return hw_field_wrong("prompt", wanted, value, parse->err);
    struct hw_message *message = hw_query_add_message(parse->query, parse->arena, parse->err);
    if (message == NULL)
        return HW_ELIMIT;
    message->role = HW_MSG_USER;
    message->content = prompt;
    parse->has_prompt = true;
    int rc = hw_json_string(&prompt, parse->arena, &message->text, &message->text_len, parse->err);
    if (rc != 0)
        hw_err_prefix(parse->err, "prompt");
    return rc;
}

static int
take_stream(void *ctx, const struct hw_json *value)
{
    struct parse *parse = ctx;
    return hw_field_bool("stream", value, &parse->query->stream, parse->err);
}

static int
take_stream_options(void *ctx, const struct hw_json *value)
{
    struct parse *parse = ctx;
    struct hw_json usage;

    if (value->type != HW_JSON_OBJECT)
        return hw_field_wrong("stream_options", "an object", value, parse->err);
    if (!hw_json_get(value, "include_usage", &usage) || usage.type == HW_JSON_NULL)
        return 0;
    return hw_field_bool("stream_options.include_usage", &usage, &parse->query->include_usage,
                         parse->err);
}

static int
take_max_tokens(void *ctx, const struct hw_json *value)
{
    struct parse *parse = ctx;
    return hw_field_max_tokens("max_tokens", value, parse->query, parse->err);
}

static int
take_temperature(void *ctx, const struct hw_json *value)
{
    struct parse *parse = ctx;
    return hw_field_temperature(value, parse->query, parse->err);
}

static int
take_top_p(void *ctx, const struct hw_json *value)
{
    struct parse *parse = ctx;
    return hw_field_top_p(value, parse->query, parse->err);
}

static int
take_top_k(void *ctx, const struct hw_json *value)
{
    struct parse *parse = ctx;
    return hw_field_top_k(value, parse->query, parse->err);
}

static int
take_min_p(void *ctx, const struct hw_json *value)
{
    struct parse *parse = ctx;
    double min_p; /* checked here, carried as source text by to_ollama.c */

    return hw_field_number("min_p", value, 0.0, 1.0, &min_p, parse->err);
}

static int
take_seed(void *ctx, const struct hw_json *value)
{
    struct parse *parse = ctx;
    return hw_field_seed(value, parse->query, parse->err);
}

static int
take_stop(void *ctx, const struct hw_json *value)
{
    struct parse *parse = ctx;
    return hw_field_stops("stop", value, 4, parse->arena, parse->query, parse->err);
}

static int
take_presence_penalty(void *ctx, const struct hw_json *value)
{
    struct parse *parse = ctx;
    double number;

    parse->query->presence_penalty = *value;
    return hw_field_number("presence_penalty", value, -2.0, 2.0, &number, parse->err);
}

static int
take_frequency_penalty(void *ctx, const struct hw_json *value)
{
    struct parse *parse = ctx;
    double number;

    parse->query->frequency_penalty = *value;
    return hw_field_number("frequency_penalty", value, -2.0, 2.0, &number, parse->err);
}

static int
take_n(void *ctx, const struct hw_json *value)
{
    struct parse *parse = ctx;
    uint32_t n = 1;
    int rc = hw_field_uint("n", value, 1, 128, &n, parse->err);

    if (n > 1)
        parse->query->keepable = false;
    return rc;
}

/* What a kept answer cannot hold. */
static int
take_unkept(void *ctx, const struct hw_json *value)
{
    struct parse *parse = ctx;

    if (value->type != HW_JSON_BOOL || *value->p == 't')
        parse->query->keepable = false;
    return 0;
}

static int
parse_body(struct hw_body *body, const struct hw_json_limits *limits, struct hw_arena *arena,
           struct hw_query *query, struct hw_err *err)
{
    static const struct hw_field_taker fields[] = {
        {"model", take_model},
        {"prompt", take_prompt},
        {"stream", take_stream},
        {"stream_options", take_stream_options},
        {"max_tokens", take_max_tokens},
        {"temperature", take_temperature},
        {"top_p", take_top_p},
        {"top_k", take_top_k},
        {"min_p", take_min_p},
        {"seed", take_seed},
        {"stop", take_stop},
        {"presence_penalty", take_presence_penalty},
        {"frequency_penalty", take_frequency_penalty},
        {"n", take_n},
        {"best_of", take_unkept},
        {"logprobs", take_unkept},
        {"echo", take_unkept},
    };
    struct hw_err own = {{0}};
    struct parse parse = {.arena = arena, .query = query, .err = err != NULL ? err : &own};
    struct hw_json root;

    *query = (struct hw_query){.dialect = &hw_dialect_completions, .body = body, .keepable = true};
    int rc = hw_json_validate(body->bytes, body->len, limits, &root, parse.err);
    if (rc != 0)
        return rc;
    if (root.type != HW_JSON_OBJECT)
        return hw_field_wrong("the body", "a JSON object", &root, parse.err);
    rc = hw_fields_take(&root, fields, sizeof(fields) / sizeof(fields[0]), &parse, parse.err);
    if (rc != 0)
        return rc;
    if (query->model == NULL)
        return hw_err_set(parse.err, HW_EINVAL,
                          "model is missing: name one, or \"auto\" to let the policy choose");
    if (!parse.has_prompt)
        return hw_err_set(parse.err, HW_EINVAL, "prompt is missing");
    hw_query_settle(query);
    query->deterministic = query->has_seed || (query->has_temperature && query->temperature == 0.0);
    return 0;
}

/* ---- answers ---- */

/* Up to and with the choice's text. */
static void
put_choice(struct hw_buf *out, const struct hw_reply *reply, const char *text, size_t len)
{
    hw_write(out, "{\"id\":\"cmpl-");
    hw_json_write_escaped(out, reply->id, strlen(reply->id));
    hw_write(out, "\",\"object\":\"text_completion\",\"created\":");
    hw_write_u64(out, reply->created_s);
    hw_write(out, ",\"model\":");
    hw_write_string(out, reply->model);
    hw_write(out, ",\"choices\":[{\"index\":0,\"text\":");
    hw_json_write_string(out, text, len);
    hw_write(out, ",\"logprobs\":null,\"finish_reason\":");
}

static void
put_finish(struct hw_buf *out, enum hw_finish finish)
{
    hw_write(out, finish == HW_FINISH_LENGTH   ? "\"length\"}]"
                  : finish == HW_FINISH_FILTER ? "\"content_filter\"}]"
                                               : "\"stop\"}]");
}

static void
write_whole(struct hw_reply *reply, const struct hw_answer *answer, struct hw_buf *out)
{
    put_choice(out, reply, answer->text.data, answer->text.len);
    put_finish(out, answer->finish);
    if (answer->usage.known) {
        hw_write(out, ",");
        hw_openai_write_usage(out, &answer->usage);
    }
    hw_write(out, "}");
}

static void
end_chunk(const struct hw_reply *reply, struct hw_buf *out)
{
    hw_write(out, reply->query->include_usage ? ",\"usage\":null}\n\n" : "}\n\n");
}

static void
write_finish(struct hw_reply *reply, const struct hw_event *event, struct hw_buf *out)
{
    hw_write(out, "data: ");
    put_choice(out, reply, "", 0);
    put_finish(out, event->finish);
    if (reply->query->include_usage && event->usage.known) {
        hw_write(out, ",");
        hw_openai_write_usage(out, &event->usage);
        hw_write(out, "}\n\n");
    } else {
        end_chunk(reply, out);
    }
    hw_write(out, "data: [DONE]\n\n");
}

static void
write_event(struct hw_reply *reply, const struct hw_event *event, struct hw_buf *out)
{
    switch (event->type) {
    case HW_EVENT_TEXT:
        hw_write(out, "data: ");
        put_choice(out, reply, event->text, event->len);
        hw_write(out, "null}]");
        end_chunk(reply, out);
        return;
    case HW_EVENT_FINISH:
        write_finish(reply, event, out);
        return;
    case HW_EVENT_ERROR:
        hw_openai_write_event(reply, event, out);
        return;
    case HW_EVENT_REASONING:
    case HW_EVENT_TOOL_CALL:
        return;
    }
}

const struct hw_dialect hw_dialect_completions = {
    .name = "openai",
    .path = "/v1/completions",
    .stream_content_type = "text/event-stream",
    .parse = parse_body,
    .write_whole = write_whole,
    .write_event = write_event,
    .keepalive = ": keep-alive\n\n",
    .terminal = "data: [DONE]\n\n",
    .write_error = hw_openai_write_error,
};
