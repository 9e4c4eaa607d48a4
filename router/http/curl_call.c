/* router/http/curl_call.c - what libcurl says of a transfer, turned into a call's events. */
#include <string.h>

#include "hatchway/assert.h"
#include "router/http/curl_private.h"

static void on_timer(uv_timer_t *timer);

static uint64_t
now_ms(const struct hw_curl_call *call)
{
    return uv_now(call->curl->loop);
}

static void
arm(struct hw_curl_call *call, uint64_t deadline_ms)
{
    call->deadline_ms = deadline_ms;
    if (deadline_ms == UINT64_MAX)
        return;
    if (uv_is_active((uv_handle_t *)&call->timer) && call->armed_ms <= deadline_ms)
        return;
    uint64_t now = now_ms(call);
    call->armed_ms = deadline_ms;
    uv_timer_start(&call->timer, on_timer, deadline_ms > now ? deadline_ms - now : 0, 0);
}

static void
arm_for_answer(struct hw_curl_call *call)
{
    if (call->base.paused)
        arm(call, UINT64_MAX);
    else
        arm(call,
            now_ms(call) + (call->body_began ? call->base.idle_ms : call->base.first_byte_ms));
}

/* --- libcurl's callbacks --------------------------------------------------------------------- */

/* Connected, the request goes out now. */
static int
on_request(void *ctx, char *peer_ip, char *local_ip, int peer_port, int local_port)
{
    (void)peer_ip;
    (void)local_ip;
    (void)peer_port;
    (void)local_port;
    arm_for_answer(ctx);
    return CURL_PREREQFUNC_OK;
}

static size_t
on_send(char *out, size_t size, size_t count, void *ctx)
{
    struct hw_curl_call *call = ctx;
    size_t room = size * count, used = 0;

    while (used < room && call->at_segment < call->segment_count) {
        const struct hw_call_segment *segment = &call->segments[call->at_segment];
        size_t len = segment->len - call->at_byte;
        if (len > room - used)
            len = room - used;
        if (len > 0)
            memcpy(out + used, (const char *)segment->bytes + call->at_byte, len);
        used += len;
        call->at_byte += len;
        if (call->at_byte == segment->len) {
            call->at_segment++;
            call->at_byte = 0;
        }
    }
    arm_for_answer(call);
    return used;
}

/* libcurl sends again from the start when a kept connection turns out to be stale. */
static int
on_seek(void *ctx, curl_off_t offset, int origin)
{
    struct hw_curl_call *call = ctx;

    if (offset != 0 || origin != SEEK_SET)
        return CURL_SEEKFUNC_FAIL;
    call->at_segment = call->at_byte = 0;
    return CURL_SEEKFUNC_OK;
}

static size_t
refuse(struct hw_curl_call *call, const char *what)
{
    call->refused = what;
    return 0; /* not what was offered: libcurl ends the transfer */
}

/* One line a call, the status line first, an empty one last. Trailers come this way too. */
static size_t
on_header(char *line, size_t size, size_t count, void *ctx)
{
    struct hw_curl_call *call = ctx;
    size_t len = size * count;

    if (call->head_ready)
        return len;
    if (len > 5 && memcmp(line, "HTTP/", 5) == 0)
        hw_buf_clear(&call->head);
    if (hw_buf_append(&call->head, line, len) != 0)
        return refuse(call, "the head is larger than 64 KiB");
    if (len > 2 || (line[0] != '\r' && line[0] != '\n'))
        return len;
    long status = 0;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    call->head_ready = status >= 200;
    return len;
}

