/* router/exchange.c - the state machine of one query, and the choice of who answers it.
 *
 * Before the first byte to the agent everything can be undone: a failed attempt moves on to the
 * next candidate and the agent sees nothing of it. From RELAY on a failure is the dialect's error
 * event. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"
#include "router/exchange_private.h"

static const char *const state_names[HW_EXCHANGE_STATE_COUNT] = {"NEW",     "LOOKUP", "WAIT",
                                                                 "ATTEMPT", "RELAY",  "DONE"};

#define TO(state) (1u << HW_EXCHANGE_##state)
static const unsigned allowed[HW_EXCHANGE_STATE_COUNT] = {
    [HW_EXCHANGE_NEW] = TO(LOOKUP) | TO(WAIT) | TO(ATTEMPT) | TO(DONE),
    [HW_EXCHANGE_LOOKUP] = TO(WAIT) | TO(ATTEMPT) | TO(DONE),
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

static uint64_t
now_ms(const struct hw_exchange *ex)
{
    return uv_now(&ex->loop->uv);
}

/* --- attempts ------------------------------------------------------------------------------- */

static void on_raw(void *ctx, const char *bytes, size_t len);
static void on_event(void *ctx, const struct hw_event *event);
static void on_end(void *ctx, const struct hw_attempt_end *end);
static const struct hw_attempt_events attempt_events = {on_raw, on_event, on_end};

/* The slot goes back and the backend's record is brought up to date. */
static void
settle(struct hw_exchange *ex, enum hw_attempt_result result)
{
    struct hw_speed_sample sample;
    struct hw_backend *backend = ex->slot;
    /* Whether a worker is there its supervisor knows: a breaker that opens when one dies under many
     * queries would only keep them from the others and from its successor. */
    bool local = ex->attempt.protocol == NULL;
    bool unsent =
        result == HW_ATTEMPT_REFUSED && ex->attempt.status == 0; /* refused by ourselves */
    bool blameless =
        unsent || (local && (result == HW_ATTEMPT_BROKEN || result == HW_ATTEMPT_CONNECT));

    if (backend == NULL)
        return;
    ex->slot = NULL;
    hw_attempt_sample(&ex->attempt, &sample);
    hw_backend_result(backend, result, blameless, &sample, now_ms(ex));
    if (result == HW_ATTEMPT_OK) {
        hw_histogram_observe_us(backend->first_token, sample.ttft_us);
        if (sample.decode_us > 0)
            hw_histogram_observe_us(backend->inter_token,
                                    sample.decode_us / (ex->attempt.pieces - 1));
    }
    hw_admission_release(ex->loop->gateway->admission, backend);
}

static void
remember_failure(struct hw_exchange *ex, const struct hw_attempt_end *end)
{
    ex->last_result = end->result;
    ex->last_status = end->status;
    snprintf(ex->last_message, sizeof(ex->last_message), "%s", end->message);
}

static const char *
model_of(const struct hw_candidate *candidate, const struct hw_conf_backend *conf)
{
    if (candidate->model != NULL)
        return candidate->model;
    return conf->models.count > 0 ? conf->models.items[0] : NULL;
}

/* Name of the model that answers, as the agent is told. */
static const char *
shown_model(struct hw_exchange *ex, const struct hw_conf_backend *conf, const char *model)
{
    char name[128];

    if (model != NULL)
        return model;
    if (hw_backend_model_name(conf, name, sizeof(name)) > 0) {
        const char *copy = hw_arena_copy(&ex->arena, name, strlen(name));
        return copy != NULL ? copy : conf->name;
    }
    return ex->query.model != NULL ? ex->query.model : conf->name;
}

