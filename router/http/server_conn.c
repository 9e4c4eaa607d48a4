/* router/http/server_conn.c - one connection of an agent.
 *
 * The socket is read whatever the state, because a stopped libuv read reports no FIN: what comes
 * behind the current request waits in pending (bounded; reading stops only while that is full) and
 * is parsed when the stream ends. Requests are taken in a loop, never by recursion: an answer given
 * within on_request only moves the state, and the loop further up the stack goes on. An answer
 * given later marks the connection dirty, and the end of the turn takes the next request.
 *
 * A FIN while a stream is open counts as the agent having left (HAProxy calls it abortonclose):
 * the work behind a query is dear, and an agent that half-closes and waits is rare. */
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "router/http/server_private.h"

/* A slow upload lives as long as this much arrives within each body timeout. */
#define BODY_PROGRESS_BYTES ((uint64_t)16 * 1024)

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf);
static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf);

static void
start_reading(struct hw_conn *conn)
{
    if (conn->reading || conn->state == HW_CONN_CLOSED)
        return;
    if (uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read) != 0)
        hw_conn_close(conn);
    else
        conn->reading = true;
}

static void
stop_reading(struct hw_conn *conn)
{
    uv_read_stop((uv_stream_t *)&conn->tcp);
    conn->reading = false;
}

static void
set_deadline(struct hw_conn *conn, uint32_t ms)
{
    conn->deadline_ms = uv_now(conn->server->loop) + ms;
}

void
hw_conn_set_state(struct hw_conn *conn, enum hw_conn_state state)
{
    HW_ASSERT(conn->state != HW_CONN_CLOSED);
    conn->state = state;
    conn->deadline_ms = 0;
}

static void
begin_request(struct hw_conn *conn)
{
    const struct hw_http_limits *limits = &conn->server->limits;
    hw_request_begin(&conn->reader, limits);
    conn->body_mark_bytes = 0;
    hw_conn_set_state(conn, HW_CONN_READING);
    set_deadline(conn, conn->served ? limits->keepalive_ms : limits->header_timeout_ms);
}

static void
start_stream(struct hw_conn *conn)
{
    struct hw_http_server *server = conn->server;

    hw_conn_set_state(conn, HW_CONN_STREAM);
    conn->keep_alive = conn->reader.keep_alive && !server->draining;
    conn->stream = (struct hw_http_stream){.open = true,
                                           .bodiless = conn->reader.request.method == HW_HTTP_HEAD};
    server->active++;
    server->handler.on_request(server->handler.ctx, &conn->stream);
}

/* Gives the reader some bytes and acts on where that has brought it. */
static size_t
take(struct hw_conn *conn, const char *bytes, size_t len)
{
    struct hw_request_reader *reader = &conn->reader;
    const struct hw_http_limits *limits = &conn->server->limits;
    enum hw_request_state before = reader->state;

    size_t used = hw_request_feed(reader, bytes, len);
    if (before == HW_REQUEST_IDLE && reader->state != HW_REQUEST_IDLE) {
        reader->request.received_ns = uv_hrtime();
        set_deadline(conn, limits->header_timeout_ms);
    }
    switch (reader->state) {
    case HW_REQUEST_BODY:
        if (before != HW_REQUEST_BODY) {
            set_deadline(conn, limits->body_timeout_ms);
            if (reader->expects_continue && reader->body_bytes == 0)
                hw_conn_send(conn, "HTTP/1.1 100 Continue\r\n\r\n", 25, NULL, 0);
        } else if (reader->body_bytes - conn->body_mark_bytes >= BODY_PROGRESS_BYTES) {
            conn->body_mark_bytes = reader->body_bytes;
            set_deadline(conn, limits->body_timeout_ms);
        }
        break;
    case HW_REQUEST_DONE:
        start_stream(conn);
        break;
    case HW_REQUEST_FAILED:
        hw_conn_refuse(conn, reader->status, reader->what);
        break;
    default:
        break;
    }
    return used;
}

/* Takes requests until the bytes are used up or one is left open. */
static size_t
take_all(struct hw_conn *conn, const char *bytes, size_t len)
{
    size_t used = 0;
    conn->running = true;
    while (used < len && conn->state == HW_CONN_READING)
        used += take(conn, bytes + used, len - used);
    conn->running = false;
    return used;
}

