/* router/count_tokens.c - POST /v1/messages/count_tokens: an estimate, answered here.
 *
 * Which model would answer, and so what a token is, only routing decides; the estimate is the one
 * that routes see as prompt_tokens: where a model is named, as its answers have taught. */
#include <stdio.h>
#include <string.h>

#include "router/api/dialect.h"
#include "router/arena.h"
#include "router/endpoints.h"

static int
count(struct hw_loop *loop, struct hw_body *body, uint32_t *tokens, struct hw_err *err)
{
    const struct hw_conf_limits *limits = &loop->plan->snapshot->limits;
    struct hw_json_limits json = {limits->json_depth, limits->json_nodes};
    struct hw_arena arena;
    struct hw_query query;

    if (body == NULL || body->len == 0)
        return hw_err_set(err, HW_EINVAL, "the request has no body; send a JSON object");
    hw_arena_init(&arena, (size_t)limits->body * 3 + (1u << 20));
    int rc = hw_dialect_anthropic.parse(body, &json, &arena, &query, err);
    if (rc == 0)
        *tokens = hw_tokens_asked(hw_backends_tokens(loop->plan->registry), loop->plan->snapshot,
                                  query.model, query.prompt_bytes);
    else
        hw_arena_explain(&arena, err);
    hw_arena_free(&arena);
    return rc;
}

void
hw_endpoint_count_tokens(struct hw_loop *loop, struct hw_http_stream *stream)
{
    const struct hw_http_request *request = hw_http_stream_request(stream);
    struct hw_http_field field = {"content-type", "application/json", 16};
    struct hw_err err = {{0}};
    struct hw_buf out;
    uint32_t tokens = 0;
    int status = 200;

    hw_buf_init(&out, 4096);
    int rc = count(loop, request->body, &tokens, &err);
    if (rc == 0) {
        hw_buf_printf(&out, "{\"input_tokens\":%u}", tokens);
    } else {
        status = rc == HW_ELIMIT ? 413 : 400;
        hw_dialect_anthropic.write_error(status, err.msg, NULL, &out);
    }
    hw_http_respond(stream, status, &field, 1, out.data, out.len);
    hw_buf_free(&out);
}
