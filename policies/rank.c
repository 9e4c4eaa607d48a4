/* policies/rank.c - who may answer, and who first.
 *
 * Every backend goes through the same gate (gate_route, gate_state) for the route's `to`, and, if
 * that turns it away, for its `fallback`; what is left is sorted by one comparison that spells out
 * the order: room, route before fallback, quality, then the score of the route's `by` (order.c).
 *
 * A query that asks for a model by name gets that model or an error, never a general backend that
 * happened to be free; only a fallback, which the policy wrote down for just that, may answer with
 * another model. */
#include "policies/rank.h"

#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"
#include "policies/hours.h"

const char *const hw_exclusion_names[] = {
    "candidate",     "not named", "kind",         "device", "model",        "context",
    "no embeddings", "lane",      "asked itself", "down",   "breaker open", "out of hours",
};

/* What the query's `model` asks for, resolved once. */
struct asked {
    enum hw_model_meaning meaning;
    const char *name;   /* of the model or the backend */
    const char *digest; /* of the model, where it was found; "": unknown */
};

/* What is the same for all backends of one ranking. */
struct round {
    const struct hw_rank_input *input;
    struct asked asked;
    double answer_bytes; /* of a backend that has not taught it */
    bool timed;          /* some backend's lanes have hours, and they hold for this query */
    struct hw_local_time now;
};

/* The ways a route has to a backend, in the order of its wishes. */
enum way { WAY_TO, WAY_OVERFLOW, WAY_FALLBACK, WAY_COUNT };

/* One candidate with what the comparison needs. */
struct entry {
    struct hw_candidate candidate;
    enum way way;
    bool waits; /* overflow: wait. The way counts more than room */
    bool last;  /* last_resort */
    int quality;
    enum hw_by by;
};

static bool
selector_names(const struct hw_conf_selector *to)
{
    return to->has_kind || to->device_mask != 0 || to->role_mask != 0 || to->backend_mask != NULL ||
           to->model != NULL;
}

static bool
query_has_role(const struct hw_conf_backend *backend, const struct hw_traits *traits)
{
    return traits->role >= 0 && (backend->role_mask >> traits->role & 1) != 0;
}

/* Does the query's model, its role, the route, or its own generality make it eligible? */
static bool
eligible(const struct hw_conf_backend *backend, const struct hw_found *found,
         const struct hw_conf_selector *to, const struct asked *asked,
         const struct hw_traits *traits)
{
    if (backend->general || query_has_role(backend, traits) || selector_names(to))
        return true;
    if (asked->meaning == HW_MODEL_MODEL)
        return hw_view_model(backend, found, asked->name, asked->digest) != NULL;
    return asked->meaning == HW_MODEL_BACKEND && strcmp(asked->name, backend->name) == 0;
}

static bool
roles_fit(const struct hw_conf_backend *backend, const struct hw_conf_selector *to,
          const struct hw_traits *traits)
{
    if (to->role_mask != 0 && (backend->role_mask & to->role_mask) == 0)
        return false;
    if (!to->role_same)
        return true;
    return traits->role >= 0 ? query_has_role(backend, traits) : backend->general;
}

/* An OpenAI-compatible server refuses a prompt that leaves no room for max_tokens; others cut the
 * answer. Tokens are estimates: near the edge the backend has the last word. */
static bool
context_fits(const struct hw_rank_input *input, size_t i, struct hw_candidate *candidate)
{
    const char *model = candidate->model;
    const struct hw_conf_backend *backend = &input->snapshot->backends[i];
    const struct hw_traits *traits = input->traits;

    if (backend->context == 0)
        return true;
    if (model == NULL && backend->models.count == 0) {
        const struct hw_found_model *first = hw_found_first(input->views[i].found, traits->embeds);
        model = first != NULL ? first->name : NULL;
    }
    candidate->prompt_tokens = hw_tokens_at(input->tokens, backend, model, traits);
    uint64_t answer = backend->kind == HW_KIND_OPENAI ? traits->max_tokens : 0;
    return candidate->prompt_tokens + answer <= backend->context;
}

