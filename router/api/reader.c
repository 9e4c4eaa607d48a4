/* router/api/reader.c - framing: SSE, NDJSON, whole objects, error bodies.
 *
 * Reads may end anywhere, also within a character, so only whole lines and bodies are looked into.
 * A line that lies whole in what was fed is read where it lies; only a line that is split is
 * gathered in a buffer first. */
#include "router/api/reader.h"

#include <stdarg.h>
#include <string.h>
#include <strings.h>

#include "hatchway/assert.h"

#define MAX_ERROR_BODY ((size_t)64 << 10)

static bool
type_is(const char *content_type, size_t len, const char *wanted)
{
    size_t n = strlen(wanted);

    /* Parameters may follow: "text/event-stream; charset=utf-8". */
    return len >= n && strncasecmp(content_type, wanted, n) == 0 &&
           (len == n || content_type[n] == ';' || content_type[n] == ' ');
}

static enum hw_framing
framing_of(const struct hw_reader *reader, const char *content_type, size_t len)
{
    if (reader->status < 200 || reader->status > 299)
        return HW_FRAMING_ERROR;
    if (reader->kind == HW_KIND_BDH || reader->query->embeds)
        return HW_FRAMING_WHOLE;
    if (type_is(content_type, len, "text/event-stream"))
        return HW_FRAMING_SSE;
    if (type_is(content_type, len, "application/x-ndjson"))
        return HW_FRAMING_LINES;
    if (type_is(content_type, len, "application/json"))
        return HW_FRAMING_WHOLE;
    if (reader->kind == HW_KIND_OLLAMA)
        return HW_FRAMING_LINES; /* it was asked to stream (to_ollama.c) */
    return HW_FRAMING_UNKNOWN;
}

struct hw_reader *
hw_reader_create(const struct hw_protocol *protocol, const struct hw_query *query, int status,
                 const char *content_type, size_t content_type_len, size_t max_bytes)
{
    struct hw_reader *reader = hw_xcalloc(1, sizeof(*reader));

    reader->kind = protocol->kind;
    reader->query = query;
    reader->status = status;
    reader->max_bytes = max_bytes;
    reader->framing = framing_of(reader, content_type, content_type_len);
    hw_buf_init(&reader->line, max_bytes);
    hw_buf_init(&reader->data, max_bytes);
    hw_buf_init(&reader->text, max_bytes);
    hw_buf_init(&reader->logprobs, max_bytes);
    hw_buf_init(&reader->id, max_bytes);
    hw_buf_init(&reader->name, max_bytes);
    return reader;
}

static void
free_reader(struct hw_reader *reader)
{
    hw_buf_free(&reader->line);
    hw_buf_free(&reader->data);
    hw_buf_free(&reader->text);
    hw_buf_free(&reader->logprobs);
    hw_buf_free(&reader->id);
    hw_buf_free(&reader->name);
    free(reader);
}

void
hw_reader_destroy(struct hw_reader **reader)
{
    struct hw_reader *gone = *reader;

    *reader = NULL;
    if (gone == NULL)
        return;
    if (gone->busy) {
        /* From within an event: the call that is under way frees it. */
        gone->done = true;
        gone->doomed = true;
        return;
    }
    free_reader(gone);
}

void
hw_reader_emit(struct hw_reader *reader, const struct hw_event *event)
{
    if (reader->done)
        return;
    if (event->type == HW_EVENT_FINISH || event->type == HW_EVENT_ERROR)
        reader->done = true;
    reader->on_event(reader->ctx, event);
}

