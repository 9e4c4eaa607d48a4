/* router/attempt.c - see attempt.h.
 *
 * The reader below a call emits events from within our on_body; whoever listens must not free the
 * attempt then. So on_event never ends it: an ERROR is noted and told by on_end once the reader has
 * returned, and after a FINISH the call is let run to its own end (usually in the same loop turn),
 * so that its connection goes back to the pool. */
#include "router/attempt.h"

#include <stdio.h>
#include <string.h>

#include "hatchway/assert.h"
#include "router/attempt_private.h"

enum {
    GRACE_AFTER_FINISH_MS = 1000,
};

int
hw_attempt_check_strict(const struct hw_attempt_request *request, const struct hw_buf *dropped,
                        struct hw_err *err)
{
    if (dropped->len == 0)
        return 0;
    if (request->told != NULL && strcmp(request->told, dropped->data) != 0)
        return hw_err_set(err, HW_EINVAL, "it cannot carry %s, and it is too late to say so",
                          dropped->data);
    if (!request->strict)
        return 0;
    return hw_err_set(err, HW_EINVAL,
                      "it cannot carry %s, and a strict query (x-hatchway-strict, or strict on its "
                      "route) may lose nothing",
                      dropped->data);
}

static void
close_down(struct hw_attempt *attempt)
{
    attempt->running = false;
    if (attempt->call != NULL)
        hw_call_cancel(attempt->call);
    attempt->call = NULL;
    if (attempt->worker_call != NULL)
        hw_worker_call_cancel(attempt->worker_call);
    attempt->worker_call = NULL;
    hw_buf_free(&attempt->tail);
    hw_buf_free(&attempt->waiting);
    hw_buf_free(&attempt->told);
    hw_reader_destroy(&attempt->reader);
}

void
hw_attempt_end_with(struct hw_attempt *attempt, struct hw_attempt_end end)
{
    const struct hw_attempt_events *events = attempt->events;
    void *ctx = attempt->ctx;

    HW_ASSERT(attempt->running);
    close_down(attempt);
    events->on_end(ctx, &end);
}

static void
end_failed(struct hw_attempt *attempt, enum hw_attempt_result result, const char *message)
{
    struct hw_attempt_end end = {.result = result, .status = attempt->status};

    if (attempt->finished) { /* the answer was complete before the trouble came */
        end = (struct hw_attempt_end){.result = HW_ATTEMPT_OK, .message = ""};
    } else {
        if (message != attempt->message)
            snprintf(attempt->message, sizeof(attempt->message), "%s", message);
        end.message = attempt->message;
    }
    hw_attempt_end_with(attempt, end);
}

static void
on_head(void *ctx, int status, const struct hw_http_head *head)
{
    struct hw_attempt *attempt = ctx;
    const struct hw_http_slice *type = hw_http_head_find(head, "content-type");
    size_t len = type != NULL ? type->len : 0;

    attempt->status = status;
    if (len >= sizeof(attempt->content_type))
        len = sizeof(attempt->content_type) - 1;
    if (len > 0)
        memcpy(attempt->content_type, type->p, len);
    attempt->content_type[len] = '\0';
    attempt->reader = hw_reader_create(attempt->protocol, attempt->query, status,
                                       attempt->content_type, len, HW_ATTEMPT_LINE_MAX_BYTES);
}

static void
tell_failure(struct hw_attempt *attempt)
{
    attempt->end.message = attempt->message;
    hw_attempt_end_with(attempt, attempt->end);
}

static void
on_body(void *ctx, const char *bytes, size_t len)
{
    struct hw_attempt *attempt = ctx;

    hw_attempt_feed(attempt, bytes, len);
    if (attempt->failed)
        tell_failure(attempt);
}

static void
on_done(void *ctx)
{
    struct hw_attempt *attempt = ctx;

    attempt->call = NULL; /* gone by contract */
    hw_attempt_feed_end(attempt);
    if (attempt->failed) {
        tell_failure(attempt);
        return;
    }
    HW_ASSERT(attempt->finished);
    hw_attempt_end_with(attempt, (struct hw_attempt_end){.result = HW_ATTEMPT_OK, .message = ""});
}

static void
on_call_error(void *ctx, enum hw_call_failure failure, const struct hw_err *err)
{
    static const enum hw_attempt_result results[] = {
        [HW_CALL_CONNECT] = HW_ATTEMPT_CONNECT,
        [HW_CALL_TIMEOUT] = HW_ATTEMPT_TIMEOUT,
        [HW_CALL_RESET] = HW_ATTEMPT_BROKEN,
        [HW_CALL_PROTOCOL] = HW_ATTEMPT_BROKEN,
    };
    struct hw_attempt *attempt = ctx;

    attempt->call = NULL;
    end_failed(attempt, results[failure], err->msg);
}

