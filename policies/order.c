/* policies/order.c - who goes first among equals in quality: the score of each `by`, lower first.
 *
 * weighted draws an order without replacement: the candidate whose exponential of rate `weight`
 * comes soonest is first with probability weight / sum, and so on down the list. affinity is the
 * same with the conversation as the dice (rendezvous hashing): a conversation stays with its
 * backend, and one that leaves takes only its own conversations along; a backend with more than its
 * share of the load stands back, so that a popular one does not drown (bounded loads, Mirrokni et
 * al., 2018).
 *
 * by: latency explores: once in a while a backend that has been slow and therefore has not been
 * asked for long gets one query, or nobody would see that it has recovered. Only one that by its
 * nature (its prior) could compete: a cpu node beside GPUs is not slow by accident. */
#include <math.h>
#include <string.h>

#include "policies/rank.h"

#define LOAD_CAP 1.25           /* of the mean, as in the paper */
#define OVER_CAP 1e12           /* behind every draw */
#define NEVER 1e9               /* weight 0 */
#define EXPLORE_SHARE 16        /* one query in so many may explore */
#define EXPLORE_AFTER_MS 10000u /* what was measured longer ago may no longer hold */
#define SLOW_START_LEAST 0.1
#define EXPLORE_COST 3.0 /* at most so many times the first one's time, by its prior */

static uint64_t
mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t
hash_name(const char *name)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (; *name != '\0'; name++)
        hash = (hash ^ (uint8_t)*name) * 0x100000001b3u;
    return hash;
}

/* When the event of an exponential clock of this rate comes; seed decides. */
static double
draw(uint64_t seed, uint32_t weight)
{
    double uniform = ((double)(mix(seed) >> 11) + 0.5) * 0x1p-53;

    return weight > 0 ? -log(uniform) / weight : NEVER - log(uniform);
}

static double
affinity(const struct hw_rank_input *input, const struct hw_conf_backend *backend,
         uint32_t inflight, size_t count, uint64_t total)
{
    double cap = ceil(LOAD_CAP * (double)(total + 1) / (double)(count > 0 ? count : 1));
    double score = draw(input->conversation + hash_name(backend->name), backend->weight);

    return inflight + 1 > cap ? score + OVER_CAP : score;
}

double
hw_order_score(const struct hw_rank_input *input, enum hw_by by, size_t i, double expected_ms,
               size_t count, uint64_t inflight)
{
    const struct hw_conf_backend *backend = &input->snapshot->backends[i];

    switch (by) {
    case HW_BY_PRIORITY:
        return backend->priority;
    case HW_BY_LEAST_INFLIGHT:
        return input->views[i].inflight;
    case HW_BY_WEIGHTED:
        if (input->dice == 0)
            return -(double)backend->weight;
        return draw(input->dice + hash_name(backend->name), backend->weight);
    case HW_BY_AFFINITY:
        if (input->conversation == 0)
            return expected_ms;
        return affinity(input, backend, input->views[i].inflight, count, inflight);
    case HW_BY_COST:
        return backend->cost;
    case HW_BY_ENERGY: /* joules */
        return input->snapshot->watts[backend->device] * expected_ms / 1000;
    case HW_BY_LATENCY:
    case HW_BY_COUNT:
        break;
    }
    return expected_ms;
}

double
hw_slow_start(const struct hw_snapshot *snapshot, const struct hw_backend_view *view)
{
    uint32_t whole_ms = snapshot->breaker.slow_start;

    if (view->recovered_ms == 0 || view->recovered_ms >= whole_ms)
        return 1;
    double share = (double)view->recovered_ms / whole_ms;
    return share > SLOW_START_LEAST ? share : SLOW_START_LEAST;
}

bool
hw_order_spares(const struct hw_rank_input *input, size_t backend)
{
    double share = hw_slow_start(input->snapshot, &input->views[backend]);

    if (share >= 1 || input->dice == 0)
        return false;
    return (double)(mix(input->dice ^ (backend + 1)) >> 11) * 0x1p-53 >= share;
}

static bool
may_explore(const struct hw_rank_input *input, const struct hw_candidate *candidate,
            const struct hw_candidate *first, double answer_bytes)
{
    const struct hw_conf_backend *backends = input->snapshot->backends;
    const struct hw_conf_backend *backend = &backends[candidate->backend];
    const struct hw_backend_view *view = &input->views[candidate->backend];
    struct hw_backend_view prior = *view;

    if (candidate->full || candidate->saturated || candidate->fallback != first->fallback ||
        candidate->overflow != first->overflow ||
        backend->quality != backends[first->backend].quality || view->inflight > 0 ||
        view->silent_ms < EXPLORE_AFTER_MS || view->breaker != HW_BREAKER_CLOSED)
        return false;
    hw_rank_prior(backend, &prior);
    prior.service_ms = 0;
    double by_nature = hw_expected_ms(&prior, backend, input->traits, answer_bytes);
    if (candidate->expected_ms < by_nature)
        by_nature = candidate->expected_ms;
    return by_nature <= EXPLORE_COST * first->expected_ms;
}

void
hw_order_explore(const struct hw_rank_input *input, struct hw_candidate *candidates, size_t count)
{
    uint64_t dice = mix(input->dice);
    size_t found = 0, chosen = 0;

    if (input->dice == 0 || dice % EXPLORE_SHARE != 0)
        return;
    double answer_bytes = hw_expect_answer_bytes(input->views, input->snapshot->backend_count);
    for (size_t i = 1; i < count; i++) { /* one of them, all alike: the k-th replaces with 1/k */
        if (may_explore(input, &candidates[i], &candidates[0], answer_bytes) &&
            mix(dice + i) % ++found == 0)
            chosen = i;
    }
    if (chosen == 0)
        return;
    struct hw_candidate moved = candidates[chosen];
    memmove(&candidates[1], &candidates[0], chosen * sizeof(moved));
    moved.explored = true;
    candidates[0] = moved;
}
