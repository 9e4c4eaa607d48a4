/* router/workers_link.c - a connection to one worker process, and the frames that come on it.
 *
 * What comes is checked as if a stranger sent it: a frame out of place, or TEXT beyond the credit,
 * ends the connection and so every call on it. Frames of streams that are not open are passed over:
 * a CANCEL of ours may have crossed them. */
#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"
#include "router/log.h"
#include "router/workers_private.h"

#define RETRY_MS 20u
#define HELLO_MS 30000u
#define READ_BYTES 65536u
#define MAX_UNSENT_BYTES (64u << 20)

static void settle_later(struct hw_worker_link *link);

/* --- writing --------------------------------------------------------------------------------- */

struct write {
    uv_write_t req;
    char *bytes;
};

static void
on_written(uv_write_t *req, int status)
{
    struct write *write = (struct write *)req;

    (void)status; /* a broken connection shows in reading, too */
    free(write->bytes);
    free(write);
}

void
hw_link_write(struct hw_worker_link *link, struct hw_buf *out)
{
    uv_stream_t *stream = (uv_stream_t *)&link->pipe;
    uv_buf_t buf = uv_buf_init(out->data, (unsigned)out->len);

    int n = uv_try_write(stream, &buf, 1);
    size_t sent = n > 0 ? (size_t)n : 0;
    if (sent == out->len || (n < 0 && n != UV_EAGAIN)) {
        hw_buf_free(out);
        return;
    }
    struct write *write = hw_xcalloc(1, sizeof(*write));
    write->bytes = out->data;
    buf = uv_buf_init(out->data + sent, (unsigned)(out->len - sent));
    *out = (struct hw_buf){.max = out->max};
    if (uv_write(&write->req, stream, &buf, 1, on_written) != 0) {
        free(write->bytes);
        free(write);
    }
}

bool
hw_link_congested(const struct hw_worker_link *link)
{
    return uv_stream_get_write_queue_size((const uv_stream_t *)&link->pipe) > MAX_UNSENT_BYTES;
}

/* --- ending ---------------------------------------------------------------------------------- */

static void
on_timer_closed(uv_handle_t *handle)
{
    struct hw_worker_link *link = handle->data;
    struct hw_workers *workers = link->workers;
    struct hw_worker_link **at = &workers->links;

    while (*at != link)
        at = &(*at)->next;
    *at = link->next;
    hw_board_slot_linked(workers->board, link->slot, -1);
    hw_slot_load_unref(&link->load);
    hw_buf_free(&link->in);
    free(link->backend);
    free(link);
    hw_workers_handle_closed(workers);
}

static void
free_link(struct hw_worker_link *link)
{
    if (!uv_is_closing((uv_handle_t *)&link->timer))
        uv_close((uv_handle_t *)&link->timer, on_timer_closed);
}

static void
on_pipe_closed(uv_handle_t *handle)
{
    struct hw_worker_link *link = handle->data;

    link->pipe_open = false;
    link->state = HW_LINK_DOWN;
    hw_buf_clear(&link->in);
    if (link->gone)
        free_link(link);
    else
        settle_later(link);
}

/* The calls are failed one by one off the front: their callbacks may cancel others, or ask anew
 * (which this link, no longer UP, is not asked for). */
static void
disconnect(struct hw_worker_link *link, const char *why)
{
    if (link->state == HW_LINK_CLOSING)
        return;
    if (link->state == HW_LINK_UP)
        hw_board_slot_parted(link->workers->board, link->slot, &link->workers->async);
    link->state = HW_LINK_CLOSING;
    uv_timer_stop(&link->timer);
    if (link->pipe_open)
        uv_close((uv_handle_t *)&link->pipe, on_pipe_closed);
    for (uint32_t bucket = 0; bucket < HW_LINK_BUCKETS; bucket++)
        while (link->calls[bucket] != NULL)
            hw_worker_call_fail(link->calls[bucket], HW_EIO, why);
}

void
hw_link_remove(struct hw_worker_link *link, const char *why)
{
    bool was_down = link->state == HW_LINK_DOWN;

    link->gone = true;
    if (was_down)
        free_link(link);
    else
        disconnect(link, why);
}

/* --- frames ---------------------------------------------------------------------------------- */

static struct hw_worker_call *
find_call(const struct hw_worker_link *link, uint32_t stream)
{
    struct hw_worker_call *call = link->calls[stream % HW_LINK_BUCKETS];

    while (call != NULL && call->stream != stream)
        call = call->next;
    return call;
}

