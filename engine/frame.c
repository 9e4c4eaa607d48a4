/* engine/frame.c - frames into bytes and back, checking everything a peer could get wrong.
 *
 * Payloads are written field by field: the structs of frame.h are for us, their layout is no part
 * of the protocol. Texts go as u8 length and bytes, and hold no NUL. */
#include "engine/frame.h"

#include <math.h>
#include <string.h>

/* --- writing --- */

struct writer {
    uint8_t bytes[512]; /* the largest fixed payload, OPEN, is under 300 */
    size_t len;
};

static void
put_bytes(struct writer *w, const void *bytes, size_t len)
{
    memcpy(w->bytes + w->len, bytes, len);
    w->len += len;
}

static void
put_u8(struct writer *w, uint8_t value)
{
    w->bytes[w->len++] = value;
}

static void
put_uint(struct writer *w, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        put_u8(w, (uint8_t)(value >> 8 * i));
}

static void
put_float(struct writer *w, float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof(bits));
    put_uint(w, bits, 4);
}

/* size is the field's; a text without a NUL in it is cut at its end. */
static void
put_text(struct writer *w, const char *text, size_t size)
{
    size_t len = strnlen(text, size - 1);

    put_u8(w, (uint8_t)len);
    put_bytes(w, text, len);
}

/* --- reading --- */

struct reader {
    const uint8_t *at;
    size_t left;
    bool failed; /* sticky: checked once, at the end */
};

static struct reader
read_payload(const struct hw_frame *frame, enum hw_frame_type type)
{
    return (struct reader){frame->payload, frame->length, frame->type != type};
}

static const uint8_t *
take(struct reader *r, size_t len)
{
    if (r->failed || len > r->left) {
        r->failed = true;
        return NULL;
    }
    const uint8_t *at = r->at;
    r->at += len;
    r->left -= len;
    return at;
}

static uint64_t
get_uint(struct reader *r, size_t bytes)
{
    const uint8_t *at = take(r, bytes);
    uint64_t value = 0;

    for (size_t i = 0; at != NULL && i < bytes; i++)
        value |= (uint64_t)at[i] << 8 * i;
    return value;
}

static uint32_t
get_u32(struct reader *r)
{
    return (uint32_t)get_uint(r, 4);
}

static float
get_float(struct reader *r)
{
    uint32_t bits = get_u32(r);
    float value;

    memcpy(&value, &bits, sizeof(value));
    if (!isfinite(value))
        r->failed = true;
    return value;
}

static void
get_bytes(struct reader *r, void *out, size_t len)
{
    const uint8_t *at = take(r, len);

    if (at != NULL)
        memcpy(out, at, len);
}

static void
get_text(struct reader *r, char *out, size_t size)
{
    size_t len = (size_t)get_uint(r, 1);
    const uint8_t *at = take(r, len);

    out[0] = '\0';
    if (at == NULL)
        return;
    if (len >= size || memchr(at, '\0', len) != NULL) {
        r->failed = true;
        return;
    }
    memcpy(out, at, len);
    out[len] = '\0';
}

/* Everything read, nothing left. */
static int
finish(const struct reader *r, const char *what, struct hw_err *err)
{
    if (r->failed || r->left != 0)
        return hw_err_set(err, HW_EINVAL, "malformed %s frame", what);
    return 0;
}

/* --- frames --- */

int
hw_frame_parse(const uint8_t *bytes, size_t len, struct hw_frame *frame, size_t *used,
               struct hw_err *err)
{
    if (len < HW_FRAME_HEAD_BYTES)
        return 0;
    struct reader r = {bytes, HW_FRAME_HEAD_BYTES, false};
    uint64_t version = get_uint(&r, 1), type = get_uint(&r, 1), reserved = get_uint(&r, 2);
    uint32_t stream = get_u32(&r), length = get_u32(&r);

