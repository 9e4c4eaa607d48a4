/* router/api/to_ollama.c - queries for Ollama's native /api/chat.
 *
 * Native rather than Ollama's own /v1, which ignores max_completion_tokens and forces a temperature
 * of 1 where none is given. Strings and numbers are copied as source text wherever they keep their
 * meaning, so nothing is decoded and encoded again on the way. */
#include "router/api/protocol.h"

#include <string.h>

#include "router/api/calls.h"
#include "router/api/canonical.h"
#include "router/api/dialect.h"
#include "router/api/embeddings.h"
#include "router/api/outgoing.h"
#include "router/api/text.h"

/* How far the answers of tools look back for the calls that they answer: calls for one, and for all
 * of a query bytes of calls, a message counting as 64. An answer beyond that goes without the
 * tool's name. */
#define MAX_LOOKED_AT 128
#define MAX_WALKED ((size_t)64 << 20)
#define MESSAGE_COST 64u

struct writing {
    const struct hw_query *query;
    struct hw_outgoing *out;
    struct hw_buf *text;
    size_t walked;
};

static bool
same_string(const struct hw_json *a, const struct hw_json *b)
{
    return a->len == b->len && memcmp(a->p, b->p, a->len) == 0;
}

/* The name of the function whose call a tool message answers: the nearest before it. */
static bool
tool_name_of(struct writing *writing, size_t at, const struct hw_json *wanted, struct hw_json *name)
{
    size_t looked_at = 0;

    for (size_t i = at; i > 0 && writing->walked < MAX_WALKED; i--) {
        struct hw_calls calls;
        struct hw_call call;
        hw_calls_init(&calls, writing->query, i - 1);
        writing->walked += MESSAGE_COST + (size_t)(calls.iter.end - calls.iter.p);
        while (hw_calls_next(&calls, &call)) {
            if (looked_at++ == MAX_LOOKED_AT)
                return false;
            if (call.id.p != NULL && same_string(&call.id, wanted)) {
                *name = call.name;
                return true;
            }
        }
    }
    return false;
}

static void
put_message(struct writing *writing, size_t at)
{
    static const char *const roles[] = {
        [HW_MSG_SYSTEM] = "system",
        [HW_MSG_USER] = "user",
        [HW_MSG_ASSISTANT] = "assistant",
        [HW_MSG_TOOL] = "tool",
    };
    const struct hw_message *message = &writing->query->messages[at];
    struct hw_buf *text = writing->text;
    struct hw_json value, name;

    hw_buf_puts(text, at == 0 ? "{\"role\":\"" : ",{\"role\":\"");
    hw_buf_puts(text, roles[message->role]);
    hw_buf_puts(text, "\"");
    hw_put_key(text, "content");
    hw_text_put(text, message);
    if (message->kind == HW_SOURCE_PARTS || message->has_image)
        hw_outgoing_put_images(writing->out, writing->query, at);
    if (hw_message_get(writing->query, message, HW_MEMBER_REASONING, &value)) {
        hw_put_key(text, "thinking");
        hw_put_raw(text, &value);
    }
    if (message->has_calls) {
        hw_put_key(text, "tool_calls");
        if (!hw_calls_put_ollama(text, writing->query, at))
            hw_outgoing_drop_at(writing->out, writing->query, at, "tool_calls.arguments");
    }
    if (hw_message_get(writing->query, message, HW_MEMBER_TOOL_CALL_ID, &value)) {
        hw_put_key(text, "tool_call_id");
        hw_put_raw(text, &value);
        if (tool_name_of(writing, at, &value, &name)) {
            hw_put_key(text, "tool_name");
            hw_put_raw(text, &name);
        }
    }
    hw_buf_puts(text, "}");
}

static void
put_format(struct writing *writing)
{
    const struct hw_json *format = &writing->query->response_format;
    struct hw_json wrapped, schema;

    if (!writing->query->wants_json)
        return;
    hw_put_key(writing->text, "format");
    if (hw_json_get(format, "json_schema", &wrapped) && hw_json_get(&wrapped, "schema", &schema))
        hw_put_raw(writing->text, &schema);
    else
        hw_buf_puts(writing->text, "\"json\"");
}

