/* policies/wait.c - when it is better to wait for room than to take what has room.
 *
 * A slow backend that is free may answer later than a fast one that will be: of those that are full
 * some are worth waiting for. They are found one by one, the quickest first: with each more of them
 * room comes sooner, as long as what it brings is no slower than what is expected without it (the
 * slow server problem: Lin and Kumar, 1984, show that a threshold like this is optimal for two). */
#include <math.h>
#include <string.h>

#include "policies/rank.h"

/* Who waits holds up all behind: to the query's own wait theirs is added. Tried in bench/simulate:
 * at 2 slow backends idle too long when all is nearly full, at 4 they are asked too soon. */
#define WAIT_WEIGHT 3.25
#define FEW 64 /* of more full candidates the first */

struct full {
    size_t at;           /* in candidates */
    double work_ms;      /* of this query, once it has room */
    double turns_per_ms; /* room that comes free */
    uint32_t ahead;
};

static struct full
full_of(const struct hw_rank_input *input, const struct hw_candidate *candidate, size_t at,
        double answer_bytes)
{
    const struct hw_conf_backend *backend = &input->snapshot->backends[candidate->backend];
    const struct hw_backend_view *view = &input->views[candidate->backend];
    double service_ms = hw_expect_service_ms(view, answer_bytes);
    double slots = backend->max_inflight;
    struct hw_expected parts;

    if (slots < 1) /* full is the device */
        slots = backend->on != NULL ? backend->on->max_inflight : 1;
    hw_expect(view, backend, input->traits, answer_bytes, &parts);
    return (struct full){
        .at = at,
        .work_ms = parts.start_ms + parts.prefill_ms + parts.decode_ms,
        .turns_per_ms = fmax(slots, 1) / (service_ms > 0.001 ? service_ms : 0.001),
        .ahead = view->waiting,
    };
}

/* The quickest of them, and those that make waiting shorter; marks them, and returns what
 * waiting for them costs: when the answer is to be expected, and the others' wait. */
static double
choose(const struct full *fulls, size_t count, bool *chosen)
{
    double turns = 0, weighted = 0, best_ms = INFINITY;
    uint32_t ahead = 0;

    for (;;) {
        size_t next = count;
        for (size_t i = 0; i < count; i++)
            if (!chosen[i] && (next == count || fulls[i].work_ms < fulls[next].work_ms))
                next = i;
        if (next == count || fulls[next].work_ms >= best_ms)
            return best_ms;
        chosen[next] = true;
        turns += fulls[next].turns_per_ms;
        weighted += fulls[next].turns_per_ms * fulls[next].work_ms;
        if (fulls[next].ahead > ahead) /* who waits for one mostly waits for the others too */
            ahead = fulls[next].ahead;
        best_ms = WAIT_WEIGHT * (ahead + 1) / turns + weighted / turns;
    }
}

/* Never for one that the policy would rather not ask than the first: what becomes of a query whose
 * own backends are saturated, the route's `overflow` says. */
static bool
comparable(const struct hw_rank_input *input, const struct hw_candidate *candidate,
           const struct hw_candidate *first)
{
    const struct hw_conf_backend *backends = input->snapshot->backends;
    bool same_way =
        candidate->fallback == first->fallback && candidate->overflow == first->overflow;

    if (candidate->idle || candidate->spared)
        return false;
    if (first->full)
        return same_way || !input->route->overflow_waits;
    return same_way && backends[candidate->backend].quality >= backends[first->backend].quality;
}

void
hw_order_wait(const struct hw_rank_input *input, struct hw_candidate *candidates, size_t count)
{
    const struct hw_candidate first = candidates[0];
    struct full fulls[FEW];
    bool chosen[FEW] = {false};
    size_t found = 0, moved = 0, i = 0;

    while (i < count && !candidates[i].full)
        i++;
    if (i == count)
        return;
    double answer_bytes = hw_expect_answer_bytes(input->views, input->snapshot->backend_count);
    for (; i < count && found < FEW; i++) {
        const struct hw_candidate *candidate = &candidates[i];
        if (comparable(input, candidate, &first))
            fulls[found++] = full_of(input, candidate, i, answer_bytes);
    }
    double wait_ms = choose(fulls, found, chosen);
    if (!first.full && wait_ms >= first.expected_ms)
        return;
    for (size_t k = 0; k < found; k++) {
        if (!chosen[k])
            continue;
        struct hw_candidate candidate = candidates[fulls[k].at];
        memmove(&candidates[moved + 1], &candidates[moved],
                (fulls[k].at - moved) * sizeof(candidate));
        candidate.wait = true;
        candidates[moved++] = candidate;
    }
}
