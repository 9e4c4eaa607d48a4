/* router/endpoints.c - see endpoints.h. */
#include "router/endpoints.h"

#include <string.h>

#include "router/api/dialect.h"
#include "router/auth.h"
#include "router/exchange.h"

enum access { OPEN, AGENT, OPERATOR };

struct endpoint {
    const char *path; /* a '/' at its end: everything below */
    enum hw_http_method method;
    enum access access;
    void (*answer)(struct hw_loop *loop, struct hw_http_stream *stream);
    const struct hw_dialect *dialect; /* a query, instead of answer */
};

static const struct endpoint endpoints[] = {
    {"/v1/chat/completions", HW_HTTP_POST, OPEN, NULL, &hw_dialect_openai},
    {"/v1/responses", HW_HTTP_POST, OPEN, NULL, &hw_dialect_responses},
    {"/v1/completions", HW_HTTP_POST, OPEN, NULL, &hw_dialect_completions},
    {"/v1/embeddings", HW_HTTP_POST, OPEN, NULL, &hw_dialect_embeddings},
    {"/api/embed", HW_HTTP_POST, OPEN, NULL, &hw_dialect_ollama_embed},
    {"/api/embeddings", HW_HTTP_POST, OPEN, NULL, &hw_dialect_ollama_embeddings},
    {"/api/chat", HW_HTTP_POST, OPEN, NULL, &hw_dialect_ollama},
    {"/api/generate", HW_HTTP_POST, OPEN, NULL, &hw_dialect_ollama_generate},
    {"/v1/messages", HW_HTTP_POST, OPEN, NULL, &hw_dialect_anthropic},
    {"/v1/messages/count_tokens", HW_HTTP_POST, AGENT, hw_endpoint_count_tokens, NULL},
    {"/api/bdh/ask", HW_HTTP_POST, OPEN, NULL, &hw_dialect_bdh},
    {"/v1/models", HW_HTTP_GET, AGENT, hw_catalog_models, NULL},
    {"/v1/models/", HW_HTTP_GET, AGENT, hw_catalog_models, NULL},
    {"/api/tags", HW_HTTP_GET, AGENT, hw_catalog_tags, NULL},
    {"/api/ps", HW_HTTP_GET, AGENT, hw_catalog_ps, NULL},
    {"/api/show", HW_HTTP_POST, AGENT, hw_catalog_show, NULL},
    {"/api/version", HW_HTTP_GET, OPEN, hw_catalog_version, NULL},
    {"/api/pull", HW_HTTP_POST, OPEN, hw_manage, NULL},
    {"/api/push", HW_HTTP_POST, OPEN, hw_manage, NULL},
    {"/api/create", HW_HTTP_POST, OPEN, hw_manage, NULL},
    {"/api/copy", HW_HTTP_POST, OPEN, hw_manage, NULL},
    {"/api/delete", HW_HTTP_DELETE, OPEN, hw_manage, NULL},
    {"/api/blobs/", HW_HTTP_POST, OPEN, hw_manage, NULL},
    {"/health", HW_HTTP_GET, OPEN, hw_operations_health, NULL},
    {"/ready", HW_HTTP_GET, OPEN, hw_operations_ready, NULL},
    {"/metrics", HW_HTTP_GET, OPEN, hw_operations_metrics, NULL},
    {"/hatchway/backends", HW_HTTP_GET, OPERATOR, hw_operations_backends, NULL},
    {"/hatchway/explain", HW_HTTP_POST, OPERATOR, hw_operations_explain, NULL},
    {"/hatchway/reload", HW_HTTP_POST, OPERATOR, hw_operations_reload, NULL},
};
#define ENDPOINT_COUNT (sizeof(endpoints) / sizeof(endpoints[0]))

