/* engine/forward_fade.c - decay: what each token loses of the state, without touching the state.
 *
 * At position p a token reads the sum over s < p of decay^(p-1-s) (q_p . q_s) x_s. With
 * w(p) = decay^p that is w(p) times the sum of (q_p . q_s) x_s / w(s+1): each x is kept divided by
 * w at the next position, and only y is multiplied. So that w stays inside a float's range, whole
 * steps of 2^-HW_FADE_STEP are left out of it, as many as were due where the token's block began,
 * and divided out of the kept state when a block ends and one more is due. All of it follows from
 * the position alone: a session that goes on from a kept state does the same as one that never
 * stopped. */
#include <math.h>

#include "engine/forward_parts.h"

/* Steps due before the block that this position is in. */
static double
steps_taken(const struct hw_bdh_engine *e, uint64_t position)
{
    return floor((double)(position - position % e->block) * e->fading / HW_FADE_STEP);
}

struct hw_fade
hw_bdh_fade(const struct hw_bdh_engine *engine, uint64_t position)
{
    double bits = (double)position * engine->fading - steps_taken(engine, position) * HW_FADE_STEP;

    return (struct hw_fade){.reading = (float)exp2(-bits),
                            .writing = (float)exp2(bits + engine->fading)};
}

_Static_assert(HW_BLOCK8 <= HW_FADE_STEP, "decay takes at most a bit a token: a step a block");

bool
hw_bdh_fade_steps(const struct hw_bdh_engine *engine, uint64_t position)
{
    return steps_taken(engine, position) > steps_taken(engine, position - engine->block);
}

void
hw_bdh_fade_values(float *values, size_t count)
{
    const float step = 0x1p-32f, least = 0x1p-94f;

    _Static_assert(HW_FADE_STEP == 32, "the step is written out");
    for (size_t i = 0; i < count; i++)
        values[i] = fabsf(values[i]) < least ? 0.0f : values[i] * step;
}
