/* router/attempt_worker.c - the half of an attempt that asks a local worker. */
#include <stdio.h>
#include <stdlib.h>

#include "router/api/text.h"
#include "router/api/to_worker.h"
#include "router/attempt_private.h"

#define MAX_ENTRIES_BYTES ((size_t)HW_FRAME_FIRST_CREDIT * 16) /* 8 bytes become some 70 */

static void
on_worker_start(void *ctx)
{
    (void)ctx;
}

static void
pass_text_on(struct hw_attempt *attempt, const char *bytes, size_t len)
{
    struct hw_event event = {.type = HW_EVENT_TEXT, .text = bytes, .len = len};
    size_t told_bytes = attempt->told.len;
    struct hw_buf entries;

    hw_buf_init(&entries, MAX_ENTRIES_BYTES);
    if (told_bytes > 0) {
        hw_from_worker_logprobs((const uint8_t *)attempt->told.data, told_bytes, &entries);
        hw_buf_clear(&attempt->told);
        event.logprobs = entries.data;
        event.logprobs_len = entries.len;
    }
    attempt->events->on_event(attempt->ctx, &event);
    hw_buf_free(&entries);
    attempt->owed_bytes += len + told_bytes;
    if (attempt->paused || attempt->worker_call == NULL)
        return;
    hw_worker_call_took(attempt->worker_call, attempt->owed_bytes);
    attempt->owed_bytes = 0;
}

void
hw_attempt_pass_waiting(struct hw_attempt *attempt)
{
    struct hw_buf text = attempt->waiting;

    hw_buf_init(&attempt->waiting, HW_FRAME_FIRST_CREDIT);
    if (text.len > 0)
        pass_text_on(attempt, text.data, text.len);
    hw_buf_free(&text);
}

/* While paused the rest of the credit still comes, a token a frame: kept as text, for as events it
 * would be a hundred times as large. */
static void
on_worker_text(void *ctx, const char *bytes, size_t len)
{
    struct hw_attempt *attempt = ctx;

    hw_attempt_note_content(attempt, len);
    if (attempt->paused && hw_buf_append(&attempt->waiting, bytes, len) == 0)
        return;
    hw_attempt_pass_waiting(attempt);
    pass_text_on(attempt, bytes, len);
}

static void
on_worker_logprobs(void *ctx, const uint8_t *payload, size_t len)
{
    struct hw_attempt *attempt = ctx;

    hw_buf_append(&attempt->told, payload, len); /* within the credit: there is room */
}

static void
on_worker_done(void *ctx, const struct hw_frame_done *done, uint64_t model)
{
    struct hw_attempt *attempt = ctx;
    struct hw_event event = {.type = HW_EVENT_FINISH};

    attempt->worker_call = NULL;
    hw_attempt_pass_waiting(attempt);
    if (attempt->told.len > 0) /* of an end that has no text */
        pass_text_on(attempt, "", 0);
    event.finish = done->finish == HW_FRAME_FINISH_LENGTH ? HW_FINISH_LENGTH : HW_FINISH_STOP;
    event.usage = (struct hw_usage){true, done->prompt_tokens, done->output_tokens};
    attempt->finished = true;
    attempt->model_id = model;
    attempt->finished_ns = uv_hrtime();
    attempt->usage = event.usage;
    attempt->events->on_event(attempt->ctx, &event);
    hw_attempt_end_with(attempt, (struct hw_attempt_end){.result = HW_ATTEMPT_OK, .message = ""});
}

static void
on_worker_error(void *ctx, bool started, int code, const struct hw_err *err)
{
    struct hw_attempt *attempt = ctx;
    struct hw_attempt_end end = {.result = HW_ATTEMPT_BROKEN};

    (void)started;
    attempt->worker_call = NULL;
    hw_attempt_pass_waiting(attempt);
    snprintf(attempt->message, sizeof(attempt->message), "%s", err->msg);
    end.message = attempt->message;
    if (code == HW_EINVAL) {
        end.result = HW_ATTEMPT_REFUSED;
        end.status = 400;
    } else if (code == HW_ELIMIT) { /* its queue is full */
        end.result = HW_ATTEMPT_STATUS;
        end.status = 503;
    } else if (code == HW_EUNAVAILABLE) {
        end.result = HW_ATTEMPT_CONNECT;
    } else if (code == HW_EIO) {
        end.died = true;
    }
    hw_attempt_end_with(attempt, end);
}

static const struct hw_worker_events worker_events = {
    on_worker_start, on_worker_text, on_worker_done, on_worker_error, on_worker_logprobs};

int
hw_attempt_start_worker(struct hw_attempt *attempt, const struct hw_attempt_request *request,
                        struct hw_err *err)
{
    size_t count = request->query->message_count, bytes = 0;
    struct hw_worker_prompt_turn *prompt = calloc(count + 1, sizeof(*prompt));
    struct hw_worker_turn *turns = calloc(count + 1, sizeof(*turns));
    struct hw_frame_open open;
    char *texts = NULL; /* decoded */
    int rc = HW_ENOMEM;

    if (prompt != NULL && turns != NULL) {
        count = hw_to_worker(request->query, &open, prompt, &attempt->dropped);
        for (size_t i = 0; i < count; i++)
            bytes += prompt[i].len;
        texts = malloc(bytes + 1);
    }
    if (texts != NULL) {
        char *text = texts;
        for (size_t i = 0; i < count; i++) {
            turns[i] = (struct hw_worker_turn){prompt[i].role, text, prompt[i].len};
            hw_text_copy(prompt[i].message, text);
            text += prompt[i].len;
        }
        struct hw_worker_ask ask = {
            .backend = request->conf->name,
            .open = &open,
            .turns = turns,
            .turn_count = count,
            .wait_ms = request->worker_wait_ms,
        };
        rc = hw_attempt_check_strict(request, &attempt->dropped, err);
        if (rc == 0)
            rc = hw_workers_ask(attempt->loop->workers, &ask, &worker_events, attempt,
                                &attempt->worker_call, err);
    } else {
        hw_err_set(err, HW_ENOMEM, "out of memory for %zu messages", count);
    }
    free(prompt);
    free(turns);
    free(texts);
    return rc;
}
