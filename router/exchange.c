/* router/exchange.c - the state machine of one query: its life, and what its attempts say.
 *
 * Before the first byte to the agent everything can be undone: a failed attempt moves on to the
 * next candidate and the agent sees nothing of it. From RELAY on a failure is the dialect's error
 * event. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"
#include "router/exchange_private.h"

static const char *const state_names[HW_EXCHANGE_STATE_COUNT] = {
    "NEW", "LOOKUP", "JOIN", "WAIT", "ATTEMPT", "RELAY", "DONE"};

#define TO(state) (1u << HW_EXCHANGE_##state)
static const unsigned allowed[HW_EXCHANGE_STATE_COUNT] = {
    [HW_EXCHANGE_NEW] = TO(LOOKUP) | TO(JOIN) | TO(WAIT) | TO(ATTEMPT) | TO(DONE),
    [HW_EXCHANGE_LOOKUP] = TO(JOIN) | TO(WAIT) | TO(ATTEMPT) | TO(DONE),
    [HW_EXCHANGE_JOIN] = TO(WAIT) | TO(ATTEMPT) | TO(DONE),
    [HW_EXCHANGE_WAIT] = TO(WAIT) | TO(ATTEMPT) | TO(DONE),
    [HW_EXCHANGE_ATTEMPT] = TO(ATTEMPT) | TO(WAIT) | TO(RELAY) | TO(DONE),
    [HW_EXCHANGE_RELAY] = TO(DONE),
    [HW_EXCHANGE_DONE] = 0,
};
#undef TO

void
hw_exchange_set_state(struct hw_exchange *ex, enum hw_exchange_state state)
{
    HW_ASSERT(allowed[ex->state] & (1u << state));
    if (hw_trace_on("exchange"))
        hw_trace("exchange", "%s %s -> %s", ex->request_id, state_names[ex->state],
                 state_names[state]);
    ex->state = state;
}

uint64_t
hw_exchange_now_ms(const struct hw_exchange *ex)
{
    return uv_now(&ex->loop->uv);
}

/* --- attempts ------------------------------------------------------------------------------- */

static void on_raw(void *ctx, const char *bytes, size_t len);
static void on_event(void *ctx, const struct hw_event *event);
static void on_end(void *ctx, const struct hw_attempt_end *end);
const struct hw_attempt_events hw_exchange_attempt_events = {on_raw, on_event, on_end};

/* What its tokenizer made of the prompt. Of an image nobody knows beforehand what it comes to, and
 * bdh models read bytes. */
static void
learn_tokens(struct hw_exchange *ex)
{
    const struct hw_conf_backend *conf = ex->attempt.conf;
    const struct hw_usage *usage = &ex->attempt.usage;

    if (usage->known && usage->prompt_tokens > 0 && conf->kind != HW_KIND_BDH &&
        !ex->query.wants_images)
        hw_backends_learn_tokens(ex->plan->registry, hw_tokens_model(conf, ex->current->model),
                                 hw_estimate_tokens(ex->query.prompt_bytes), usage->prompt_tokens);
}

/* The slot goes back and the backend's record is brought up to date. */
void
hw_exchange_settle(struct hw_exchange *ex, enum hw_attempt_result result)
{
    struct hw_speed_sample sample;
    struct hw_backend *backend = ex->slot.backend;
    /* Whether a worker is there its supervisor knows: a breaker that opens when one dies under many
     * queries would only keep them from the others and from its successor. */
    bool local = ex->attempt.protocol == NULL;
    bool unsent =
        result == HW_ATTEMPT_REFUSED && ex->attempt.status == 0; /* refused by ourselves */
    bool blameless = unsent || (local && result != HW_ATTEMPT_OK && result != HW_ATTEMPT_TIMEOUT);

    if (backend == NULL)
        return;
    hw_attempt_sample(&ex->attempt, &sample);
    /* Vectors come at once: they would teach a writing speed that no answer has. */
    bool teaches = !ex->query.embeds;
    struct hw_lateness lateness = {ex->current != NULL ? ex->current->ahead_ms : 0,
                                   ex->plan->snapshot->breaker.late};
    hw_backend_result(backend, result, blameless, teaches ? &sample : NULL, &lateness,
                      hw_exchange_now_ms(ex));
    if (result == HW_ATTEMPT_OK && ex->current != NULL)
        learn_tokens(ex);
    if (result == HW_ATTEMPT_OK && teaches) {
        hw_histogram_observe_us(backend->first_token, sample.ttft_us);
        if (sample.decode_us > 0)
            hw_histogram_observe_us(backend->inter_token,
                                    sample.decode_us / (ex->attempt.pieces - 1));
    }
    hw_admission_release(ex->loop->gateway->admission, &ex->slot);
}

