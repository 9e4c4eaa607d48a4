/* bench/sim/run.c - the clock: arrivals, ends, deaths and probes in the order of their times. */
#include <stdlib.h>

#include "bench/sim/sim.h"
#include "hatchway/assert.h"

#define REFUSED_MS 1.0 /* a dead place says so at once */
#define PROBE_MS 10000.0
#define TRIES_MAX 1000 /* of one query; nobody comes near, but a bug of ours would */

enum what { ARRIVAL, END, RETRY, DEATH, PROBES };

struct event {
    double at_ms;
    uint64_t order; /* of equals: the one that was put first */
    enum what what;
    uint32_t query, place, slot;
    uint64_t ticket;
};

struct sim_events { /* a binary heap */
    struct event *items;
    size_t count, room;
    uint64_t order;
};

static bool
before(const struct event *a, const struct event *b)
{
    return a->at_ms < b->at_ms || (a->at_ms <= b->at_ms && a->order < b->order);
}

static void
put(struct sim_events *events, struct event event)
{
    if (events->count == events->room) {
        events->room = events->room > 0 ? 2 * events->room : 64;
        events->items = realloc(events->items, events->room * sizeof(event));
        HW_ASSERT(events->items != NULL);
    }
    event.order = events->order++;
    size_t i = events->count++;
    for (; i > 0 && before(&event, &events->items[(i - 1) / 2]); i = (i - 1) / 2)
        events->items[i] = events->items[(i - 1) / 2];
    events->items[i] = event;
}

static struct event
take(struct sim_events *events)
{
    struct event first = events->items[0], last = events->items[--events->count];
    size_t i = 0;

    for (size_t child; (child = 2 * i + 1) < events->count; i = child) {
        if (child + 1 < events->count && before(&events->items[child + 1], &events->items[child]))
            child++;
        if (!before(&events->items[child], &last))
            break;
        events->items[i] = events->items[child];
    }
    if (events->count > 0)
        events->items[i] = last;
    return first;
}

bool
sim_place_dead(const struct sim_place *place, double at_ms)
{
    return at_ms >= place->dead_from_ms && at_ms < place->dead_to_ms;
}

double
sim_service_ms(const struct sim_place *place, const struct sim_query *query, double start_ms,
               double *first_ms)
{
    bool slow = start_ms >= place->slow_from_ms && start_ms < place->slow_to_ms;
    double factor = query->noise * (slow ? place->slow_factor : 1);

    *first_ms = factor * (place->ttft_ms + query->prompt_bytes * 1000.0 / place->prefill_bytes_s);
    return *first_ms + factor * query->output_bytes * 1000.0 / place->decode_bytes_s;
}

/* --- queues --- */

static void
queue_push(struct sim *sim, uint32_t *first, uint32_t *last, uint32_t query)
{
    sim->queries[query].next = SIM_NONE;
    if (*first == SIM_NONE)
        *first = query;
    else
        sim->queries[*last].next = query;
    *last = query;
}

static uint32_t
queue_take(struct sim *sim, uint32_t *first)
{
    uint32_t query = *first;

    *first = sim->queries[query].next;
    return query;
}

static void
count_waiting(struct sim *sim, const struct sim_query *query, unsigned by)
{
    sim->waiting += by;
    for (size_t p = 0; p < sim->place_count; p++)
        sim->states[p].waiting += (query->wait_for >> p & 1) * by;
}

/* The first one at the gateway that waits for this place. */
static uint32_t
waiter_for(struct sim *sim, size_t place)
{
    uint32_t before_it = SIM_NONE;

    for (uint32_t q = sim->waiting_first; q != SIM_NONE; before_it = q, q = sim->queries[q].next) {
        if ((sim->queries[q].wait_for >> place & 1) == 0)
            continue;
        if (before_it == SIM_NONE)
            sim->waiting_first = sim->queries[q].next;
        else
            sim->queries[before_it].next = sim->queries[q].next;
        if (sim->waiting_last == q)
            sim->waiting_last = before_it;
        count_waiting(sim, &sim->queries[q], -1u);
        return q;
    }
    return SIM_NONE;
}

