/* bench/sim/peers.c - how others choose, and how one would who knew everything.
 *
 * Peers send at once; what has no room waits at the place. As nginx does, a place that has failed
 * is passed over for ten seconds. The oracle sends each query to where it will be answered first:
 * it knows how long every query takes everywhere, what waits there, and who will be slow or die. */
#include <math.h>
#include <stdlib.h>

#include "bench/sim/sim.h"
#include "hatchway/assert.h"

#define OUT_MS 10000.0
#define ALPHA 0.2

struct peer {
    double out_until_ms[SIM_PLACES_MAX];
    double latency_ms[SIM_PLACES_MAX];             /* smoothed; 0: nothing is known */
    double free_ms[SIM_PLACES_MAX][SIM_SLOTS_MAX]; /* oracle: when each slot will be free */
    size_t turn;
};

static void *
create(struct sim *sim)
{
    (void)sim;
    return hw_xcalloc(1, sizeof(struct peer));
}

static void
ended(struct sim *sim, size_t p, const struct sim_query *query, bool ok, double first_ms,
      double total_ms)
{
    struct peer *peer = sim->own;
    double seen_ms = sim->now_ms - query->arrive_ms;

    (void)first_ms;
    (void)total_ms;
    if (!ok)
        peer->out_until_ms[p] = sim->now_ms + OUT_MS;
    else if (peer->latency_ms[p] <= 0)
        peer->latency_ms[p] = seen_ms;
    else
        peer->latency_ms[p] += ALPHA * (seen_ms - peer->latency_ms[p]);
}

/* Of places that have not failed the query: 0 for the best, a backup is worse, one that is out the
 * worst. */
static int
rank_of(const struct sim *sim, size_t p)
{
    const struct peer *peer = sim->own;

    return (peer->out_until_ms[p] > sim->now_ms) * 2 + sim->places[p].backup;
}

/* May the query go there? Somewhere it must: to one of the best that are left. */
static bool
open_for(const struct sim *sim, const struct sim_query *query, size_t p)
{
    if ((query->avoid >> p & 1) != 0)
        return false;
    for (size_t other = 0; other < sim->place_count; other++)
        if ((query->avoid >> other & 1) == 0 && rank_of(sim, other) < rank_of(sim, p))
            return false;
    return true;
}

static double
load_of(const struct sim *sim, size_t p)
{
    return (double)sim->states[p].inflight / sim->places[p].slots;
}

static int
round_robin(struct sim *sim, struct sim_query *query)
{
    struct peer *peer = sim->own;
    size_t p;

    do {
        p = peer->turn++ % sim->place_count;
    } while (!open_for(sim, query, p));
    return (int)p;
}

typedef double score(const struct sim *sim, size_t place);

/* The lowest; equals take turns. */
static int
lowest(struct sim *sim, const struct sim_query *query, score *score_of)
{
    struct peer *peer = sim->own;
    int best = SIM_WAIT;
    double least = INFINITY;

    peer->turn++;
    for (size_t i = 0; i < sim->place_count; i++) {
        size_t p = (peer->turn + i) % sim->place_count;
        if (open_for(sim, query, p) && score_of(sim, p) < least) {
            least = score_of(sim, p);
            best = (int)p;
        }
    }
    return best;
}

static int
least_connections(struct sim *sim, struct sim_query *query)
{
    return lowest(sim, query, load_of);
}

static double
latency_of(const struct sim *sim, size_t p)
{
    return ((const struct peer *)sim->own)->latency_ms[p];
}

static int
smallest_latency(struct sim *sim, struct sim_query *query)
{
    return lowest(sim, query, latency_of);
}

static int
draw_open(struct sim *sim, const struct sim_query *query)
{
    size_t p;

    do {
        p = sim_dice_next(&sim->dice) % sim->place_count;
    } while (!open_for(sim, query, p));
    return (int)p;
}

static int
two_choices(struct sim *sim, struct sim_query *query)
{
    int one = draw_open(sim, query), other = draw_open(sim, query);

    return load_of(sim, (size_t)other) < load_of(sim, (size_t)one) ? other : one;
}

static size_t
first_free(const struct peer *peer, const struct sim *sim, size_t p)
{
    size_t slot = 0;

    for (size_t i = 1; i < sim->places[p].slots; i++)
        if (peer->free_ms[p][i] < peer->free_ms[p][slot])
            slot = i;
    return slot;
}

/* When the place would have answered; INFINITY: it will be dead before that. */
static double
answered_ms(const struct sim *sim, size_t p, const struct sim_query *query)
{
    const struct peer *peer = sim->own;
    const struct sim_place *place = &sim->places[p];
    double begin_ms = fmax(sim->now_ms, peer->free_ms[p][first_free(peer, sim, p)]), first_ms;
    double end_ms = begin_ms + sim_service_ms(place, query, begin_ms, &first_ms);
    bool alive = end_ms < place->dead_from_ms || sim->now_ms >= place->dead_to_ms;

    return alive ? end_ms : INFINITY;
}

static int
oracle(struct sim *sim, struct sim_query *query)
{
    struct peer *peer = sim->own;
    size_t best = 0;

    for (size_t p = 1; p < sim->place_count; p++)
        if (answered_ms(sim, p, query) < answered_ms(sim, best, query))
            best = p;
    peer->free_ms[best][first_free(peer, sim, best)] = answered_ms(sim, best, query);
    return (int)best;
}

#define PEER(words, verb)                                                                          \
    {                                                                                              \
        .name = words, create, free, .choose = verb, .ended = ended                                \
    }
const struct sim_chooser sim_round_robin = PEER("round robin", round_robin);
const struct sim_chooser sim_least_connections = PEER("least connections", least_connections);
const struct sim_chooser sim_two_choices = PEER("power of two choices", two_choices);
const struct sim_chooser sim_smallest_latency = PEER("smallest average latency", smallest_latency);
const struct sim_chooser sim_oracle = PEER("oracle", oracle);
