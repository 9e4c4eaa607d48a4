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
#include "router/api/text.h"
#include "router/api/write.h"

enum { MOST_LOGPROBS = 20 };

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

/* How many beside the chosen one. What is no such number is left to backends of this dialect. */
static int
take_logprobs(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;
    uint64_t most;

    if (hw_json_uint(value, &most) && most <= MOST_LOGPROBS) {
        parse->query->wants_logprobs = true;
        parse->query->top_logprobs = *value;
    } else {
        hw_query_lose(parse->query, parse->arena, "logprobs");
    }
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

static bool
same_string(const struct hw_json *a, const struct hw_json *b)
{
    return a->len == b->len && memcmp(a->p, b->p, a->len) == 0;
}

/* "token":logprob of an entry, unless the token stands among those already. */
static void
put_alternative(struct hw_buf *out, const struct hw_json *entry, struct hw_json *names,
                size_t *count)
{
    struct hw_json token, logprob;

    if (*count > MOST_LOGPROBS || !hw_json_get(entry, "token", &token) ||
        token.type != HW_JSON_STRING || !hw_json_get(entry, "logprob", &logprob))
        return;
    for (size_t i = 0; i < *count; i++)
        if (same_string(&names[i], &token))
            return;
    if (*count > 0)
        hw_write(out, ",");
    names[(*count)++] = token;
    hw_buf_append(out, token.p, token.len);
    hw_write(out, ":");
    hw_buf_append(out, logprob.p, logprob.len);
}

/* The chosen one, then the others. */
static void
put_alternatives(struct hw_buf *out, const struct hw_json *entry)
{
    struct hw_json names[MOST_LOGPROBS + 1], top, other;
    struct hw_json_iter iter;
    size_t count = 0;

    hw_write(out, "{");
    put_alternative(out, entry, names, &count);
    if (hw_json_get(entry, "top_logprobs", &top) && top.type == HW_JSON_ARRAY) {
        hw_json_iter_init(&iter, &top);
        while (hw_json_next(&iter, NULL, &other))
            put_alternative(out, &other, names, &count);
    }
    hw_write(out, "}");
}

/* Where the token begins, in characters of all tokens. */
static void
put_offset(struct hw_buf *out, struct hw_reply *reply, const struct hw_json *entry)
{
    struct hw_json token;
    struct hw_buf characters;

    hw_write_u64(out, reply->token_chars);
    if (!hw_json_get(entry, "token", &token) || token.type != HW_JSON_STRING)
        return;
    hw_buf_init(&characters, token.len);
    if (hw_json_append_decoded(&token, &characters) == 0)
        for (size_t i = 0; i < characters.len; i++)
            reply->token_chars += ((unsigned char)characters.data[i] & 0xc0) != 0x80;
    hw_buf_free(&characters);
}

static void
put_member(struct hw_buf *out, const struct hw_json *entry, const char *name)
{
    struct hw_json value;

    if (hw_json_get(entry, name, &value))
        hw_buf_append(out, value.p, value.len);
    else
        hw_write(out, "null");
}

/* An array for each thing there is to say of a token, where a chat has an object a token. */
static void
put_logprobs(struct hw_buf *out, struct hw_reply *reply, const struct hw_event *piece)
{
    static const char *const lists[] = {"{\"tokens\":[", "],\"token_logprobs\":[",
                                        "],\"text_offset\":[", "],\"top_logprobs\":["};
    struct hw_json_iter iter;
    struct hw_json entries, entry;
    struct hw_buf text;

    hw_buf_init(&text, piece->logprobs_len + 2);
    hw_buf_puts(&text, "[");
    hw_buf_append(&text, piece->logprobs, piece->logprobs_len);
    hw_buf_puts(&text, "]");
    if (text.failed) {
        hw_buf_free(&text);
        hw_write(out, "null");
        return;
    }
    entries = (struct hw_json){HW_JSON_ARRAY, text.data, text.len};
    for (size_t list = 0; list < 4; list++) {
        hw_write(out, lists[list]);
        hw_json_iter_init(&iter, &entries);
        for (size_t i = 0; hw_json_next(&iter, NULL, &entry); i++) {
            hw_write(out, i == 0 ? "" : ",");
            if (list == 2)
                put_offset(out, reply, &entry);
            else if (list == 3)
                put_alternatives(out, &entry);
            else
                put_member(out, &entry, list == 0 ? "token" : "logprob");
        }
    }
    hw_write(out, "]}");
    hw_buf_free(&text);
}

/* Up to the finish reason. */
static void
put_choice(struct hw_buf *out, struct hw_reply *reply, const struct hw_event *piece)
{
    hw_openai_write_head(out, reply, "cmpl-", "text_completion");
    hw_write(out, "{\"index\":0,\"text\":");
    hw_json_write_string(out, piece->text, piece->len);
    hw_write(out, ",\"logprobs\":");
    if (piece->logprobs_len > 0)
        put_logprobs(out, reply, piece);
    else
        hw_write(out, "null");
    hw_write(out, ",\"finish_reason\":");
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
    const struct hw_event all = {.text = answer->text.data,
                                 .len = answer->text.len,
                                 .logprobs = answer->logprobs.data,
                                 .logprobs_len = answer->logprobs.len};

    put_choice(out, reply, &all);
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
    put_choice(out, reply, &(struct hw_event){.text = ""});
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
        put_choice(out, reply, event);
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