static void
put_stops(struct writing *writing)
{
    const struct hw_query *query = writing->query;

    for (size_t i = 0; i < query->stop_count; i++) {
        if (i == 0)
            hw_put_key(writing->text, "stop");
        hw_buf_puts(writing->text, i == 0 ? "[" : ",");
        hw_json_write_string(writing->text, query->stops[i], query->stop_lens[i]);
    }
    if (query->stop_count > 0)
        hw_buf_puts(writing->text, "]");
}

static void
put_option(struct writing *writing, const char *name, const struct hw_json *value)
{
    if (value->p == NULL || value->type != HW_JSON_NUMBER)
        return;
    hw_put_key(writing->text, name);
    hw_put_raw(writing->text, value);
}

/* Fields that no canonical query carries, since only this dialect and this protocol share them. */
struct extras {
    struct hw_json num_ctx, keep_alive, reasoning_effort;
};

static void
put_options(struct writing *writing, const struct extras *extras)
{
    const struct hw_query *query = writing->query;
    struct hw_buf *text = writing->text;

    hw_put_key(text, "options");
    hw_buf_puts(text, "{");
    if (query->has_max_tokens) {
        hw_put_key(text, "num_predict");
        hw_buf_printf(text, "%u", query->max_tokens);
    }
    if (query->has_temperature) {
        hw_put_key(text, "temperature");
        hw_put_number(text, &query->temperature_raw, query->temperature);
    }
    put_option(writing, "top_p", &query->top_p_raw);
    if (query->has_top_k) {
        hw_put_key(text, "top_k");
        hw_buf_printf(text, "%u", query->top_k);
    }
    put_option(writing, "min_p", &query->min_p_raw);
    put_option(writing, "repeat_penalty", &query->repetition_penalty_raw);
    put_option(writing, "seed", &query->seed_raw);
    put_option(writing, "presence_penalty", &query->presence_penalty);
    put_option(writing, "frequency_penalty", &query->frequency_penalty);
    put_option(writing, "num_ctx", &extras->num_ctx);
    put_stops(writing);
    hw_buf_puts(text, "}");
}

/* Levels stay levels; the two that Ollama lacks become their neighbours. */
static void
put_think(struct writing *writing, const struct hw_json *effort)
{
    static const char *const levels[][2] = {{"none", "false"},    {"minimal", "\"low\""},
                                            {"low", "\"low\""},   {"medium", "\"medium\""},
                                            {"high", "\"high\""}, {"xhigh", "\"high\""}};

    if (writing->query->think.p != NULL) { /* another dialect's, spelt as ours */
        hw_put_key(writing->text, "think");
        hw_put_raw(writing->text, &writing->query->think);
    }
    if (effort->p == NULL)
        return;
    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
        if (hw_json_string_is(effort, levels[i][0])) {
            hw_put_key(writing->text, "think");
            hw_buf_puts(writing->text, levels[i][1]);
            return;
        }
    if (effort->type != HW_JSON_NULL)
        hw_outgoing_drop(writing->out, "reasoning_effort", 16);
}

static void
find_extras(const struct hw_query *query, struct extras *extras)
{
    struct hw_json root, value;

    memset(extras, 0, sizeof(*extras));
    if (query->dialect != &hw_dialect_openai && query->dialect != &hw_dialect_completions)
        return;
    root = hw_query_root(query);
    if (hw_json_get(&root, "num_ctx", &value))
        extras->num_ctx = value;
    if (hw_json_get(&root, "keep_alive", &value))
        extras->keep_alive = value;
    if (hw_json_get(&root, "reasoning_effort", &value))
        extras->reasoning_effort = value;
}