    if (version != HW_FRAME_VERSION)
        return hw_err_set(err, HW_EINVAL, "frame version %u, expected %d", (unsigned)version,
                          HW_FRAME_VERSION);
    if (type < HW_FRAME_HELLO || type > HW_FRAME_LOGPROBS)
        return hw_err_set(err, HW_EINVAL, "unknown frame type %u", (unsigned)type);
    if (reserved != 0)
        return hw_err_set(err, HW_EINVAL, "reserved bits set in a frame's head");
    if (length > HW_FRAME_MAX_PAYLOAD)
        return hw_err_set(err, HW_EINVAL, "frame of %u bytes, at most %u", length,
                          HW_FRAME_MAX_PAYLOAD);
    if (len - HW_FRAME_HEAD_BYTES < length)
        return 0;
    *frame = (struct hw_frame){.type = (enum hw_frame_type)type,
                               .stream = stream,
                               .payload = bytes + HW_FRAME_HEAD_BYTES,
                               .length = length};
    *used = HW_FRAME_HEAD_BYTES + length;
    return 1;
}

static void
put_head(struct writer *w, enum hw_frame_type type, uint32_t stream, size_t length)
{
    put_u8(w, HW_FRAME_VERSION);
    put_u8(w, (uint8_t)type);
    put_uint(w, 0, 2);
    put_uint(w, stream, 4);
    put_uint(w, length, 4);
}

int
hw_frame_write(struct hw_buf *out, enum hw_frame_type type, uint32_t stream, const void *payload,
               size_t length)
{
    struct writer head = {.len = 0};

    if (length > HW_FRAME_MAX_PAYLOAD) {
        out->failed = true;
        return HW_ELIMIT;
    }
    int rc = hw_buf_reserve(out, HW_FRAME_HEAD_BYTES + length); /* all of the frame or none */
    if (rc != 0)
        return rc;
    put_head(&head, type, stream, length);
    hw_buf_append(out, head.bytes, head.len);
    return hw_buf_append(out, payload, length);
}

static int
write_payload(struct hw_buf *out, enum hw_frame_type type, uint32_t stream, const struct writer *w)
{
    return hw_frame_write(out, type, stream, w->bytes, w->len);
}

int
hw_frame_put_hello(struct hw_buf *out, const struct hw_frame_hello *hello)
{
    struct writer w = {.len = 0};

    put_uint(&w, hello->max_sessions, 4);
    put_uint(&w, hello->vocab, 4);
    put_uint(&w, hello->param_count, 8);
    put_float(&w, hello->prefill_bytes_s);
    put_float(&w, hello->decode_bytes_s);
    put_bytes(&w, hello->digest, sizeof(hello->digest));
    put_text(&w, hello->model, sizeof(hello->model));
    put_text(&w, hello->device, sizeof(hello->device));
    return write_payload(out, HW_FRAME_HELLO, 0, &w);
}

int
hw_frame_get_hello(const struct hw_frame *frame, struct hw_frame_hello *hello, struct hw_err *err)
{
    struct reader r = read_payload(frame, HW_FRAME_HELLO);
    struct hw_frame_hello h = {0};

    h.max_sessions = get_u32(&r);
    h.vocab = get_u32(&r);
    h.param_count = get_uint(&r, 8);
    h.prefill_bytes_s = get_float(&r);
    h.decode_bytes_s = get_float(&r);
    get_bytes(&r, h.digest, sizeof(h.digest));
    get_text(&r, h.model, sizeof(h.model));
    get_text(&r, h.device, sizeof(h.device));
    r.failed |= frame->stream != 0;
    int rc = finish(&r, "HELLO", err);
    if (rc == 0)
        *hello = h;
    return rc;
}