/* The model that the backend is to be asked for; false: it has not what is wanted. */
static bool
model_fits(const struct hw_conf_backend *backend, const struct hw_found *found,
           const struct hw_conf_selector *to, const struct asked *asked, bool fallback,
           const char **model)
{
    *model = NULL;
    if (to->model != NULL) { /* the route's word stands over the query's */
        *model = hw_view_model(backend, found, to->model, "");
        return *model != NULL;
    }
    switch (asked->meaning) {
    case HW_MODEL_MODEL:
        *model = hw_view_model(backend, found, asked->name, asked->digest);
        return *model != NULL || fallback;
    case HW_MODEL_BACKEND:
        return fallback || strcmp(asked->name, backend->name) == 0;
    case HW_MODEL_UNKNOWN:
        return fallback;
    case HW_MODEL_AUTO:
    case HW_MODEL_ROLE:
        break;
    }
    return true;
}

/* What the policy says of backend i, whatever its state. */
static enum hw_exclusion
gate_route(const struct hw_rank_input *input, size_t i, const struct hw_conf_selector *to,
           const struct asked *asked, struct hw_candidate *candidate)
{
    const struct hw_conf_backend *backend = &input->snapshot->backends[i];
    const struct hw_found *found = input->views[i].found;
    bool fallback = input->copy || to == &input->route->fallback;

    candidate->model = NULL;
    if (!eligible(backend, found, to, asked, input->traits))
        return HW_OUT_NOT_NAMED;
    if (to->backend_mask != NULL && (to->backend_mask[i / 64] >> (i % 64) & 1) == 0)
        return HW_OUT_NOT_NAMED;
    if (!roles_fit(backend, to, input->traits))
        return HW_OUT_NOT_NAMED;
    if (to->has_kind && backend->kind != to->kind)
        return HW_OUT_KIND;
    if (to->device_mask != 0 && (to->device_mask >> backend->device & 1) == 0)
        return HW_OUT_DEVICE;
    if (!model_fits(backend, found, to, asked, fallback, &candidate->model))
        return HW_OUT_MODEL;
    if (input->traits->embeds && backend->kind == HW_KIND_BDH)
        return HW_OUT_EMBEDDINGS;
    if (!context_fits(input, i, candidate))
        return HW_OUT_CONTEXT;
    return HW_CANDIDATE;
}

static enum hw_exclusion
gate_state(const struct round *round, size_t i)
{
    const struct hw_conf_backend *backend = &round->input->snapshot->backends[i];
    const struct hw_backend_view *view = &round->input->views[i];
    const struct hw_conf_lane *lane = &backend->lanes[round->input->traits->lane];

    if (lane->refused)
        return HW_OUT_LANE;
    if (!view->up)
        return HW_OUT_DOWN;
    if (view->breaker == HW_BREAKER_OPEN)
        return HW_OUT_BREAKER;
    if (round->timed && !hw_lane_open(lane, round->now))
        return HW_OUT_HOURS;
    /* Half open: in its own place, or it would never be tried again while another one is well. Its
     * trial is one query, which moves on if it fails. */
    return HW_CANDIDATE;
}

/* The first way that leads to backend i: fills in the way, the model, and why none does. */
static const struct hw_conf_selector *
find_way(const struct round *round, size_t i, struct entry *entry)
{
    const struct hw_conf_route *route = round->input->route;
    const struct hw_conf_selector *ways[WAY_COUNT] = {&route->to, &route->overflow,
                                                      &route->fallback};
    struct hw_candidate *candidate = &entry->candidate;
    struct hw_candidate other;

    candidate->out = gate_route(round->input, i, &route->to, &round->asked, candidate);
    for (unsigned w = WAY_OVERFLOW; candidate->out != HW_CANDIDATE && w < WAY_COUNT; w++) {
        if (!ways[w]->present)
            continue;
        other = *candidate;
        other.out = gate_route(round->input, i, ways[w], &round->asked, &other);
        if (other.out != HW_CANDIDATE)
            continue;
        *candidate = other;
        entry->way = (enum way)w;
    }
    return ways[entry->way];
}

