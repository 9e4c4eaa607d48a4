/* router/http/client_pool.c - connection objects and the origins that hold the idle ones.
 *
 * Idle connections are taken last in, first out: the one used last is the least likely to have been
 * closed by its peer, and the others can grow old and go. Objects are kept with their buffers and
 * their timer handle, so that a connection costs no allocation but libuv's own. */
#include "router/http/client_plain.h"

#include <string.h>

#include "hatchway/assert.h"

static char *
host_line(const char *host, uint16_t port)
{
    struct hw_buf line;
    bool v6 = strchr(host, ':') != NULL;

    hw_buf_init(&line, 4096);
    hw_buf_printf(&line, v6 ? "Host: [%s]" : "Host: %s", host);
    if (port != 80)
        hw_buf_printf(&line, ":%u", (unsigned)port);
    hw_buf_puts(&line, "\r\n");
    HW_ASSERT(!line.failed); /* a host comes from the configuration */
    return line.data;
}

struct hw_plain_origin *
hw_plain_origin_get(struct hw_plain *plain, const char *host, uint16_t port)
{
    for (struct hw_plain_origin *origin = plain->origins; origin != NULL; origin = origin->next)
        if (origin->port == port && strcmp(origin->host, host) == 0) {
            origin->refs++;
            return origin;
        }
    struct hw_plain_origin *origin = hw_xcalloc(1, sizeof(*origin));
    origin->host = strdup(host);
    HW_ASSERT(origin->host != NULL);
    origin->port = port;
    origin->host_line = host_line(host, port);
    origin->host_line_len = strlen(origin->host_line);
    origin->refs = 1;
    origin->next = plain->origins;
    plain->origins = origin;
    return origin;
}

/* An origin lives as long as it has a connection: a backend that a reload took away leaves
 * nothing. */
void
hw_plain_origin_put(struct hw_plain *plain, struct hw_plain_origin *origin)
{
    HW_ASSERT(origin->refs > 0);
    if (--origin->refs > 0)
        return;
    HW_ASSERT(origin->idle_count == 0);
    struct hw_plain_origin **link = &plain->origins;
    while (*link != origin)
        link = &(*link)->next;
    *link = origin->next;
    free(origin->host);
    free(origin->host_line);
    free(origin);
}

static struct hw_plain_conn *
object_new(struct hw_plain *plain)
{
    struct hw_plain_conn *conn = plain->spare_conns;

    if (conn != NULL) {
        plain->spare_conns = conn->next;
        plain->spare_conn_count--;
        return conn;
    }
    conn = hw_xcalloc(1, sizeof(*conn));
    conn->plain = plain;
    conn->timer.data = conn;
    conn->tcp.data = conn;
    conn->connect_req.data = conn;
    conn->write_req.data = conn;
    uv_timer_init(plain->loop, &conn->timer);
    hw_client_answer_init(&conn->answer, &hw_plain_conn_answer_events, conn);
    hw_buf_init(&conn->held, HW_PLAIN_READ_BYTES);
    plain->object_count++;
    return conn;
}

struct hw_plain_conn *
hw_plain_conn_new(struct hw_plain *plain, struct hw_plain_origin *origin)
{
    struct hw_plain_conn *conn = object_new(plain);

    conn->origin = origin;
    origin->refs++;
    conn->reused = false;
    conn->next_address = 0;
    conn->addresses.count = 0;
    conn->armed_ms = 0;
    conn->deadline_ms = HW_PLAIN_NEVER;
    conn->error.msg[0] = '\0';
    conn->prev = NULL;
    conn->next = plain->conns;
    if (conn->next != NULL)
        conn->next->prev = conn;
    plain->conns = conn;
    return conn;
}

