/* engine/rope.c - must be compiled without FMA contraction: fused, position * freq would not be
 * rounded before its whole turns are taken off, and every phase would differ from the reference. */
#include "engine/rope.h"

#include <math.h>

void
hw_rope_angles(const float *freqs, size_t n, uint64_t position, float *cosines, float *sines)
{
    const float two_pi = (float)(2.0 * M_PI);
    const float at = (float)position;

    for (size_t i = 0; i < n; i++) {
        /* A pair shares its frequency, except in forks that say otherwise. */
        if (i % 2 == 1 && freqs[i] == freqs[i - 1]) {
            cosines[i] = cosines[i - 1];
            sines[i] = sines[i - 1];
            continue;
        }
        float phase = at * freqs[i];
        phase -= floorf(phase);
        sincosf(phase * two_pi, &sines[i], &cosines[i]);
    }
}

void
hw_rope_angles_wide(const float *freqs, size_t n, uint64_t position, float *cosines, float *sines)
{
    const double at = (double)position;

    for (size_t i = 0; i < n; i++) {
        if (i % 2 == 1 && freqs[i] == freqs[i - 1]) {
            cosines[i] = cosines[i - 1];
            sines[i] = sines[i - 1];
            continue;
        }
        double phase = at * (double)freqs[i];
        phase -= floor(phase);
        sincosf((float)(phase * 2.0 * M_PI), &sines[i], &cosines[i]);
    }
}