/* Why it has no room for this query, or NULL. */
static const char *
why_full(const struct hw_rank_input *input, const struct hw_candidate *candidate)
{
    const struct hw_conf_device *device = input->snapshot->backends[candidate->backend].on;
    const struct hw_traits *traits = input->traits;

    if (candidate->limit != 0 && input->views[candidate->backend].inflight >= candidate->limit)
        return candidate->idle ? "idle" : "max_inflight";
    if (device == NULL || input->devices == NULL)
        return NULL;
    const struct hw_device_view *view = &input->devices[device - input->snapshot->devices];
    if (hw_share_pick(device, view, traits->lane, traits->role, candidate->idle) != HW_SHARE_NONE)
        return NULL;
    return candidate->idle && view->inflight > 0 ? "idle" : "device";
}

/* What was found there: a model for those who named none, and the time that a cold one takes. */
static void
take_found(const struct hw_rank_input *input, const struct hw_backend_view *view,
           struct hw_candidate *candidate)
{
    const struct hw_conf_backend *backend = &input->snapshot->backends[candidate->backend];
    const struct hw_found_model *model;

    if (candidate->model == NULL && backend->models.count == 0) {
        model = hw_found_first(view->found, input->traits->embeds);
        candidate->model = model != NULL ? model->name : NULL;
    } else {
        const char *name = candidate->model != NULL ? candidate->model : backend->models.items[0];
        model = hw_found_by_name(view->found, name);
    }
    candidate->load_ms = hw_found_load_ms(view->found, model);
}

static void
judge(const struct round *round, size_t i, struct entry *entry)
{
    const struct hw_rank_input *input = round->input;
    const struct hw_conf_backend *backend = &input->snapshot->backends[i];
    const struct hw_backend_view *view = &input->views[i];
    const struct hw_conf_route *route = input->route;
    struct hw_candidate *candidate = &entry->candidate;
    struct hw_expected expected;

    *entry = (struct entry){.quality = backend->quality, .waits = route->overflow_waits};
    candidate->backend = (uint32_t)i;
    const struct hw_conf_selector *selector = find_way(round, i, entry);
    entry->by = selector->by;
    entry->last = (selector->last_mask >> backend->device & 1) != 0;
    candidate->overflow = entry->way == WAY_OVERFLOW;
    candidate->fallback = entry->way == WAY_FALLBACK;
    if (candidate->out == HW_CANDIDATE)
        candidate->out = gate_state(round, i);
    candidate->idle = selector->idle;
    candidate->limit = selector->idle ? 1 : backend->max_inflight;
    candidate->full_why = why_full(input, candidate);
    candidate->full = candidate->full_why != NULL;
    if (view->found != NULL)
        take_found(input, view, candidate);
    hw_expect(view, backend, input->traits, round->answer_bytes, &expected);
    candidate->ahead_ms = candidate->load_ms + expected.queue_ms + expected.prefill_ms;
    candidate->spared = hw_order_spares(input, i);
    candidate->saturated = route->max_wait != 0 && expected.queue_ms > route->max_wait;
    candidate->expected_ms = candidate->load_ms + expected.queue_ms + expected.start_ms +
                             expected.prefill_ms + expected.decode_ms;
}

/* Below 0: a goes first. The snapshot's order decides between equals, so that the order is total.
 */
static int
compare(const void *pa, const void *pb)
{
    const struct entry *a = pa, *b = pb;
    const struct hw_candidate *ca = &a->candidate, *cb = &b->candidate;

    if ((ca->out == HW_CANDIDATE) != (cb->out == HW_CANDIDATE))
        return ca->out == HW_CANDIDATE ? -1 : 1;
    if (a->waits && a->way != b->way)
        return a->way < b->way ? -1 : 1;
    if (ca->full != cb->full)
        return ca->full ? 1 : -1;
    if (ca->saturated != cb->saturated)
        return ca->saturated ? 1 : -1;
    if (a->way != b->way)
        return a->way < b->way ? -1 : 1;
    if (a->last != b->last)
        return a->last ? 1 : -1;
    if (ca->spared != cb->spared)
        return ca->spared ? 1 : -1;
    if (a->quality != b->quality)
        return a->quality > b->quality ? -1 : 1;
    if (ca->score < cb->score || ca->score > cb->score)
        return ca->score < cb->score ? -1 : 1;
    if (ca->expected_ms < cb->expected_ms || ca->expected_ms > cb->expected_ms)
        return ca->expected_ms < cb->expected_ms ? -1 : 1;
    return ca->backend < cb->backend ? -1 : 1;
}

