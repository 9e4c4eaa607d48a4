/* router/attempt_read.c - the half of an attempt that reads what a backend sends: events for the
 * listener, and the bytes they came in, cut so that only whole events are passed on. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "router/attempt_private.h"

static enum hw_attempt_result
result_of_status(int status)
{
    /* 401 and 403 are about our credentials, not about the agent's: the backend is out of order. */
    if (status >= 500 || status == 408 || status == 429 || status == 401 || status == 403)
        return HW_ATTEMPT_STATUS;
    if (status >= 400)
        return HW_ATTEMPT_REFUSED;
    return HW_ATTEMPT_BROKEN;
}

void
hw_attempt_note_content(struct hw_attempt *attempt, size_t len)
{
    uint64_t now = uv_hrtime();

    if (attempt->first_ns == 0)
        attempt->first_ns = now;
    attempt->last_ns = now;
    attempt->output_bytes += len;
    attempt->pieces++;
}

static void
pass_event_on(struct hw_attempt *attempt)
{
    const char *event = attempt->event;
    size_t len = attempt->event_len, at;

    if (event == NULL)
        return;
    attempt->event = NULL;
    if (attempt->saw_call && hw_protocol_false_stop(attempt->query, event, len, &at)) {
        const char *behind = event + at + strlen(HW_FALSE_STOP);
        attempt->events->on_raw(attempt->ctx, event, at);
        attempt->events->on_raw(attempt->ctx, HW_TRUE_STOP, strlen(HW_TRUE_STOP));
        attempt->events->on_raw(attempt->ctx, behind, (size_t)(event + len - behind));
    } else {
        attempt->events->on_raw(attempt->ctx, event, len);
    }
}

/* What a backend says of our credentials may repeat them: it goes no further than here. */
static void
note_error_text(struct hw_attempt *attempt, const struct hw_event *event)
{
    if (attempt->status == 401 || attempt->status == 403)
        snprintf(attempt->message, sizeof(attempt->message),
                 "it refuses Hatchway's own credentials with %d (its api_key)", attempt->status);
    else
        snprintf(attempt->message, sizeof(attempt->message), "%.*s", (int)event->len, event->text);
}

/* From the reader, within on_body or at the body's end. */
static void
on_reader_event(void *ctx, const struct hw_event *event)
{
    struct hw_attempt *attempt = ctx;

    if (attempt->failed || attempt->finished)
        return;
    switch (event->type) {
    case HW_EVENT_ERROR:
        attempt->failed = true;
        note_error_text(attempt, event);
        attempt->end.status = event->status != 0 ? event->status : attempt->status;
        attempt->end.result =
            attempt->status >= 400 ? result_of_status(attempt->status) : HW_ATTEMPT_BROKEN;
        return;
    case HW_EVENT_FINISH:
        attempt->finished = true;
        attempt->finished_ns = uv_hrtime();
        attempt->usage = event->usage;
        break;
    case HW_EVENT_TEXT:
    case HW_EVENT_REASONING:
    case HW_EVENT_TOOL_CALL:
        hw_attempt_note_content(attempt, event->len);
        attempt->saw_call = attempt->saw_call || event->type == HW_EVENT_TOOL_CALL;
        break;
    }
    pass_event_on(attempt);
    attempt->events->on_event(attempt->ctx, event);
}

/* Lines of JSON (Ollama's) are events too, that end with their line. */
static bool
is_raw_line_stream(const struct hw_attempt *attempt)
{
    return attempt->raw && strncasecmp(attempt->content_type, "application/x-ndjson", 20) == 0;
}

static bool
is_raw_event_stream(const struct hw_attempt *attempt)
{
    return is_raw_line_stream(attempt) ||
           (attempt->raw && strncasecmp(attempt->content_type, "text/event-stream", 17) == 0);
}

/* How long the first event is, with the blank line that ends it; 0: its end has not come. Nothing
 * before `from` needs to be looked at again. */