/* In a drain a connection goes when nothing of a next request has come. */
static void
leave_if_idle(struct hw_conn *conn)
{
    if (conn->server->draining && conn->served && conn->state == HW_CONN_READING &&
        conn->reader.state == HW_REQUEST_IDLE && conn->pending.len == 0)
        hw_conn_close(conn);
}

void
hw_conn_pump(struct hw_conn *conn)
{
    if (conn->running || conn->state != HW_CONN_READING)
        return;
    if (conn->pending.len > 0) {
        size_t used = take_all(conn, conn->pending.data, conn->pending.len);
        hw_buf_consume(&conn->pending, used);
        if (conn->pending.len == 0)
            hw_buf_free(&conn->pending); /* few agents pipeline: idle ones need not pay */
        start_reading(conn);
    }
    leave_if_idle(conn);
}

static void
on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct hw_conn *conn = handle->data;
    size_t room = HW_PENDING_MAX_BYTES - conn->pending.len;
    buf->base = conn->server->read_buf;
    buf->len = room < HW_READ_BYTES ? room : HW_READ_BYTES;
}

static void
keep_pending(struct hw_conn *conn, const char *bytes, size_t len)
{
    if (conn->state == HW_CONN_CLOSED || conn->state == HW_CONN_LINGER || len == 0)
        return;
    if (hw_buf_append(&conn->pending, bytes, len) != 0)
        hw_conn_close(conn);
    else if (conn->pending.len == HW_PENDING_MAX_BYTES)
        stop_reading(conn);
}

static void
on_bytes(struct hw_conn *conn, const char *bytes, size_t len)
{
    switch (conn->state) {
    case HW_CONN_READING:
        if (conn->pending.len == 0) {
            size_t used = take_all(conn, bytes, len);
            keep_pending(conn, bytes + used, len - used);
            leave_if_idle(conn);
        } else {
            keep_pending(conn, bytes, len);
            hw_conn_pump(conn);
        }
        break;
    case HW_CONN_STREAM:
    case HW_CONN_FLUSHING:
        keep_pending(conn, bytes, len);
        break;
    case HW_CONN_LINGER:
        if (len >= conn->linger_left_bytes)
            hw_conn_close(conn);
        else
            conn->linger_left_bytes -= len;
        break;
    case HW_CONN_CLOSED:
        break;
    }
}

static void
on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    struct hw_conn *conn = stream->data;

    if (nread > 0) {
        on_bytes(conn, buf->base, (size_t)nread);
    } else if (nread == UV_EOF && conn->state == HW_CONN_FLUSHING) {
        /* It will send no more but may well read on: let it have its answer. */
        conn->keep_alive = conn->linger = false;
        hw_buf_free(&conn->pending);
        stop_reading(conn);
    } else if (nread < 0) {
        hw_conn_close(conn);
    }
}

/* Sends FIN but reads on: closing with unread bytes would send RST, and the answer could be lost
 * before the agent has read it. */
static void
start_lingering(struct hw_conn *conn)
{
    uv_os_fd_t fd;
    if (uv_fileno((uv_handle_t *)&conn->tcp, &fd) != 0 || shutdown(fd, SHUT_WR) != 0) {
        hw_conn_close(conn);
        return;
    }
    hw_buf_free(&conn->pending);
    hw_conn_set_state(conn, HW_CONN_LINGER);
    set_deadline(conn, HW_LINGER_MS);
    conn->linger_left_bytes = HW_LINGER_MAX_BYTES;
    start_reading(conn);
}

void
hw_conn_after_answer(struct hw_conn *conn)
{
    if (conn->state == HW_CONN_CLOSED)
        return;
    conn->served = true;
    if (conn->keep_alive) {
        begin_request(conn);
        if (!conn->running && (conn->pending.len > 0 || conn->server->draining))
            hw_server_mark_dirty(conn);
    } else if (conn->linger || conn->pending.len > 0) {
        start_lingering(conn);
    } else {
        hw_conn_close(conn);
    }
}

void
hw_conn_on_deadline(struct hw_conn *conn)
{
    bool waited_for =
        conn->state == HW_CONN_READING && (conn->reader.state != HW_REQUEST_IDLE || !conn->served);

    conn->deadline_ms = 0;
    conn->server->stats.timed_out += waited_for;
    if (conn->state != HW_CONN_READING || conn->reader.state == HW_REQUEST_IDLE)
        hw_conn_close(conn);
    else
        hw_conn_refuse(conn, 408, "the request did not arrive in time");
}

