/* policies/shadow.c - see shadow.h. A copy is ranked as if its route had nothing but the shadow's
 * `to`. */
#include "policies/shadow.h"

bool
hw_shadow_chosen(const struct hw_conf_shadow *shadow, uint64_t dice)
{
    return (double)(dice >> 11) * 0x1p-53 < shadow->share;
}

static bool
turned_away(const struct hw_rank_input *input, uint32_t asked, struct hw_candidate *candidate)
{
    if (candidate->backend == asked)
        candidate->out = HW_OUT_ASKED;
    else if (input->views[candidate->backend].breaker != HW_BREAKER_CLOSED)
        candidate->out = HW_OUT_BREAKER;
    return candidate->out != HW_CANDIDATE;
}

size_t
hw_shadow_rank(const struct hw_rank_input *input, uint32_t asked, struct hw_candidate *out)
{
    struct hw_conf_route route = {
        .to = input->route->shadow.to,
        .on_demand = input->route->on_demand,
    };
    struct hw_rank_input own = *input;

    own.route = &route;
    own.copy = true;
    size_t count = hw_rank(&own, out);
    for (size_t i = 0; i < count;) {
        struct hw_candidate candidate = out[i];
        if (!turned_away(input, asked, &candidate)) {
            i++;
            continue;
        }
        count--;
        for (size_t j = i; j < count; j++)
            out[j] = out[j + 1];
        out[count] = candidate;
    }
    return count;
}