int
hw_frame_put_open(struct hw_buf *out, uint32_t stream, const struct hw_frame_open *open)
{
    struct writer w = {.len = 0};
    uint8_t stops = open->stop_count < HW_FRAME_MAX_STOPS ? open->stop_count : HW_FRAME_MAX_STOPS;

    put_uint(&w, open->max_tokens, 4);
    put_float(&w, open->temperature);
    put_uint(&w, open->top_k, 4);
    put_float(&w, open->top_p);
    put_float(&w, open->min_p);
    put_float(&w, open->repetition_penalty);
    put_uint(&w, open->repeat_last, 4);
    put_uint(&w, open->seed, 8);
    put_u8(&w, open->has_seed ? 1 : 0);
    put_u8(&w, open->logprobs);
    put_u8(&w, stops);
    for (uint8_t i = 0; i < stops; i++)
        put_text(&w, open->stops[i], sizeof(open->stops[i]));
    return write_payload(out, HW_FRAME_OPEN, stream, &w);
}

int
hw_frame_get_open(const struct hw_frame *frame, struct hw_frame_open *open, struct hw_err *err)
{
    struct reader r = read_payload(frame, HW_FRAME_OPEN);
    struct hw_frame_open o = {0};

    o.max_tokens = get_u32(&r);
    o.temperature = get_float(&r);
    o.top_k = get_u32(&r);
    o.top_p = get_float(&r);
    o.min_p = get_float(&r);
    o.repetition_penalty = get_float(&r);
    o.repeat_last = get_u32(&r);
    o.seed = get_uint(&r, 8);
    uint64_t has_seed = get_uint(&r, 1);
    o.logprobs = (uint8_t)get_uint(&r, 1);
    uint64_t stops = get_uint(&r, 1);
    r.failed |= o.logprobs > 1 + HW_FRAME_MAX_TOP_LOGPROBS;
    r.failed |= has_seed > 1 || stops > HW_FRAME_MAX_STOPS || o.temperature < 0.0f ||
                o.repetition_penalty < 0.0f;
    for (uint64_t i = 0; !r.failed && i < stops; i++) {
        get_text(&r, o.stops[i], sizeof(o.stops[i]));
        r.failed |= o.stops[i][0] == '\0'; /* it would stop everything before its first byte */
    }
    o.has_seed = has_seed == 1;
    o.stop_count = (uint8_t)stops;
    int rc = finish(&r, "OPEN", err);
    if (rc == 0)
        *open = o;
    return rc;
}

int
hw_frame_put_turn(struct hw_buf *out, uint32_t stream, enum hw_frame_role role, bool more,
                  const void *bytes, size_t len)
{
    struct writer w = {.len = 0};

    if (len > HW_FRAME_MAX_PAYLOAD - 1) {
        out->failed = true;
        return HW_ELIMIT;
    }
    int rc = hw_buf_reserve(out, HW_FRAME_HEAD_BYTES + 1 + len);
    if (rc != 0)
        return rc;
    put_head(&w, HW_FRAME_TURN, stream, len + 1);
    put_u8(&w, (uint8_t)((unsigned)role | (more ? HW_FRAME_TURN_MORE : 0u)));
    hw_buf_append(out, w.bytes, w.len);
    return hw_buf_append(out, bytes, len);
}

int
hw_frame_put_credit(struct hw_buf *out, uint32_t stream, uint32_t bytes)
{
    struct writer w = {.len = 0};

    put_uint(&w, bytes, 4);
    return write_payload(out, HW_FRAME_CREDIT, stream, &w);
}

int
hw_frame_get_credit(const struct hw_frame *frame, uint32_t *bytes, struct hw_err *err)
{
    struct reader r = read_payload(frame, HW_FRAME_CREDIT);
    uint32_t value = get_u32(&r);

    int rc = finish(&r, "CREDIT", err);
    if (rc == 0)
        *bytes = value;
    return rc;
}

void
hw_frame_add_logprobs(struct hw_buf *payload, const struct hw_frame_logprob *logprobs,
                      uint32_t count)
{
    struct writer w = {.len = 0};

    if (count > 1 + HW_FRAME_MAX_TOP_LOGPROBS)
        count = 1 + HW_FRAME_MAX_TOP_LOGPROBS;
    put_u8(&w, (uint8_t)count);
    for (uint32_t i = 0; i < count; i++) {
        put_uint(&w, logprobs[i].token, 4);
        put_float(&w, logprobs[i].logprob);
    }
    hw_buf_append(payload, w.bytes, w.len);
}

