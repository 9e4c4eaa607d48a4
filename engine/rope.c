/* engine/rope.c - must be compiled without FMA contraction: fused, position * freq would not be
 * rounded before its whole turns are taken off, and every phase would differ from the reference.
 *
 * Plain loops that the compiler turns into vectors: a call of sincosf for each pair of neurons
 * would cost more than a layer's norms, lists and head together. */
#include "engine/rope.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#define CHUNK 64u /* angles on the stack at a time */

/* cos and sin of 0 <= angle < 6.3 in double, rounded once: within 0.51 units in the last place. */
static inline void
turn(float angle, float *cosine, float *sine)
{
    const double nearest = 6755399441055744.0; /* 1.5 * 2^52: its neighbours are 1 apart */
    double quarters = (double)angle * M_2_PI + nearest - nearest;
    double r = (double)angle - quarters * M_PI_2, r2 = r * r;
    double s = 1.0 / 362880 + r2 * (-1.0 / 39916800);
    double c = -1.0 / 3628800 + r2 * (1.0 / 479001600);

    s = r + r * r2 * (-1.0 / 6 + r2 * (1.0 / 120 + r2 * (-1.0 / 5040 + r2 * s)));
    c = 1.0 + r2 * (-0.5 + r2 * (1.0 / 24 + r2 * (-1.0 / 720 + r2 * (1.0 / 40320 + r2 * c))));
    /* Selected by products with 0, 1 and -1, which are exact: comparisons would not make vectors.
     */
    double half = quarters * 0.5 - 0.25 + nearest - nearest, odd = quarters - 2.0 * half;
    double turned = half + odd;
    *sine = (float)(((1.0 - odd) * s + odd * c) * (1.0 - 2.0 * half * (2.0 - half)));
    *cosine = (float)(((1.0 - odd) * c + odd * s) * (1.0 - 2.0 * turned * (2.0 - turned)));
}

/* The angle at a position; p's whole turns taken off. */
static inline float
angle_f32(float freq, float at)
{
    float p = at * freq;

    return (p - floorf(p)) * (float)(2.0 * M_PI);
}

static inline float
angle_f64(float freq, double at)
{
    double p = at * (double)freq;

    return (float)((p - floor(p)) * 2.0 * M_PI);
}

/* floorf without a call or a comparison, for 0 <= p < 2^22: the nearest whole number leaves a rest
 * from -1/2 on, and one turn more makes that a fraction. All of it is exact. */
static inline float
small_angle(float freq, float at)
{
    const float nearest = 12582912.0f; /* 1.5 * 2^23 */
    float p = at * freq, rest = p - (p + nearest - nearest);
    uint32_t bits;

    memcpy(&bits, &rest, sizeof(bits));
    return (rest + (float)(int32_t)(bits >> 31)) * (float)(2.0 * M_PI);
}

/* What the frequencies allow. */
struct freq_traits {
    bool paired; /* a pair shares its frequency, except in forks that say otherwise */
    bool tame;   /* all of 0 .. 1, as the published formula's are */
};

static struct freq_traits
look_at(const float *freqs, size_t n)
{
    uint32_t differ = 0, wild = 0;

    for (size_t i = 0; i < n; i += 2) {
        uint32_t bits[2];
        memcpy(bits, freqs + i, sizeof(bits));
        differ |= bits[0] ^ bits[1];
        wild |= (0x3f800000u - bits[0]) | (0x3f800000u - bits[1]); /* 1.0: all above borrow */
    }
    return (struct freq_traits){.paired = differ == 0, .tame = wild >> 31 == 0};
}

/* Angles of `count` frequencies, `step` apart. */
static void
take_angles(const float *freqs, size_t step, size_t count, uint64_t position, bool wide, bool small,
            float *angles)
{
    if (wide)
        for (size_t i = 0; i < count; i++)
            angles[i] = angle_f64(freqs[i * step], (double)position);
    else if (small)
        for (size_t i = 0; i < count; i++)
            angles[i] = small_angle(freqs[i * step], (float)position);
    else
        for (size_t i = 0; i < count; i++)
            angles[i] = angle_f32(freqs[i * step], (float)position);
}

static void
put(const float *values, size_t count, size_t step, float *to)
{
    if (step == 1) {
        memcpy(to, values, count * sizeof(values[0]));
        return;
    }
    for (size_t i = 0; i < count; i++)
        to[2 * i] = to[2 * i + 1] = values[i];
}

static void
fill(const float *freqs, size_t n, uint64_t position, bool wide, float *cosines, float *sines)
{
    struct freq_traits traits = look_at(freqs, n);
    size_t step = traits.paired ? 2 : 1;

    for (size_t first = 0; first < n; first += CHUNK * step) {
        float angles[CHUNK], cosine[CHUNK], sine[CHUNK];
        size_t left = (n - first) / step, count = left < CHUNK ? left : CHUNK;
        take_angles(freqs + first, step, count, position, wide, traits.tame && position < 4194304,
                    angles);
        for (size_t i = 0; i < count; i++)
            turn(angles[i], &cosine[i], &sine[i]);
        put(cosine, count, step, cosines + first);
        put(sine, count, step, sines + first);
    }
}

void
hw_rope_angles(const float *freqs, size_t n, uint64_t position, float *cosines, float *sines)
{
    fill(freqs, n, position, false, cosines, sines);
}

void
hw_rope_angles_wide(const float *freqs, size_t n, uint64_t position, float *cosines, float *sines)
{
    fill(freqs, n, position, true, cosines, sines);
}