void
hw_exchange_remember_failure(struct hw_exchange *ex, const struct hw_attempt_end *end)
{
    ex->last_result = end->result;
    ex->last_status = end->status;
    snprintf(ex->last_message, sizeof(ex->last_message), "%s", end->message);
}

/* --- what an attempt says -------------------------------------------------------------------- */

static void
hold(struct hw_exchange *ex, const char *bytes, size_t len)
{
    if (hw_buf_append(&ex->held, bytes, len) != 0)
        ex->held_too_much = true;
}

static void
on_raw(void *ctx, const char *bytes, size_t len)
{
    struct hw_exchange *ex = ctx;

    if (!hw_exchange_is_raw(ex))
        return;
    if (ex->state == HW_EXCHANGE_RELAY)
        hw_exchange_write(ex, bytes, len);
    else
        hold(ex, bytes, len);
}

/* First content: from here on there is no way back. */
static void
commit(struct hw_exchange *ex)
{
    hw_exchange_set_state(ex, HW_EXCHANGE_RELAY);
    hw_exchange_open_stream(ex);
    hw_http_mark_first(ex->stream);
    if (ex->held.len > 0)
        hw_exchange_write(ex, ex->held.data, ex->held.len);
    hw_buf_free(&ex->held);
}

static bool
ended_without_terminal(const struct hw_exchange *ex)
{
    return ex->attempt.in_feed_end && ex->query.dialect->terminal != NULL &&
           strncasecmp(ex->attempt.content_type, "text/event-stream", 17) == 0;
}

static void
on_event(void *ctx, const struct hw_event *event)
{
    struct hw_exchange *ex = ctx;

    if (ex->first_token_us == 0 && event->type != HW_EVENT_FINISH)
        ex->first_token_us = (uv_hrtime() - ex->began_ns) / 1000;
    if (event->type == HW_EVENT_FINISH) {
        ex->finished = true;
        ex->finish = event->finish;
    }
    if (event->type == HW_EVENT_FINISH && event->usage.known) {
        hw_metric_add(ex->plan->meters->tokens_in, (int64_t)event->usage.prompt_tokens);
        hw_metric_add(ex->plan->meters->tokens_out, (int64_t)event->usage.output_tokens);
    }
    if (ex->summing)
        hw_answer_add(&ex->answer, event);
    if (!ex->query.stream)
        return;
    if (ex->state == HW_EXCHANGE_ATTEMPT)
        commit(ex);
    if (!hw_exchange_is_raw(ex))
        hw_exchange_write_event(ex, event);
    else if (event->type == HW_EVENT_FINISH && ended_without_terminal(ex))
        hw_exchange_write(ex, ex->query.dialect->terminal, strlen(ex->query.dialect->terminal));
}

/* A whole answer that is passed on as it came. */
static void
reply_held(struct hw_exchange *ex)
{
    const char *type = ex->attempt.content_type;
    size_t at;

    if (ex->attempt.saw_call &&
        hw_protocol_false_stop(&ex->query, ex->held.data, ex->held.len, &at)) {
        size_t behind = at + strlen(HW_FALSE_STOP);
        hw_buf_clear(&ex->out);
        hw_buf_append(&ex->out, ex->held.data, at);
        hw_buf_puts(&ex->out, HW_TRUE_STOP);
        hw_buf_append(&ex->out, ex->held.data + behind, ex->held.len - behind);
        if (!ex->out.failed) {
            hw_buf_free(&ex->held);
            ex->held = ex->out;
            hw_buf_init(&ex->out, ex->held.max);
        }
    }
    hw_exchange_reply_whole(ex, 200, ex->held.data, ex->held.len,
                            *type != '\0' ? type : "application/json");
}

