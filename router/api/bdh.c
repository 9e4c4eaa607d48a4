/* router/api/bdh.c - the dialect of the fleet's ask service: POST /api/bdh/ask.
 *
 * {"question"} -> {"answer", "model", "device", "source"}, whole, never a stream. The service it
 * stands in for takes nothing but the question; max_tokens, temperature, top_p, top_k, seed and
 * model may be given here. Without a temperature the answer is greedy, so that it can be kept.
 *
 * An error is {"error", "detail"}, both the same text: the first is what Hatchway's other plain
 * dialects say, the second what FastAPI services (the fleet's is one) say and their clients read.
 */
#include "router/api/dialect.h"

#include <string.h>

#include "router/api/fields.h"

#define DEFAULT_MAX_TOKENS 200

struct parse {
    struct hw_arena *arena;
    struct hw_query *query;
    struct hw_err *err;
    struct hw_json question; /* .p NULL: not given */
};

static int
take_question(struct parse *parse, const struct hw_json *value)
{
    parse->question = *value;
    return 0;
}

static int
take_model(struct parse *parse, const struct hw_json *value)
{
    return hw_field_model(value, parse->arena, parse->query, parse->err);
}

static int
take_max_tokens(struct parse *parse, const struct hw_json *value)
{
    return hw_field_max_tokens("max_tokens", value, parse->query, parse->err);
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
take_seed(struct parse *parse, const struct hw_json *value)
{
    return hw_field_seed(value, parse->query, parse->err);
}

static int
take_fields(struct parse *parse, const struct hw_json *root)
{
    static const struct {
        const char *name;
        int (*take)(struct parse *parse, const struct hw_json *value);
    } fields[] = {{"question", take_question},
                  {"model", take_model},
                  {"max_tokens", take_max_tokens},
                  {"temperature", take_temperature},
                  {"top_p", take_top_p},
                  {"top_k", take_top_k},
                  {"seed", take_seed}};
    const size_t count = sizeof(fields) / sizeof(fields[0]);
    struct hw_json_iter iter;
    struct hw_json key, value;
    unsigned seen = 0;

    hw_json_iter_init(&iter, root);
    while (hw_json_next(&iter, &key, &value)) {
        size_t i = 0;
        while (i < count && !hw_json_string_is(&key, fields[i].name))
            i++;
        if (i == count)
            continue;
        if ((seen >> i & 1) != 0)
            return hw_err_set(parse->err, HW_EINVAL, "%s is given twice", fields[i].name);
        seen |= 1u << i;
        int rc = value.type == HW_JSON_NULL ? 0 : fields[i].take(parse, &value);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int
make_message(struct parse *parse)
{
    struct hw_query *query = parse->query;

    if (parse->question.p == NULL)
        return hw_err_set(parse->err, HW_EINVAL, "question is missing");
    if (parse->question.type != HW_JSON_STRING)
        return hw_field_wrong("question", "a string", &parse->question, parse->err);
    struct hw_message *message = hw_arena_alloc(parse->arena, sizeof(*message));
    if (message == NULL)
        return hw_err_set(parse->err, HW_ELIMIT,
                          "question takes more memory than one query may have");
    message->role = HW_MSG_USER;
    message->content = parse->question;
    int rc = hw_json_string(&parse->question, parse->arena, &message->text, &message->text_len,
                            parse->err);
    if (rc != 0) {
        hw_err_prefix(parse->err, "question");
        return rc;
    }
    if (message->text_len == 0)
        return hw_err_set(parse->err, HW_EINVAL, "question must not be empty");
    query->messages = message;
    query->message_count = 1;
    query->last_user = message;
    query->prompt_bytes = message->text_len;
    return 0;
}

static int
parse_body(struct hw_body *body, const struct hw_json_limits *limits, struct hw_arena *arena,
           struct hw_query *query, struct hw_err *err)
{
    struct hw_json root;
    struct parse parse = {.arena = arena, .query = query, .err = err};

    *query = (struct hw_query){.dialect = &hw_dialect_bdh,
                               .body = body,
                               .keepable = true,
                               .has_max_tokens = true,
                               .max_tokens = DEFAULT_MAX_TOKENS};
    int rc = hw_json_validate(body->bytes, body->len, limits, &root, err);
    if (rc != 0)
        return rc;
    if (root.type != HW_JSON_OBJECT)
        return hw_field_wrong("the body", "a JSON object", &root, err);
    rc = take_fields(&parse, &root);
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
