/* router/http/client_answer.c - llhttp's callbacks turned into one head and body spans.
 *
 * Names and values may come in pieces (a read can split them anywhere), so they are gathered in
 * one buffer as offsets and become slices only when the head is whole. Body bytes are never
 * copied. Stopping is llhttp's own pause: any callback may return HPE_PAUSED. */
#include "router/http/client_answer.h"

#include <string.h>

static int
refuse(struct hw_client_answer *answer, const char *what)
{
    snprintf(answer->error, sizeof(answer->error), "%s", what);
    return HPE_USER;
}

static int
proceed(const struct hw_client_answer *answer)
{
    return answer->stop ? HPE_PAUSED : 0;
}

/* Trailers and chunk extensions are read over, within a bound. */
static int
on_extra(llhttp_t *parser, const char *at, size_t len)
{
    struct hw_client_answer *answer = parser->data;

    (void)at;
    answer->extra_bytes += len;
    if (answer->extra_bytes > HW_CLIENT_ANSWER_MAX_EXTRA_BYTES)
        return refuse(answer, "too many bytes of chunk extensions or trailers");
    return 0;
}

static int
append_text(struct hw_client_answer *answer, const char *at, size_t len)
{
    if (hw_buf_append(&answer->text, at, len) != 0)
        return refuse(answer, "the head is larger than 64 KiB");
    return 0;
}

static int
on_field_name(llhttp_t *parser, const char *at, size_t len)
{
    struct hw_client_answer *answer = parser->data;

    if (answer->head_done)
        return on_extra(parser, at, len);
    if (answer->field_count == 0 || answer->in_value) {
        if (answer->field_count == HW_CLIENT_ANSWER_MAX_FIELDS)
            return refuse(answer, "the head has more than 200 fields");
        answer->fields[answer->field_count++] =
            (struct hw_client_answer_field){.name_at = (uint32_t)answer->text.len};
        answer->in_value = false;
    }
    answer->fields[answer->field_count - 1].name_len += (uint32_t)len;
    return append_text(answer, at, len);
}

static int
on_field_value(llhttp_t *parser, const char *at, size_t len)
{
    struct hw_client_answer *answer = parser->data;

    if (answer->head_done)
        return on_extra(parser, at, len);
    if (answer->field_count == 0)
        return refuse(answer, "a header value without a name");
    struct hw_client_answer_field *field = &answer->fields[answer->field_count - 1];
    if (!answer->in_value) {
        field->value_at = (uint32_t)answer->text.len;
        answer->in_value = true;
    }
    field->value_len += (uint32_t)len;
    return append_text(answer, at, len);
}

static struct hw_http_slice
trimmed(const char *p, size_t len)
{
    while (len > 0 && (p[0] == ' ' || p[0] == '\t')) {
        p++;
        len--;
    }
    while (len > 0 && (p[len - 1] == ' ' || p[len - 1] == '\t'))
        len--;
    return (struct hw_http_slice){p, len};
}

static void
deliver_head(struct hw_client_answer *answer)
{
    struct hw_http_received_field fields[HW_CLIENT_ANSWER_MAX_FIELDS];
    const char *text = answer->text.data;

    for (size_t i = 0; i < answer->field_count; i++) {
        const struct hw_client_answer_field *field = &answer->fields[i];
        fields[i].name = (struct hw_http_slice){text + field->name_at, field->name_len};
        fields[i].value = field->value_len > 0 ? trimmed(text + field->value_at, field->value_len)
                                               : (struct hw_http_slice){"", 0};
    }
    struct hw_http_head head = {.fields = fields, .count = answer->field_count};
    answer->events->on_head(answer->ctx, answer->parser.status_code, &head);
}

static int
on_head_complete(llhttp_t *parser)
{
    struct hw_client_answer *answer = parser->data;

    if (parser->http_major != 1)
        return refuse(answer, "not HTTP/1");
    if (parser->status_code == 101 || parser->upgrade)
        return refuse(answer, "an upgrade nobody asked for");
    if (parser->status_code < 200) {
        parser->flags |= F_SKIPBODY;
        return 0;
    }
    if ((parser->flags & F_TRANSFER_ENCODING) != 0 && (parser->flags & F_CHUNKED) == 0)
        return refuse(answer, "a transfer encoding other than chunked");
    if ((parser->flags & F_CONTENT_LENGTH) != 0 && !answer->head_request &&
        parser->content_length > answer->max_bytes)
        return refuse(answer, "the body it promises is larger than the limit");
    /* Returning 1 would do the same but leaves no room for HPE_PAUSED. */
    if (answer->head_request)
        parser->flags |= F_SKIPBODY;
    answer->head_done = true;
    deliver_head(answer);
    return proceed(answer);
}