/* --- a query's way --- */

static void
begin(struct sim *sim, size_t p, uint32_t slot, uint32_t query)
{
    struct sim_working *working = &sim->states[p].working[slot];
    double total_ms =
        sim_service_ms(&sim->places[p], &sim->queries[query], sim->now_ms, &working->first_ms);

    working->query = query;
    working->begin_ms = sim->now_ms;
    working->ticket++;
    put(sim->events, (struct event){.at_ms = sim->now_ms + total_ms,
                                    .what = END,
                                    .query = query,
                                    .place = (uint32_t)p,
                                    .slot = slot,
                                    .ticket = working->ticket});
}

static void
tell(struct sim *sim, size_t p, uint32_t query, bool ok, double first_ms, double total_ms)
{
    if (sim->chooser->ended != NULL)
        sim->chooser->ended(sim, p, &sim->queries[query], ok, first_ms, total_ms);
}

static void
failed(struct sim *sim, size_t p, uint32_t query, double again_ms)
{
    sim->queries[query].avoid |= 1u << p;
    sim->retries++;
    HW_ASSERT(sim->retries < TRIES_MAX * sim->query_count);
    tell(sim, p, query, false, 0, 0);
    put(sim->events, (struct event){.at_ms = again_ms, .what = RETRY, .query = query});
}

static void
send_to(struct sim *sim, size_t p, uint32_t query)
{
    struct sim_state *state = &sim->states[p];

    if (sim_place_dead(&sim->places[p], sim->now_ms)) {
        failed(sim, p, query, sim->now_ms + REFUSED_MS);
        return;
    }
    state->inflight++;
    for (uint32_t slot = 0; slot < sim->places[p].slots; slot++) {
        if (state->working[slot].query == SIM_NONE) {
            begin(sim, p, slot, query);
            return;
        }
    }
    queue_push(sim, &state->queue_first, &state->queue_last, query);
}

static void
dispatch(struct sim *sim, uint32_t query)
{
    struct sim_query *q = &sim->queries[query];

    if (q->avoid == (1u << sim->place_count) - 1)
        q->avoid = 0;
    int p = sim->chooser->choose(sim, q);
    if (p != SIM_WAIT) {
        send_to(sim, (size_t)p, query);
        return;
    }
    HW_ASSERT(q->wait_for != 0);
    queue_push(sim, &sim->waiting_first, &sim->waiting_last, query);
    count_waiting(sim, q, 1);
}

/* A slot has come free: who waits at the place goes first, then who waits at the gateway. */
static void
refill(struct sim *sim, size_t p, uint32_t slot)
{
    struct sim_state *state = &sim->states[p];

    if (state->queue_first != SIM_NONE) {
        begin(sim, p, slot, queue_take(sim, &state->queue_first));
        return;
    }
    uint32_t waiter = sim->waiting > 0 ? waiter_for(sim, p) : SIM_NONE;
    if (waiter != SIM_NONE)
        send_to(sim, p, waiter);
}

/* False: the query was cut meanwhile. */
static bool
on_end(struct sim *sim, const struct event *event)
{
    struct sim_state *state = &sim->states[event->place];
    struct sim_working *working = &state->working[event->slot];

    if (working->query != event->query || working->ticket != event->ticket)
        return false;
    working->query = SIM_NONE;
    state->inflight--;
    sim->queries[event->query].done_ms = sim->now_ms;
    tell(sim, event->place, event->query, true, working->first_ms, sim->now_ms - working->begin_ms);
    refill(sim, event->place, event->slot);
    return true;
}