static void
answer_error(struct hw_http_stream *stream, int status, const char *message, const char *allow)
{
    const struct hw_http_request *request = hw_http_stream_request(stream);
    const struct hw_dialect *dialect = hw_dialect_of_path(request->path.p, request->path.len);
    struct hw_http_field fields[2] = {{"content-type", "application/json", 16}};
    size_t n = 1;
    struct hw_buf body;

    if (allow != NULL)
        fields[n++] = (struct hw_http_field){"allow", allow, strlen(allow)};
    hw_buf_init(&body, 4096);
    dialect->write_error(status, message, NULL, &body);
    hw_http_respond(stream, status, fields, n, body.data, body.len);
    hw_buf_free(&body);
}

/* A path that is none: where queries go, all of them. */
static void
answer_nowhere(struct hw_http_stream *stream)
{
    struct hw_buf text;
    const char *comma = " ";

    hw_buf_init(&text, 4096);
    hw_buf_puts(&text, "there is nothing at this path; queries go to");
    for (size_t i = 0; i < ENDPOINT_COUNT; i++) {
        if (endpoints[i].dialect == NULL)
            continue;
        hw_buf_printf(&text, "%s%s", comma, endpoints[i].path);
        comma = ", ";
    }
    answer_error(stream, 404, text.data, NULL);
    hw_buf_free(&text);
}

static bool
path_matches(const struct endpoint *endpoint, struct hw_http_slice path)
{
    size_t len = strlen(endpoint->path);

    if (endpoint->path[len - 1] == '/')
        return path.len > len && memcmp(path.p, endpoint->path, len) == 0;
    return path.len == len && memcmp(path.p, endpoint->path, len) == 0;
}

static bool
may_ask(struct hw_loop *loop, const struct endpoint *endpoint, struct hw_http_stream *stream)
{
    const struct hw_http_request *request = hw_http_stream_request(stream);
    int agent;

    if (endpoint->access == AGENT && !hw_auth_agent(loop->plan->snapshot, request, &agent)) {
        answer_error(stream, 401, hw_auth_complaint(request), NULL);
        return false;
    }
    if (endpoint->access == OPERATOR && !hw_auth_operator(loop->plan->snapshot, request)) {
        answer_error(stream, 403,
                     "operations are answered on loopback, or with the admin key (admin_key in the "
                     "configuration)",
                     NULL);
        return false;
    }
    return true;
}

void
hw_endpoints_handle(void *ctx, struct hw_http_stream *stream)
{
    struct hw_loop *loop = ctx;
    const struct hw_http_request *request = hw_http_stream_request(stream);
    const struct endpoint *endpoint = NULL;

    for (size_t i = 0; i < ENDPOINT_COUNT && endpoint == NULL; i++)
        if (path_matches(&endpoints[i], request->path))
            endpoint = &endpoints[i];
    if (endpoint == NULL) {
        answer_nowhere(stream);
        return;
    }
    bool get = endpoint->method == HW_HTTP_GET;
    if (request->method != endpoint->method && !(get && request->method == HW_HTTP_HEAD)) {
        static const char *const words[][2] = {{"this path takes POST", "POST"},
                                               {"this path takes GET", "GET, HEAD"},
                                               {"this path takes DELETE", "DELETE"}};
        size_t i = get ? 1 : endpoint->method == HW_HTTP_DELETE ? 2 : 0;
        answer_error(stream, 405, words[i][0], words[i][1]);
        return;
    }
    if (endpoint->dialect != NULL)
        hw_exchange_begin(loop, stream, endpoint->dialect);
    else if (may_ask(loop, endpoint, stream))
        endpoint->answer(loop, stream);
}

void
hw_endpoints_error(void *ctx, int status, const char *what, struct hw_http_slice path,
                   struct hw_buf *body, const char **content_type)
{
    struct hw_loop *loop = ctx;
    const struct hw_dialect *dialect = hw_dialect_of_path(path.p, path.len);

    dialect->write_error(status, what, NULL, body);
    *content_type = "application/json";
    hw_plan_count_request(loop->plan, dialect->name, -1, status, 0);
}