static void
drop_uncarried(struct writing *writing)
{
    /* Carried, or without a meaning for the answer's text. */
    static const char *const carried[] = {"model",
                                          "messages",
                                          "stream",
                                          "stream_options",
                                          "max_tokens",
                                          "max_completion_tokens",
                                          "temperature",
                                          "top_p",
                                          "top_k",
                                          "min_p",
                                          "repetition_penalty",
                                          "seed",
                                          "stop",
                                          "presence_penalty",
                                          "frequency_penalty",
                                          "tools",
                                          "tool_choice",
                                          "response_format",
                                          "reasoning_effort",
                                          "num_ctx",
                                          "keep_alive",
                                          "question",
                                          "prompt",
                                          "system",
                                          "stop_sequences",
                                          "thinking",
                                          "output_format",
                                          "output_config",
                                          "n",
                                          "user",
                                          "metadata",
                                          "safety_identifier",
                                          "prompt_cache_key",
                                          "logprobs",
                                          "top_logprobs",
                                          "input",
                                          "instructions",
                                          "max_output_tokens",
                                          "text",
                                          "reasoning",
                                          "include",
                                          NULL};
    const struct hw_query *query = writing->query;
    const struct hw_json root = hw_query_root(query);
    struct hw_json n;
    uint64_t count;

    if (query->tool_choice.p != NULL && !hw_json_string_is(&query->tool_choice, "auto") &&
        !hw_json_string_is(&query->tool_choice, "none"))
        hw_outgoing_drop(writing->out, "tool_choice", 11);
    if (!query->keepable && hw_json_get(&root, "n", &n) && hw_json_uint(&n, &count) && count > 1)
        hw_outgoing_drop(writing->out, "n", 1);
    hw_outgoing_drop_others(writing->out, query, carried);
}

static int
write_translated(const struct hw_query *query, const char *model, struct hw_outgoing *out,
                 struct hw_err *err)
{
    struct writing writing = {.query = query, .out = out, .text = &out->text};
    struct hw_buf *text = &out->text;
    struct extras extras;

    if (model == NULL)
        model = query->model;
    if (model == NULL)
        return hw_err_set(err, HW_EINVAL, "an ollama backend must be asked for a model by name");
    find_extras(query, &extras);
    hw_buf_reserve(text, query->body->len + 1024); /* at once: it may be megabytes */
    hw_buf_puts(text, "{");
    hw_put_key(text, "model");
    hw_json_write_string(text, model, strlen(model));
    hw_put_key(text, "messages");
    hw_buf_puts(text, "[");
    for (size_t i = 0; i < query->message_count; i++)
        put_message(&writing, i);
    hw_buf_puts(text, "]");
    if (query->wants_tools) {
        hw_put_key(text, "tools");
        hw_put_raw(text, &query->tools);
    }
    put_format(&writing);
    put_options(&writing, &extras);
    /* Always streamed, also for an agent that wants a whole answer: only so can a first byte, a
     * stall and hard work be told apart. */
    hw_put_key(text, "stream");
    hw_buf_puts(text, "true");
    put_think(&writing, query->effort.p != NULL ? &query->effort : &extras.reasoning_effort);
    if (query->wants_logprobs) {
        hw_put_key(text, "logprobs");
        hw_buf_puts(text, "true");
        if (query->top_logprobs.p != NULL) {
            hw_put_key(text, "top_logprobs");
            hw_put_raw(text, &query->top_logprobs);
        }
    }
    if (extras.keep_alive.p != NULL &&
        (extras.keep_alive.type == HW_JSON_STRING || extras.keep_alive.type == HW_JSON_NUMBER)) {
        hw_put_key(text, "keep_alive");
        hw_put_raw(text, &extras.keep_alive);
    }
    hw_buf_puts(text, "}");
    drop_uncarried(&writing);
    return hw_outgoing_done(out, "/api/chat", err);
}

static int
write_request(const struct hw_query *query, const char *model, struct hw_outgoing *out,
              struct hw_err *err)
{
    if (hw_protocol_speaks(&hw_protocol_ollama, query->dialect))
        return hw_outgoing_pass(query, model, out, err);
    if (query->embeds)
        return hw_embeddings_to_ollama(query, model, out, err);
    return write_translated(query, model, out, err);
}

static const struct hw_dialect *const spoken[] = {&hw_dialect_ollama, &hw_dialect_ollama_generate,
                                                  &hw_dialect_ollama_embed,
                                                  &hw_dialect_ollama_embeddings, NULL};

const struct hw_protocol hw_protocol_ollama = {
    .kind = HW_KIND_OLLAMA,
    .dialects = spoken,
    .write_request = write_request,
};
