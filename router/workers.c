/* router/workers.c - one loop's calls to the workers.
 *
 * A query's frames are built once, with a stream id of this loop's own counter, so that a query
 * that has to wait for a worker to come up is sent as it is to whichever comes first. */
#include "router/workers.h"

#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"
#include "router/workers_private.h"

#define TURN_BYTES (256u << 10)
#define MAX_ASK_BYTES (128u << 20)
#define CREDIT_STEP (16u << 10) /* given back in pieces of at least this */
#define SMALL_BYTES 64u         /* a CANCEL, a CREDIT */

/* --- calls ----------------------------------------------------------------------------------- */

/* Streams are unique among the open ones of all links, and never 0. */
static uint32_t
next_stream(struct hw_workers *workers)
{
    if (++workers->last_stream == 0)
        workers->last_stream = 1;
    return workers->last_stream;
}

static void
put_waiting(struct hw_workers *workers, struct hw_worker_call *call)
{
    call->next = workers->waiting;
    if (call->next != NULL)
        call->next->prev = call;
    workers->waiting = call;
}

static void
unlink_call(struct hw_worker_call *call)
{
    struct hw_worker_call **head = call->link != NULL
                                       ? &call->link->calls[call->stream % HW_LINK_BUCKETS]
                                       : &call->workers->waiting;

    if (call->prev != NULL)
        call->prev->next = call->next;
    else
        *head = call->next;
    if (call->next != NULL)
        call->next->prev = call->prev;
    call->prev = call->next = NULL;
    if (call->link != NULL) {
        call->link->call_count--;
        atomic_fetch_sub_explicit(&call->link->load->calls, 1, memory_order_relaxed);
    }
    call->link = NULL;
}

void
hw_worker_call_free(struct hw_worker_call *call)
{
    unlink_call(call);
    hw_buf_free(&call->ask);
    free(call->backend);
    free(call);
}

void
hw_worker_call_fail(struct hw_worker_call *call, int code, const char *what)
{
    struct hw_worker_events events = call->events;
    void *ctx = call->ctx;
    bool started = call->started;
    struct hw_err err;

    hw_err_set(&err, code, "%s", what);
    hw_worker_call_free(call);
    events.on_error(ctx, started, code, &err);
}

static int
build_ask(struct hw_buf *out, uint32_t stream, const struct hw_worker_ask *ask, struct hw_err *err)
{
    hw_frame_put_open(out, stream, ask->open);
    for (size_t i = 0; i < ask->turn_count && !out->failed; i++) {
        const struct hw_worker_turn *turn = &ask->turns[i];
        size_t at = 0;
        do {
            size_t len = turn->len - at < TURN_BYTES ? turn->len - at : TURN_BYTES;
            const char *bytes = len > 0 ? turn->bytes + at : "";
            if (hw_frame_put_turn(out, stream, turn->role, at > 0, bytes, len) != 0)
                break;
            at += len;
        } while (at < turn->len);
    }
    hw_frame_write(out, HW_FRAME_ASK, stream, NULL, 0);
    if (out->failed)
        return hw_err_set(err, HW_ELIMIT, "the prompt is larger than a worker is sent (%u MiB)",
                          MAX_ASK_BYTES >> 20);
    return 0;
}

/* --- waiting for a worker -------------------------------------------------------------------- */

static void
send_ask(struct hw_worker_link *link, struct hw_worker_call *call)
{
    hw_link_attach(link, call);
    hw_link_write(link, &call->ask);
    free(call->backend);
    call->backend = NULL;
}

/* The oldest first: it has waited longest. */
void
hw_workers_link_up(struct hw_worker_link *link)
{
    struct hw_worker_call *call = link->workers->waiting, *earlier;

    if (link->trial)
        return;
    while (call != NULL && call->next != NULL)
        call = call->next;
    for (; call != NULL; call = earlier) {
        earlier = call->prev;
        if (strcmp(call->backend, link->backend) != 0)
            continue;
        unlink_call(call);
        hw_affinity_note(hw_board_affinity(link->workers->board), &call->key, link->slot);
        send_ask(link, call);
    }
}

