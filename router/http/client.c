/* router/http/client.c - one hw_client over its two clients, and what both check of a request. */
#include "router/http/client.h"

#include <string.h>
#include <strings.h>

#include "hatchway/assert.h"
#include "router/http/client_private.h"

struct hw_client {
    struct hw_plain *plain;
    struct hw_curl *curl;
    int open_parts;
    void (*closed_cb)(void *ctx);
    void *closed_ctx;
};

struct hw_client *
hw_client_create(uv_loop_t *loop)
{
    struct hw_client *client = hw_xcalloc(1, sizeof(*client));

    client->plain = hw_plain_create(loop);
    client->curl = hw_curl_create(loop);
    client->open_parts = 2;
    return client;
}

static void
on_part_closed(void *ctx)
{
    struct hw_client *client = ctx;

    if (--client->open_parts > 0)
        return;
    void (*closed_cb)(void *) = client->closed_cb;
    void *closed_ctx = client->closed_ctx;
    free(client);
    if (closed_cb != NULL)
        closed_cb(closed_ctx);
}

void
hw_client_close(struct hw_client *client, void (*closed_cb)(void *ctx), void *ctx)
{
    client->closed_cb = closed_cb;
    client->closed_ctx = ctx;
    hw_plain_close(client->plain, on_part_closed, client);
    hw_curl_close(client->curl, on_part_closed, client);
}

int
hw_client_send(struct hw_client *client, const struct hw_call_request *request,
               const struct hw_call_events *events, void *ctx, struct hw_call **out,
               struct hw_err *err)
{
    int rc = hw_call_request_check(request, err);
    if (rc != 0)
        return rc;
    if (request->https)
        return hw_curl_send(client->curl, request, events, ctx, out, err);
    return hw_plain_send(client->plain, request, events, ctx, out, err);
}

void
hw_call_cancel(struct hw_call *call)
{
    call->driver->cancel(call);
}

void
hw_call_pause(struct hw_call *call)
{
    if (call->paused)
        return;
    call->paused = true;
    call->driver->pause(call);
}

void
hw_call_resume(struct hw_call *call)
{
    if (!call->paused)
        return;
    call->paused = false;
    call->driver->resume(call);
}

void
hw_call_init(struct hw_call *call, const struct hw_call_driver *driver,
             const struct hw_call_request *request, const struct hw_call_events *events, void *ctx)
{
    *call = (struct hw_call){
        .driver = driver,
        .events = *events,
        .ctx = ctx,
        .connect_ms = request->connect_ms > 0 ? request->connect_ms : HW_CALL_CONNECT_MS,
        .first_byte_ms =
            request->first_byte_ms > 0 ? request->first_byte_ms : HW_CALL_FIRST_BYTE_MS,
        .idle_ms = request->idle_ms > 0 ? request->idle_ms : HW_CALL_IDLE_MS,
        .max_response_bytes =
            request->max_response_bytes > 0 ? request->max_response_bytes : HW_CALL_MAX_RESPONSE,
    };
}

static bool
breaks_line(const char *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (p[i] == '\r' || p[i] == '\n' || p[i] == '\0')
            return true;
    return false;
}

/* No control character, no space: what a request line can hold as one word. */
static bool
is_word(const char *text)
{
    for (const char *p = text; *p != '\0'; p++)
        if ((unsigned char)*p <= ' ' || *p == 0x7f)
            return false;
    return text[0] != '\0';
}

int
hw_call_request_check(const struct hw_call_request *request, struct hw_err *err)
{
    if (!is_word(request->method) || !is_word(request->host))
        return hw_err_set(err, HW_EINVAL, "a call needs a method and a host of printable bytes");
    if (request->path[0] != '/' || !is_word(request->path))
        return hw_err_set(err, HW_EINVAL,
                          "the path of a call must begin with '/' and hold no space or control "
                          "character");
    if (request->segment_count > HW_CALL_MAX_SEGMENTS)
        return hw_err_set(err, HW_ELIMIT, "a call has at most %d segments, got %zu",
                          HW_CALL_MAX_SEGMENTS, request->segment_count);
    for (size_t i = 0; i < request->field_count; i++) {
        const struct hw_http_field *field = &request->fields[i];
        if (!is_word(field->name) || strchr(field->name, ':') != NULL ||
            breaks_line(field->value, field->value_len))
            return hw_err_set(err, HW_EINVAL, "header field '%.64s' holds a line break or NUL",
                              field->name);
    }
    return 0;
}

bool
hw_call_field_is_ours(const char *name)
{
    static const char *const ours[] = {"host",       "content-length",   "connection",
                                       "keep-alive", "upgrade",          "te",
                                       "expect",     "transfer-encoding"};

    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
        if ((name[0] | 0x20) == ours[i][0] && strcasecmp(name, ours[i]) == 0)
            return true;
    return false;
}

bool
hw_call_segment_is_kept(const struct hw_call_request *request,
                        const struct hw_call_segment *segment)
{
    const struct hw_body *body = request->body;
    uintptr_t at = (uintptr_t)segment->bytes;

    return body != NULL && at >= (uintptr_t)body->bytes &&
           at - (uintptr_t)body->bytes <= body->len &&
           segment->len <= body->len - (at - (uintptr_t)body->bytes);
}