static void
complete(struct hw_exchange *ex)
{
    if (ex->keep)
        hw_exchange_store(ex);
    if (ex->state == HW_EXCHANGE_RELAY) {
        struct hw_http_stream *stream = ex->stream;
        ex->stream = NULL;
        hw_http_finish(stream);
        hw_exchange_done(ex);
    } else if (ex->attempt.raw) {
        reply_held(ex);
    } else {
        hw_exchange_reply_answer(ex, &ex->answer);
    }
}

/* After the first byte: the dialect's error event, which is terminal. */
static void
break_off(struct hw_exchange *ex, const struct hw_attempt_end *end)
{
    char text[640];

    snprintf(ex->error_text, sizeof(ex->error_text), "%s", end->message);
    ex->error = ex->error_text;
    snprintf(text, sizeof(text), "%s broke off: %s", ex->reply.backend, end->message);
    hw_exchange_end_with_error(ex, 502, text);
}

/* The backend refused the query itself: its 4xx is the answer. */
static void
pass_refusal(struct hw_exchange *ex, const struct hw_attempt_end *end)
{
    int status = end->status >= 400 && end->status < 500 ? end->status : 400;

    if (ex->attempt.raw && ex->held.len > 0 && !ex->opened_early)
        hw_exchange_reply_whole(ex, status, ex->held.data, ex->held.len,
                                ex->attempt.content_type[0] != '\0' ? ex->attempt.content_type
                                                                    : "application/json");
    else
        hw_exchange_reply_error(ex, status, NULL, "%s: %s", ex->reply.backend, end->message);
}

static void
on_end(void *ctx, const struct hw_attempt_end *given)
{
    struct hw_exchange *ex = ctx;
    struct hw_attempt_end end = *given;
    bool local = ex->attempt.protocol == NULL;

    if (end.result == HW_ATTEMPT_OK &&
        (ex->held_too_much || (!ex->attempt.raw && !ex->query.stream && ex->answer.overflowed))) {
        end.result = HW_ATTEMPT_BROKEN;
        end.message = "its answer is larger than Hatchway holds";
    }
    hw_exchange_settle(ex, end.result);
    if (end.result == HW_ATTEMPT_OK) {
        complete(ex);
    } else if (ex->state == HW_EXCHANGE_RELAY) {
        break_off(ex, &end);
    } else if (end.result == HW_ATTEMPT_REFUSED) {
        hw_exchange_remember_failure(ex, &end);
        pass_refusal(ex, &end);
    } else {
        hw_exchange_remember_failure(ex, &end);
        /* After everybody else its successor is asked. Once: a query under which two workers died
         * is not given a third. */
        if (end.died && local && ex->deaths++ == 0) {
            ex->candidates[--ex->next_candidate].tried = false;
            hw_exchange_move_candidate(ex, ex->next_candidate, ex->candidate_count - 1);
        }
        hw_exchange_admit(ex);
    }
}

/* --- life ------------------------------------------------------------------------------------ */

static void
on_gone(void *ctx)
{
    struct hw_exchange *ex = ctx;

    ex->stream = NULL;
    ex->client_left = true;
    hw_metric_add(ex->plan->meters->client_left, 1);
    hw_exchange_done(ex);
}

static void
on_drain(void *ctx)
{
    struct hw_exchange *ex = ctx;
    hw_attempt_resume(&ex->attempt);
}

static void
copy_text(char *out, size_t size, const char *text, size_t len)
{
    if (len >= size)
        len = size - 1;
    memcpy(out, text, len);
    out[len] = '\0';
}