static size_t
event_length(const char *bytes, size_t len, size_t from, bool lines)
{
    const char *end = bytes + len, *at = bytes + (from > 2 ? from - 2 : 0);

    if (lines) {
        at = memchr(bytes + from, '\n', len - from);
        return at != NULL ? (size_t)(at + 1 - bytes) : 0;
    }
    while ((at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        at++;
        if (at < end && *at == '\n')
            return (size_t)(at + 1 - bytes);
        if (end - at >= 2 && at[0] == '\r' && at[1] == '\n')
            return (size_t)(at + 2 - bytes);
    }
    /* A lone CR ends a line too; whoever writes so writes no LF. */
    at = memmem(bytes, len, "\r\r", 2);
    return at != NULL && memchr(bytes, '\n', (size_t)(at - bytes)) == NULL
               ? (size_t)(at + 2 - bytes)
               : 0;
}

static void
feed_event(struct hw_attempt *attempt, const char *bytes, size_t len)
{
    attempt->event = bytes;
    attempt->event_len = len;
    hw_reader_feed(attempt->reader, bytes, len, on_reader_event, attempt);
    if (!attempt->failed)
        pass_event_on(attempt);
    attempt->event = NULL;
}

static void
fail_for_size(struct hw_attempt *attempt)
{
    attempt->failed = true;
    attempt->end.result = HW_ATTEMPT_BROKEN;
    snprintf(attempt->message, sizeof(attempt->message), "an event of its stream is too large");
}

/* Event by event; what is left over waits in the tail. */
static void
feed_events(struct hw_attempt *attempt, const char *bytes, size_t len)
{
    struct hw_buf gathered = attempt->tail;
    size_t from = attempt->tail_searched, used = 0, n;

    if (gathered.len > 0 && hw_buf_append(&gathered, bytes, len) == 0) {
        bytes = gathered.data;
        len = gathered.len;
    }
    hw_buf_init(&attempt->tail, HW_ATTEMPT_LINE_MAX_BYTES);
    while (!gathered.failed && !attempt->failed && !attempt->finished &&
           (n = event_length(bytes + used, len - used, from, is_raw_line_stream(attempt))) > 0) {
        feed_event(attempt, bytes + used, n);
        used += n;
        from = 0;
    }
    if (used == 0 && bytes == gathered.data) { /* grows in place, so that many pieces cost little */
        attempt->tail = gathered;
        hw_buf_init(&gathered, 0);
    } else if (gathered.failed || hw_buf_append(&attempt->tail, bytes + used, len - used) != 0) {
        fail_for_size(attempt);
    }
    attempt->tail_searched = attempt->tail.len;
    hw_buf_free(&gathered);
}

void
hw_attempt_feed(struct hw_attempt *attempt, const char *bytes, size_t len)
{
    if (attempt->finished)
        return; /* what follows a terminal event is nobody's */
    if (is_raw_event_stream(attempt)) {
        feed_events(attempt, bytes, len);
    } else {
        if (attempt->raw)
            attempt->events->on_raw(attempt->ctx, bytes, len);
        hw_reader_feed(attempt->reader, bytes, len, on_reader_event, attempt);
    }
}

/* A last event without what ends it still counts. */
static void
feed_tail(struct hw_attempt *attempt)
{
    struct hw_buf last = attempt->tail;
    const char *end = is_raw_line_stream(attempt) ? "\n" : "\n\n";

    hw_buf_init(&attempt->tail, HW_ATTEMPT_LINE_MAX_BYTES);
    if (last.len > 0 && !attempt->finished && hw_buf_puts(&last, end) == 0)
        feed_event(attempt, last.data, last.len);
    hw_buf_free(&last);
}

void
hw_attempt_feed_end(struct hw_attempt *attempt)
{
    feed_tail(attempt);
    if (attempt->failed)
        return;
    attempt->in_feed_end = true;
    hw_reader_end(attempt->reader, on_reader_event, attempt);
}