static void on_wait_over(uv_timer_t *timer);

static void
arm_wait_timer(struct hw_workers *workers)
{
    uint64_t now = uv_now(workers->loop), first = UINT64_MAX;

    for (struct hw_worker_call *call = workers->waiting; call != NULL; call = call->next)
        if (call->until_ms < first)
            first = call->until_ms;
    if (first == UINT64_MAX)
        uv_timer_stop(&workers->wait_timer);
    else
        uv_timer_start(&workers->wait_timer, on_wait_over, first > now ? first - now : 0, 0);
}

/* A callback may change the list: look again from its front. */
static void
on_wait_over(uv_timer_t *timer)
{
    struct hw_workers *workers = timer->data;
    uint64_t now = uv_now(workers->loop);
    struct hw_worker_call *call = workers->waiting;

    while (call != NULL) {
        if (call->until_ms <= now) {
            hw_worker_call_fail(call, HW_EUNAVAILABLE, "no worker came up in time");
            call = workers->waiting;
        } else {
            call = call->next;
        }
    }
    if (!workers->closing)
        arm_wait_timer(workers);
}

static void
drop_orphans(struct hw_workers *workers)
{
    struct hw_worker_call *call = workers->waiting;

    while (call != NULL) {
        if (!hw_board_has_backend(workers->board, call->backend)) {
            hw_worker_call_fail(call, HW_EUNAVAILABLE, "the backend was taken away");
            call = workers->waiting;
        } else {
            call = call->next;
        }
    }
}

int
hw_workers_ask(struct hw_workers *workers, const struct hw_worker_ask *ask,
               const struct hw_worker_events *events, void *ctx, struct hw_worker_call **out,
               struct hw_err *err)
{
    if (workers->closing)
        return hw_err_set(err, HW_ECANCELED, "the workers are being closed");
    struct hw_worker_link *link = hw_link_pick(workers, ask);
    if (link == NULL) {
        if (!hw_board_has_backend(workers->board, ask->backend))
            return hw_err_set(err, HW_ENOTFOUND, "%s is no local backend", ask->backend);
        if (ask->wait_ms == 0)
            return hw_err_set(err, HW_EUNAVAILABLE, "no worker of %s is up", ask->backend);
    }
    struct hw_worker_call *call = hw_xcalloc(1, sizeof(*call));
    call->workers = workers;
    call->stream = next_stream(workers);
    call->credit = HW_FRAME_FIRST_CREDIT;
    call->events = *events;
    call->ctx = ctx;
    hw_buf_init(&call->ask, MAX_ASK_BYTES);
    int rc = build_ask(&call->ask, call->stream, ask, err);
    if (rc != 0) {
        hw_buf_free(&call->ask);
        free(call);
        return rc;
    }
    *out = call;
    if (link != NULL) {
        send_ask(link, call);
        return 0;
    }
    call->backend = hw_xstrdup(ask->backend);
    call->key = hw_affinity_key(hw_board_affinity(workers->board), ask);
    call->until_ms = uv_now(workers->loop) + ask->wait_ms;
    put_waiting(workers, call);
    arm_wait_timer(workers);
    return 0;
}

void
hw_worker_call_cancel(struct hw_worker_call *call)
{
    struct hw_worker_link *link = call->link;

    if (link != NULL && link->state == HW_LINK_UP) {
        struct hw_buf out;
        hw_buf_init(&out, SMALL_BYTES);
        hw_frame_write(&out, HW_FRAME_CANCEL, call->stream, NULL, 0);
        hw_link_write(link, &out);
    }
    hw_worker_call_free(call);
    if (link != NULL && link->retiring)
        hw_link_settle(link);
}

void
hw_worker_call_took(struct hw_worker_call *call, size_t bytes)
{
    struct hw_worker_link *link = call->link;
    uint32_t owed = HW_FRAME_FIRST_CREDIT - call->credit - call->taken; /* delivered, not taken */

    call->taken += bytes < owed ? (uint32_t)bytes : owed;
    if (call->taken < CREDIT_STEP || link == NULL || link->state != HW_LINK_UP)
        return;
    struct hw_buf out;
    hw_buf_init(&out, SMALL_BYTES);
    hw_frame_put_credit(&out, call->stream, call->taken);
    hw_link_write(link, &out);
    call->credit += call->taken;
    call->taken = 0;
}