void
hw_conn_end_stream(struct hw_conn *conn)
{
    HW_ASSERT(conn->stream.open && conn->server->active > 0);
    conn->stream.open = false;
    conn->server->active--;
    if (conn->state != HW_CONN_CLOSED)
        hw_conn_set_state(conn, HW_CONN_FLUSHING);
    else if (!conn->handle_open)
        hw_server_mark_dirty(conn); /* released at the end of the turn: somebody may be walking */
}

void
hw_conn_release(struct hw_conn *conn)
{
    struct hw_http_server *server = conn->server;

    if (conn->handle_open || conn->stream.open || conn->dirty)
        return;
    if (conn->prev != NULL)
        conn->prev->next = conn->next;
    else
        server->conns = conn->next;
    if (conn->next != NULL)
        conn->next->prev = conn->prev;
    hw_request_free(&conn->reader);
    hw_buf_free(&conn->pending);
    hw_buf_free(&conn->out);
    hw_buf_free(&conn->flight);
    free(conn);
}

static void
on_closed(uv_handle_t *handle)
{
    struct hw_conn *conn = handle->data;
    struct hw_http_server *server = conn->server;

    conn->handle_open = false;
    server->conn_count--;
    server->extra_count -= conn->extra;
    hw_conn_release(conn);
    hw_server_handle_closed(server);
}

/* An owner without on_gone cannot know; its stream stays good, into the void, until it ends it. */
static void
tell_owner(struct hw_conn *conn)
{
    struct hw_http_watcher watcher = conn->stream.watcher;
    if (!conn->stream.open || watcher.on_gone == NULL)
        return;
    hw_conn_end_stream(conn);
    watcher.on_gone(watcher.ctx);
}

void
hw_conn_close(struct hw_conn *conn)
{
    if (conn->state == HW_CONN_CLOSED)
        return;
    hw_conn_set_state(conn, HW_CONN_CLOSED);
    uv_close((uv_handle_t *)&conn->tcp, on_closed);
    tell_owner(conn);
}

void
hw_conn_reset(struct hw_conn *conn)
{
    if (conn->state == HW_CONN_CLOSED)
        return;
    hw_conn_set_state(conn, HW_CONN_CLOSED);
    if (uv_tcp_close_reset(&conn->tcp, on_closed) != 0)
        uv_close((uv_handle_t *)&conn->tcp, on_closed);
    tell_owner(conn);
}

static void
note_peer(struct hw_http_request *request, const struct sockaddr *peer)
{
    if (peer->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)peer;
        inet_ntop(AF_INET, &v4->sin_addr, request->peer, sizeof(request->peer));
        request->peer_is_loopback = (ntohl(v4->sin_addr.s_addr) >> 24) == 127;
    } else if (peer->sa_family == AF_INET6) {
        const struct in6_addr *v6 = &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr;
        inet_ntop(AF_INET6, v6, request->peer, sizeof(request->peer));
        request->peer_is_loopback =
            IN6_IS_ADDR_LOOPBACK(v6) || (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == 127);
    }
}

void
hw_conn_accept(struct hw_http_server *server, int fd, const struct sockaddr *peer, bool extra)
{
    struct hw_conn *conn = hw_xcalloc(1, sizeof(*conn));

    conn->server = server;
    conn->extra = extra;
    conn->handle_open = true;
    hw_request_init(&conn->reader);
    hw_buf_init(&conn->pending, HW_PENDING_MAX_BYTES);
    hw_buf_init(&conn->out, HW_OUT_MAX_BYTES);
    hw_buf_init(&conn->flight, HW_OUT_MAX_BYTES);
    note_peer(&conn->reader.request, peer);
    HW_ASSERT(uv_tcp_init(server->loop, &conn->tcp) == 0);
    conn->tcp.data = conn;
    conn->next = server->conns;
    if (conn->next != NULL)
        conn->next->prev = conn;
    server->conns = conn;
    server->conn_count++;
    server->extra_count += extra;
    server->open_handles++;

    begin_request(conn);
    if (uv_tcp_open(&conn->tcp, fd) != 0) {
        close(fd);
        hw_conn_close(conn);
        return;
    }
    start_reading(conn);
    if (extra && conn->state == HW_CONN_READING)
        hw_conn_refuse(conn, 503, "too many connections");
}
