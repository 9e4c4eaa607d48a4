/* router/api/parse.c - see fields.h: bodies, their members, and the takers that dialects share. */
#include "router/api/fields.h"

#include <string.h>

#include "hatchway/assert.h"

/* The index of a member that stands in the table, or count. */
static size_t
find_taker(const struct hw_json *key, const struct hw_field_taker *table, size_t count)
{
    bool escaped = memchr(key->p, '\\', key->len) != NULL;
    size_t len = key->len - 2; /* without the quotes */

    for (size_t i = 0; i < count; i++) {
        const char *name = table[i].name;
        if (escaped ? hw_json_string_is(key, name)
                    : strncmp(name, key->p + 1, len) == 0 && name[len] == '\0')
            return i;
    }
    return count;
}

static int
take_members(const struct hw_json *object, const struct hw_field_taker *table, size_t count,
             bool nulls, void *ctx, struct hw_err *err)
{
    struct hw_json_iter iter;
    struct hw_json key, value;
    uint64_t seen = 0;

    HW_ASSERT(count <= 64); /* seen has a bit each */
    hw_json_iter_init(&iter, object);
    while (hw_json_next(&iter, &key, &value)) {
        size_t i = find_taker(&key, table, count);
        if (i == count)
            continue;
        if ((seen >> i & 1) != 0)
            return hw_err_set(err, HW_EINVAL, "%s is given twice", table[i].name);
        seen |= (uint64_t)1 << i;
        int rc = value.type == HW_JSON_NULL && !nulls ? 0 : table[i].take(ctx, &value);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int
hw_fields_take(const struct hw_json *object, const struct hw_field_taker *table, size_t count,
               void *ctx, struct hw_err *err)
{
    return take_members(object, table, count, false, ctx, err);
}

int
hw_fields_take_nulls(const struct hw_json *object, const struct hw_field_taker *table, size_t count,
                     void *ctx, struct hw_err *err)
{
    return take_members(object, table, count, true, ctx, err);
}

/* ---- bodies ---- */

void
hw_parse_init(struct hw_parse *parse, const struct hw_dialect *dialect, struct hw_body *body,
              struct hw_arena *arena, struct hw_query *query, struct hw_err *err)
{
    *query = (struct hw_query){.dialect = dialect, .body = body, .keepable = true};
    *parse = (struct hw_parse){.arena = arena, .query = query, .err = err};
    if (err == NULL)
        parse->err = &parse->unread;
}

int
hw_parse_object(struct hw_parse *parse, const struct hw_json_limits *limits,
                const struct hw_field_taker *table, size_t count)
{
    const struct hw_body *body = parse->query->body;
    struct hw_json root;

    int rc = hw_json_validate(body->bytes, body->len, limits, &root, parse->err);
    if (rc != 0)
        return rc;
    if (root.type != HW_JSON_OBJECT)
        return hw_field_wrong("the body", "a JSON object", &root, parse->err);
    return hw_fields_take(&root, table, count, parse, parse->err);
}

int
hw_parse_body(struct hw_parse *parse, const struct hw_json_limits *limits,
              const struct hw_field_taker *table, size_t count)
{
    struct hw_query *query = parse->query;

    int rc = hw_parse_object(parse, limits, table, count);
    if (rc != 0)
        return rc;
    if (query->model == NULL)
        return hw_err_set(parse->err, HW_EINVAL,
                          "model is missing: name one, or \"auto\" to let the policy choose");
    query->deterministic = query->has_seed || (query->has_temperature && query->temperature == 0.0);
    return 0;
}

/* ---- takers ---- */

int
hw_take_model(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;
    struct hw_query *query = parse->query;
    const char *model;
    size_t len;

    if (value->type != HW_JSON_STRING)
        return hw_field_wrong("model", "a string", value, parse->err);
    int rc = hw_json_string(value, parse->arena, &model, &len, parse->err);
    if (rc != 0) {
        hw_err_prefix(parse->err, "model");
        return rc;
    }
    if (len == 0 || len > HW_MAX_MODEL_BYTES)
        return hw_err_set(parse->err, HW_EINVAL, "model must have 1 to %d bytes, got %zu",
                          HW_MAX_MODEL_BYTES, len);
    query->model = model;
    query->model_at = (size_t)(value->p - query->body->bytes);
    query->model_len = value->len;
    return 0;
}

int
hw_take_stream(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;
    return hw_field_bool("stream", value, &parse->query->stream, parse->err);
}

int
hw_take_stream_options(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;
    struct hw_json usage;

    if (value->type != HW_JSON_OBJECT)
        return hw_field_wrong("stream_options", "an object", value, parse->err);
    if (!hw_json_get(value, "include_usage", &usage) || usage.type == HW_JSON_NULL)
        return 0;
    return hw_field_bool("stream_options.include_usage", &usage, &parse->query->include_usage,
                         parse->err);
}

int
hw_take_max_tokens(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;
    return hw_field_max_tokens("max_tokens", value, parse->query, parse->err);
}

int
hw_take_temperature(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;
    struct hw_query *query = parse->query;
    int rc = hw_field_number("temperature", value, 0.0, 2.0, &query->temperature, parse->err);

    if (rc == 0) {
        query->has_temperature = true;
        query->temperature_raw = *value;
    }
    return rc;
}

int
hw_take_top_p(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;
    struct hw_query *query = parse->query;
    double top_p;

    if (!hw_json_number(value, &top_p) || top_p <= 0.0 || top_p > 1.0)
        return hw_field_wrong("top_p", "a number above 0 and at most 1", value, parse->err);
    query->top_p = top_p;
    query->has_top_p = true;
    query->top_p_raw = *value;
    return 0;
}

int
hw_take_top_k(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;
    int rc = hw_field_uint("top_k", value, 0, UINT32_MAX, &parse->query->top_k, parse->err);

    if (rc == 0)
        parse->query->has_top_k = true;
    return rc;
}

int
hw_take_min_p(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;

    parse->query->min_p_raw = *value;
    return hw_field_number("min_p", value, 0.0, 1.0, &parse->query->min_p, parse->err);
}

/* vLLM's and Ollama's word for the same. */
static int
take_repetition(void *ctx, const char *name, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;

    parse->query->repetition_penalty_raw = *value;
    return hw_field_number(name, value, 0.0, 100.0, &parse->query->repetition_penalty, parse->err);
}

int
hw_take_repetition_penalty(void *ctx, const struct hw_json *value)
{
    return take_repetition(ctx, "repetition_penalty", value);
}

int
hw_take_repeat_penalty(void *ctx, const struct hw_json *value)
{
    return take_repetition(ctx, "repeat_penalty", value);
}

int
hw_take_seed(void *ctx, const struct hw_json *value)
{
    /* Seeds may be negative: what counts is that equal seeds stay equal. */
    bool negative = value->type == HW_JSON_NUMBER && *value->p == '-';
    struct hw_parse *parse = ctx;
    struct hw_json digits = *value;
    uint64_t seed;

    if (negative) {
        digits.p++;
        digits.len--;
    }
    if (!hw_json_uint(&digits, &seed))
        return hw_field_wrong("seed", "a whole number of 64 bits", value, parse->err);
    parse->query->seed = negative ? 0 - seed : seed;
    parse->query->has_seed = true;
    parse->query->seed_raw = *value;
    return 0;
}

int
hw_take_n(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;
    uint32_t n = 1;
    int rc = hw_field_uint("n", value, 1, 128, &n, parse->err);

    if (n > 1)
        parse->query->keepable = false;
    return rc;
}

int
hw_take_logprobs(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;
    int rc = hw_field_bool("logprobs", value, &parse->query->wants_logprobs, parse->err);

    if (parse->query->wants_logprobs)
        parse->query->keepable = false;
    return rc;
}

int
hw_take_top_logprobs(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;
    uint32_t most;

    parse->query->keepable = false;
    parse->query->top_logprobs = *value;
    return hw_field_uint("top_logprobs", value, 0, 20, &most, parse->err);
}

int
hw_take_stop(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;
    return hw_field_stops("stop", value, 4, parse->arena, parse->query, parse->err);
}

int
hw_take_presence_penalty(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;
    double number;

    parse->query->presence_penalty = *value;
    return hw_field_number("presence_penalty", value, -2.0, 2.0, &number, parse->err);
}

int
hw_take_frequency_penalty(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;
    double number;

    parse->query->frequency_penalty = *value;
    return hw_field_number("frequency_penalty", value, -2.0, 2.0, &number, parse->err);
}

int
hw_take_tools(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;
    struct hw_json_iter iter;
    struct hw_json tool;
    size_t count = 0;

    if (value->type != HW_JSON_ARRAY)
        return hw_field_wrong("tools", "an array", value, parse->err);
    hw_json_iter_init(&iter, value);
    for (; hw_json_next(&iter, NULL, &tool); count++)
        if (tool.type != HW_JSON_OBJECT)
            return hw_err_set(parse->err, HW_EINVAL, "tools[%zu] must be an object, got %s", count,
                              hw_json_kind(&tool));
    if (count > 0) {
        parse->query->tools = *value;
        parse->query->prompt_bytes += value->len;
    }
    return 0;
}

int
hw_take_unkept(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;

    if (value->type != HW_JSON_BOOL || *value->p == 't')
        parse->query->keepable = false;
    return 0;
}