void
hw_link_attach(struct hw_worker_link *link, struct hw_worker_call *call)
{
    struct hw_worker_call **bucket = &link->calls[call->stream % HW_LINK_BUCKETS];

    call->link = link;
    call->prev = NULL;
    call->next = *bucket;
    if (call->next != NULL)
        call->next->prev = call;
    *bucket = call;
    link->call_count++;
    atomic_fetch_add_explicit(&link->load->calls, 1, memory_order_relaxed);
}

static int
take_text(struct hw_worker_call *call, const struct hw_frame *frame, struct hw_err *err)
{
    if (frame->length > call->credit)
        return hw_err_set(err, HW_EINVAL, "it sent more than its credit");
    call->credit -= frame->length;
    call->started = true;
    if (frame->length > 0)
        call->events.on_text(call->ctx, (const char *)frame->payload, frame->length);
    return 0;
}

static int
take_logprobs(struct hw_worker_call *call, const struct hw_frame *frame, struct hw_err *err)
{
    struct hw_frame_logprob logprobs[1 + HW_FRAME_MAX_TOP_LOGPROBS];
    const uint8_t *at = frame->payload;
    size_t left = frame->length;

    if (frame->length > call->credit)
        return hw_err_set(err, HW_EINVAL, "it sent more than its credit");
    while (left > 0)
        if (hw_frame_next_logprobs(&at, &left, logprobs) == 0)
            return hw_err_set(err, HW_EINVAL, "malformed LOGPROBS frame");
    if (call->events.on_logprobs == NULL)
        return hw_err_set(err, HW_EINVAL, "it told log-probabilities that nobody asked for");
    call->credit -= frame->length;
    call->started = true;
    call->events.on_logprobs(call->ctx, frame->payload, frame->length);
    return 0;
}

static int
take_done(struct hw_worker_call *call, const struct hw_frame *frame, struct hw_err *err)
{
    uint64_t model = call->link->model;
    struct hw_frame_done done;
    struct hw_worker_events events = call->events;
    void *ctx = call->ctx;

    int rc = hw_frame_get_done(frame, &done, err);
    if (rc != 0)
        return rc;
    hw_worker_call_free(call);
    events.on_done(ctx, &done, model);
    return 0;
}

static int
take_error(struct hw_worker_call *call, const struct hw_frame *frame, struct hw_err *err)
{
    struct hw_frame_error error;

    int rc = hw_frame_get_error(frame, &error, err);
    if (rc != 0)
        return rc;
    hw_worker_call_fail(call, error.code < 0 ? error.code : HW_EIO, error.msg);
    return 0;
}

static int
take_call_frame(struct hw_worker_link *link, const struct hw_frame *frame, struct hw_err *err)
{
    struct hw_worker_call *call = find_call(link, frame->stream);

    switch (frame->type) {
    case HW_FRAME_START:
        if (call != NULL && !call->started) {
            call->started = true;
            call->events.on_start(call->ctx);
        }
        return 0;
    case HW_FRAME_TEXT:
        return call != NULL ? take_text(call, frame, err) : 0;
    case HW_FRAME_LOGPROBS:
        return call != NULL ? take_logprobs(call, frame, err) : 0;
    case HW_FRAME_DONE:
        return call != NULL ? take_done(call, frame, err) : 0;
    case HW_FRAME_ERROR:
        return call != NULL ? take_error(call, frame, err) : 0;
    default:
        return hw_err_set(err, HW_EINVAL, "it sent a frame of type %d", (int)frame->type);
    }
}

static int
take_hello(struct hw_worker_link *link, const struct hw_frame *frame, struct hw_err *err)
{
    struct hw_frame_hello hello;

    if (frame->type != HW_FRAME_HELLO)
        return hw_err_set(err, HW_EINVAL, "its first frame is no HELLO");
    int rc = hw_frame_get_hello(frame, &hello, err);
    if (rc != 0)
        return rc;
    uv_timer_stop(&link->timer);
    link->state = HW_LINK_UP;
    link->model = hw_worker_model_id(&hello);
    hw_board_slot_greeted(link->workers->board, link->slot, &link->workers->async, &hello);
    hw_workers_link_up(link);
    return 0;
}

static int
take_report(struct hw_worker_link *link, const struct hw_frame *frame, struct hw_err *err)
{
    struct hw_frame_report report;

    int rc = hw_frame_get_report(frame, &report, err);
    if (rc != 0)
        return rc;
    hw_board_slot_reported(link->workers->board, link->slot, &report);
    return 0;
}