uint32_t
hw_frame_next_logprobs(const uint8_t **at, size_t *left, struct hw_frame_logprob *logprobs)
{
    struct reader r = {*at, *left, false};
    uint32_t count = (uint32_t)get_uint(&r, 1);

    if (count == 0 || count > 1 + HW_FRAME_MAX_TOP_LOGPROBS)
        return 0;
    for (uint32_t i = 0; i < count; i++) {
        logprobs[i].token = get_u32(&r);
        logprobs[i].logprob = get_float(&r);
    }
    *at = r.at;
    *left = r.left;
    return r.failed ? 0 : count;
}

int
hw_frame_put_done(struct hw_buf *out, uint32_t stream, const struct hw_frame_done *done)
{
    struct writer w = {.len = 0};

    put_u8(&w, done->finish);
    put_uint(&w, done->prompt_tokens, 4);
    put_uint(&w, done->output_tokens, 4);
    put_uint(&w, done->prefill_us, 4);
    put_uint(&w, done->decode_us, 4);
    return write_payload(out, HW_FRAME_DONE, stream, &w);
}

int
hw_frame_get_done(const struct hw_frame *frame, struct hw_frame_done *done, struct hw_err *err)
{
    struct reader r = read_payload(frame, HW_FRAME_DONE);
    struct hw_frame_done d = {0};

    d.finish = (uint8_t)get_uint(&r, 1);
    d.prompt_tokens = get_u32(&r);
    d.output_tokens = get_u32(&r);
    d.prefill_us = get_u32(&r);
    d.decode_us = get_u32(&r);
    r.failed |= d.finish > HW_FRAME_FINISH_LENGTH;
    int rc = finish(&r, "DONE", err);
    if (rc == 0)
        *done = d;
    return rc;
}

int
hw_frame_put_error(struct hw_buf *out, uint32_t stream, const struct hw_frame_error *error)
{
    struct writer w = {.len = 0};

    put_uint(&w, (uint32_t)error->code, 4);
    put_text(&w, error->msg, sizeof(error->msg));
    return write_payload(out, HW_FRAME_ERROR, stream, &w);
}

int
hw_frame_get_error(const struct hw_frame *frame, struct hw_frame_error *error, struct hw_err *err)
{
    struct reader r = read_payload(frame, HW_FRAME_ERROR);
    struct hw_frame_error e = {0};

    e.code = (int32_t)get_u32(&r);
    get_text(&r, e.msg, sizeof(e.msg));
    int rc = finish(&r, "ERROR", err);
    if (rc == 0)
        *error = e;
    return rc;
}

int
hw_frame_put_report(struct hw_buf *out, const struct hw_frame_report *report)
{
    struct writer w = {.len = 0};

    put_uint(&w, report->active, 4);
    put_uint(&w, report->queued, 4);
    put_uint(&w, report->prompt_tokens, 8);
    put_uint(&w, report->output_tokens, 8);
    put_uint(&w, report->steps, 8);
    put_uint(&w, report->kept_prompts, 8);
    put_uint(&w, report->kept_tokens, 8);
    put_uint(&w, report->state_bytes, 8);
    return write_payload(out, HW_FRAME_REPORT, 0, &w);
}

int
hw_frame_get_report(const struct hw_frame *frame, struct hw_frame_report *report,
                    struct hw_err *err)
{
    struct reader r = read_payload(frame, HW_FRAME_REPORT);
    struct hw_frame_report p = {0};

    p.active = get_u32(&r);
    p.queued = get_u32(&r);
    p.prompt_tokens = get_uint(&r, 8);
    p.output_tokens = get_uint(&r, 8);
    p.steps = get_uint(&r, 8);
    p.kept_prompts = get_uint(&r, 8);
    p.kept_tokens = get_uint(&r, 8);
    p.state_bytes = get_uint(&r, 8);
    r.failed |= frame->stream != 0;
    int rc = finish(&r, "REPORT", err);
    if (rc == 0)
        *report = p;
    return rc;
}
