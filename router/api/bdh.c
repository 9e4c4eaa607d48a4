/* router/api/bdh.c - the dialect of the fleet's ask service: POST /api/bdh/ask.
 *
 * {"question"} -> {"answer", "model", "device", "source"}, whole, never a stream. The service it
 * stands in for takes nothing but the question; max_tokens, temperature, top_p, top_k, seed and
 * model may be given here. Without a temperature the answer is greedy, so that it can be kept.
 *
 * An error is {"error", "detail"}, both the same text: the first is what Hatchway's other plain
 * dialects say, the second what FastAPI services (the fleet's is one) say and their clients read.
 */
#include "router/api/canonical.h"
#include "router/api/dialect.h"

#include <string.h>

#include "router/api/fields.h"
#include "router/api/text.h"

#define DEFAULT_MAX_TOKENS 200

static int
take_question(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;

    parse->prompt = *value;
    return 0;
}

static int
make_message(struct hw_parse *parse)
{
    struct hw_query *query = parse->query;

    if (parse->prompt.p == NULL)
        return hw_err_set(parse->err, HW_EINVAL, "question is missing");
    if (parse->prompt.type != HW_JSON_STRING)
        return hw_field_wrong("question", "a string", &parse->prompt, parse->err);
    struct hw_message *message = hw_query_add_message(query, parse->arena, parse->err);
    if (message == NULL)
        return HW_ELIMIT;
    message->role = HW_MSG_USER;
    int rc = hw_text_set(message, &parse->prompt, parse->err);
    if (rc != 0) {
        hw_err_prefix(parse->err, "question");
        return rc;
    }
    if (message->text_len == 0)
        return hw_err_set(parse->err, HW_EINVAL, "question must not be empty");
    hw_query_settle(query);
    return 0;
}

static int
parse_body(struct hw_body *body, const struct hw_json_limits *limits, struct hw_arena *arena,
           struct hw_query *query, struct hw_err *err)
{
    static const struct hw_field_taker fields[] = {
        {"question", take_question},
        {"model", hw_take_model},
        {"max_tokens", hw_take_max_tokens},
        {"temperature", hw_take_temperature},
        {"top_p", hw_take_top_p},
        {"top_k", hw_take_top_k},
        {"seed", hw_take_seed},
    };
    struct hw_parse parse;

    hw_parse_init(&parse, &hw_dialect_bdh, body, arena, query, err);
    query->has_max_tokens = true;
    query->max_tokens = DEFAULT_MAX_TOKENS;
    int rc = hw_parse_object(&parse, limits, fields, sizeof(fields) / sizeof(fields[0]));
    if (rc == 0)
        rc = make_message(&parse);
    if (rc != 0)
        return rc;
    query->has_temperature = true; /* greedy unless it says otherwise */
    query->deterministic = query->has_seed || query->temperature == 0.0;
    return 0;
}

static void
put_member(struct hw_buf *out, const char *before, const char *text, size_t len)
{
    hw_buf_puts(out, before);
    hw_json_write_string(out, text, len);
}

static void
write_whole(struct hw_reply *reply, const struct hw_answer *answer, struct hw_buf *out)
{
    put_member(out, "{\"answer\":", answer->text.data, answer->text.len);
    put_member(out, ",\"model\":", reply->model, strlen(reply->model));
    put_member(out, ",\"device\":", reply->device, strlen(reply->device));
    hw_buf_puts(out, ",\"source\":\"dragon_hatchling\"}");
}

static void
write_error(int status, const char *message, const char *param, struct hw_buf *out)
{
    (void)status;
    (void)param;
    put_member(out, "{\"error\":", message, strlen(message));
    put_member(out, ",\"detail\":", message, strlen(message));
    hw_buf_puts(out, "}");
}

const struct hw_dialect hw_dialect_bdh = {
    .name = "bdh",
    .path = "/api/bdh/ask",
    .parse = parse_body,
    .write_whole = write_whole,
    .write_error = write_error,
};
