/* engine/sample.h - from logits to a token.
 *
 * Repetition penalty (Keskar et al. 2019, over the last tokens), temperature, then top-k (every
 * value that ties with the k-th stays), top-p over what is left (the smallest set whose probability
 * reaches p), min-p (no token below that share of the likeliest's probability), then a draw from an
 * own generator (xoshiro256**): the same seed and logits give the same tokens on every machine. */
#ifndef HW_ENGINE_SAMPLE_H
#define HW_ENGINE_SAMPLE_H

#include <stdint.h>

#include "hatchway/err.h"

struct hw_sampler_conf {
    float temperature;        /* 0 or below: greedy, the first of the largest */
    uint32_t top_k;           /* 0: off */
    float top_p;              /* outside (0, 1): off */
    float min_p;              /* 0: off */
    float repetition_penalty; /* above 1 makes what came lately less likely; 0 or 1: off */
    uint32_t repeat_last;     /* what counts as lately: so many tokens; 0: HW_SAMPLER_REPEAT_LAST */
    uint64_t seed;
};

#define HW_SAMPLER_REPEAT_LAST 64u
#define HW_SAMPLER_MAX_REPEAT_LAST 4096u

struct hw_sampler; /* opaque; layout in sample.c */

/* What decides a sampler's next picks beside its settings. */
struct hw_sampler_state {
    uint64_t random[4];
    uint32_t lately_count;
    uint32_t lately[HW_SAMPLER_MAX_REPEAT_LAST]; /* tokens, the last one last */
};

/* vocab at least 1. On 0 the caller owns *out. */
int hw_sampler_create(uint32_t vocab, const struct hw_sampler_conf *conf, struct hw_sampler **out,
                      struct hw_err *err);
void hw_sampler_destroy(struct hw_sampler **sampler); /* NULL-safe, nulls it */
/* Says what came before: each token of the prompt and each picked one. Nothing is kept, and nothing
 * need be said, without a repetition penalty. */
void hw_sampler_note(struct hw_sampler *sampler, uint32_t token);
void hw_sampler_save(const struct hw_sampler *sampler, struct hw_sampler_state *out);
/* The generator goes on from there; what came lately is noted. */
void hw_sampler_restore(struct hw_sampler *sampler, const struct hw_sampler_state *state);
/* Picks from logits [vocab]. A NaN is never picked while there is a number. */
uint32_t hw_sampler_pick(struct hw_sampler *sampler, const float *logits);
/* The index of the first largest value: what temperature 0 picks. */
uint32_t hw_greedy_pick(const float *logits, uint32_t vocab);

struct hw_logprob {
    uint32_t token;
    float logprob; /* natural */
};
/* Fills out[0] with the token's own log-probability by the model (no temperature, no penalty), and
 * behind it the `top` likeliest, likeliest first. Returns how many were filled: top may pass vocab.
 */
uint32_t hw_logprobs(const float *logits, uint32_t vocab, uint32_t token, uint32_t top,
                     struct hw_logprob *out);

#endif
