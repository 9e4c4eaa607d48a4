/* router/exchange_admit.c - who answers a query: the candidates in their order, room on them, and
 * the sending of an attempt.
 *
 * A slot is reserved before the breaker is asked and before anything is sent; whatever refuses
 * afterwards gives it back. A query whose candidates are all full waits in the admission. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"
#include "policies/hours.h"
#include "router/exchange_private.h"
#include "router/shadow.h"

const char *
hw_exchange_model(const struct hw_candidate *candidate, const struct hw_conf_backend *conf)
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

    bool checkpoint = conf->model != NULL && conf->models.count == 0; /* one name, however asked */
    if (model != NULL && !checkpoint)
        return model;
    if (hw_backend_model_name(conf, name, sizeof(name)) > 0) {
        const char *copy = hw_arena_copy(&ex->arena, name, strlen(name));
        return copy != NULL ? copy : conf->name;
    }
    return ex->query.model != NULL ? ex->query.model : conf->name;
}

/* The query's own attempt is on its way: copies make room for it, and one may follow it. */
static void
follow_by_copies(struct hw_exchange *ex)
{
    if (ex->loop->shadows != NULL)
        hw_shadow_give_way(ex->loop);
    if (!ex->route_conf->shadow.to.present || ex->cast)
        return;
    ex->cast = true;
    hw_shadow_cast(ex);
}

/* Sends to the candidate whose slot is held. False: it failed at once; the slot is given back. */
static bool
send_to(struct hw_exchange *ex, struct hw_candidate *candidate, uint32_t worker_wait_ms)
{
    const struct hw_conf_backend *conf = &ex->plan->snapshot->backends[candidate->backend];
    const char *model = hw_exchange_model(candidate, conf);
    struct hw_attempt_request request = {
        .query = &ex->query,
        .conf = conf,
        .model = model,
        .request_id = ex->request_id,
        .traceparent = ex->traceparent[0] != '\0' ? ex->traceparent : NULL,
        .worker_wait_ms = worker_wait_ms,
        .strict = ex->strict,
        .told = ex->told,
    };
    struct hw_attempt_end end;

    ex->attempts++;
    ex->current = candidate;
    candidate->tried = true;
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
    if (hw_attempt_start(&ex->attempt, ex->loop, &request, &hw_exchange_attempt_events, ex, &end) ==
        0) {
        ex->summing = ex->keep || (!ex->attempt.raw && !ex->query.stream);
        follow_by_copies(ex);
        return true;
    }
    hw_exchange_remember_failure(ex, &end);
    hw_exchange_settle(ex, end.result);
    return false;
}

/* --- choosing ------------------------------------------------------------------------------- */

/* Not for want of health: those that the route leads to have no vectors to give. */
static bool
nobody_embeds(const struct hw_exchange *ex)
{
    bool found = false;

    for (size_t i = 0; i < ex->plan->snapshot->backend_count; i++) {
        if (ex->candidates[i].out == HW_CANDIDATE || ex->candidates[i].out >= HW_OUT_DOWN)
            return false;
        found = found || ex->candidates[i].out == HW_OUT_EMBEDDINGS;
    }
    return found;
}

/* Nobody takes this lane; or not now, but somebody will: says when. */
static bool
refuse_lane(struct hw_exchange *ex)
{
    const struct hw_snapshot *snapshot = ex->plan->snapshot;
    int64_t seconds = hw_rank_opens_in(snapshot, &ex->traits, ex->candidates, ex->candidate_count);
    const char *lane = hw_lane_names[ex->traits.lane];
    size_t refused = 0, others = 0;
    char when[32];

    for (size_t i = ex->candidate_count; i < snapshot->backend_count; i++) {
        refused += ex->candidates[i].out == HW_OUT_LANE;
        others += ex->candidates[i].out > HW_OUT_LANE;
    }
    if (seconds < 0 && refused > 0 && others == 0) {
        hw_exchange_reply_error(ex, 503, NULL,
                                "no backend of route %s takes %s queries: ask in another lane "
                                "(x-hatchway-lane), or mend `lanes` in the policy",
                                ex->route_conf->name, lane);
        return true;
    }
    if (seconds < 0)
        return false;
    ex->retry_after_s = seconds;
    hw_say_seconds(seconds, when, sizeof(when));
    hw_exchange_reply_error(ex, 503, NULL,
                            "%s queries of route %s are outside the hours of its backends: come "
                            "back in %s, or ask in another lane (x-hatchway-lane)",
                            lane, ex->route_conf->name, when);
    return true;
}

static void
give_up(struct hw_exchange *ex)
{
    const char *backend = ex->reply.backend != NULL ? ex->reply.backend : "";

    if (ex->attempts == 0 && refuse_lane(ex))
        return;
    if (ex->attempts == 0 && nobody_embeds(ex)) {
        hw_exchange_reply_error(ex, 400, "model",
                                "no backend of route %s gives embeddings: a bdh model has none, "
                                "ask for the model of an ollama or openai backend",
                                ex->route_conf->name);
    } else if (ex->attempts == 0) {
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
    } else if (ex->last_status == 503) {
        hw_exchange_reply_error(ex, 503, NULL, "%s is overloaded: %s", backend, ex->last_message);
    } else {
        hw_exchange_reply_error(ex, 502, NULL, "%s failed: %s", backend, ex->last_message);
    }
}

