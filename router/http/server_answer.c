/* router/http/server_answer.c - the handler's side of a stream, and the server's own errors.
 *
 * A whole answer goes out at once: head and body in one system call. A streamed one gathers in the
 * connection's queue and is written at the end of the loop turn, so that ten tokens that arrive
 * together cost one write, and none waits for a later turn. */
#include "router/http/server_private.h"

#include "router/log.h"

#define ERROR_BODY_MAX_BYTES ((size_t)64 * 1024)
#define ONE_WRITE_MAX_BYTES                                                                        \
    ((size_t)16 * 1024) /* below this a copy is cheaper than a second iovec */

const struct hw_http_request *
hw_http_stream_request(const struct hw_http_stream *stream)
{
    HW_ASSERT(stream->open);
    return &hw_conn_of(stream)->reader.request;
}

void
hw_http_stream_watch(struct hw_http_stream *stream, const struct hw_http_watcher *watcher)
{
    HW_ASSERT(stream->open);
    stream->watcher = *watcher;
}

static bool
status_is_bodiless(int status)
{
    return status < 200 || status == 204 || status == 304;
}

/* Head and body of a whole answer; the connection must be open. */
static void
send_whole(struct hw_conn *conn, int status, const struct hw_http_field *fields, size_t field_count,
           const void *body, size_t len)
{
    struct hw_buf *scratch = &conn->server->scratch;
    enum hw_framing framing = status_is_bodiless(status) ? HW_FRAMING_NONE : HW_FRAMING_LENGTH;

    hw_buf_clear(scratch);
    hw_server_write_head(conn, scratch, status, fields, field_count, framing, len);
    if (conn->stream.bodiless || framing == HW_FRAMING_NONE)
        len = 0;
    if (len > 0 && len <= ONE_WRITE_MAX_BYTES) {
        hw_buf_append(scratch, body, len);
        len = 0;
    }
    if (scratch->failed)
        hw_conn_close(conn); /* a head of megabytes, or no memory for it */
    else
        hw_conn_send(conn, scratch->data, scratch->len, body, len);
}

static void
answer_is_queued(struct hw_conn *conn)
{
    if (conn->state == HW_CONN_FLUSHING && hw_conn_unsent(conn) == 0)
        hw_conn_after_answer(conn);
}

void
hw_http_respond(struct hw_http_stream *stream, int status, const struct hw_http_field *fields,
                size_t field_count, const void *body, size_t len)
{
    struct hw_conn *conn = hw_conn_of(stream);

    HW_ASSERT(stream->open && !stream->started);
    bool alive = conn->state != HW_CONN_CLOSED;
    hw_conn_end_stream(conn);
    if (!alive)
        return;
    send_whole(conn, status, fields, field_count, body, len);
    answer_is_queued(conn);
}

void
hw_http_start(struct hw_http_stream *stream, int status, const struct hw_http_field *fields,
              size_t field_count)
{
    struct hw_conn *conn = hw_conn_of(stream);
    enum hw_framing framing = HW_FRAMING_CHUNKED;

    HW_ASSERT(stream->open && !stream->started);
    stream->started = true;
    if (conn->state == HW_CONN_CLOSED)
        return;
    if (status_is_bodiless(status)) {
        framing = HW_FRAMING_NONE;
        stream->bodiless = true;
    } else if (conn->reader.http10) {
        framing = HW_FRAMING_CLOSE;
        conn->keep_alive = false;
    }
    stream->chunked = framing == HW_FRAMING_CHUNKED && !stream->bodiless;
    hw_server_write_head(conn, &conn->out, status, fields, field_count, framing, 0);
    conn->broken |= conn->out.failed;
    hw_server_mark_dirty(conn);
}

void
hw_http_mark_first(struct hw_http_stream *stream)
{
    HW_ASSERT(stream->open);
    stream->first_waits = true;
    stream->first_turn = hw_conn_of(stream)->server->turn;
}

static size_t
write_chunk_size(char *out, size_t len)
{
    char digits[2 * sizeof(len)];
    size_t n = sizeof(digits), size;
    do
        digits[--n] = "0123456789abcdef"[len & 15];
    while ((len >>= 4) > 0);
    size = sizeof(digits) - n;
    memcpy(out, digits + n, size);
    out[size] = '\r';
    out[size + 1] = '\n';
    return size + 2;
}

void
hw_http_write(struct hw_http_stream *stream, const void *bytes, size_t len)
{
    struct hw_conn *conn = hw_conn_of(stream);

    HW_ASSERT(stream->open && stream->started);
    if (len == 0 || stream->bodiless || conn->broken || conn->state == HW_CONN_CLOSED)
        return;
    if (hw_conn_unsent(conn) + len > HW_STREAM_UNSENT_MAX_BYTES) {
        hw_log(HW_LOG_WARN, "cut off an agent that takes nothing: %zu bytes unsent",
               hw_conn_unsent(conn));
        conn->broken = true;
    } else if (stream->chunked) {
        char size[2 * sizeof(len) + 2];
        hw_conn_queue(conn, size, write_chunk_size(size, len));
        hw_conn_queue(conn, bytes, len);
        hw_conn_queue(conn, "\r\n", 2);
    } else {
        hw_conn_queue(conn, bytes, len);
    }
    stream->congested |= hw_conn_unsent(conn) > HW_HIGH_WATER_BYTES;
    hw_server_mark_dirty(conn);
}

bool
hw_http_congested(const struct hw_http_stream *stream)
{
    HW_ASSERT(stream->open);
    return stream->congested;
}

void
hw_http_finish(struct hw_http_stream *stream)
{
    struct hw_conn *conn = hw_conn_of(stream);

    HW_ASSERT(stream->open && stream->started);
    bool alive = conn->state != HW_CONN_CLOSED;
    if (alive && stream->chunked)
        hw_conn_queue(conn, "0\r\n\r\n", 5);
    hw_conn_end_stream(conn);
    if (!alive)
        return;
    hw_conn_flush(conn);
    answer_is_queued(conn);
}

void
hw_http_abort(struct hw_http_stream *stream)
{
    struct hw_conn *conn = hw_conn_of(stream);

    HW_ASSERT(stream->open);
    bool alive = conn->state != HW_CONN_CLOSED;
    bool until_close = stream->started && !stream->chunked;
    hw_conn_end_stream(conn);
    if (!alive)
        return;
    if (until_close) {
        hw_conn_reset(conn); /* a FIN would say that the answer is complete */
    } else {
        hw_conn_flush(conn);
        hw_conn_close(conn);
    }
}

void
hw_conn_refuse(struct hw_conn *conn, int status, const char *what)
{
    struct hw_http_server *server = conn->server;
    struct hw_http_slice path = conn->reader.request.path;
    const char *content_type = "application/json";
    struct hw_buf body;

    hw_buf_init(&body, ERROR_BODY_MAX_BYTES);
    server->handler.on_error(server->handler.ctx, status, what, path, &body, &content_type);
    struct hw_http_field type = {"Content-Type", content_type, strlen(content_type)};
    hw_conn_set_state(conn, HW_CONN_FLUSHING);
    conn->keep_alive = false;
    conn->linger = true;
    conn->stream = (struct hw_http_stream){.bodiless = conn->reader.request.method == HW_HTTP_HEAD};
    send_whole(conn, status, &type, 1, body.data, body.len);
    hw_buf_free(&body);
    answer_is_queued(conn);
}