void
hw_reader_fail(struct hw_reader *reader, int status, const char *fmt, ...)
{
    char message[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    struct hw_event event = {.type = HW_EVENT_ERROR, .status = status};
    event.text = message;
    event.len = strlen(message);
    hw_reader_emit(reader, &event);
}

static bool
is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void
trim(const char **p, size_t *len)
{
    while (*len > 0 && is_space(**p)) {
        (*p)++;
        (*len)--;
    }
    while (*len > 0 && is_space((*p)[*len - 1]))
        (*len)--;
}

/* ---- SSE ---- */

static void
take_sse_event(struct hw_reader *reader)
{
    const char *p = reader->data.data;
    size_t len = reader->data.len;

    if (!reader->has_data)
        return;
    reader->has_data = false;
    trim(&p, &len);
    if (len == 6 && memcmp(p, "[DONE]", 6) == 0)
        hw_reader_finish(reader);
    else if (len > 0)
        hw_reader_take_object(reader, p, len, false);
    hw_buf_clear(&reader->data);
}

static void
add_data(struct hw_reader *reader, const char *p, size_t len)
{
    if ((reader->has_data && hw_buf_append(&reader->data, "\n", 1) != 0) ||
        hw_buf_append(&reader->data, p, len) != 0)
        hw_reader_fail(reader, 0, "an event of the backend's stream is longer than %zu bytes",
                       reader->max_bytes);
    reader->has_data = true;
}

static void
take_sse_line(struct hw_reader *reader, const char *p, size_t len)
{
    if (!reader->first_line_seen && len >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0) {
        p += 3; /* the format allows one byte order mark */
        len -= 3;
    }
    reader->first_line_seen = true;
    if (len == 0) {
        take_sse_event(reader);
    } else if (*p == '{') {
        /* Not the format, but what servers send that fail before their stream began. */
        add_data(reader, p, len);
    } else if ((len >= 5 && memcmp(p, "data:", 5) == 0) ||
               (len >= 6 && memcmp(p, "error:", 6) == 0)) {
        size_t skip = *p == 'd' ? 5 : 6;
        if (len > skip && p[skip] == ' ')
            skip++;
        add_data(reader, p + skip, len - skip);
    }
    /* Comments, names, ids and retry times say nothing to us. */
}

/* ---- lines ---- */

static void
take_line(struct hw_reader *reader, const char *p, size_t len)
{
    if (reader->framing == HW_FRAMING_SSE) {
        take_sse_line(reader, p, len);
        return;
    }
    trim(&p, &len);
    if (len > 0)
        hw_reader_take_object(reader, p, len, false);
}

/* The end of the line that begins at p: a LF, in SSE also a CR. NULL: it is not there yet. */
static const char *
line_end(const struct hw_reader *reader, const char *p, const char *end)
{
    const char *lf = memchr(p, '\n', (size_t)(end - p));

    if (reader->framing != HW_FRAMING_SSE)
        return lf;
    const char *limit = lf != NULL ? lf : end;
    const char *cr = memchr(p, '\r', (size_t)(limit - p));
    return cr != NULL ? cr : lf;
}

static void
feed_lines(struct hw_reader *reader, const char *p, const char *end)
{
    while (p < end && !reader->done) {
        if (reader->skip_lf) {
            reader->skip_lf = false;
            if (*p == '\n') {
                p++;
                continue;
            }
        }
        const char *stop = line_end(reader, p, end);
        size_t len = (size_t)((stop != NULL ? stop : end) - p);
        if (reader->line.len > reader->max_bytes || len > reader->max_bytes - reader->line.len) {
            hw_reader_fail(reader, 0, "a line of the backend's answer is longer than %zu bytes",
                           reader->max_bytes);
            return;
        }
        if (stop == NULL || reader->line.len > 0) {
            if (hw_buf_append(&reader->line, p, len) != 0) {
                hw_reader_fail(reader, 0, "out of memory for a line of the backend's answer");
                return;
            }
            if (stop == NULL)
                return;
            take_line(reader, reader->line.data, reader->line.len);
            hw_buf_clear(&reader->line);
        } else {
            take_line(reader, p, len);
        }
        reader->skip_lf = *stop == '\r';
        p = stop + 1;
    }
}

static void
gather(struct hw_reader *reader, const char *p, size_t len)
{
    if (reader->framing == HW_FRAMING_ERROR) {
        size_t most = reader->max_bytes < MAX_ERROR_BODY ? reader->max_bytes : MAX_ERROR_BODY;
        if (len > most - reader->line.len)
            len = most - reader->line.len; /* its message stands at its front */
    }
    if (hw_buf_append(&reader->line, p, len) != 0 && reader->framing == HW_FRAMING_WHOLE)
        hw_reader_fail(reader, 0, "the backend's answer is longer than %zu bytes",
                       reader->max_bytes);
}

static void
feed(struct hw_reader *reader, const char *bytes, size_t len)
{
    const char *end = bytes + len;

    if (reader->framing == HW_FRAMING_UNKNOWN) {
        while (bytes < end && is_space(*bytes))
            bytes++;
        if (bytes == end)
            return;
        reader->framing = *bytes == '{' ? HW_FRAMING_WHOLE : HW_FRAMING_SSE;
    }
    if (reader->framing == HW_FRAMING_SSE || reader->framing == HW_FRAMING_LINES)
        feed_lines(reader, bytes, end);
    else
        gather(reader, bytes, (size_t)(end - bytes));
}

static void
feed_end(struct hw_reader *reader)
{
    const char *p = reader->line.data;
    size_t len = reader->line.len;

    reader->ending = true;
    trim(&p, &len);
    if (reader->framing == HW_FRAMING_ERROR) {
        hw_reader_take_error(reader, p, len);
        return;
    }
    if (reader->framing == HW_FRAMING_WHOLE && len > 0)
        hw_reader_take_object(reader, p, len, true);
    else if (len > 0)
        take_line(reader, reader->line.data, reader->line.len);
    /* A last event that lacks only its blank line is complete all the same. */
    if (!reader->done && reader->framing == HW_FRAMING_SSE)
        take_sse_event(reader);
    if (reader->done)
        return;
    if (reader->finish_seen)
        hw_reader_finish(reader);
    else if (reader->framing == HW_FRAMING_WHOLE || reader->framing == HW_FRAMING_UNKNOWN)
        hw_reader_fail(reader, 0, "the backend sent an empty answer");
    else
        hw_reader_fail(reader, 0, "the backend ended its stream early");
}

static void
begin_call(struct hw_reader *reader, hw_on_event on_event, void *ctx)
{
    HW_ASSERT(!reader->busy);
    reader->busy = true;
    reader->on_event = on_event;
    reader->ctx = ctx;
}

static void
end_call(struct hw_reader *reader)
{
    reader->busy = false;
    if (reader->doomed)
        free_reader(reader);
}

void
hw_reader_feed(struct hw_reader *reader, const char *bytes, size_t len, hw_on_event on_event,
               void *ctx)
{
    if (reader->done || len == 0)
        return;
    begin_call(reader, on_event, ctx);
    feed(reader, bytes, len);
    end_call(reader);
}

void
hw_reader_end(struct hw_reader *reader, hw_on_event on_event, void *ctx)
{
    if (reader->done)
        return;
    begin_call(reader, on_event, ctx);
    feed_end(reader);
    end_call(reader);
}
