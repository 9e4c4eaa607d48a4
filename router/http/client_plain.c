/* router/http/client_plain.c - calls of the own client: the request's bytes, and the way in.
 *
 * The head is built once into a buffer that the call object keeps from call to call, so that a
 * request costs no allocation and one writev; the body's bytes are only pointed to. */
#include "router/http/client_plain.h"

#include <string.h>

#include "hatchway/assert.h"

#define KEEP_HEAD_BYTES (64u << 10)                     /* a larger buffer is not kept */
#define MAX_HEAD_BYTES ((256u << 10))                   /* of a request of ours */
#define MAX_COPIED_BYTES ((64u << 20) + MAX_HEAD_BYTES) /* with segments that had no body */

static void
append_content_length(struct hw_buf *head, size_t total)
{
    char digits[24];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + total % 10);
        total /= 10;
    } while (total > 0);
    hw_buf_puts(head, "Content-Length: ");
    hw_buf_append(head, digits + at, sizeof(digits) - at);
    hw_buf_append(head, "\r\n", 2);
}

static void
append_head(struct hw_buf *head, const struct hw_plain_origin *origin,
            const struct hw_call_request *request, size_t total)
{
    hw_buf_puts(head, request->method);
    hw_buf_append(head, " ", 1);
    hw_buf_puts(head, request->path);
    hw_buf_append(head, " HTTP/1.1\r\n", 11);
    hw_buf_append(head, origin->host_line, origin->host_line_len);
    for (size_t i = 0; i < request->field_count; i++) {
        const struct hw_http_field *field = &request->fields[i];
        if (hw_call_field_is_ours(field->name))
            continue;
        hw_buf_puts(head, field->name);
        hw_buf_append(head, ": ", 2);
        hw_buf_append(head, field->value, field->value_len);
        hw_buf_append(head, "\r\n", 2);
    }
    bool bodiless = strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0;
    if (total > 0 || !bodiless)
        append_content_length(head, total);
    hw_buf_append(head, "\r\n", 2);
}

/* Adds bytes to what is sent, to the last part where they follow on it. */
static void
add_part(struct hw_plain_call *call, const char *bytes, size_t len)
{
    uv_buf_t *last = call->part_count > 0 ? &call->parts[call->part_count - 1] : NULL;

    if (last != NULL && last->base + last->len == bytes)
        last->len += len;
    else
        call->parts[call->part_count++] = (uv_buf_t){.base = (char *)(uintptr_t)bytes, .len = len};
}

/* The head's buffer also takes copies of those segments that do not live in the body. */
static int
build(struct hw_plain_call *call, const struct hw_plain_origin *origin,
      const struct hw_call_request *request, struct hw_err *err)
{
    size_t total = 0;

    for (size_t i = 0; i < request->segment_count; i++) {
        if (request->segments[i].len > SIZE_MAX / 2 - total)
            return hw_err_set(err, HW_ELIMIT, "the request is too large");
        total += request->segments[i].len;
    }
    call->head.max = MAX_COPIED_BYTES;
    append_head(&call->head, origin, request, total);
    size_t head_len = call->head.len;
    for (size_t i = 0; i < request->segment_count; i++)
        if (!hw_call_segment_is_kept(request, &request->segments[i]))
            hw_buf_append(&call->head, request->segments[i].bytes, request->segments[i].len);
    if (call->head.failed || head_len > MAX_HEAD_BYTES)
        return hw_err_set(err, HW_ELIMIT, "the request's head or copied body is too large");

    const char *copied = call->head.data + head_len; /* the buffer does not move any more */
    call->part_count = 0;
    add_part(call, call->head.data, head_len);
    for (size_t i = 0; i < request->segment_count; i++) {
        const struct hw_call_segment *segment = &request->segments[i];
        bool kept = hw_call_segment_is_kept(request, segment);
        if (segment->len > 0)
            add_part(call, kept ? segment->bytes : copied, segment->len);
        copied += kept ? 0 : segment->len;
    }
    if (request->body != NULL)
        call->body = hw_body_ref(request->body);
    return 0;
}

