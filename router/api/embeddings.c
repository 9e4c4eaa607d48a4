/* router/api/embeddings.c - POST /v1/embeddings, and what the embedding dialects share: the input,
 * and the requests for a backend of the other dialect.
 *
 * Always a whole answer, and always the same for the same input: so it is kept. */
#include "router/api/embeddings.h"

#include <string.h>

#include "router/api/canonical.h"
#include "router/api/openai.h"
#include "router/api/text.h"
#include "router/api/write.h"

#define INPUT "a string, an array of strings, or tokens"
#define TOKEN_BYTES 4 /* of text, about */

static bool
all_of_type(const struct hw_json *array, enum hw_json_type type, size_t *count)
{
    struct hw_json_iter iter;
    struct hw_json item;
    bool all = true;

    *count = 0;
    hw_json_iter_init(&iter, array);
    for (; hw_json_next(&iter, NULL, &item); (*count)++)
        all = all && item.type == type;
    return all;
}

/* Tokens, and arrays of them. */
static int
take_tokens(struct hw_parse *parse, const struct hw_json *value, bool several)
{
    struct hw_query *query = parse->query;
    struct hw_json_iter iter;
    struct hw_json item;
    size_t count;

    hw_json_iter_init(&iter, value);
    while (several && hw_json_next(&iter, NULL, &item))
        if (!all_of_type(&item, HW_JSON_NUMBER, &count) || count == 0)
            return hw_err_set(parse->err, HW_EINVAL,
                              "input must not mix tokens with anything else");
    all_of_type(value, HW_JSON_NUMBER, &count);
    query->input_is_tokens = true;
    query->input_count = several ? count : 1;
    query->prompt_bytes += value->len / 5 * TOKEN_BYTES; /* "12345," */
    return 0;
}

int
hw_take_embedding_input(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;
    struct hw_query *query = parse->query;
    size_t count = 1;

    query->input = *value;
    query->input_count = 1;
    if (value->type == HW_JSON_STRING)
        return 0;
    if (value->type != HW_JSON_ARRAY)
        return hw_field_wrong("input", INPUT, value, parse->err);
    if (all_of_type(value, HW_JSON_STRING, &count)) {
        query->input_count = count;
        return 0;
    }
    if (query->dialect == &hw_dialect_embeddings) {
        if (all_of_type(value, HW_JSON_NUMBER, &count))
            return take_tokens(parse, value, false);
        if (all_of_type(value, HW_JSON_ARRAY, &count))
            return take_tokens(parse, value, true);
    }
    return hw_err_set(parse->err, HW_EINVAL,
                      query->dialect == &hw_dialect_embeddings
                          ? "input must hold strings only, tokens only, or arrays of tokens only"
                          : "input must be a string or an array of strings");
}

int
hw_take_dimensions(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;
    uint32_t dimensions;

    parse->query->dimensions = *value;
    return hw_field_uint("dimensions", value, 1, 1u << 20, &dimensions, parse->err);
}

/* All texts, a line each. */
static int
join_texts(const struct hw_json *input, struct hw_message *message, struct hw_err *err)
{
    struct hw_json_iter iter;
    struct hw_json item;
    size_t sum = 0, len;

    if (input->type == HW_JSON_STRING)
        return hw_text_set(message, input, err);
    hw_json_iter_init(&iter, input);
    while (hw_json_next(&iter, NULL, &item)) {
        int rc = hw_text_measure(&item, &len, err);
        if (rc != 0)
            return rc;
        sum += len + (sum > 0); /* the end of the line before it */
    }
    hw_text_set_parts(message, HW_SOURCE_LINES, input);
    message->text_len = (uint32_t)sum;
    return 0;
}

int
hw_embeddings_settle(struct hw_parse *parse)
{
    struct hw_query *query = parse->query;
    struct hw_message *message = hw_query_add_message(query, parse->arena, parse->err);

    if (message == NULL)
        return HW_ELIMIT;
    query->embeds = true;
    query->stream = false;
    query->deterministic = true;
    message->role = HW_MSG_USER;
    if (!query->input_is_tokens) {
        int rc = join_texts(&query->input, message, parse->err);
        if (rc != 0) {
            struct hw_err inner = *parse->err;
            return hw_err_set(parse->err, rc, "input %.440s", inner.msg);
        }
    }
    hw_query_settle(query);
    return 0;
}

/* ---- the dialect ---- */

static int
take_encoding(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;

    parse->query->wants_base64 = hw_json_string_is(value, "base64");
    if (!parse->query->wants_base64 && !hw_json_string_is(value, "float"))
        return hw_field_wrong("encoding_format", "\"float\" or \"base64\"", value, parse->err);
    return 0;
}

