/* router/exchange_reply.c - what the agent reads: heads, whole answers, stream events, errors; and
 * the line that the access log keeps of it. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "hatchway/assert.h"
#include "router/exchange_private.h"

enum { MAX_FIELDS = 12 };

static void
add_field(struct hw_http_field *fields, size_t *count, const char *name, const char *value)
{
    if (value == NULL || *value == '\0')
        return;
    HW_ASSERT(*count < MAX_FIELDS);
    fields[(*count)++] = (struct hw_http_field){name, value, strlen(value)};
}

static const char *
role_name(const struct hw_exchange *ex)
{
    return ex->traits.role >= 0 && ex->route >= 0 ? ex->plan->snapshot->roles[ex->traits.role].name
                                                  : "none";
}

static size_t
fill_fields(const struct hw_exchange *ex, const char *content_type, struct hw_http_field *fields)
{
    size_t n = 0;

    add_field(fields, &n, "content-type", content_type);
    add_field(fields, &n, "x-request-id", ex->request_id);
    if (ex->route_conf != NULL) {
        /* Before its first content the backend at hand need not be the one that answers. */
        if (!ex->opened_early)
            add_field(fields, &n, "x-hatchway-backend", ex->reply.backend);
        add_field(fields, &n, "x-hatchway-route", ex->route_conf->name);
        add_field(fields, &n, "x-hatchway-role", role_name(ex));
        add_field(fields, &n, "x-hatchway-cache", hw_cache_result_names[ex->cache]);
    }
    if (ex->attempt.dropped.len > 0 && ex->cache != HW_CACHE_HIT)
        add_field(fields, &n, "x-hatchway-dropped", ex->attempt.dropped.data);
    return n;
}

bool
hw_exchange_is_raw(const struct hw_exchange *ex)
{
    /* A stream that was begun cannot become a whole answer. */
    return ex->attempt.raw && (!ex->opened_early ||
                               strncasecmp(ex->attempt.content_type, "text/event-stream", 17) == 0);
}

void
hw_exchange_open_stream(struct hw_exchange *ex)
{
    struct hw_http_field fields[MAX_FIELDS];
    const char *type = ex->query.dialect->stream_content_type;

    if (ex->status != 0)
        return; /* a keep-alive has opened it */
    if (ex->attempt.raw && ex->attempt.content_type[0] != '\0' && ex->cache != HW_CACHE_HIT &&
        !ex->opened_early)
        type = ex->attempt.content_type;
    size_t n = fill_fields(ex, type, fields);
    add_field(fields, &n, "cache-control", "no-cache");
    ex->status = 200;
    hw_http_start(ex->stream, 200, fields, n);
}

void
hw_exchange_write(struct hw_exchange *ex, const void *bytes, size_t len)
{
    if (ex->stream == NULL)
        return;
    ex->bytes_out += len;
    ex->last_sent_ms = hw_exchange_now_ms(ex);
    hw_http_write(ex->stream, bytes, len);
    if (hw_http_congested(ex->stream)) {
        hw_attempt_pause(&ex->attempt);
        hw_joins_give(ex->loop->gateway->joins, &ex->join, NULL); /* nobody waits for a reader */
    }
}

/* Nothing was sent yet: what the head names as dropped binds the candidates that follow. */
static void
open_early(struct hw_exchange *ex)
{
    const struct hw_buf *dropped = &ex->attempt.dropped;

    ex->opened_early = true;
    ex->told = hw_arena_copy(&ex->arena, dropped->data, dropped->len);
    if (ex->told == NULL)
        ex->told = "";
    hw_exchange_open_stream(ex);
    if (hw_trace_on("exchange"))
        hw_trace("exchange", "%s opened by a keep-alive", ex->request_id);
}

void
hw_exchange_keep_alive(struct hw_exchange *ex)
{
    const char *comment = ex->query.dialect->keepalive;
    const struct hw_conf_timeouts *timeouts =
        ex->attempt.running ? &ex->attempt.conf->timeouts : &ex->plan->snapshot->timeouts;
    uint64_t now_ms = hw_exchange_now_ms(ex);

    if (ex->stream == NULL || !ex->query.stream || comment == NULL ||
        timeouts->keepalive_comment == 0 || ex->attempt.paused || ex->attempt.finished)
        return;
    if (ex->last_sent_ms == 0)
        ex->last_sent_ms = now_ms - (uv_hrtime() - ex->began_ns) / 1000000u;
    if (now_ms - ex->last_sent_ms < timeouts->keepalive_comment)
        return;
    if (ex->status == 0)
        open_early(ex);
    hw_exchange_write(ex, comment, strlen(comment));
}

static void
note_times(struct hw_exchange *ex)
{
    ex->reply.total_us = (uv_hrtime() - ex->began_ns) / 1000;
    ex->reply.first_token_us = ex->first_token_us;
}

void
hw_exchange_write_event(struct hw_exchange *ex, const struct hw_event *event)
{
    note_times(ex);
    hw_buf_clear(&ex->out);
    ex->query.dialect->write_event(&ex->reply, event, &ex->out);
    if (ex->out.len > 0)
        hw_exchange_write(ex, ex->out.data, ex->out.len);
}