static struct hw_plain_call *
call_new(struct hw_plain *plain)
{
    struct hw_plain_call *call = plain->spare_calls;

    if (call != NULL) {
        plain->spare_calls = call->next_spare;
        plain->spare_call_count--;
        return call;
    }
    call = hw_xcalloc(1, sizeof(*call));
    call->plain = plain;
    return call;
}

void
hw_plain_call_release(struct hw_plain_call *call)
{
    struct hw_plain *plain = call->plain;

    hw_body_unref(call->body);
    call->body = NULL;
    call->conn = NULL;
    call->retried = false;
    hw_buf_clear(&call->head);
    if (call->head.cap > KEEP_HEAD_BYTES)
        hw_buf_free(&call->head);
    if (plain->closing || plain->spare_call_count >= HW_PLAIN_MAX_SPARE) {
        hw_buf_free(&call->head);
        free(call);
        return;
    }
    call->next_spare = plain->spare_calls;
    plain->spare_calls = call;
    plain->spare_call_count++;
}

static void
cancel(struct hw_call *base)
{
    struct hw_plain_call *call = (struct hw_plain_call *)base;
    struct hw_plain_conn *conn = call->conn;

    /* An unfinished uv_write still points at the call's bytes, but libuv writes nothing once the
     * handle is closing. */
    hw_plain_conn_close(conn);
    hw_plain_call_release(call);
}

static void
pause_call(struct hw_call *base)
{
    hw_plain_conn_pause(((struct hw_plain_call *)base)->conn);
}

static void
resume_call(struct hw_call *base)
{
    hw_plain_conn_resume(((struct hw_plain_call *)base)->conn);
}

static const struct hw_call_driver driver = {cancel, pause_call, resume_call};

int
hw_plain_send(struct hw_plain *plain, const struct hw_call_request *request,
              const struct hw_call_events *events, void *ctx, struct hw_call **out,
              struct hw_err *err)
{
    if (plain->closing)
        return hw_err_set(err, HW_ECANCELED, "the client is closing");
    struct hw_plain_origin *origin = hw_plain_origin_get(plain, request->host, request->port);
    struct hw_plain_call *call = call_new(plain);
    hw_call_init(&call->base, &driver, request, events, ctx);
    call->head_request = strcmp(request->method, "HEAD") == 0;
    int rc = build(call, origin, request, err);
    if (rc == 0) {
        struct hw_plain_conn *conn = hw_plain_conn_take_idle(origin);
        *out = &call->base;
        if (conn != NULL)
            hw_plain_conn_send(conn, call);
        else
            hw_plain_conn_open(hw_plain_conn_new(plain, origin), call);
    } else {
        hw_plain_call_release(call);
    }
    hw_plain_origin_put(plain, origin);
    return rc;
}

static void
finish_close(struct hw_plain *plain)
{
    if (plain->object_count > 0 || !plain->resolver_closed)
        return;
    void (*closed_cb)(void *) = plain->closed_cb;
    void *ctx = plain->closed_ctx;
    free(plain);
    closed_cb(ctx);
}

static void
on_resolver_closed(void *ctx)
{
    struct hw_plain *plain = ctx;

    plain->resolver_closed = true;
    finish_close(plain);
}

struct hw_plain *
hw_plain_create(uv_loop_t *loop)
{
    struct hw_plain *plain = hw_xcalloc(1, sizeof(*plain));

    plain->loop = loop;
    plain->resolver = hw_resolver_create(loop);
    return plain;
}

static void
on_pool_closed(struct hw_plain *plain)
{
    finish_close(plain);
}

void
hw_plain_close(struct hw_plain *plain, void (*closed_cb)(void *ctx), void *ctx)
{
    plain->closing = true;
    plain->closed_cb = closed_cb;
    plain->closed_ctx = ctx;
    while (plain->spare_calls != NULL) {
        struct hw_plain_call *call = plain->spare_calls;
        plain->spare_calls = call->next_spare;
        hw_buf_free(&call->head);
        free(call);
    }
    hw_plain_pool_close(plain, on_pool_closed);
    hw_resolver_close(plain->resolver, on_resolver_closed, plain);
}