/* Sends to the candidate whose slot is held. False: it failed at once; the slot is given back. */
static bool
send_to(struct hw_exchange *ex, const struct hw_candidate *candidate, uint32_t worker_wait_ms)
{
    const struct hw_conf_backend *conf = &ex->plan->snapshot->backends[candidate->backend];
    const char *model = model_of(candidate, conf);
    struct hw_attempt_request request = {
        .query = &ex->query,
        .conf = conf,
        .model = model,
        .request_id = ex->request_id,
        .traceparent = ex->traceparent[0] != '\0' ? ex->traceparent : NULL,
        .worker_wait_ms = worker_wait_ms,
        .strict = ex->strict,
    };
    struct hw_attempt_end end;

    ex->attempts++;
    ex->current = candidate;
    hw_buf_clear(&ex->held);
    ex->held_too_much = false;
    hw_answer_free(&ex->answer);
    hw_answer_init(&ex->answer, ex->query.stream ? ex->plan->snapshot->cache.max_entry : 16u << 20);
    hw_attempt_cancel(&ex->attempt);
    ex->reply.backend = conf->name;
    ex->reply.device = hw_device_names[conf->device];
    ex->reply.model = shown_model(ex, conf, model);
    hw_exchange_set_state(ex, HW_EXCHANGE_ATTEMPT);
    if (hw_trace_on("exchange"))
        hw_trace("exchange", "%s attempt %u to %s", ex->request_id, ex->attempts, conf->name);
    if (hw_attempt_start(&ex->attempt, ex->loop, &request, &attempt_events, ex, &end) == 0) {
        ex->summing = ex->keep || (!ex->attempt.raw && !ex->query.stream);
        return true;
    }
    remember_failure(ex, &end);
    settle(ex, end.result);
    return false;
}

/* --- choosing ------------------------------------------------------------------------------- */

static void
give_up(struct hw_exchange *ex)
{
    const char *backend = ex->reply.backend != NULL ? ex->reply.backend : "";

    if (ex->attempts == 0) {
        hw_exchange_reply_error(ex, 503, NULL,
                                "no backend can answer this now (route %s): all are down or not "
                                "eligible; see /hatchway/backends or `hatchway route`",
                                ex->route_conf->name);
    } else if (ex->last_result == HW_ATTEMPT_TIMEOUT) {
        hw_exchange_reply_error(ex, 504, NULL, "%s did not answer in time: %s", backend,
                                ex->last_message);
    } else if (ex->last_result == HW_ATTEMPT_REFUSED) { /* before anything was sent */
        hw_exchange_reply_error(ex, ex->last_status >= 400 ? ex->last_status : 400, NULL, "%s: %s",
                                backend, ex->last_message);
    } else if (ex->last_status == 429) {
        hw_exchange_reply_error(ex, 429, NULL, "%s is over its rate limit: %s", backend,
                                ex->last_message);
    } else {
        hw_exchange_reply_error(ex, 502, NULL, "%s failed: %s", backend, ex->last_message);
    }
}

/* Nobody can answer now, but these will: those that had no room. A candidate that its breaker has
 * refused has room enough, and waiting for that would end at once, again and again. */
static size_t
gather_full(struct hw_exchange *ex)
{
    struct hw_waiter *waiter = &ex->waiter;

    waiter->count = 0;
    for (size_t i = 0; i < ex->candidate_count; i++) {
        uint32_t b = ex->candidates[i].backend;
        if (!ex->candidates[i].full)
            continue;
        waiter->backends[waiter->count] = ex->plan->backends[b];
        ex->waiter_limits[waiter->count++] = ex->plan->limits[b];
    }
    return waiter->count;
}

static void
wait_for_room(struct hw_exchange *ex)
{
    struct hw_waiter *waiter = &ex->waiter;
    uint32_t max_queued = ex->plan->snapshot->limits.queued;

    waiter->limits = ex->waiter_limits;
    waiter->lane = ex->traits.lane;
    waiter->wake = &ex->loop->wake;
    waiter->ready = &ex->loop->granted;
    waiter->granted = NULL;
    hw_exchange_set_state(ex, HW_EXCHANGE_WAIT);
    if (hw_admission_wait(ex->loop->gateway->admission, waiter, max_queued) != 0)
        hw_exchange_reply_error(ex, 503, NULL,
                                "every backend of route %s is busy and %u queries wait already",
                                ex->route_conf->name, (unsigned)max_queued);
}

