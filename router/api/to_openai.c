/* router/api/to_openai.c - queries for OpenAI-compatible backends.
 *
 * A query of the same dialect goes out as it came in, around a new model name: unknown fields, the
 * spelling of numbers and the order of keys stay what the agent sent. */
#include "router/api/protocol.h"

#include <string.h>

#include "router/api/dialect.h"
#include "router/api/outgoing.h"

#define PATH "/v1/chat/completions"

static int
write_same(const struct hw_query *query, const char *model, struct hw_outgoing *out,
           struct hw_err *err)
{
    const struct hw_body *body = query->body;

    out->path = PATH;
    if (model == NULL || strcmp(model, query->model) == 0) {
        out->segments[0].p = body->bytes;
        out->segments[0].len = body->len;
        out->segment_count = 1;
        return 0;
    }
    if (hw_json_write_string(&out->text, model, strlen(model)) != 0)
        return hw_err_set(err, HW_ENOMEM, "out of memory for a model's name");
    size_t behind = query->model_at + query->model_len;
    out->segments[0].p = body->bytes;
    out->segments[0].len = query->model_at;
    out->segments[1].p = out->text.data;
    out->segments[1].len = out->text.len;
    out->segments[2].p = body->bytes + behind;
    out->segments[2].len = body->len - behind;
    out->segment_count = 3;
    return 0;
}

static void
put_messages(struct hw_buf *text, const struct hw_query *query)
{
    static const char *const roles[] = {
        [HW_MSG_SYSTEM] = "system",
        [HW_MSG_USER] = "user",
        [HW_MSG_ASSISTANT] = "assistant",
        [HW_MSG_TOOL] = "user", /* dialects of plain text have no calls to refer to */
    };

    hw_put_key(text, "messages");
    for (size_t i = 0; i < query->message_count; i++) {
        hw_buf_puts(text, i == 0 ? "[{\"role\":\"" : ",{\"role\":\"");
        hw_buf_puts(text, roles[query->messages[i].role]);
        hw_buf_puts(text, "\",\"content\":");
        hw_put_content(text, &query->messages[i]);
        hw_buf_puts(text, "}");
    }
    hw_buf_puts(text, "]");
}

/* From a dialect of plain text (bdh). */
static int
write_translated(const struct hw_query *query, const char *model, struct hw_outgoing *out,
                 struct hw_err *err)
{
    static const char *const carried[] = {"question", "model", "max_tokens", "temperature",
                                          "top_p",    "seed",  "top_k",      NULL};
    struct hw_buf *text = &out->text;

    if (model == NULL)
        model = query->model;
    if (model == NULL)
        return hw_err_set(err, HW_EINVAL, "an openai backend must be asked for a model by name");
    hw_buf_puts(text, "{");
    hw_put_key(text, "model");
    hw_json_write_string(text, model, strlen(model));
    put_messages(text, query);
    if (query->has_max_tokens) {
        hw_put_key(text, "max_tokens");
        hw_buf_printf(text, "%u", query->max_tokens);
    }
    if (query->has_temperature) {
        hw_put_key(text, "temperature");
        hw_put_number(text, &query->temperature_raw, query->temperature);
    }
    if (query->has_top_p) {
        hw_put_key(text, "top_p");
        hw_put_number(text, &query->top_p_raw, query->top_p);
    }
    if (query->has_seed) {
        hw_put_key(text, "seed");
        hw_put_raw(text, &query->seed_raw);
    }
    hw_put_key(text, "stream");
    hw_buf_puts(text, "true}"); /* also for a whole answer, as in to_ollama.c */
    if (query->has_top_k)
        hw_outgoing_drop(out, "top_k", 5); /* no word of OpenAI's: strict backends refuse it */
    hw_outgoing_drop_others(out, query, carried);
    return hw_outgoing_done(out, PATH, err);
}

static int
write_request(const struct hw_query *query, const char *model, struct hw_outgoing *out,
              struct hw_err *err)
{
    if (query->dialect == &hw_dialect_openai)
        return write_same(query, model, out, err);
    return write_translated(query, model, out, err);
}

const struct hw_protocol hw_protocol_openai = {
    .kind = HW_KIND_OPENAI,
    .dialect = &hw_dialect_openai,
    .write_request = write_request,
};
