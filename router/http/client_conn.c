/* router/http/client_conn.c - one connection with a call: send, read, end, and time.
 *
 * Timers: one a connection, armed lazily. A deadline that moves back (each read moves the idle
 * deadline) is only stored; when the timer fires early it is armed again for what is left. So most
 * calls never touch libuv's heap. */
#include "router/http/client_plain.h"

#include <string.h>

static void feed(struct hw_plain_conn *conn, const char *bytes, size_t len);

static uint64_t
now_ms(const struct hw_plain_conn *conn)
{
    return uv_now(conn->plain->loop);
}

void
hw_plain_conn_arm(struct hw_plain_conn *conn, uint64_t deadline_ms)
{
    conn->deadline_ms = deadline_ms;
    if (deadline_ms == HW_PLAIN_NEVER)
        return;
    if (uv_is_active((uv_handle_t *)&conn->timer) && conn->armed_ms <= deadline_ms)
        return;
    uint64_t now = now_ms(conn);
    conn->armed_ms = deadline_ms;
    uv_timer_start(&conn->timer, hw_plain_conn_on_timer, deadline_ms > now ? deadline_ms - now : 0,
                   0);
}

/* The call ends here, with a failure. The connection is given up. */
static void
fail(struct hw_plain_conn *conn, enum hw_call_failure failure, const struct hw_err *why)
{
    struct hw_plain_call *call = conn->call;
    struct hw_call_events events = call->base.events;
    void *ctx = call->base.ctx;
    struct hw_err err = *why;

    hw_plain_conn_close(conn);
    hw_plain_call_release(call);
    events.on_error(ctx, failure, &err);
}

/* The connection broke under the call. A kept connection may have been closed by its peer just as
 * the request went out: as long as not one byte of an answer came, that is tried once more, on a
 * connection of its own. */
static void
broken(struct hw_plain_conn *conn, const char *what)
{
    struct hw_plain_call *call = conn->call;

    if (conn->reused && !conn->got_bytes && !call->retried) {
        struct hw_plain_conn *fresh = hw_plain_conn_new(conn->plain, conn->origin);
        call->retried = true;
        hw_plain_conn_close(conn);
        hw_plain_conn_open(fresh, call);
        return;
    }
    struct hw_err err;
    hw_err_set(&err, HW_EIO, "%s:%u: %s", conn->origin->host, (unsigned)conn->origin->port, what);
    fail(conn, HW_CALL_RESET, &err);
}

void
hw_plain_conn_fail_soon(struct hw_plain_conn *conn, enum hw_call_failure failure, const char *fmt,
                        ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(conn->error.msg, sizeof(conn->error.msg), fmt, ap);
    va_end(ap);
    conn->failure = failure;
    conn->state = HW_PLAIN_FAILED;
    hw_plain_conn_arm(conn, now_ms(conn));
}

/* --- sending and reading --------------------------------------------------------------------- */

static void
arm_for_answer(struct hw_plain_conn *conn)
{
    const struct hw_call *call = &conn->call->base;

    if (call->paused)
        hw_plain_conn_arm(conn, HW_PLAIN_NEVER);
    else
        hw_plain_conn_arm(conn, now_ms(conn) + (conn->answer.body_bytes > 0 ? call->idle_ms
                                                                            : call->first_byte_ms));
}

static void
on_written(uv_write_t *req, int status)
{
    struct hw_plain_conn *conn = req->data;

    conn->writing = false;
    /* After a failed write the peer may still have said why: reading goes on until its end. */
    if (status == 0 && conn->state == HW_PLAIN_BUSY && !conn->got_bytes)
        arm_for_answer(conn);
}

static void
on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct hw_plain_conn *conn = handle->data;

    (void)suggested;
    *buf = uv_buf_init(conn->plain->read_buf, sizeof(conn->plain->read_buf));
}

static void
on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    struct hw_plain_conn *conn = stream->data;

    if (nread == 0)
        return;
    if (conn->state != HW_PLAIN_BUSY) { /* idle: its end, or bytes that answer nothing */
        hw_plain_conn_close(conn);
        return;
    }
    if (nread > 0) {
        conn->got_bytes = true;
        feed(conn, buf->base, (size_t)nread);
        return;
    }
    if (nread != UV_EOF || !conn->got_bytes) {
        broken(conn, nread == UV_EOF ? "the connection was closed without an answer"
                                     : uv_strerror((int)nread));
        return;
    }
    feed(conn, NULL, 0);
}