static int
parse_body(struct hw_body *body, const struct hw_json_limits *limits, struct hw_arena *arena,
           struct hw_query *query, struct hw_err *err)
{
    static const struct hw_field_taker fields[] = {
        {"model", hw_take_model},
        {"input", hw_take_embedding_input},
        {"encoding_format", take_encoding},
        {"dimensions", hw_take_dimensions},
    };
    struct hw_parse parse;

    hw_parse_init(&parse, &hw_dialect_embeddings, body, arena, query, err);
    int rc = hw_parse_body(&parse, limits, fields, sizeof(fields) / sizeof(fields[0]));
    if (rc != 0)
        return rc;
    if (query->input.p == NULL)
        return hw_err_set(parse.err, HW_EINVAL, "input is missing");
    if (query->input_count == 0 || query->input.len == 2)
        return hw_err_set(parse.err, HW_EINVAL, "input must not be empty");
    return hw_embeddings_settle(&parse);
}

static void
write_whole(struct hw_reply *reply, const struct hw_answer *answer, struct hw_buf *out)
{
    const char *text = answer->text.data, *end = text + answer->text.len, *line;
    size_t len;

    hw_write(out, "{\"object\":\"list\",\"data\":[");
    for (uint64_t i = 0; hw_vector_next(&text, end, &line, &len); i++) {
        hw_write(out, i == 0 ? "{\"object\":\"embedding\",\"index\":"
                             : ",{\"object\":\"embedding\",\"index\":");
        hw_write_u64(out, i);
        hw_write(out, ",\"embedding\":");
        if (reply->query->wants_base64)
            hw_vector_write_base64(out, line, len);
        else
            hw_buf_append(out, line, len);
        hw_write(out, "}");
    }
    hw_write(out, "],\"model\":");
    hw_write_string(out, reply->model);
    if (answer->usage.known) {
        hw_write(out, ",\"usage\":{\"prompt_tokens\":");
        hw_write_u64(out, answer->usage.prompt_tokens);
        hw_write(out, ",\"total_tokens\":");
        hw_write_u64(out, answer->usage.prompt_tokens);
        hw_write(out, "}");
    }
    hw_write(out, "}");
}

const struct hw_dialect hw_dialect_embeddings = {
    .name = "openai",
    .path = "/v1/embeddings",
    .parse = parse_body,
    .write_whole = write_whole,
    .write_error = hw_openai_write_error,
};

/* ---- to a backend of the other dialect ---- */

static int
begin(const struct hw_query *query, const char *model, struct hw_outgoing *out, const char *kind,
      struct hw_err *err)
{
    if (model == NULL)
        model = query->model;
    if (model == NULL)
        return hw_err_set(err, HW_EINVAL, "an %s backend must be asked for a model by name", kind);
    hw_buf_puts(&out->text, "{");
    hw_put_key(&out->text, "model");
    hw_json_write_string(&out->text, model, strlen(model));
    hw_buf_reserve(&out->text, query->input.len + 256); /* at once: it may be megabytes */
    hw_put_key(&out->text, "input");
    hw_put_raw(&out->text, &query->input);
    if (query->dimensions.p != NULL) {
        hw_put_key(&out->text, "dimensions");
        hw_put_raw(&out->text, &query->dimensions);
    }
    return 0;
}

int
hw_embeddings_to_openai(const struct hw_query *query, const char *model, struct hw_outgoing *out,
                        struct hw_err *err)
{
    const struct hw_json root = hw_query_root(query);
    struct hw_json truncate;
    bool cut = true;
    /* Such a backend refuses what is too long: just what truncate: false wants. */
    bool kept = hw_json_get(&root, "truncate", &truncate) && hw_json_bool(&truncate, &cut) && !cut;
    const char *const carried[] = {
        "model", "input", "prompt", "dimensions", kept ? "truncate" : NULL, NULL};

    int rc = begin(query, model, out, "openai", err);
    if (rc != 0)
        return rc;
    hw_put_key(&out->text, "encoding_format");
    hw_buf_puts(&out->text, "\"float\"}");
    hw_outgoing_drop_others(out, query, carried);
    return hw_outgoing_done(out, hw_dialect_embeddings.path, err);
}

int
hw_embeddings_to_ollama(const struct hw_query *query, const char *model, struct hw_outgoing *out,
                        struct hw_err *err)
{
    static const char *const carried[] = {"model",      "input", "encoding_format",
                                          "dimensions", "user",  NULL};

    if (query->input_is_tokens)
        return hw_err_set(err, HW_EINVAL, "an ollama backend embeds text: send input as text");
    int rc = begin(query, model, out, "ollama", err);
    if (rc != 0)
        return rc;
    hw_buf_puts(&out->text, "}");
    hw_outgoing_drop_others(out, query, carried);
    return hw_outgoing_done(out, hw_dialect_ollama_embed.path, err);
}