static size_t
on_body(char *bytes, size_t size, size_t count, void *ctx)
{
    struct hw_curl_call *call = ctx;
    size_t len = size * count;

    if (call->base.paused || call->inbox.len >= HW_CURL_INBOX_BYTES) {
        call->stalled = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    if (len > call->base.max_response_bytes - call->received)
        return refuse(call, "the body is larger than the limit");
    if (hw_buf_append(&call->inbox, bytes, len) != 0)
        return refuse(call, "out of memory");
    call->received += len;
    call->body_began = call->body_began || len > 0;
    arm_for_answer(call);
    return len;
}

int
hw_curl_call_set_callbacks(struct hw_curl_call *call)
{
    CURL *easy = call->easy;
    bool ok = curl_easy_setopt(easy, CURLOPT_PRIVATE, call) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->error) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_request) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_PREREQDATA, call) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_send) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_READDATA, call) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_seek) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_SEEKDATA, call) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_HEADERDATA, call) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_WRITEDATA, call) == CURLE_OK;

    return ok ? 0 : HW_ENOMEM;
}

/* --- a call's end ---------------------------------------------------------------------------- */

static void
on_call_timer_closed(uv_handle_t *handle)
{
    struct hw_curl_call *call = handle->data;
    struct hw_curl *curl = call->curl;

    free(call);
    hw_curl_handle_closed(curl);
}

/* Removing an unfinished HTTP/1.1 transfer closes its connection. */
void
hw_curl_call_destroy(struct hw_curl_call *call)
{
    struct hw_curl *curl = call->curl;

    if (!call->ended)
        curl_multi_remove_handle(curl->multi, call->easy);
    curl_easy_cleanup(call->easy);
    curl_slist_free_all(call->headers);
    hw_buf_free(&call->copied);
    hw_buf_free(&call->head);
    hw_buf_free(&call->inbox);
    hw_body_unref(call->body);
    if (call->prev != NULL)
        call->prev->next = call->next;
    else
        curl->calls = call->next;
    if (call->next != NULL)
        call->next->prev = call->prev;
    if (curl->delivering == call)
        curl->delivering = NULL;
    uv_close((uv_handle_t *)&call->timer, on_call_timer_closed);
}

static void
fail(struct hw_curl_call *call, enum hw_call_failure failure, int code, const char *what)
{
    struct hw_call_events events = call->base.events;
    void *ctx = call->base.ctx;
    struct hw_err err;

    hw_err_set(&err, code, "%s", what);
    hw_curl_call_destroy(call);
    events.on_error(ctx, failure, &err);
}

static enum hw_call_failure
failure_of(const struct hw_curl_call *call)
{
    switch (call->result) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_OPERATION_TIMEDOUT: /* the only time libcurl keeps for us is the connect timeout */
        return HW_CALL_CONNECT;
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
        return HW_CALL_RESET;
    default:
        return HW_CALL_PROTOCOL;
    }
}

static void
deliver_end(struct hw_curl_call *call)
{
    if (call->result == CURLE_OK && call->head_delivered) {
        struct hw_call_events events = call->base.events;
        void *ctx = call->base.ctx;
        hw_curl_call_destroy(call);
        events.on_done(ctx);
        return;
    }
    char what[sizeof(call->error)];
    snprintf(what, sizeof(what), "%s",
             call->refused != NULL      ? call->refused
             : call->error[0] != '\0'   ? call->error
             : call->result != CURLE_OK ? curl_easy_strerror(call->result)
                                        : "the answer has no head");
    fail(call, call->refused != NULL ? HW_CALL_PROTOCOL : failure_of(call),
         call->result == CURLE_OPERATION_TIMEDOUT ? HW_ETIMEOUT : HW_EIO, what);
}

/* --- events ---------------------------------------------------------------------------------- */

static struct hw_http_slice
slice_trimmed(const char *from, const char *to)
{
    while (from < to && (*from == ' ' || *from == '\t'))
        from++;
    while (to > from && (to[-1] == ' ' || to[-1] == '\t' || to[-1] == '\r'))
        to--;
    return (struct hw_http_slice){from, (size_t)(to - from)};
}