static int
take_frame(struct hw_worker_link *link, const struct hw_frame *frame, struct hw_err *err)
{
    if (link->state == HW_LINK_GREETING)
        return take_hello(link, frame, err);
    if (frame->stream != 0)
        return take_call_frame(link, frame, err);
    if (frame->type == HW_FRAME_REPORT)
        return take_report(link, frame, err);
    return hw_err_set(err, HW_EINVAL, "it sent a frame of type %d without a stream",
                      (int)frame->type);
}

/* All whole frames, then the rest moves to the front once. A callback may end the connection. */
static void
take_frames(struct hw_worker_link *link)
{
    size_t at = 0;
    struct hw_err err = {""};

    while (link->state == HW_LINK_GREETING || link->state == HW_LINK_UP) {
        struct hw_frame frame;
        size_t used = 0;
        int rc = hw_frame_parse((const uint8_t *)link->in.data + at, link->in.len - at, &frame,
                                &used, &err);
        if (rc == 0)
            break;
        if (rc > 0)
            rc = take_frame(link, &frame, &err);
        if (rc < 0) {
            hw_log(HW_LOG_ERROR, "a worker of %s broke the protocol: %s", link->backend, err.msg);
            disconnect(link, "the worker broke the protocol");
            return;
        }
        at += used;
    }
    hw_buf_consume(&link->in, at);
    if (link->state == HW_LINK_UP)
        hw_link_settle(link); /* a retired one may be idle now */
}

/* --- the connection -------------------------------------------------------------------------- */

static void
on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct hw_worker_link *link = handle->data;

    (void)suggested;
    if (hw_buf_reserve(&link->in, READ_BYTES) != 0)
        *buf = uv_buf_init(NULL, 0); /* on_read gets ENOBUFS */
    else
        *buf = uv_buf_init(link->in.data + link->in.len, READ_BYTES);
}

static void
on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    struct hw_worker_link *link = stream->data;

    (void)buf;
    if (nread < 0) {
        disconnect(link, "the worker died");
        return;
    }
    link->in.len += (size_t)nread;
    take_frames(link);
}

static void
on_hello_late(uv_timer_t *timer)
{
    struct hw_worker_link *link = timer->data;

    hw_log(HW_LOG_WARN, "a worker of %s says nothing", link->backend);
    disconnect(link, "the worker says nothing");
}

static void
on_connected(uv_connect_t *req, int status)
{
    struct hw_worker_link *link = req->data;

    if (link->state != HW_LINK_CONNECTING)
        return; /* it is being closed */
    if (status != 0) {
        disconnect(link, "the worker is not there");
        return;
    }
    link->state = HW_LINK_GREETING;
    uv_timer_start(&link->timer, on_hello_late, HELLO_MS, 0);
    uv_read_start((uv_stream_t *)&link->pipe, on_alloc, on_read);
}

static void
connect_now(struct hw_worker_link *link)
{
    uv_pipe_init(link->workers->loop, &link->pipe, 0);
    link->pipe.data = link;
    link->connect_req.data = link;
    link->pipe_open = true;
    link->state = HW_LINK_CONNECTING;
    uv_pipe_connect(&link->connect_req, &link->pipe, link->path, on_connected);
}

static void
on_retry(uv_timer_t *timer)
{
    hw_link_settle(timer->data);
}

static void
settle_later(struct hw_worker_link *link)
{
    if (!link->retiring && hw_board_slot_running(link->workers->board, link->slot))
        uv_timer_start(&link->timer, on_retry, RETRY_MS, 0);
    else
        hw_link_settle(link);
}

void
hw_link_settle(struct hw_worker_link *link)
{
    if (link->gone)
        return;
    if (link->retiring && link->call_count == 0) {
        hw_link_remove(link, "the worker was taken away");
        return;
    }
    if (link->state == HW_LINK_DOWN && !link->retiring &&
        hw_board_slot_running(link->workers->board, link->slot)) {
        uv_timer_stop(&link->timer);
        connect_now(link);
    }
}

struct hw_worker_link *
hw_link_new(struct hw_workers *workers, const struct hw_board_view *view)
{
    struct hw_worker_link *link = hw_xcalloc(1, sizeof(*link));

    link->workers = workers;
    link->slot = view->id;
    link->backend = hw_xstrdup(view->backend);
    memcpy(link->path, view->path, sizeof(link->path));
    hw_buf_init(&link->in, HW_FRAME_HEAD_BYTES + HW_FRAME_MAX_PAYLOAD + READ_BYTES);
    uv_timer_init(workers->loop, &link->timer);
    link->timer.data = link;
    workers->open_handles++;
    link->next = workers->links;
    workers->links = link;
    hw_board_slot_linked(workers->board, link->slot, 1);
    link->load = hw_board_slot_load(workers->board, link->slot);
    return link;
}
