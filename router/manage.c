/* router/manage.c - /api/pull, push, create, copy and delete: they change what a backend has, so an
 * operator asks, of a backend whose `manage` lists the call, and it goes there as it is. */
#include <stdio.h>
#include <string.h>

#include "router/auth.h"
#include "router/endpoints.h"
#include "router/loop.h"
#include "router/passage.h"

static void
refuse(struct hw_loop *loop, struct hw_http_stream *stream, int status, const char *why)
{
    struct hw_http_field field = {"content-type", "application/json", 16};
    struct hw_buf body;
    const char *type;

    hw_buf_init(&body, 8192);
    hw_endpoints_error(loop, status, why, hw_http_stream_request(stream)->path, &body, &type);
    hw_http_respond(stream, status, &field, 1, body.data, body.len);
    hw_buf_free(&body);
}

/* HW_MANAGE_COUNT: none of them (/api/blobs/). */
static unsigned
call_of(struct hw_http_slice path)
{
    size_t skip = strlen("/api/");
    unsigned call = 0;

    while (call < HW_MANAGE_COUNT &&
           (strlen(hw_manage_names[call]) != path.len - skip ||
            memcmp(path.p + skip, hw_manage_names[call], path.len - skip) != 0))
        call++;
    return call;
}

/* The backend that is meant: the one that the header names, else the only one that takes the call.
 * NULL: why says it. */
static const struct hw_conf_backend *
find_backend(const struct hw_snapshot *snapshot, const struct hw_http_slice *named, unsigned call,
             char *why, size_t size)
{
    const struct hw_conf_backend *found = NULL;
    char names[256] = "";
    size_t count = 0;

    for (size_t i = 0; i < snapshot->backend_count; i++) {
        const struct hw_conf_backend *backend = &snapshot->backends[i];
        if ((backend->manage >> call & 1) == 0)
            continue;
        size_t len = strlen(names);
        snprintf(names + len, sizeof(names) - len, "%s%s", count > 0 ? ", " : "", backend->name);
        count++;
        if (named == NULL || (named->len == strlen(backend->name) &&
                              memcmp(named->p, backend->name, named->len) == 0))
            found = backend;
    }
    if (named == NULL && count > 1) {
        snprintf(why, size, "which backend? Name one in x-hatchway-backend: %s", names);
        return NULL;
    }
    if (found == NULL)
        snprintf(why, size, "x-hatchway-backend names no backend that takes %s; these do: %s",
                 hw_manage_names[call], names);
    return found;
}

static bool
somebody_takes(const struct hw_snapshot *snapshot, unsigned call)
{
    for (size_t i = 0; call < HW_MANAGE_COUNT && i < snapshot->backend_count; i++)
        if ((snapshot->backends[i].manage >> call & 1) != 0)
            return true;
    return false;
}

/* What it has is another thing now. */
static void
look_again(struct hw_loop *loop, size_t backend)
{
    atomic_store(&loop->plan->backends[backend]->next_look_ms, 0);
}

void
hw_manage(struct hw_loop *loop, struct hw_http_stream *stream)
{
    const struct hw_http_request *request = hw_http_stream_request(stream);
    const struct hw_snapshot *snapshot = loop->plan->snapshot;
    static const char *const paths[HW_MANAGE_COUNT] = {"/api/pull", "/api/push", "/api/create",
                                                       "/api/copy", "/api/delete"};
    unsigned call = call_of(request->path);
    char why[400];
    int agent;

    bool is_operator = hw_auth_operator(snapshot, request);
    if (!is_operator && !hw_auth_agent(snapshot, request, &agent)) {
        refuse(loop, stream, 401, hw_auth_complaint(request));
        return;
    }
    if (!somebody_takes(snapshot, call)) {
        refuse(loop, stream, 403,
               "Hatchway does not manage models: pull, push, create, copy and delete them at the "
               "backend itself, or list the call in the backend's `manage` in the configuration");
        return;
    }
    if (!is_operator) {
        refuse(loop, stream, 403,
               "models are managed from loopback, or with the admin key (admin_key in the "
               "configuration)");
        return;
    }
    const struct hw_conf_backend *conf = find_backend(
        snapshot, hw_http_head_find(&request->head, "x-hatchway-backend"), call, why, sizeof(why));
    if (conf == NULL || request->body == NULL) {
        refuse(loop, stream, 400,
               conf == NULL ? why : "the request has no body; send a JSON object");
        return;
    }
    struct hw_passage passage = {
        .call = {.conf = conf,
                 .method = request->method == HW_HTTP_DELETE ? "DELETE" : "POST",
                 .path = paths[call],
                 .body = request->body,
                 .connect_ms = conf->timeouts.connect,
                 /* A large model may take its time between two words. */
                 .first_byte_ms = conf->timeouts.total,
                 .idle_ms = conf->timeouts.total},
        .succeeded = look_again,
    };
    hw_passage_begin(loop, stream, &passage);
}
