/* engine/worker_stream.c - the gateway's frames, stream by stream. */
#include <stdlib.h>

#include "engine/worker_parts.h"

static struct stream *
find(const struct connection *conn, uint32_t id)
{
    struct stream *s = conn->streams;

    while (s != NULL && s->id != id)
        s = s->next;
    return s;
}

void
stream_destroy(struct worker *w, struct stream *s)
{
    sched_release(w, s);
    hw_buf_free(&s->text);
    hw_buf_free(&s->logprobs);
    if (s->prev != NULL)
        s->prev->next = s->next;
    else
        s->conn->streams = s->next;
    if (s->next != NULL)
        s->next->prev = s->prev;
    w->stream_count--;
    free(s);
}

/* Refuses a stream: HW_EINVAL when the query is at fault, HW_ELIMIT when we are full. One whose ASK
 * has come is gone with it; an earlier one waits for its ASK. */
void
stream_fail(struct worker *w, struct stream *s, int code, const char *msg)
{
    struct hw_frame_error error = {.code = code};

    snprintf(error.msg, sizeof(error.msg), "%s", msg);
    hw_frame_put_error(&s->conn->out, s->id, &error);
    if (s->state != STREAM_COLLECT) {
        stream_destroy(w, s);
        return;
    }
    sched_release(w, s);
    s->state = STREAM_FAILED;
}

static bool
take_open(struct worker *w, struct connection *conn, const struct hw_frame *frame,
          struct hw_err *err)
{
    struct hw_frame_open open;

    if (hw_frame_get_open(frame, &open, err) != 0)
        return false;
    struct stream *old = find(conn, frame->stream);
    if (old != NULL && old->state == STREAM_FAILED) { /* over since our ERROR: the id is free */
        stream_destroy(w, old);
        old = NULL;
    }
    if (frame->stream == 0 || old != NULL) {
        hw_err_set(err, HW_EINVAL, "OPEN of stream %u, which is open", frame->stream);
        return false;
    }
    if (w->stream_count >= 2 * WORKER_MAX_STREAMS) { /* refused ones that never end count too */
        hw_err_set(err, HW_ELIMIT, "more than %d open streams", 2 * WORKER_MAX_STREAMS);
        return false;
    }
    struct stream *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        hw_err_set(err, HW_ENOMEM, "no memory for a stream");
        return false;
    }
    s->conn = conn;
    s->id = frame->stream;
    s->open = open;
    s->credit_bytes = HW_FRAME_FIRST_CREDIT;
    hw_prompt_init(&s->prompt, &w->model->tmpl, WORKER_MAX_PROMPT_BYTES);
    hw_buf_init(&s->text, 1024); /* one token's text and what it set free: under 100 bytes */
    hw_buf_init(&s->logprobs, HW_TOLD_MAX_WAITING * (1 + 8 * (1 + HW_TOLD_MAX_TOP)));
    s->next = conn->streams;
    if (s->next != NULL)
        s->next->prev = s;
    conn->streams = s;
    if (w->stream_count++ >= WORKER_MAX_STREAMS)
        stream_fail(w, s, HW_ELIMIT, "too many queries are waiting for this worker");
    return true;
}

static bool
take_turn(struct worker *w, struct stream *s, const struct hw_frame *frame, struct hw_err *err)
{
    unsigned role = frame->length > 0 ? frame->payload[0] & ~HW_FRAME_TURN_MORE : UINT32_MAX;

    if (role > HW_FRAME_ROLE_ASSISTANT ||
        (s->state != STREAM_COLLECT && s->state != STREAM_FAILED)) {
        hw_err_set(err, HW_EINVAL, "TURN of an unknown role or behind ASK on stream %u", s->id);
        return false;
    }
    if (s->state == STREAM_FAILED)
        return true;
    bool more = (frame->payload[0] & HW_FRAME_TURN_MORE) != 0;
    size_t before = s->prompt.text.len;
    int rc = hw_prompt_turn(&s->prompt, (enum hw_prompt_role)role, more, frame->payload + 1,
                            frame->length - 1);
    w->prompts_bytes += s->prompt.text.len - before; /* trimming may have made it shorter: wraps */
    if (rc != 0)
        stream_fail(w, s, HW_EINVAL, "the prompt is over 8 MiB");
    else if (w->prompts_bytes > WORKER_MAX_PROMPTS_BYTES)
        stream_fail(w, s, HW_ELIMIT, "too many prompts are waiting for this worker");
    return true;
}

static bool
take_ask(struct worker *w, struct stream *s, const struct hw_frame *frame, struct hw_err *err)
{
    if (frame->length != 0 || (s->state != STREAM_COLLECT && s->state != STREAM_FAILED)) {
        hw_err_set(err, HW_EINVAL, "a second or malformed ASK on stream %u", s->id);
        return false;
    }
    if (s->state == STREAM_FAILED) {
        stream_destroy(w, s);
        return true;
    }
    size_t before = s->prompt.text.len;
    int rc = hw_prompt_ask(&s->prompt);
    w->prompts_bytes += s->prompt.text.len - before;
    s->state = STREAM_QUEUED;
    line_append(&w->queue, s);
    if (rc != 0)
        stream_fail(w, s, HW_EINVAL, "the prompt is over 8 MiB");
    return true;
}

static bool
take_credit(struct worker *w, struct stream *s, const struct hw_frame *frame, struct hw_err *err)
{
    uint32_t bytes;

    if (hw_frame_get_credit(frame, &bytes, err) != 0)
        return false;
    if (s == NULL)
        return true; /* it crossed our DONE */
    if (s->credit_bytes < UINT64_MAX - bytes)
        s->credit_bytes += bytes;
    if (s->state == STREAM_DECODE)
        sched_deliver(w, s);
    return true;
}

bool
stream_take_frame(struct worker *w, struct connection *conn, const struct hw_frame *frame,
                  struct hw_err *err)
{
    struct stream *s = find(conn, frame->stream);

    if (s == NULL && (frame->type == HW_FRAME_TURN || frame->type == HW_FRAME_ASK)) {
        hw_err_set(err, HW_EINVAL, "frame for stream %u, which is not open", frame->stream);
        return false;
    }
    switch (frame->type) {
    case HW_FRAME_OPEN:
        return take_open(w, conn, frame, err);
    case HW_FRAME_TURN:
        return take_turn(w, s, frame, err);
    case HW_FRAME_ASK:
        return take_ask(w, s, frame, err);
    case HW_FRAME_CREDIT:
        return take_credit(w, s, frame, err);
    case HW_FRAME_CANCEL:
        if (s != NULL) /* else it crossed our DONE */
            stream_destroy(w, s);
        return true;
    case HW_FRAME_HELLO:
    case HW_FRAME_START:
    case HW_FRAME_TEXT:
    case HW_FRAME_DONE:
    case HW_FRAME_ERROR:
    case HW_FRAME_REPORT:
    case HW_FRAME_LOGPROBS:
        break;
    }
    hw_err_set(err, HW_EINVAL, "frame type %d is the worker's to send", (int)frame->type);
    return false;
}