static int
on_body(llhttp_t *parser, const char *at, size_t len)
{
    struct hw_client_answer *answer = parser->data;

    if (len > answer->max_bytes - answer->body_bytes)
        return refuse(answer, "the body is larger than the limit");
    answer->body_bytes += len;
    if (len > 0)
        answer->events->on_body(answer->ctx, at, len);
    return proceed(answer);
}

static int
on_message_complete(llhttp_t *parser)
{
    struct hw_client_answer *answer = parser->data;

    if (!answer->head_done) { /* a 1xx: the answer proper is still to come */
        answer->field_count = 0;
        answer->in_value = false;
        hw_buf_clear(&answer->text);
        return 0;
    }
    answer->complete = true;
    answer->keep_alive = llhttp_should_keep_alive(parser) != 0;
    return HPE_PAUSED; /* what follows is not ours: hw_client_answer_feed reports where that begins
                        */
}

static const llhttp_settings_t *
settings(void)
{
    static const llhttp_settings_t all = {
        .on_status = on_extra,
        .on_header_field = on_field_name,
        .on_header_value = on_field_value,
        .on_chunk_extension_name = on_extra,
        .on_chunk_extension_value = on_extra,
        .on_headers_complete = on_head_complete,
        .on_body = on_body,
        .on_message_complete = on_message_complete,
    };
    return &all;
}

void
hw_client_answer_init(struct hw_client_answer *answer, const struct hw_client_answer_events *events,
                      void *ctx)
{
    answer->events = events;
    answer->ctx = ctx;
    hw_buf_init(&answer->text, HW_CLIENT_ANSWER_MAX_HEAD_BYTES);
}

void
hw_client_answer_free(struct hw_client_answer *answer)
{
    hw_buf_free(&answer->text);
}

void
hw_client_answer_begin(struct hw_client_answer *answer, bool head_request, uint64_t max_bytes)
{
    llhttp_init(&answer->parser, HTTP_RESPONSE, settings());
    answer->parser.data = answer;
    hw_buf_clear(&answer->text);
    answer->field_count = 0;
    answer->in_value = answer->head_done = answer->complete = answer->stop = false;
    answer->keep_alive = false;
    answer->head_request = head_request;
    answer->head_bytes = answer->extra_bytes = 0;
    answer->body_bytes = 0;
    answer->max_bytes = max_bytes;
    answer->error[0] = '\0';
}

static enum hw_client_answer_result
result_of(struct hw_client_answer *answer, llhttp_errno_t rc)
{
    if (answer->complete)
        return HW_CLIENT_ANSWER_COMPLETE;
    if (rc == HPE_PAUSED)
        return HW_CLIENT_ANSWER_STOPPED;
    if (rc != HPE_OK) {
        if (answer->error[0] == '\0') {
            const char *reason = llhttp_get_error_reason(&answer->parser);
            snprintf(answer->error, sizeof(answer->error), "%s",
                     reason != NULL ? reason : llhttp_errno_name(rc));
        }
        return HW_CLIENT_ANSWER_BAD;
    }
    return HW_CLIENT_ANSWER_MORE;
}

enum hw_client_answer_result
hw_client_answer_feed(struct hw_client_answer *answer, const char *bytes, size_t len, size_t *used)
{
    answer->stop = false;
    *used = len;
    if (answer->complete) {
        *used = 0;
        return HW_CLIENT_ANSWER_COMPLETE;
    }
    if (llhttp_get_errno(&answer->parser) == HPE_PAUSED)
        llhttp_resume(&answer->parser);
    if (!answer->head_done)
        answer->head_bytes += len;
    llhttp_errno_t rc = llhttp_execute(&answer->parser, bytes, len);
    if (rc == HPE_PAUSED)
        *used = (size_t)(llhttp_get_error_pos(&answer->parser) - bytes);
    /* Spans do not see white space and line ends: a head of nothing but these is bounded here. */
    if (rc == HPE_OK && !answer->head_done &&
        answer->head_bytes > HW_CLIENT_ANSWER_MAX_HEAD_BYTES) {
        refuse(answer, "the head is larger than 64 KiB");
        rc = HPE_USER;
    }
    return result_of(answer, rc);
}

enum hw_client_answer_result
hw_client_answer_end(struct hw_client_answer *answer)
{
    answer->stop = false;
    if (!answer->head_done) {
        refuse(answer, "the connection ended before the head was whole");
        return HW_CLIENT_ANSWER_BAD;
    }
    llhttp_finish(&answer->parser); /* completes a body that runs until the end */
    if (answer->complete)
        return HW_CLIENT_ANSWER_COMPLETE;
    refuse(answer, "the connection ended before the answer was complete");
    return HW_CLIENT_ANSWER_BAD;
}

void
hw_client_answer_stop(struct hw_client_answer *answer)
{
    answer->stop = true;
}