/* Writes what fits at once; libuv keeps the rest. True: the request is on its way. */
static bool
write_request(struct hw_plain_conn *conn)
{
    struct hw_plain_call *call = conn->call;
    uv_stream_t *stream = (uv_stream_t *)&conn->tcp;
    uv_buf_t parts[1 + HW_CALL_MAX_SEGMENTS];
    unsigned at = 0;

    int written = uv_try_write(stream, call->parts, call->part_count);
    if (written < 0 && written != UV_EAGAIN)
        return false;
    size_t sent = written > 0 ? (size_t)written : 0;
    while (at < call->part_count && sent >= call->parts[at].len)
        sent -= call->parts[at++].len;
    if (at == call->part_count)
        return true;
    unsigned count = call->part_count - at;
    memcpy(parts, call->parts + at, count * sizeof(parts[0]));
    parts[0] = uv_buf_init(parts[0].base + sent, (unsigned)(parts[0].len - sent));
    conn->writing = uv_write(&conn->write_req, stream, parts, count, on_written) == 0;
    return conn->writing;
}

/* An idle connection is already being read; a fresh one begins to be. */
void
hw_plain_conn_send(struct hw_plain_conn *conn, struct hw_plain_call *call)
{
    conn->call = call;
    call->conn = conn;
    conn->state = HW_PLAIN_BUSY;
    conn->got_bytes = conn->stopped = conn->resuming = false;
    hw_client_answer_begin(&conn->answer, call->head_request, call->base.max_response_bytes);
    if (!write_request(conn)) {
        uv_read_stop((uv_stream_t *)&conn->tcp);
        hw_plain_conn_fail_soon(conn, HW_CALL_RESET, "cannot write the request");
        return;
    }
    arm_for_answer(conn);
    if (!conn->reused && !call->base.paused)
        uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read);
}

static void
on_head(void *ctx, int status, const struct hw_http_head *head)
{
    struct hw_plain_conn *conn = ctx;
    const struct hw_call *call = &conn->call->base;

    call->events.on_head(call->ctx, status, head);
}

static void
on_body(void *ctx, const char *bytes, size_t len)
{
    struct hw_plain_conn *conn = ctx;
    const struct hw_call *call = &conn->call->base;

    call->events.on_body(call->ctx, bytes, len);
}

const struct hw_client_answer_events hw_plain_conn_answer_events = {on_head, on_body};

/* The connection is idle before the call hears of its end, so that a next one can have it. */
static void
done(struct hw_plain_conn *conn, bool clean)
{
    struct hw_plain_call *call = conn->call;
    struct hw_call_events events = call->base.events;
    void *ctx = call->base.ctx;

    conn->call = NULL;
    if (clean && conn->answer.keep_alive && !conn->writing) {
        hw_plain_conn_make_idle(conn);
        uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read); /* a pause may have ended it */
    } else {
        hw_plain_conn_close(conn);
    }
    hw_plain_call_release(call);
    events.on_done(ctx);
}

/* bytes NULL: the peer's end. The callbacks below this may cancel the call, which leaves the
 * connection in another state. */
static void
feed(struct hw_plain_conn *conn, const char *bytes, size_t len)
{
    size_t used = len;
    enum hw_client_answer_result result =
        bytes != NULL ? hw_client_answer_feed(&conn->answer, bytes, len, &used)
                      : hw_client_answer_end(&conn->answer);

    if (conn->state != HW_PLAIN_BUSY)
        return;
    conn->stopped = result == HW_CLIENT_ANSWER_STOPPED;
    switch (result) {
    case HW_CLIENT_ANSWER_MORE:
        if (conn->answer.body_bytes > 0 && !conn->call->base.paused)
            hw_plain_conn_arm(conn, now_ms(conn) + conn->call->base.idle_ms);
        break;
    case HW_CLIENT_ANSWER_STOPPED:
        uv_read_stop((uv_stream_t *)&conn->tcp); /* also when it was resumed meanwhile */
        if (hw_buf_append(&conn->held, bytes + used, len - used) != 0)
            broken(conn, "out of memory");
        else if (!conn->call->base.paused)
            hw_plain_conn_resume(conn);
        break;
    case HW_CLIENT_ANSWER_COMPLETE:
        done(conn, bytes != NULL && used == len);
        break;
    case HW_CLIENT_ANSWER_BAD: {
        struct hw_err err;
        hw_err_set(&err, HW_EIO, "%s:%u: %s", conn->origin->host, (unsigned)conn->origin->port,
                   conn->answer.error);
        fail(conn, bytes != NULL ? HW_CALL_PROTOCOL : HW_CALL_RESET, &err);
        break;
    }
    }
}