static void
on_death(struct sim *sim, size_t p)
{
    struct sim_state *state = &sim->states[p];

    for (uint32_t slot = 0; slot < sim->places[p].slots; slot++) {
        uint32_t query = state->working[slot].query;
        state->working[slot].query = SIM_NONE;
        if (query != SIM_NONE)
            failed(sim, p, query, sim->now_ms);
    }
    while (state->queue_first != SIM_NONE)
        failed(sim, p, queue_take(sim, &state->queue_first), sim->now_ms);
    state->inflight = 0;
    for (uint32_t q; sim->waiting > 0 && (q = waiter_for(sim, p)) != SIM_NONE;)
        put(sim->events, (struct event){.at_ms = sim->now_ms, .what = RETRY, .query = q});
}

static void
on_probes(struct sim *sim)
{
    for (size_t p = 0; p < sim->place_count; p++)
        sim->chooser->probed(sim, p, !sim_place_dead(&sim->places[p], sim->now_ms));
    put(sim->events, (struct event){.at_ms = sim->now_ms + PROBE_MS, .what = PROBES});
}

static void
prepare(struct sim *sim, uint64_t seed)
{
    sim->now_ms = 0;
    sim->dice.state = seed;
    sim->waiting = 0;
    sim->waiting_first = sim->waiting_last = SIM_NONE;
    sim->retries = 0;
    for (size_t p = 0; p < sim->place_count; p++) {
        struct sim_state *state = &sim->states[p];
        *state = (struct sim_state){.queue_first = SIM_NONE, .queue_last = SIM_NONE};
        for (uint32_t slot = 0; slot < SIM_SLOTS_MAX; slot++)
            state->working[slot].query = SIM_NONE;
        if (sim->places[p].dead_to_ms > sim->places[p].dead_from_ms)
            put(sim->events, (struct event){.at_ms = sim->places[p].dead_from_ms,
                                            .what = DEATH,
                                            .place = (uint32_t)p});
    }
    for (size_t i = 0; i < sim->query_count; i++) {
        sim->queries[i].avoid = sim->queries[i].wait_for = 0;
        sim->queries[i].done_ms = -1;
    }
    put(sim->events, (struct event){.at_ms = sim->queries[0].arrive_ms, .what = ARRIVAL});
    if (sim->chooser->probed != NULL)
        put(sim->events, (struct event){.at_ms = PROBE_MS, .what = PROBES});
}

void
sim_run(struct sim *sim, uint64_t seed)
{
    struct sim_events events = {0};
    size_t done = 0;

    sim->events = &events;
    prepare(sim, seed);
    sim->own = sim->chooser->create != NULL ? sim->chooser->create(sim) : NULL;
    while (done < sim->query_count) {
        HW_ASSERT(events.count > 0);
        struct event event = take(&events);
        sim->now_ms = event.at_ms;
        switch (event.what) {
        case ARRIVAL:
            if (event.query + 1 < sim->query_count)
                put(&events, (struct event){.at_ms = sim->queries[event.query + 1].arrive_ms,
                                            .what = ARRIVAL,
                                            .query = event.query + 1});
            dispatch(sim, event.query);
            break;
        case END:
            done += on_end(sim, &event);
            break;
        case RETRY:
            dispatch(sim, event.query);
            break;
        case DEATH:
            on_death(sim, event.place);
            break;
        case PROBES:
            on_probes(sim);
            break;
        }
    }
    if (sim->chooser->destroy != NULL)
        sim->chooser->destroy(sim->own);
    free(events.items);
    sim->events = NULL;
}

static int
compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

void
sim_result_of(const struct sim *sim, struct sim_result *result)
{
    double *times = hw_xcalloc(sim->query_count, sizeof(*times)), sum = 0, end_ms = 0;
    size_t n = sim->query_count;

    for (size_t i = 0; i < n; i++) {
        times[i] = sim->queries[i].done_ms - sim->queries[i].arrive_ms;
        sum += times[i];
        if (sim->queries[i].done_ms > end_ms)
            end_ms = sim->queries[i].done_ms;
    }
    qsort(times, n, sizeof(*times), compare_doubles);
    *result = (struct sim_result){
        .mean_ms = sum / (double)n,
        .p50_ms = times[n / 2],
        .p99_ms = times[n - 1 - n / 100],
        .throughput_s = (double)n * 1000 / end_ms,
    };
    free(times);
}