static const struct hw_call_events call_events = {on_head, on_body, on_done, on_call_error};

/* Headers that go to every backend: never the agent's own credentials. */
static size_t
fill_fields(const struct hw_attempt_request *request, struct hw_http_field *fields, char *bearer,
            size_t bearer_size)
{
    size_t n = 0;

    fields[n++] = (struct hw_http_field){"content-type", "application/json", 16};
    fields[n++] =
        (struct hw_http_field){"x-request-id", request->request_id, strlen(request->request_id)};
    if (request->traceparent != NULL)
        fields[n++] = (struct hw_http_field){"traceparent", request->traceparent,
                                             strlen(request->traceparent)};
    if (request->conf->api_key != NULL) {
        int len = snprintf(bearer, bearer_size, "Bearer %s", request->conf->api_key);
        fields[n++] = (struct hw_http_field){"authorization", bearer, (size_t)len};
    }
    return n;
}

/* What the segments point into: the agent's body, or a translated one, which is handed over rather
 * than copied. */
static struct hw_body *
take_body(const struct hw_query *query, struct hw_outgoing *outgoing)
{
    struct hw_buf *text = &outgoing->text;

    if (outgoing->segment_count != 1 || outgoing->segments[0].p != text->data)
        return hw_body_ref(query->body);
    struct hw_body *body = hw_xcalloc(1, sizeof(*body));
    *body = (struct hw_body){.refs = 1, .len = text->len, .cap = text->cap, .bytes = text->data};
    hw_buf_init(text, 0);
    return body;
}

static int
start_call(struct hw_attempt *attempt, const struct hw_attempt_request *request, struct hw_err *err)
{
    const struct hw_conf_backend *conf = request->conf;
    struct hw_outgoing outgoing = {0};
    struct hw_http_field fields[4];
    char path[512], bearer[1024];

    hw_buf_init(&outgoing.text, 64u << 20);
    hw_buf_init(&outgoing.dropped, 1024);
    int rc = attempt->protocol->write_request(request->query, request->model, &outgoing, err);
    if (rc == 0)
        rc = hw_attempt_check_strict(request, &outgoing.dropped, err);
    if (rc == 0 &&
        (size_t)snprintf(path, sizeof(path), "%s%s", conf->path, outgoing.path) >= sizeof(path))
        rc = hw_err_set(err, HW_EINVAL, "the backend's path is too long");
    if (rc == 0) {
        struct hw_body *body = take_body(request->query, &outgoing);
        struct hw_call_request call = {
            .https = conf->https,
            .host = conf->host,
            .port = conf->port,
            .method = "POST",
            .path = path,
            .fields = fields,
            .field_count = fill_fields(request, fields, bearer, sizeof(bearer)),
            .segment_count = outgoing.segment_count,
            .body = body,
            .connect_ms = conf->timeouts.connect,
            /* A whole answer passed on as it is begins when the backend has finished it. */
            .first_byte_ms = attempt->whole ? conf->timeouts.total : conf->timeouts.first_byte,
            .idle_ms = conf->timeouts.idle,
        };
        for (size_t i = 0; i < outgoing.segment_count; i++)
            call.segments[i] =
                (struct hw_call_segment){outgoing.segments[i].p, outgoing.segments[i].len};
        rc = hw_client_send(attempt->loop->client, &call, &call_events, attempt, &attempt->call,
                            err);
        if (conf->api_key != NULL)
            explicit_bzero(bearer, sizeof(bearer));
        hw_body_unref(body);
    }
    if (outgoing.dropped.len > 0)
        hw_buf_append(&attempt->dropped, outgoing.dropped.data, outgoing.dropped.len);
    hw_buf_free(&outgoing.text);
    hw_buf_free(&outgoing.dropped);
    return rc;
}