/* --- pause, resume, time --------------------------------------------------------------------- */

void
hw_plain_conn_pause(struct hw_plain_conn *conn)
{
    conn->resuming = false;
    if (conn->state != HW_PLAIN_BUSY)
        return;
    hw_client_answer_stop(&conn->answer);
    uv_read_stop((uv_stream_t *)&conn->tcp);
    conn->deadline_ms = HW_PLAIN_NEVER;
}

/* What is held is delivered by the timer, never from within the caller's resume. */
void
hw_plain_conn_resume(struct hw_plain_conn *conn)
{
    if (conn->state != HW_PLAIN_BUSY)
        return;
    if (conn->stopped) {
        conn->resuming = true;
        hw_plain_conn_arm(conn, now_ms(conn));
        return;
    }
    arm_for_answer(conn);
    uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read);
}

static void
deliver_held(struct hw_plain_conn *conn)
{
    struct hw_buf held = conn->held;

    hw_buf_init(&conn->held, HW_PLAIN_READ_BYTES);
    conn->resuming = false;
    arm_for_answer(conn);
    feed(conn, held.data != NULL ? held.data : "", held.len);
    hw_buf_free(&held);
    if (conn->state == HW_PLAIN_BUSY && !conn->stopped && !conn->call->base.paused)
        uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read);
}

static void
timed_out(struct hw_plain_conn *conn, enum hw_call_failure failure, const char *what,
          uint32_t after_ms)
{
    struct hw_err err;

    hw_err_set(&err, HW_ETIMEOUT, "%s:%u: %s within %u ms", conn->origin->host,
               (unsigned)conn->origin->port, what, (unsigned)after_ms);
    fail(conn, failure, &err);
}

static void
expire(struct hw_plain_conn *conn)
{
    switch (conn->state) {
    case HW_PLAIN_CONNECTING:
        if (now_ms(conn) < conn->connect_deadline_ms) {
            hw_plain_conn_attempt_failed(conn, "timed out");
            break;
        }
        timed_out(conn, HW_CALL_CONNECT, "no connection", conn->call->base.connect_ms);
        break;
    case HW_PLAIN_RESOLVING:
        timed_out(conn, HW_CALL_CONNECT, "name not resolved", conn->call->base.connect_ms);
        break;
    case HW_PLAIN_FAILED:
        if (conn->failure == HW_CALL_RESET)
            broken(conn, conn->error.msg);
        else
            fail(conn, conn->failure, &conn->error);
        break;
    case HW_PLAIN_BUSY:
        if (conn->resuming)
            deliver_held(conn);
        else if (conn->answer.body_bytes > 0)
            timed_out(conn, HW_CALL_TIMEOUT, "nothing more came", conn->call->base.idle_ms);
        else
            timed_out(conn, HW_CALL_TIMEOUT, "no answer came", conn->call->base.first_byte_ms);
        break;
    case HW_PLAIN_IDLE:
        hw_plain_conn_close(conn);
        break;
    case HW_PLAIN_NEXT_ADDRESS:
    case HW_PLAIN_CLOSING:
        break;
    }
}

void
hw_plain_conn_on_timer(uv_timer_t *timer)
{
    struct hw_plain_conn *conn = timer->data;

    if (conn->deadline_ms == HW_PLAIN_NEVER)
        return;
    if (conn->deadline_ms > now_ms(conn))
        hw_plain_conn_arm(conn, conn->deadline_ms);
    else
        expire(conn);
}