/* overflow: wait. Its own backends are only full, so their room is worth more than the fallback. */
static bool
waits_for_its_own(const struct hw_exchange *ex, const struct hw_candidate *next)
{
    if (!ex->route_conf->overflow_waits || !next->fallback || ex->attempts > 0)
        return false;
    for (const struct hw_candidate *own = ex->candidates; own < next; own++)
        if (own->full && !own->fallback)
            return true;
    return false;
}

struct hw_room
hw_exchange_room(const struct hw_plan *plan, const struct hw_candidate *candidate)
{
    const struct hw_conf_device *device = plan->snapshot->backends[candidate->backend].on;

    return (struct hw_room){
        .backend = plan->backends[candidate->backend],
        .limit = candidate->limit,
        .device = device != NULL ? plan->devices[device - plan->snapshot->devices] : NULL,
        .device_conf = device,
        .idle = candidate->idle,
    };
}

static struct hw_asker
asker_of(const struct hw_exchange *ex)
{
    return (struct hw_asker){ex->traits.lane, ex->traits.role};
}

/* Nobody can answer now, but these will: those that had no room. A candidate that its breaker has
 * refused has room enough, and waiting for that would end at once, again and again. */
static size_t
gather_full(struct hw_exchange *ex)
{
    struct hw_waiter *waiter = &ex->waiter;
    bool chosen = false;

    waiter->count = 0;
    for (size_t i = 0; i < ex->candidate_count; i++)
        chosen = chosen || (ex->candidates[i].full && ex->candidates[i].wait);
    for (size_t i = 0; i < ex->candidate_count; i++) {
        const struct hw_candidate *candidate = &ex->candidates[i];
        if (waiter->count > 0 && waits_for_its_own(ex, candidate))
            break;
        if (!candidate->full || (chosen && !candidate->wait))
            continue;
        waiter->rooms[waiter->count++] = hw_exchange_room(ex->plan, candidate);
    }
    return waiter->count;
}

static void
wait_for_room(struct hw_exchange *ex)
{
    struct hw_waiter *waiter = &ex->waiter;
    uint32_t max_queued = ex->plan->snapshot->limits.queued;

    waiter->asker = asker_of(ex);
    waiter->wake = &ex->loop->wake;
    waiter->ready = &ex->loop->granted;
    hw_exchange_set_state(ex, HW_EXCHANGE_WAIT);
    if (hw_admission_wait(ex->loop->gateway->admission, waiter, max_queued) != 0)
        hw_exchange_reply_error(ex, 503, NULL,
                                "every backend of route %s is busy and %u queries wait already",
                                ex->route_conf->name, (unsigned)max_queued);
}

void
hw_exchange_move_candidate(struct hw_exchange *ex, size_t from, size_t to)
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
        hw_exchange_move_candidate(ex, i, ex->candidate_count++);
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
        !hw_admission_take_retry(gateway->admission, hw_exchange_now_ms(ex)))
        return false;
    hw_metric_add(gateway->meters->retries, 1);
    return true;
}

/* False: it has no room, its breaker is open, it failed at once; or (*spent) no retry is left. */
static bool
try_candidate(struct hw_exchange *ex, struct hw_candidate *candidate, uint32_t wait_ms, bool *spent)
{
    struct hw_admission *admission = ex->loop->gateway->admission;
    struct hw_room room = hw_exchange_room(ex->plan, candidate);
    struct hw_asker asker = asker_of(ex);

    if (candidate->tried) /* before a wait for room */
        return false;
    candidate->full = !hw_admission_reserve(admission, &room, &asker, &ex->slot);
    if (candidate->full)
        return false;
    *spent = !may_try(ex);
    if (*spent || !hw_backend_take(room.backend, hw_exchange_now_ms(ex))) {
        hw_admission_release(admission, &ex->slot);
        return false;
    }
    return send_to(ex, candidate, wait_ms);
}

void
hw_exchange_admit(struct hw_exchange *ex)
{
    uint32_t last_wait_ms = ex->plan->snapshot->timeouts.connect;
    bool spent = false;

    do {
        while (ex->next_candidate < ex->candidate_count && !spent) {
            struct hw_candidate *candidate = &ex->candidates[ex->next_candidate];
            if (waits_for_its_own(ex, candidate))
                break;
            ex->next_candidate++;
            bool last = ex->next_candidate == ex->candidate_count;
            if (try_candidate(ex, candidate, last ? last_wait_ms : 0, &spent))
                return;
            if (candidate->full && candidate->wait && ex->attempts == 0 &&
                (last || !ex->candidates[ex->next_candidate].wait))
                break; /* what comes behind would answer later than these after a wait */
        }
        if (!spent && gather_full(ex) > 0 && may_try(ex)) {
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
    struct hw_backend *backend = ex->waiter.granted.backend;
    size_t i = 0;

    ex->slot = ex->waiter.granted;
    while (i < ex->candidate_count && ex->plan->backends[ex->candidates[i].backend] != backend)
        i++;
    HW_ASSERT(i < ex->candidate_count);
    if (hw_backend_take(backend, hw_exchange_now_ms(ex))) {
        hw_exchange_move_candidate(ex, i, 0);
        ex->next_candidate = 1;
        if (send_to(ex, &ex->candidates[0], ex->plan->snapshot->timeouts.connect))
            return;
    } else {
        hw_exchange_move_candidate(ex, i, --ex->candidate_count);
        ex->next_candidate = 0;
        hw_admission_release(ex->loop->gateway->admission, &ex->slot);
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
