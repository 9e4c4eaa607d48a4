/* Any bytes as a request of each dialect: a named mistake, or a query that every protocol can write
 * as JSON. */
#include "hatchway/assert.h"
#include "router/api/dialect.h"
#include "router/api/protocol.h"
#include "router/arena.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct hw_json_limits limits = {.depth = 64, .nodes = 10000};

static void
write_for(enum hw_kind kind, const struct hw_query *query)
{
    /* Room for what translation puts around the agent's own values. */
    const struct hw_json_limits wide = {.depth = 80, .nodes = 40000};
    struct hw_outgoing out = {0};
    struct hw_buf whole;
    struct hw_json root;

    hw_buf_init(&out.text, (size_t)1 << 24);
    hw_buf_init(&out.dropped, 256);
    hw_buf_init(&whole, (size_t)1 << 24);
    if (hw_protocol_of(kind)->write_request(query, "m", &out, NULL) == 0) {
        for (size_t i = 0; i < out.segment_count; i++)
            hw_buf_append(&whole, out.segments[i].p, out.segments[i].len);
        HW_ASSERT(hw_json_validate(whole.data, whole.len, &wide, &root, NULL) == 0);
        for (size_t i = 0; i < out.dropped.len; i++)
            HW_ASSERT(out.dropped.data[i] >= ' ' && out.dropped.data[i] < 0x7f);
    }
    hw_buf_free(&whole);
    hw_buf_free(&out.dropped);
    hw_buf_free(&out.text);
}

static void
parse(const struct hw_dialect *dialect, const uint8_t *data, size_t size)
{
    struct hw_body *body = hw_xcalloc(1, sizeof(*body));
    struct hw_arena arena;
    struct hw_query query;
    struct hw_err err = {{0}};

    body->refs = 1;
    body->len = size;
    body->bytes = malloc(size + 1);
    HW_ASSERT(body->bytes != NULL);
    if (size > 0)
        memcpy(body->bytes, data, size);
    body->bytes[size] = '\0';
    hw_arena_init(&arena, (size_t)1 << 20);
    int rc = dialect->parse(body, &limits, &arena, &query, &err);
    if (rc == 0)
        for (int kind = 0; kind < HW_KIND_COUNT; kind++)
            write_for((enum hw_kind)kind, &query);
    else
        HW_ASSERT((rc == HW_EINVAL || rc == HW_ELIMIT) && err.msg[0] != '\0');
    hw_arena_free(&arena);
    hw_body_unref(body);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    parse(&hw_dialect_openai, data, size);
    parse(&hw_dialect_bdh, data, size);
    parse(&hw_dialect_completions, data, size);
    parse(&hw_dialect_anthropic, data, size);
    parse(&hw_dialect_ollama, data, size);
    parse(&hw_dialect_ollama_generate, data, size);
    parse(&hw_dialect_responses, data, size);
    parse(&hw_dialect_embeddings, data, size);
    parse(&hw_dialect_ollama_embed, data, size);
    parse(&hw_dialect_ollama_embeddings, data, size);
    return 0;
}
