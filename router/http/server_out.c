/* router/http/server_out.c - bytes on their way to the agent.
 *
 * Nearly every answer fits into the socket at once: one try_write, nothing allocated. What does not
 * fit is handed to libuv as one request (flight); what is written meanwhile gathers in out and
 * follows when the flight has landed. The two buffers trade places, so that nothing is copied to be
 * queued. */
#include "router/http/server_private.h"

static void
shrink(struct hw_buf *buf)
{
    if (buf->cap > HW_OUT_KEPT_BYTES)
        hw_buf_free(buf);
    else
        hw_buf_clear(buf);
}

void
hw_conn_queue(struct hw_conn *conn, const void *bytes, size_t len)
{
    if (hw_buf_append(&conn->out, bytes, len) != 0) {
        conn->broken = true;
        hw_server_mark_dirty(conn);
    }
}

static void
drained(struct hw_conn *conn)
{
    struct hw_http_stream *stream = &conn->stream;
    if (!stream->open || !stream->congested || hw_conn_unsent(conn) > HW_LOW_WATER_BYTES)
        return;
    stream->congested = false;
    if (stream->watcher.on_drain != NULL)
        stream->watcher.on_drain(stream->watcher.ctx);
}

static void
on_written(uv_write_t *req, int status)
{
    struct hw_conn *conn = req->data;

    conn->in_flight = false;
    conn->write_deadline_ms = 0;
    shrink(&conn->flight);
    if (conn->state == HW_CONN_CLOSED)
        return;
    if (status < 0) {
        hw_conn_close(conn);
        return;
    }
    hw_conn_flush(conn);
    if (conn->state == HW_CONN_FLUSHING && hw_conn_unsent(conn) == 0)
        hw_conn_after_answer(conn);
}

/* libuv takes what is left of out from `from` on. */
static void
take_off(struct hw_conn *conn, size_t from)
{
    struct hw_buf empty = conn->flight;
    conn->flight = conn->out;
    conn->out = empty;

    uv_buf_t rest = uv_buf_init(conn->flight.data + from, (unsigned)(conn->flight.len - from));
    conn->in_flight = true;
    conn->write_req.data = conn;
    conn->write_queue_seen = rest.len;
    conn->write_deadline_ms = uv_now(conn->server->loop) + conn->server->limits.write_timeout_ms;
    if (uv_write(&conn->write_req, (uv_stream_t *)&conn->tcp, &rest, 1, on_written) != 0) {
        conn->in_flight = false;
        hw_conn_close(conn);
    }
}

static void
note_first(struct hw_conn *conn)
{
    struct hw_http_server_stats *stats = &conn->server->stats;

    conn->stream.first_waits = false;
    if (conn->stream.first_turn == conn->server->turn)
        stats->first_same_turn++;
    else
        stats->first_later_turn++;
}

void
hw_conn_flush(struct hw_conn *conn)
{
    if (conn->state == HW_CONN_CLOSED)
        return;
    if (conn->broken) {
        hw_conn_close(conn);
        return;
    }
    if (!conn->in_flight && conn->out.len > 0) {
        uv_buf_t buf = uv_buf_init(conn->out.data, (unsigned)conn->out.len);
        int n = uv_try_write((uv_stream_t *)&conn->tcp, &buf, 1);
        if (n < 0 && n != UV_EAGAIN) {
            hw_conn_close(conn);
            return;
        }
        if (conn->stream.first_waits)
            note_first(conn);
        if (n >= 0 && (size_t)n == conn->out.len)
            shrink(&conn->out);
        else
            take_off(conn, n > 0 ? (size_t)n : 0);
    }
    drained(conn);
}

void
hw_conn_send(struct hw_conn *conn, const char *head, size_t head_len, const char *body,
             size_t body_len)
{
    size_t sent = 0;
    if (hw_conn_unsent(conn) == 0) {
        uv_buf_t bufs[2] = {{(char *)(uintptr_t)head, head_len},
                            {(char *)(uintptr_t)body, body_len}};
        int n = uv_try_write((uv_stream_t *)&conn->tcp, bufs, body_len > 0 ? 2 : 1);
        if (n < 0 && n != UV_EAGAIN) {
            hw_conn_close(conn);
            return;
        }
        sent = n > 0 ? (size_t)n : 0;
        if (sent == head_len + body_len)
            return;
    }
    if (sent < head_len)
        hw_conn_queue(conn, head + sent, head_len - sent);
    sent = sent > head_len ? sent - head_len : 0;
    if (sent < body_len)
        hw_conn_queue(conn, body + sent, body_len - sent);
    hw_conn_flush(conn);
}

bool
hw_conn_write_stalled(struct hw_conn *conn, uint64_t now_ms)
{
    if (!conn->in_flight)
        return false;
    size_t left = uv_stream_get_write_queue_size((uv_stream_t *)&conn->tcp);
    if (left != conn->write_queue_seen) {
        conn->write_queue_seen = left;
        conn->write_deadline_ms = now_ms + conn->server->limits.write_timeout_ms;
        return false;
    }
    return now_ms >= conn->write_deadline_ms;
}
