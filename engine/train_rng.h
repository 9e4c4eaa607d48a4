/* engine/train_rng.h - small random streams for the trainer (SplitMix64).
 *
 * A stream is made from the run's seed and a counter, so that what a step draws depends on its
 * number alone: a resumed run draws what the uninterrupted one would have. */
#ifndef HW_ENGINE_TRAIN_RNG_H
#define HW_ENGINE_TRAIN_RNG_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

struct hw_train_rng {
    uint64_t state;
};

static inline uint64_t
hw_train_rng_next(struct hw_train_rng *rng)
{
    uint64_t z = (rng->state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline struct hw_train_rng
hw_train_rng_make(uint64_t seed, uint64_t stream)
{
    struct hw_train_rng rng = {seed};

    rng.state = hw_train_rng_next(&rng) ^ stream;
    rng.state = hw_train_rng_next(&rng);
    return rng;
}

/* 0 <= result < 1 */
static inline float
hw_train_rng_unit(struct hw_train_rng *rng)
{
    return (float)(hw_train_rng_next(rng) >> 40) / 16777216.0f;
}

/* 0 <= result < bound; bound is never near 2^64, so the bias of the remainder is nothing. */
static inline size_t
hw_train_rng_below(struct hw_train_rng *rng, size_t bound)
{
    return (size_t)(hw_train_rng_next(rng) % bound);
}

/* Standard normal (Box-Muller; the second value is thrown away). */
static inline float
hw_train_rng_normal(struct hw_train_rng *rng)
{
    float u = 1.0f - hw_train_rng_unit(rng);

    return sqrtf(-2.0f * logf(u)) * cosf(6.283185307179586f * hw_train_rng_unit(rng));
}

#endif