void
hw_exchange_begin(struct hw_loop *loop, struct hw_http_stream *stream,
                  const struct hw_dialect *dialect)
{
    struct hw_exchange *ex = hw_xcalloc(1, sizeof(*ex));
    struct hw_http_watcher watcher = {ex, on_gone, on_drain};

    ex->loop = loop;
    ex->plan = hw_plan_ref(loop->plan);
    ex->stream = stream;
    ex->request = hw_http_stream_request(stream);
    ex->began_ns = ex->request->received_ns;
    ex->agent = ex->route = -1;
    ex->cache = HW_CACHE_BYPASS;
    ex->query.dialect = dialect;
    copy_text(ex->peer, sizeof(ex->peer), ex->request->peer, strlen(ex->request->peer));
    copy_text(ex->path, sizeof(ex->path), ex->request->path.p, ex->request->path.len);
    ex->bytes_in = ex->request->body != NULL ? ex->request->body->len : 0;
    hw_arena_init(&ex->arena, (size_t)ex->plan->snapshot->limits.body * 3 + (1u << 20));
    hw_answer_init(&ex->answer, 0);
    hw_reply_init(&ex->reply);
    hw_buf_init(&ex->held, 64u << 20);
    hw_buf_init(&ex->out, 64u << 20);
    ex->next = loop->exchanges;
    if (ex->next != NULL)
        ex->next->prev = ex;
    loop->exchanges = ex;
    atomic_fetch_add(&loop->gateway->active, 1);
    hw_http_stream_watch(stream, &watcher);

    if (!hw_exchange_read_request(ex))
        return;
    hw_exchange_prepare_cache(ex);
    if (!hw_exchange_lookup(ex))
        hw_exchange_join(ex);
}

void
hw_exchange_done(struct hw_exchange *ex)
{
    struct hw_loop *loop = ex->loop;
    bool waited = ex->state == HW_EXCHANGE_WAIT;

    HW_ASSERT(ex->stream == NULL);
    hw_exchange_set_state(ex, HW_EXCHANGE_DONE);
    if (ex->redis_get != NULL)
        hw_cache_redis_cancel(ex->redis_get);
    hw_exchange_leave_join(ex);
    if (waited)
        hw_admission_leave(loop->gateway->admission, &ex->waiter);
    hw_attempt_cancel(&ex->attempt);
    hw_exchange_settle(ex, HW_ATTEMPT_CANCELLED);
    hw_exchange_log(ex);

    if (ex->prev != NULL)
        ex->prev->next = ex->next;
    else
        loop->exchanges = ex->next;
    if (ex->next != NULL)
        ex->next->prev = ex->prev;
    atomic_fetch_sub(&loop->gateway->active, 1);
    hw_answer_free(&ex->answer);
    hw_buf_free(&ex->held);
    hw_buf_free(&ex->out);
    hw_reply_free(&ex->reply);
    hw_body_unref(ex->query.body);
    hw_arena_free(&ex->arena);
    hw_plan_unref(ex->plan);
    free(ex);
}

void
hw_exchange_sweep(struct hw_loop *loop)
{
    uint64_t now_ns = uv_hrtime();
    struct hw_exchange *next;

    for (struct hw_exchange *ex = loop->exchanges; ex != NULL; ex = next) {
        next = ex->next;
        uint64_t total_ns = (uint64_t)ex->plan->snapshot->timeouts.total * 1000000u;
        if (now_ns - ex->began_ns <= total_ns || now_ns < ex->began_ns) {
            hw_exchange_keep_alive(ex);
            hw_attempt_sweep(&ex->attempt, now_ns);
            continue;
        }
        struct hw_attempt_end end = {.result = HW_ATTEMPT_TIMEOUT,
                                     .message = "the query's time was up"};
        hw_attempt_cancel(&ex->attempt);
        /* An answer that is still coming may be as slow as its reader: no fault of the backend. */
        hw_exchange_settle(ex, ex->state == HW_EXCHANGE_RELAY ? HW_ATTEMPT_CANCELLED
                                                              : HW_ATTEMPT_TIMEOUT);
        if (ex->state == HW_EXCHANGE_RELAY)
            break_off(ex, &end);
        else
            hw_exchange_reply_error(ex, 504, NULL, "no answer within the total time of %u ms",
                                    (unsigned)ex->plan->snapshot->timeouts.total);
    }
}

void
hw_exchange_abort_all(struct hw_loop *loop)
{
    struct hw_exchange *next;

    for (struct hw_exchange *ex = loop->exchanges; ex != NULL; ex = next) {
        next = ex->next;
        struct hw_attempt_end end = {.result = HW_ATTEMPT_CANCELLED,
                                     .message = "Hatchway is shutting down"};
        hw_attempt_cancel(&ex->attempt);
        hw_exchange_settle(ex, HW_ATTEMPT_CANCELLED);
        if (ex->state == HW_EXCHANGE_RELAY)
            break_off(ex, &end);
        else
            hw_exchange_reply_error(ex, 503, NULL, "Hatchway is shutting down");
    }
}
