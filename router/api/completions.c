/* router/api/completions.c - OpenAI's older way to ask: POST /v1/completions, a prompt without
 * turns.
 *
 * An OpenAI-compatible backend gets the body as it came; for everybody else the prompt is a user's
 * message. One prompt of text a query: neither several nor tokens (which model's would they be?).
 * Thoughts and calls of tools have no place in an answer of this shape. */
#include "router/api/canonical.h"
#include "router/api/fields.h"
#include "router/api/openai.h"
#include "router/api/text.h"
#include "router/api/write.h"

static int
take_prompt(void *ctx, const struct hw_json *value)
{
    static const char wanted[] = "one string; several prompts, or tokens, are not taken";
    struct hw_parse *parse = ctx;
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
    parse->prompt = prompt;
    int rc = hw_text_set(message, &prompt, parse->err);
    if (rc != 0)
        hw_err_prefix(parse->err, "prompt");
    return rc;
}

/* A number here, and another shape in the answer: only a backend of this dialect has it. */
static int
take_logprobs(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;

    hw_query_lose(parse->query, parse->arena, "logprobs");
    return hw_take_unkept(ctx, value);
}

static int
parse_body(struct hw_body *body, const struct hw_json_limits *limits, struct hw_arena *arena,
           struct hw_query *query, struct hw_err *err)
{
    static const struct hw_field_taker fields[] = {
        {"model", hw_take_model},
        {"prompt", take_prompt},
        {"stream", hw_take_stream},
        {"stream_options", hw_take_stream_options},
        {"max_tokens", hw_take_max_tokens},
        {"temperature", hw_take_temperature},
        {"top_p", hw_take_top_p},
        {"top_k", hw_take_top_k},
        {"min_p", hw_take_min_p},
        {"repetition_penalty", hw_take_repetition_penalty},
        {"seed", hw_take_seed},
        {"stop", hw_take_stop},
        {"presence_penalty", hw_take_presence_penalty},
        {"frequency_penalty", hw_take_frequency_penalty},
        {"n", hw_take_n},
        {"best_of", hw_take_unkept},
        {"logprobs", take_logprobs},
        {"echo", hw_take_unkept},
    };
    struct hw_parse parse;

    hw_parse_init(&parse, &hw_dialect_completions, body, arena, query, err);
    int rc = hw_parse_body(&parse, limits, fields, sizeof(fields) / sizeof(fields[0]));
    if (rc != 0)
        return rc;
    if (parse.prompt.p == NULL)
        return hw_err_set(parse.err, HW_EINVAL, "prompt is missing");
    hw_query_settle(query);
    return 0;
}

/* ---- answers ---- */

/* Up to and with the choice's text. */
static void
put_choice(struct hw_buf *out, const struct hw_reply *reply, const char *text, size_t len)
{
    hw_openai_write_head(out, reply, "cmpl-", "text_completion");
    hw_write(out, "{\"index\":0,\"text\":");
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