uint64_t
hw_worker_model_id(const struct hw_frame_hello *hello)
{
    uint64_t id;

    memcpy(&id, hello->digest, sizeof(id));
    return id | 1;
}

/* --- life ------------------------------------------------------------------------------------ */

/* The board changed: links for new slots, none for those gone, and each to its right state. */
static void
read_board(struct hw_workers *workers)
{
    struct hw_board_view *views;
    size_t count = hw_board_views(workers->board, &views);

    for (struct hw_worker_link *link = workers->links; link != NULL; link = link->next)
        link->seen = false;
    for (size_t i = 0; i < count; i++) {
        struct hw_worker_link *link = workers->links;
        while (link != NULL && link->slot != views[i].id)
            link = link->next;
        if (link == NULL && views[i].retiring)
            continue;
        if (link == NULL)
            link = hw_link_new(workers, &views[i]);
        link->seen = true;
        link->retiring = views[i].retiring;
        bool passed = link->trial && !views[i].trial;
        link->trial = views[i].trial;
        if (passed && link->state == HW_LINK_UP)
            hw_workers_link_up(link);
    }
    hw_board_views_free(views, count);
    /* Links leave the list only when the loop closes their handles, so it is safe to walk. */
    for (struct hw_worker_link *link = workers->links; link != NULL; link = link->next) {
        if (!link->seen && !link->gone)
            hw_link_remove(link, "the worker was taken away");
        else if (link->state == HW_LINK_DOWN || link->retiring)
            hw_link_settle(link);
    }
}

static void
on_poke(uv_async_t *async)
{
    struct hw_workers *workers = async->data;

    if (workers->closing)
        return;
    read_board(workers);
    drop_orphans(workers);
}

static void
on_handle_closed(uv_handle_t *handle)
{
    hw_workers_handle_closed(handle->data);
}

void
hw_workers_handle_closed(struct hw_workers *workers)
{
    if (--workers->open_handles > 0)
        return;
    void (*closed_cb)(void *) = workers->closed_cb;
    void *ctx = workers->closed_ctx;
    HW_ASSERT(workers->closing && workers->links == NULL && workers->waiting == NULL);
    hw_board_unref(workers->board);
    free(workers);
    if (closed_cb != NULL)
        closed_cb(ctx);
}

struct hw_workers *
hw_workers_create(uv_loop_t *loop, struct hw_workers_supervisor *supervisor)
{
    struct hw_workers *workers = hw_xcalloc(1, sizeof(*workers));

    workers->loop = loop;
    workers->board = hw_board_ref(hw_workers_supervisor_board(supervisor));
    HW_ASSERT(uv_async_init(loop, &workers->async, on_poke) == 0);
    uv_timer_init(loop, &workers->wait_timer);
    workers->async.data = workers->wait_timer.data = workers;
    workers->open_handles = 2;
    hw_board_listen(workers->board, &workers->async);
    uv_async_send(&workers->async); /* what is there already */
    return workers;
}

void
hw_workers_close(struct hw_workers *workers, void (*closed_cb)(void *ctx), void *ctx)
{
    workers->closing = true;
    workers->closed_cb = closed_cb;
    workers->closed_ctx = ctx;
    while (workers->waiting != NULL)
        hw_worker_call_free(workers->waiting);
    for (struct hw_worker_link *link = workers->links; link != NULL; link = link->next) {
        for (uint32_t bucket = 0; bucket < HW_LINK_BUCKETS; bucket++)
            while (link->calls[bucket] != NULL)
                hw_worker_call_free(link->calls[bucket]);
        hw_link_remove(link, "closing");
    }
    hw_board_unlisten(workers->board, &workers->async);
    uv_close((uv_handle_t *)&workers->async, on_handle_closed);
    uv_close((uv_handle_t *)&workers->wait_timer, on_handle_closed);
}
