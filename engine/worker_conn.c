/* engine/worker_conn.c - the worker's sockets. A connection that breaks the protocol or its limits
 * is closed with all its streams; the others do not notice. */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/worker_parts.h"

#define READ_BYTES ((size_t)64 << 10)

void
conn_accept(struct worker *w)
{
    int fd = accept4(w->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return; /* it left again, or descriptors are short: the peer will try anew */
    struct connection *conn = calloc(1, sizeof(*conn));
    if (conn == NULL || w->connection_count >= WORKER_MAX_CONNECTIONS) {
        free(conn);
        close(fd);
        worker_log(w, "warn", "connection refused: %u are open", w->connection_count);
        return;
    }
    conn->fd = fd;
    hw_buf_init(&conn->in, HW_FRAME_HEAD_BYTES + HW_FRAME_MAX_PAYLOAD + READ_BYTES);
    hw_buf_init(&conn->out, WORKER_OUT_MAX_BYTES);
    conn->next = w->connections;
    if (conn->next != NULL)
        conn->next->prev = conn;
    w->connections = conn;
    w->connection_count++;
    w->ever_connected = true;
    hw_frame_put_hello(&conn->out, &w->hello);
    conn_flush(conn);
}

/* All whole frames in the buffer. */
static void
take_frames(struct worker *w, struct connection *conn)
{
    size_t at = 0;

    while (!conn->broken) {
        const uint8_t *bytes = (const uint8_t *)conn->in.data + at;
        struct hw_frame frame;
        struct hw_err err = {{0}};
        size_t used = 0;
        int rc = hw_frame_parse(bytes, conn->in.len - at, &frame, &used, &err);
        if (rc == 0)
            break;
        if (rc < 0 || !stream_take_frame(w, conn, &frame, &err)) {
            worker_log(w, "warn", "connection closed: %s", err.msg);
            conn->broken = true;
        }
        at += used;
    }
    hw_buf_consume(&conn->in, at);
}

void
conn_read(struct worker *w, struct connection *conn)
{
    if (hw_buf_reserve(&conn->in, READ_BYTES) != 0) { /* in never holds more than a frame: memory */
        conn->broken = true;
        return;
    }
    ssize_t n = recv(conn->fd, conn->in.data + conn->in.len, READ_BYTES, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        conn->broken = conn->ended = true;
        return;
    }
    conn->in.len += (size_t)n;
    take_frames(w, conn);
}

void
conn_flush(struct connection *conn)
{
    if (conn->out.failed)
        conn->broken = true;
    if (conn->broken || conn->out.len == 0)
        return;
    ssize_t n = send(conn->fd, conn->out.data, conn->out.len, MSG_NOSIGNAL);
    if (n > 0)
        hw_buf_consume(&conn->out, (size_t)n);
    else if (n < 0 && errno != EAGAIN && errno != EINTR)
        conn->broken = conn->ended = true;
}

bool
conn_is_full(const struct connection *conn)
{
    return conn->out.len >= WORKER_OUT_PAUSE_BYTES;
}

void
conn_close(struct worker *w, struct connection *conn)
{
    while (conn->streams != NULL)
        stream_destroy(w, conn->streams);
    if (conn->prev != NULL)
        conn->prev->next = conn->next;
    else
        w->connections = conn->next;
    if (conn->next != NULL)
        conn->next->prev = conn->prev;
    w->connection_count--;
    close(conn->fd);
    hw_buf_free(&conn->in);
    hw_buf_free(&conn->out);
    free(conn);
}