int
hw_attempt_start(struct hw_attempt *attempt, struct hw_loop *loop,
                 const struct hw_attempt_request *request, const struct hw_attempt_events *events,
                 void *ctx, struct hw_attempt_end *end)
{
    struct hw_err err = {{0}};
    bool local = request->conf->url == NULL;

    HW_ASSERT(!attempt->running);
    memset(attempt, 0, sizeof(*attempt));
    attempt->loop = loop;
    attempt->conf = request->conf;
    attempt->query = request->query;
    attempt->events = events;
    attempt->ctx = ctx;
    attempt->protocol = local ? NULL : hw_protocol_of(request->conf->kind);
    attempt->raw = !local && hw_protocol_speaks(attempt->protocol, request->query->dialect);
    attempt->whole = (attempt->raw && !request->query->stream) || request->query->embeds;
    hw_buf_init(&attempt->dropped, 1024);
    hw_buf_init(&attempt->tail, HW_ATTEMPT_LINE_MAX_BYTES);
    hw_buf_init(&attempt->waiting, HW_FRAME_FIRST_CREDIT);
    hw_buf_init(&attempt->told, HW_FRAME_FIRST_CREDIT);
    attempt->sent_ns = uv_hrtime();

    int rc = local ? hw_attempt_start_worker(attempt, request, &err)
                   : start_call(attempt, request, &err);
    if (rc == 0) {
        attempt->running = true;
        return 0;
    }
    snprintf(attempt->message, sizeof(attempt->message), "%s", err.msg);
    hw_buf_free(&attempt->dropped);
    *end = (struct hw_attempt_end){
        .result = rc == HW_EINVAL || rc == HW_ELIMIT ? HW_ATTEMPT_REFUSED : HW_ATTEMPT_CONNECT,
        .status = rc == HW_EINVAL   ? 400
                  : rc == HW_ELIMIT ? 413
                                    : 0,
        .message = attempt->message,
    };
    return rc;
}

void
hw_attempt_cancel(struct hw_attempt *attempt)
{
    if (attempt->running)
        close_down(attempt);
    hw_buf_free(&attempt->dropped);
}

void
hw_attempt_pause(struct hw_attempt *attempt)
{
    if (attempt->paused || !attempt->running)
        return;
    attempt->paused = true;
    if (attempt->call != NULL)
        hw_call_pause(attempt->call);
}

void
hw_attempt_resume(struct hw_attempt *attempt)
{
    if (!attempt->paused || !attempt->running)
        return;
    attempt->paused = false;
    attempt->last_ns = uv_hrtime(); /* the pause was ours: it does not count as idleness */
    if (attempt->call != NULL)
        hw_call_resume(attempt->call);
    if (attempt->worker_call != NULL) {
        size_t owed = attempt->owed_bytes;
        attempt->owed_bytes = 0;
        if (owed > 0)
            hw_worker_call_took(attempt->worker_call, owed);
        hw_attempt_pass_waiting(attempt);
    }
}

static bool
older_than(uint64_t since_ns, uint64_t now_ns, uint64_t ms)
{
    return now_ns > since_ns && now_ns - since_ns > ms * 1000000u;
}

void
hw_attempt_sweep(struct hw_attempt *attempt, uint64_t now_ns)
{
    char text[96];

    if (!attempt->running) /* perhaps it has never been sent: there is no conf then */
        return;
    const struct hw_conf_timeouts *timeouts = &attempt->conf->timeouts;
    uint64_t first_ms = attempt->whole ? timeouts->total : timeouts->first_byte;

    if (attempt->finished) {
        if (older_than(attempt->finished_ns, now_ns, GRACE_AFTER_FINISH_MS))
            end_failed(attempt, HW_ATTEMPT_BROKEN, ""); /* finished: becomes a success */
        return;
    }
    if (attempt->first_ns == 0 && older_than(attempt->sent_ns, now_ns, first_ms)) {
        snprintf(text, sizeof(text), "no content within %u ms", (unsigned)first_ms);
        end_failed(attempt, HW_ATTEMPT_TIMEOUT, text);
    } else if (attempt->first_ns != 0 && !attempt->paused &&
               older_than(attempt->last_ns, now_ns, timeouts->idle)) {
        snprintf(text, sizeof(text), "no further content for %u ms", (unsigned)timeouts->idle);
        end_failed(attempt, HW_ATTEMPT_TIMEOUT, text);
    }
}

void
hw_attempt_sample(const struct hw_attempt *attempt, struct hw_speed_sample *sample)
{
    bool streamed = attempt->pieces > 1;

    *sample = (struct hw_speed_sample){
        .prompt_bytes = attempt->query->prompt_bytes,
        .ttft_us = attempt->first_ns > attempt->sent_ns
                       ? (attempt->first_ns - attempt->sent_ns) / 1000
                       : 0,
        .output_bytes = attempt->output_bytes,
        .decode_us = streamed ? (attempt->last_ns - attempt->first_ns) / 1000 : 0,
    };
}