/* Lines of a whole head to fields. False: too many of them. */
static bool
split_head(const struct hw_buf *lines, struct hw_http_received_field *fields, size_t *count)
{
    const char *end = lines->data + lines->len;
    const char *line = memchr(lines->data, '\n', lines->len); /* the status line's end */

    *count = 0;
    while (line != NULL && ++line < end) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        const char *eol = stop != NULL ? stop : end;
        const char *colon = memchr(line, ':', (size_t)(eol - line));
        if (colon != NULL) {
            if (*count == HW_CURL_MAX_FIELDS)
                return false;
            fields[*count].name = slice_trimmed(line, colon);
            fields[(*count)++].value = slice_trimmed(colon + 1, eol);
        }
        line = stop;
    }
    return true;
}

static void
deliver_head(struct hw_curl_call *call)
{
    struct hw_http_received_field fields[HW_CURL_MAX_FIELDS];
    struct hw_http_head head = {.fields = fields};
    long status = 0;

    call->head_delivered = true;
    if (!split_head(&call->head, fields, &head.count)) {
        fail(call, HW_CALL_PROTOCOL, HW_EIO, "the head has more than 200 fields");
        return;
    }
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    call->base.events.on_head(call->base.ctx, (int)status, &head);
}

static bool
deliver_body(struct hw_curl_call *call)
{
    struct hw_curl *curl = call->curl;
    struct hw_buf bytes = call->inbox;

    hw_buf_init(&call->inbox, bytes.max);
    call->base.events.on_body(call->base.ctx, bytes.data, bytes.len);
    bool there = curl->delivering == call;
    if (there && call->inbox.data == NULL) { /* keep the memory for the next piece */
        hw_buf_clear(&bytes);
        call->inbox = bytes;
    } else {
        hw_buf_free(&bytes);
    }
    return there;
}

static void
deliver(struct hw_curl_call *call)
{
    struct hw_curl *curl = call->curl;

    curl->delivering = call;
    if (call->head_ready && !call->head_delivered)
        deliver_head(call);
    while (curl->delivering == call && !call->base.paused) {
        if (call->inbox.len > 0) {
            if (!deliver_body(call))
                return;
        } else if (call->ended) {
            deliver_end(call);
            return;
        } else if (call->stalled) {
            call->stalled = false;
            curl_easy_pause(call->easy, CURLPAUSE_CONT); /* may fill the inbox at once */
            hw_curl_collect(curl);
        } else {
            return;
        }
    }
}

static bool
has_news(const struct hw_curl_call *call)
{
    if (call->head_ready && !call->head_delivered)
        return true;
    return !call->base.paused && (call->inbox.len > 0 || call->ended || call->stalled);
}

/* An event may end any call, so the search begins anew after each: a handful of https calls. */
void
hw_curl_deliver(struct hw_curl *curl)
{
    struct hw_curl_call *call;

    do {
        for (call = curl->calls; call != NULL && !has_news(call); call = call->next)
            ;
        if (call != NULL)
            deliver(call);
        if (curl->closing)
            return;
    } while (call != NULL);
    curl->delivering = NULL;
}

static void
on_timer(uv_timer_t *timer)
{
    struct hw_curl_call *call = timer->data;
    char what[96];

    if (call->deadline_ms == UINT64_MAX || call->ended || call->base.paused)
        return;
    if (call->deadline_ms > now_ms(call)) {
        arm(call, call->deadline_ms);
        return;
    }
    snprintf(what, sizeof(what), "%s within %u ms",
             call->body_began ? "nothing more came" : "no answer came",
             call->body_began ? call->base.idle_ms : call->base.first_byte_ms);
    fail(call, HW_CALL_TIMEOUT, HW_ETIMEOUT, what);
}

/* --- the driver ------------------------------------------------------------------------------ */

static void
cancel(struct hw_call *base)
{
    hw_curl_call_destroy((struct hw_curl_call *)base);
}

static void
pause_call(struct hw_call *base)
{
    ((struct hw_curl_call *)base)->deadline_ms = UINT64_MAX;
}

static void
resume_call(struct hw_call *base)
{
    struct hw_curl_call *call = (struct hw_curl_call *)base;

    if (call->head_delivered)
        arm_for_answer(call);
    hw_curl_kick(call->curl);
}

const struct hw_call_driver hw_curl_driver = {cancel, pause_call, resume_call};