/* Who is like whom is known only when all have been judged. */
static void
score_all(const struct hw_rank_input *input, struct entry *entries, size_t total)
{
    size_t counts[WAY_COUNT] = {0};
    uint64_t inflight[WAY_COUNT] = {0};

    for (size_t i = 0; i < total; i++) {
        const struct hw_candidate *candidate = &entries[i].candidate;
        if (candidate->out != HW_CANDIDATE)
            continue;
        counts[entries[i].way]++;
        inflight[entries[i].way] += input->views[candidate->backend].inflight;
    }
    for (size_t i = 0; i < total; i++) {
        struct hw_candidate *candidate = &entries[i].candidate;
        candidate->score =
            hw_order_score(input, entries[i].by, candidate->backend, candidate->expected_ms,
                           counts[entries[i].way], inflight[entries[i].way]);
    }
}

/* Nobody is left but some whose breaker only late answers have opened: they are asked. */
static void
admit_late(const struct hw_rank_input *input, struct entry *entries, size_t total)
{
    for (size_t i = 0; i < total; i++)
        if (entries[i].candidate.out == HW_CANDIDATE)
            return;
    for (size_t i = 0; i < total; i++)
        if (entries[i].candidate.out == HW_OUT_BREAKER && input->views[i].late)
            entries[i].candidate.out = HW_CANDIDATE;
}

/* A name that the configuration does not know, some backend may; and who has it goes by the model's
 * digest too. */
static void
ask_found(const struct hw_rank_input *input, struct asked *asked)
{
    asked->digest = "";
    if (asked->meaning == HW_MODEL_UNKNOWN)
        asked->name = hw_resolve_alias(input->snapshot, input->traits->model);
    else if (asked->meaning != HW_MODEL_MODEL)
        return;
    for (size_t i = 0; asked->name != NULL && i < input->snapshot->backend_count; i++) {
        const struct hw_found_model *model = hw_found_by_name(input->views[i].found, asked->name);
        if (model == NULL)
            continue;
        if (input->snapshot->backends[i].models.count == 0)
            asked->meaning = HW_MODEL_MODEL;
        if (*asked->digest == '\0')
            asked->digest = model->digest;
    }
}

size_t
hw_rank(const struct hw_rank_input *input, struct hw_candidate *out)
{
    size_t total = input->snapshot->backend_count, count = 0;
    struct entry few[16]; /* a small fleet needs no allocation */
    struct entry *entries = few;
    struct round round = {.input = input,
                          .answer_bytes = hw_expect_answer_bytes(input->views, total)};
    int role;

    if (total > sizeof(few) / sizeof(few[0]))
        entries = hw_xcalloc(total, sizeof(*entries));
    round.asked.meaning =
        hw_resolve_model(input->snapshot, input->traits->model, &role, &round.asked.name);
    ask_found(input, &round.asked);
    round.timed = input->snapshot->timed && !input->route->on_demand;
    if (round.timed)
        round.now = hw_zone_local(input->snapshot->zone, input->traits->now_s);
    for (size_t i = 0; i < total; i++)
        judge(&round, i, &entries[i]);
    admit_late(input, entries, total);
    score_all(input, entries, total);
    qsort(entries, total, sizeof(*entries), compare);
    for (size_t i = 0; i < total; i++) {
        out[i] = entries[i].candidate;
        count += out[i].out == HW_CANDIDATE;
    }
    if (count > 1 && entries[0].by == HW_BY_LATENCY) {
        hw_order_wait(input, out, count);
        hw_order_explore(input, out, count);
    }
    if (entries != few)
        free(entries);
    return count;
}