static void
move_candidate(struct hw_exchange *ex, size_t from, size_t to)
{
    struct hw_candidate moved = ex->candidates[from];

    if (from < to)
        memmove(&ex->candidates[from], &ex->candidates[from + 1], (to - from) * sizeof(moved));
    else
        memmove(&ex->candidates[to + 1], &ex->candidates[to], (from - to) * sizeof(moved));
    ex->candidates[to] = moved;
}

/* A local worker that is only just starting, or starting again, is worth a wait when nobody else is
 * left: it is back within a second. One becomes the last candidate, once. */
static bool
add_starting_worker(struct hw_exchange *ex)
{
    size_t end = ex->excluded_end;

    ex->excluded_end = ex->candidate_count;
    for (size_t i = ex->candidate_count; i < end; i++) {
        const struct hw_candidate *candidate = &ex->candidates[i];
        const struct hw_conf_backend *conf = &ex->plan->snapshot->backends[candidate->backend];
        if (candidate->out != HW_OUT_DOWN || conf->url != NULL || conf->kind != HW_KIND_BDH)
            continue;
        move_candidate(ex, i, ex->candidate_count++);
        return true;
    }
    return false;
}

static bool
may_try(struct hw_exchange *ex)
{
    struct hw_gateway *gateway = ex->loop->gateway;

    if (ex->attempts == 0)
        return true;
    if (ex->attempts >= HW_EXCHANGE_MAX_ATTEMPTS ||
        !hw_admission_take_retry(gateway->admission, now_ms(ex)))
        return false;
    hw_metric_add(gateway->meters->retries, 1);
    return true;
}

/* False: it has no room, its breaker is open, it failed at once; or (*spent) no retry is left. */
static bool
try_candidate(struct hw_exchange *ex, struct hw_candidate *candidate, uint32_t wait_ms, bool *spent)
{
    struct hw_admission *admission = ex->loop->gateway->admission;
    struct hw_backend *backend = ex->plan->backends[candidate->backend];

    candidate->full =
        !hw_admission_reserve(admission, backend, ex->plan->limits[candidate->backend]);
    if (candidate->full)
        return false;
    *spent = !may_try(ex);
    if (*spent || !hw_backend_take(backend, now_ms(ex))) {
        hw_admission_release(admission, backend);
        return false;
    }
    ex->slot = backend;
    return send_to(ex, candidate, wait_ms);
}

void
hw_exchange_admit(struct hw_exchange *ex)
{
    uint32_t last_wait_ms = ex->plan->snapshot->timeouts.connect;
    bool spent = false;

    do {
        while (ex->next_candidate < ex->candidate_count && !spent) {
            struct hw_candidate *candidate = &ex->candidates[ex->next_candidate++];
            bool last = ex->next_candidate == ex->candidate_count;
            if (try_candidate(ex, candidate, last ? last_wait_ms : 0, &spent))
                return;
        }
        if (ex->attempts == 0 && gather_full(ex) > 0) {
            wait_for_room(ex);
            return;
        }
    } while (!spent && add_starting_worker(ex));
    give_up(ex);
}

/* A slot was handed over. Its backend goes to the front, so that the others are still there to move
 * on to; or it is no candidate any more, when its breaker has opened meanwhile: those who wait for
 * it would only hand its slots around among themselves. */
static void
continue_granted(struct hw_exchange *ex)
{
    struct hw_backend *backend = ex->waiter.granted;
    size_t i = 0;

    ex->waiter.granted = NULL;
    while (i < ex->candidate_count && ex->plan->backends[ex->candidates[i].backend] != backend)
        i++;
    HW_ASSERT(i < ex->candidate_count);
    if (hw_backend_take(backend, now_ms(ex))) {
        move_candidate(ex, i, 0);
        ex->slot = backend;
        ex->next_candidate = 1;
        if (send_to(ex, &ex->candidates[0], ex->plan->snapshot->timeouts.connect))
            return;
    } else {
        move_candidate(ex, i, --ex->candidate_count);
        ex->next_candidate = 0;
        hw_admission_release(ex->loop->gateway->admission, backend);
    }
    hw_exchange_admit(ex);
}

