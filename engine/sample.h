/* engine/sample.h - from logits to a token.
 *
 * Temperature, then top-k (every value that ties with the k-th stays), then top-p over what is
 * left (the smallest set whose probability reaches p), then a draw from an own generator
 * (xoshiro256**): the same seed and logits give the same tokens on every machine. */
#ifndef HW_ENGINE_SAMPLE_H
#define HW_ENGINE_SAMPLE_H

#include <stdint.h>

#include "hatchway/err.h"

struct hw_sampler_conf {
    float temperature; /* 0 or below: greedy, the first of the largest */
    uint32_t top_k;    /* 0: off */
    float top_p;       /* outside (0, 1): off */
    uint64_t seed;
};

struct hw_sampler; /* opaque; layout in sample.c */

/* vocab at least 1. On 0 the caller owns *out. */
int hw_sampler_create(uint32_t vocab, const struct hw_sampler_conf *conf, struct hw_sampler **out,
                      struct hw_err *err);
void hw_sampler_destroy(struct hw_sampler **sampler); /* NULL-safe, nulls it */
/* Picks from logits [vocab]. A NaN is never picked while there is a number. */
uint32_t hw_sampler_pick(struct hw_sampler *sampler, const float *logits);
/* The index of the first largest value: what temperature 0 picks. */
uint32_t hw_greedy_pick(const float *logits, uint32_t vocab);

#endif
