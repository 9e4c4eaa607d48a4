/* router/http/client_connect.c - from a name to a connected socket.
 *
 * All addresses of the name are tried in turn within the connect timeout. A libuv handle connects
 * once, so each further attempt waits for the last one's handle to be closed. */
#include <stddef.h>
#include <string.h>

#include "router/http/client_plain.h"

static void on_connected(uv_connect_t *req, int status);

/* Each address left gets its share of the time left, so that one that drops packets cannot use up
 * the time of one that would answer. */
static void
connect_next(struct hw_plain_conn *conn)
{
    struct hw_plain_origin *origin = conn->origin;
    uint64_t now = uv_now(conn->plain->loop);

    if (conn->next_address >= conn->addresses.count) {
        struct hw_err last = conn->error;
        hw_plain_conn_fail_soon(conn, HW_CALL_CONNECT, "cannot connect to %s:%u: %s", origin->host,
                                (unsigned)origin->port, last.msg);
        return;
    }
    size_t left = conn->addresses.count - conn->next_address;
    union hw_address *address = &conn->addresses.list[conn->next_address++];
    if (address->any.sa_family == AF_INET)
        address->v4.sin_port = htons(origin->port);
    else
        address->v6.sin6_port = htons(origin->port);
    uv_tcp_init(conn->plain->loop, &conn->tcp);
    conn->tcp_open = true;
    int rc = uv_tcp_connect(&conn->connect_req, &conn->tcp, &address->any, on_connected);
    if (rc != 0) {
        snprintf(conn->error.msg, sizeof(conn->error.msg), "%s", uv_strerror(rc));
        conn->state = HW_PLAIN_NEXT_ADDRESS;
        uv_close((uv_handle_t *)&conn->tcp, hw_plain_conn_on_tcp_closed);
        return;
    }
    conn->state = HW_PLAIN_CONNECTING;
    uint64_t time = conn->connect_deadline_ms > now ? conn->connect_deadline_ms - now : 0;
    hw_plain_conn_arm(conn, now + time / left);
}

void
hw_plain_conn_attempt_failed(struct hw_plain_conn *conn, const char *what)
{
    snprintf(conn->error.msg, sizeof(conn->error.msg), "%s", what);
    conn->state = HW_PLAIN_NEXT_ADDRESS;
    conn->deadline_ms = HW_PLAIN_NEVER; /* closing a handle takes no time worth watching */
    uv_close((uv_handle_t *)&conn->tcp, hw_plain_conn_on_tcp_closed);
}

void
hw_plain_conn_on_tcp_closed(uv_handle_t *handle)
{
    struct hw_plain_conn *conn = handle->data;

    conn->tcp_open = false;
    conn->writing = false;
    if (conn->state == HW_PLAIN_NEXT_ADDRESS)
        connect_next(conn);
    else
        hw_plain_conn_recycle(conn);
}

static void
on_connected(uv_connect_t *req, int status)
{
    struct hw_plain_conn *conn = req->data;

    if (conn->state != HW_PLAIN_CONNECTING)
        return; /* its handle is being closed */
    if (status != 0) {
        hw_plain_conn_attempt_failed(conn, uv_strerror(status));
        return;
    }
    uv_tcp_nodelay(&conn->tcp, 1);
    hw_plain_conn_send(conn, conn->call);
}

static void
on_resolved(struct hw_resolve_waiter *waiter, const struct hw_addresses *addresses,
            const char *what)
{
    struct hw_plain_conn *conn =
        (struct hw_plain_conn *)((char *)waiter - offsetof(struct hw_plain_conn, waiter));

    if (addresses == NULL) {
        hw_plain_conn_fail_soon(conn, HW_CALL_CONNECT, "cannot resolve %s: %s", conn->origin->host,
                                what);
        return;
    }
    conn->addresses = *addresses;
    connect_next(conn);
}

void
hw_plain_conn_open(struct hw_plain_conn *conn, struct hw_plain_call *call)
{
    struct hw_err err;

    conn->call = call;
    call->conn = conn;
    conn->state = HW_PLAIN_RESOLVING;
    conn->connect_deadline_ms = uv_now(conn->plain->loop) + call->base.connect_ms;
    conn->waiter.on_resolved = on_resolved;
    int rc = hw_resolver_ask(conn->plain->resolver, conn->origin->host, &conn->waiter,
                             &conn->addresses, &err);
    if (rc > 0)
        connect_next(conn);
    else if (rc == 0)
        hw_plain_conn_arm(conn, conn->connect_deadline_ms);
    else
        hw_plain_conn_fail_soon(conn, HW_CALL_CONNECT, "%s", err.msg);
}