void
hw_exchange_collect_granted(struct hw_loop *loop)
{
    struct hw_waiter *waiter;

    while ((waiter = hw_admission_collect(loop->gateway->admission, &loop->granted)) != NULL)
        continue_granted(
            (struct hw_exchange *)((char *)waiter - offsetof(struct hw_exchange, waiter)));
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
    if (!ex->attempt.raw)
        hw_exchange_write_event(ex, event);
    else if (event->type == HW_EVENT_FINISH && ended_without_terminal(ex))
        hw_exchange_write(ex, ex->query.dialect->terminal, strlen(ex->query.dialect->terminal));
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
        hw_exchange_reply_whole(ex, 200, ex->held.data, ex->held.len,
                                ex->attempt.content_type[0] != '\0' ? ex->attempt.content_type
                                                                    : "application/json");
    } else {
        hw_exchange_reply_answer(ex, &ex->answer);
    }
}

/* After the first byte: the dialect's error event, which is terminal. */
static void
break_off(struct hw_exchange *ex, const struct hw_attempt_end *end)
{
    struct hw_http_stream *stream = ex->stream;

    snprintf(ex->error_text, sizeof(ex->error_text), "%s", end->message);
    ex->error = ex->error_text;
    char text[640];
    int len = snprintf(text, sizeof(text), "%s broke off: %s", ex->reply.backend, end->message);
    struct hw_event event = {.type = HW_EVENT_ERROR,
                             .status = 502,
                             .text = text,
                             .len = (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1};
    hw_exchange_write_event(ex, &event);
    ex->stream = NULL;
    hw_http_finish(stream);
    hw_exchange_done(ex);
}

/* The backend refused the query itself: its 4xx is the answer. */
static void
pass_refusal(struct hw_exchange *ex, const struct hw_attempt_end *end)
{
    int status = end->status >= 400 && end->status < 500 ? end->status : 400;

    if (ex->attempt.raw && ex->held.len > 0)
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
    settle(ex, end.result);
    if (end.result == HW_ATTEMPT_OK) {
        complete(ex);
    } else if (ex->state == HW_EXCHANGE_RELAY) {
        break_off(ex, &end);
    } else if (end.result == HW_ATTEMPT_REFUSED) {
        remember_failure(ex, &end);
        pass_refusal(ex, &end);
    } else {
        remember_failure(ex, &end);
        /* After everybody else its successor is asked. Once: a query under which two workers died
         * is not given a third. */
        if (end.died && local && ex->deaths++ == 0)
            move_candidate(ex, --ex->next_candidate, ex->candidate_count - 1);
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
        hw_exchange_admit(ex);
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
    if (waited)
        hw_admission_leave(loop->gateway->admission, &ex->waiter);
    hw_attempt_cancel(&ex->attempt);
    settle(ex, HW_ATTEMPT_CANCELLED);
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
            hw_attempt_sweep(&ex->attempt, now_ns);
            continue;
        }
        struct hw_attempt_end end = {.result = HW_ATTEMPT_TIMEOUT,
                                     .message = "the query's time was up"};
        hw_attempt_cancel(&ex->attempt);
        /* An answer that is still coming may be as slow as its reader: no fault of the backend. */
        settle(ex, ex->state == HW_EXCHANGE_RELAY ? HW_ATTEMPT_CANCELLED : HW_ATTEMPT_TIMEOUT);
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
        settle(ex, HW_ATTEMPT_CANCELLED);
        if (ex->state == HW_EXCHANGE_RELAY)
            break_off(ex, &end);
        else
            hw_exchange_reply_error(ex, 503, NULL, "Hatchway is shutting down");
    }
}