static void
idle_unlink(struct hw_plain_conn *conn)
{
    struct hw_plain_origin *origin = conn->origin;

    if (conn->newer_idle != NULL)
        conn->newer_idle->older_idle = conn->older_idle;
    else
        origin->newest_idle = conn->older_idle;
    if (conn->older_idle != NULL)
        conn->older_idle->newer_idle = conn->newer_idle;
    else
        origin->oldest_idle = conn->newer_idle;
    conn->newer_idle = conn->older_idle = NULL;
    origin->idle_count--;
}

struct hw_plain_conn *
hw_plain_conn_take_idle(struct hw_plain_origin *origin)
{
    struct hw_plain_conn *conn = origin->newest_idle;

    if (conn != NULL)
        idle_unlink(conn);
    return conn;
}

void
hw_plain_conn_make_idle(struct hw_plain_conn *conn)
{
    struct hw_plain_origin *origin = conn->origin;

    conn->state = HW_PLAIN_IDLE;
    conn->reused = true;
    conn->older_idle = origin->newest_idle;
    conn->newer_idle = NULL;
    if (conn->older_idle != NULL)
        conn->older_idle->newer_idle = conn;
    else
        origin->oldest_idle = conn;
    origin->newest_idle = conn;
    origin->idle_count++;
    hw_plain_conn_arm(conn, uv_now(conn->plain->loop) + HW_PLAIN_IDLE_MS);
    if (origin->idle_count > HW_PLAIN_MAX_IDLE)
        hw_plain_conn_close(origin->oldest_idle);
}

void
hw_plain_conn_close(struct hw_plain_conn *conn)
{
    if (conn->state == HW_PLAIN_CLOSING)
        return;
    if (conn->state == HW_PLAIN_IDLE)
        idle_unlink(conn);
    conn->state = HW_PLAIN_CLOSING;
    conn->call = NULL;
    conn->resuming = conn->stopped = false;
    hw_client_answer_stop(&conn->answer);
    hw_resolver_forget(&conn->waiter);
    uv_timer_stop(&conn->timer);
    if (!conn->tcp_open)
        hw_plain_conn_recycle(conn);
    else if (!uv_is_closing((uv_handle_t *)&conn->tcp))
        uv_close((uv_handle_t *)&conn->tcp, hw_plain_conn_on_tcp_closed);
}

static void
on_object_closed(uv_handle_t *handle)
{
    struct hw_plain_conn *conn = handle->data;
    struct hw_plain *plain = conn->plain;

    hw_client_answer_free(&conn->answer);
    hw_buf_free(&conn->held);
    free(conn);
    plain->object_count--;
    if (plain->closing)
        plain->pool_closed_cb(plain);
}

void
hw_plain_conn_recycle(struct hw_plain_conn *conn)
{
    struct hw_plain *plain = conn->plain;

    if (conn->prev != NULL)
        conn->prev->next = conn->next;
    else
        plain->conns = conn->next;
    if (conn->next != NULL)
        conn->next->prev = conn->prev;
    hw_plain_origin_put(plain, conn->origin);
    conn->origin = NULL;
    hw_buf_free(&conn->held);
    if (plain->closing || plain->spare_conn_count >= HW_PLAIN_MAX_SPARE) {
        uv_close((uv_handle_t *)&conn->timer, on_object_closed);
        return;
    }
    conn->next = plain->spare_conns;
    plain->spare_conns = conn;
    plain->spare_conn_count++;
}

void
hw_plain_pool_close(struct hw_plain *plain, void (*closed_cb)(struct hw_plain *plain))
{
    plain->pool_closed_cb = closed_cb;
    while (plain->spare_conns != NULL) {
        struct hw_plain_conn *conn = plain->spare_conns;
        plain->spare_conns = conn->next;
        uv_close((uv_handle_t *)&conn->timer, on_object_closed);
    }
    struct hw_plain_conn *next;
    for (struct hw_plain_conn *conn = plain->conns; conn != NULL; conn = next) {
        next = conn->next; /* closing one may recycle it, never another */
        if (conn->call != NULL)
            hw_plain_call_release(conn->call);
        hw_plain_conn_close(conn);
    }
}