void
hw_exchange_reply_whole(struct hw_exchange *ex, int status, const void *body, size_t len,
                        const char *content_type)
{
    struct hw_http_field fields[MAX_FIELDS];
    size_t n = fill_fields(ex, content_type, fields);
    struct hw_http_stream *stream = ex->stream;
    char seconds[24];

    snprintf(seconds, sizeof(seconds), "%" PRId64, ex->retry_after_s > 0 ? ex->retry_after_s : 1);
    if (status == 503 || status == 429)
        add_field(fields, &n, "retry-after", seconds);
    if (status == 401)
        add_field(fields, &n, "www-authenticate", "Bearer");
    ex->status = status;
    ex->bytes_out += len;
    ex->stream = NULL;
    hw_http_respond(stream, status, fields, n, body, len);
    hw_exchange_done(ex);
}

/* A complete answer, streamed at once: for hits. */
static void
stream_answer(struct hw_exchange *ex, const struct hw_answer *answer)
{
    struct hw_http_stream *stream = ex->stream;
    struct hw_event event = {
        .type = HW_EVENT_REASONING, .text = answer->reasoning.data, .len = answer->reasoning.len};

    hw_exchange_open_stream(ex);
    if (event.len > 0)
        hw_exchange_write_event(ex, &event);
    event = (struct hw_event){
        .type = HW_EVENT_TEXT, .text = answer->text.data, .len = answer->text.len};
    if (event.len > 0)
        hw_exchange_write_event(ex, &event);
    for (size_t i = 0; i < answer->tool_call_count; i++) {
        const struct hw_tool_call *call = &answer->tool_calls[i];
        event = (struct hw_event){.type = HW_EVENT_TOOL_CALL,
                                  .index = (uint32_t)i,
                                  .id = call->id,
                                  .name = call->name,
                                  .text = call->arguments.data,
                                  .len = call->arguments.len};
        hw_exchange_write_event(ex, &event);
    }
    event = (struct hw_event){
        .type = HW_EVENT_FINISH, .finish = answer->finish, .usage = answer->usage};
    hw_exchange_write_event(ex, &event);
    ex->stream = NULL;
    hw_http_finish(stream);
    hw_exchange_done(ex);
}

void
hw_exchange_reply_answer(struct hw_exchange *ex, const struct hw_answer *answer)
{
    if (ex->query.stream) {
        stream_answer(ex, answer);
        return;
    }
    note_times(ex);
    hw_buf_clear(&ex->out);
    ex->query.dialect->write_whole(&ex->reply, answer, &ex->out);
    if (ex->out.failed) {
        hw_exchange_reply_error(ex, 502, NULL, "the answer is larger than Hatchway holds");
        return;
    }
    hw_exchange_reply_whole(ex, 200, ex->out.data, ex->out.len, "application/json");
}

void
hw_exchange_end_with_error(struct hw_exchange *ex, int status, const char *text)
{
    struct hw_http_stream *stream = ex->stream;
    struct hw_event event = {
        .type = HW_EVENT_ERROR, .status = status, .text = text, .len = strlen(text)};

    hw_exchange_write_event(ex, &event);
    ex->stream = NULL;
    hw_http_finish(stream);
    hw_exchange_done(ex);
}

void
hw_exchange_reply_error(struct hw_exchange *ex, int status, const char *param, const char *format,
                        ...)
{
    va_list ap;

    va_start(ap, format);
    vsnprintf(ex->error_text, sizeof(ex->error_text), format, ap);
    va_end(ap);
    ex->error = ex->error_text;
    if (ex->opened_early) {
        hw_exchange_end_with_error(ex, status, ex->error_text);
        return;
    }
    hw_buf_clear(&ex->out);
    ex->query.dialect->write_error(status, ex->error_text, param, &ex->out);
    hw_exchange_reply_whole(ex, status, ex->out.data, ex->out.len, "application/json");
}

void
hw_exchange_log(struct hw_exchange *ex)
{
    uint64_t duration_us = (uv_hrtime() - ex->began_ns) / 1000;
    int status = ex->client_left ? 499 : ex->status;
    struct hw_access access = {
        .request_id = ex->request_id,
        .trace_id = ex->traceparent[0] != '\0' ? ex->traceparent : NULL,
        .dialect = ex->query.dialect->name,
        .method = "POST",
        .role = ex->route_conf != NULL ? role_name(ex) : NULL,
        .route = ex->route_conf != NULL ? ex->route_conf->name : NULL,
        .lane = ex->route_conf != NULL ? hw_lane_names[ex->traits.lane] : NULL,
        .backend = ex->reply.backend,
        .model = ex->reply.model,
        .cache = ex->route_conf != NULL ? hw_cache_result_names[ex->cache] : NULL,
        .status = status,
        .stream = ex->query.stream,
        .client_left = ex->client_left,
        .error = ex->error,
        .attempts = ex->attempts,
        .prompt_tokens = ex->attempt.usage.prompt_tokens,
        .output_tokens = ex->attempt.usage.output_tokens,
        .bytes_out = ex->bytes_out,
        .duration_us = duration_us,
        .first_token_us = ex->first_token_us,
        .agent = ex->agent >= 0 ? ex->plan->snapshot->agents[ex->agent].name : NULL,
        .peer = ex->peer,
        .path = ex->path,
        .bytes_in = ex->bytes_in,
    };

    hw_plan_count_request(ex->plan, ex->query.dialect->name, ex->route, status, duration_us);
    hw_access_log_write(ex->loop->gateway->access_log, &access);
    hw_exchange_record(ex, status, duration_us);
}
