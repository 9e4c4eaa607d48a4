/* router/passage.c - see passage.h. */
#include "router/passage.h"

#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"
#include "router/endpoints.h"
#include "router/log.h"
#include "router/loop.h"

enum { MAX_WHOLE_BYTES = 4 << 20 };

struct hw_passing {
    struct hw_passing *next, *prev; /* loop->passings */
    struct hw_loop *loop;
    struct hw_plan *plan; /* keeps call.conf */
    struct hw_http_stream *stream;
    struct hw_passage passage;
    struct hw_call *call;
    int status;
    bool started; /* the agent has read the head */
    struct hw_buf body;
};

static void
free_passing(struct hw_passing *passing)
{
    struct hw_loop *loop = passing->loop;

    if (passing->prev != NULL)
        passing->prev->next = passing->next;
    else
        loop->passings = passing->next;
    if (passing->next != NULL)
        passing->next->prev = passing->prev;
    atomic_fetch_sub(&loop->gateway->active, 1);
    hw_buf_free(&passing->body);
    hw_plan_unref(passing->plan);
    free(passing);
}

static void
respond_error(struct hw_loop *loop, struct hw_http_stream *stream, int status, const char *what)
{
    struct hw_http_field field = {"content-type", "application/json", 16};
    struct hw_buf body;
    const char *type;

    hw_buf_init(&body, 4096);
    hw_endpoints_error(loop, status, what, hw_http_stream_request(stream)->path, &body, &type);
    hw_http_respond(stream, status, &field, 1, body.data, body.len);
    hw_buf_free(&body);
}

static size_t
backend_of(const struct hw_passing *passing)
{
    return (size_t)(passing->passage.call.conf - passing->plan->snapshot->backends);
}

/* The end, whichever. why NULL: the backend's answer is complete. */
static void
conclude(struct hw_passing *passing, const char *why)
{
    struct hw_loop *loop = passing->loop;
    struct hw_http_stream *stream = passing->stream;
    const struct hw_conf_backend *conf = passing->passage.call.conf;
    bool whole = passing->passage.whole != NULL;
    char text[400];

    if (why != NULL)
        passing->status = 0;
    if (!whole)
        hw_log(HW_LOG_INFO, "%s %s passed to %s: %s", passing->passage.call.method,
               passing->passage.call.path, conf->name, why != NULL ? why : "answered");
    if (passing->passage.succeeded != NULL && passing->status >= 200 && passing->status < 300)
        passing->passage.succeeded(loop, backend_of(passing));
    if (whole) {
        struct hw_passage_end end = {passing->status, &passing->body, why, passing->passage.note};
        passing->passage.whole(loop, stream, &end);
    } else if (why == NULL) {
        hw_http_finish(stream);
    } else if (passing->started) {
        hw_http_abort(stream);
    } else {
        snprintf(text, sizeof(text), "%s failed: %s", conf->name, why);
        respond_error(loop, stream, 502, text);
    }
    free_passing(passing);
}

static void
on_head(void *ctx, int status, const struct hw_http_head *head)
{
    struct hw_passing *passing = ctx;
    const struct hw_http_slice *type = hw_http_head_find(head, "content-type");
    struct hw_http_field fields[2] = {
        {"x-hatchway-backend", passing->passage.call.conf->name,
         strlen(passing->passage.call.conf->name)},
    };
    size_t n = 1;

    passing->status = status;
    if (passing->passage.whole != NULL)
        return;
    if (type != NULL)
        fields[n++] = (struct hw_http_field){"content-type", type->p, type->len};
    passing->started = true;
    hw_http_start(passing->stream, status, fields, n);
}

static void
on_body(void *ctx, const char *bytes, size_t len)
{
    struct hw_passing *passing = ctx;

    if (passing->passage.whole != NULL) {
        hw_buf_append(&passing->body, bytes, len); /* the client bounds the response */
        return;
    }
    hw_http_write(passing->stream, bytes, len);
    if (hw_http_congested(passing->stream))
        hw_call_pause(passing->call);
}

static void
on_done(void *ctx)
{
    struct hw_passing *passing = ctx;

    passing->call = NULL; /* gone by contract */
    conclude(passing, passing->body.failed ? "its answer is too large" : NULL);
}

static void
on_error(void *ctx, enum hw_call_failure failure, const struct hw_err *err)
{
    struct hw_passing *passing = ctx;

    (void)failure;
    passing->call = NULL;
    conclude(passing, err->msg);
}

static const struct hw_call_events events = {on_head, on_body, on_done, on_error};

static void
on_gone(void *ctx)
{
    struct hw_passing *passing = ctx;

    hw_log(HW_LOG_INFO, "%s %s to %s: the agent left", passing->passage.call.method,
           passing->passage.call.path, passing->passage.call.conf->name);
    hw_call_cancel(passing->call);
    free_passing(passing);
}

static void
on_drain(void *ctx)
{
    struct hw_passing *passing = ctx;
    hw_call_resume(passing->call);
}

void
hw_passage_begin(struct hw_loop *loop, struct hw_http_stream *stream,
                 const struct hw_passage *passage)
{
    struct hw_passing *passing = hw_xcalloc(1, sizeof(*passing));
    struct hw_http_watcher watcher = {passing, on_gone, on_drain};
    struct hw_err err = {{0}};

    *passing = (struct hw_passing){.next = loop->passings,
                                   .loop = loop,
                                   .plan = hw_plan_ref(loop->plan),
                                   .stream = stream,
                                   .passage = *passage};
    if (passage->whole != NULL)
        passing->passage.call.max_response_bytes = MAX_WHOLE_BYTES;
    hw_buf_init(&passing->body, MAX_WHOLE_BYTES);
    if (passing->next != NULL)
        passing->next->prev = passing;
    loop->passings = passing;
    atomic_fetch_add(&loop->gateway->active, 1);
    hw_http_stream_watch(stream, &watcher);
    if (hw_backend_call_send(loop->client, &passing->passage.call, &events, passing, &passing->call,
                             &err) != 0)
        conclude(passing, err.msg);
}

void
hw_passage_abort_all(struct hw_loop *loop)
{
    while (loop->passings != NULL) {
        struct hw_passing *passing = loop->passings;
        struct hw_http_stream *stream = passing->stream;
        hw_call_cancel(passing->call);
        if (passing->started)
            hw_http_abort(stream);
        else
            respond_error(loop, stream, 503, "Hatchway is shutting down");
        free_passing(passing);
    }
}
