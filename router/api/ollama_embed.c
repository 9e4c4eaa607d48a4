/* router/api/ollama_embed.c - Ollama's embeddings: POST /api/embed, and /api/embeddings, the older
 * way: one prompt, one vector. */
#include "router/api/embeddings.h"
#include "router/api/ollama.h"
#include "router/api/write.h"

static int
parse_embed(struct hw_body *body, const struct hw_json_limits *limits, struct hw_arena *arena,
            struct hw_query *query, struct hw_err *err)
{
    static const struct hw_field_taker fields[] = {
        {"model", hw_take_model},
        {"input", hw_take_embedding_input},
        {"dimensions", hw_take_dimensions},
    };
    static const struct hw_json nothing = {HW_JSON_ARRAY, "[]", 2};
    struct hw_parse parse;

    hw_parse_init(&parse, &hw_dialect_ollama_embed, body, arena, query, err);
    int rc = hw_parse_body(&parse, limits, fields, sizeof(fields) / sizeof(fields[0]));
    if (rc != 0)
        return rc;
    if (query->input.p == NULL)
        query->input = nothing;
    query->loads = query->input.len == 2 || query->input_count == 0;
    return hw_embeddings_settle(&parse);
}

static int
take_prompt(void *ctx, const struct hw_json *value)
{
    struct hw_parse *parse = ctx;

    if (value->type != HW_JSON_STRING)
        return hw_field_wrong("prompt", "a string", value, parse->err);
    return hw_take_embedding_input(ctx, value);
}

static int
parse_embeddings(struct hw_body *body, const struct hw_json_limits *limits, struct hw_arena *arena,
                 struct hw_query *query, struct hw_err *err)
{
    static const struct hw_field_taker fields[] = {
        {"model", hw_take_model},
        {"prompt", take_prompt},
    };
    static const struct hw_json nothing = {HW_JSON_STRING, "\"\"", 2};
    struct hw_parse parse;

    hw_parse_init(&parse, &hw_dialect_ollama_embeddings, body, arena, query, err);
    int rc = hw_parse_body(&parse, limits, fields, sizeof(fields) / sizeof(fields[0]));
    if (rc != 0)
        return rc;
    if (query->input.p == NULL)
        query->input = nothing;
    query->loads = query->input.len == 2;
    return hw_embeddings_settle(&parse);
}

static void
write_embed(struct hw_reply *reply, const struct hw_answer *answer, struct hw_buf *out)
{
    const char *text = answer->text.data, *end = text + answer->text.len, *line;
    size_t len;

    hw_write(out, "{\"model\":");
    hw_write_string(out, reply->model);
    hw_write(out, ",\"embeddings\":[");
    for (size_t i = 0; hw_vector_next(&text, end, &line, &len); i++) {
        if (i > 0)
            hw_write(out, ",");
        hw_buf_append(out, line, len);
    }
    hw_write(out, "],\"total_duration\":");
    hw_write_u64(out, reply->total_us * 1000u);
    hw_write(out, ",\"load_duration\":0");
    if (answer->usage.known) {
        hw_write(out, ",\"prompt_eval_count\":");
        hw_write_u64(out, answer->usage.prompt_tokens);
    }
    hw_write(out, "}");
}

static void
write_embeddings(struct hw_reply *reply, const struct hw_answer *answer, struct hw_buf *out)
{
    const char *text = answer->text.data, *line;
    size_t len;

    (void)reply;
    hw_write(out, "{\"embedding\":");
    if (hw_vector_next(&text, text + answer->text.len, &line, &len))
        hw_buf_append(out, line, len);
    else
        hw_write(out, "[]");
    hw_write(out, "}");
}

const struct hw_dialect hw_dialect_ollama_embed = {
    .name = "ollama",
    .path = "/api/embed",
    .parse = parse_embed,
    .write_whole = write_embed,
    .write_error = hw_ollama_write_error,
};

const struct hw_dialect hw_dialect_ollama_embeddings = {
    .name = "ollama",
    .path = "/api/embeddings",
    .parse = parse_embeddings,
    .write_whole = write_embeddings,
    .write_error = hw_ollama_write_error,
};
