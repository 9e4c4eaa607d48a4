/* engine/sample.c - repetition penalty, greedy, temperature, top-k, top-p, min-p;
 * log-probabilities. */
#include "engine/sample.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { QUICK_K = 64 }; /* the top-k that goes without sorting everything */

struct candidate {
    float logit;
    uint32_t token;
    double weight;
};

struct hw_sampler {
    struct hw_sampler_conf conf;
    uint64_t random[4];
    uint32_t vocab;
    /* with a repetition penalty */
    uint32_t *lately;              /* [conf.repeat_last]: a ring of the last tokens */
    uint32_t noted;                /* how many were put into it, at most repeat_last */
    uint32_t next;                 /* where the next goes */
    float *penalised;              /* [vocab] scratch */
    struct candidate candidates[]; /* scratch of hw_sampler_pick */
};

/* xoshiro256** (Blackman, Vigna 2018), seeded by splitmix64 as its authors advise. */
static uint64_t
rotate(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

static uint64_t
random_next(uint64_t s[4])
{
    uint64_t result = rotate(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

static void
random_seed(uint64_t s[4], uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);
        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        s[i] = z ^ z >> 31;
    }
}

int
hw_sampler_create(uint32_t vocab, const struct hw_sampler_conf *conf, struct hw_sampler **out,
                  struct hw_err *err)
{
    struct hw_sampler *sampler =
        calloc(1, sizeof(*sampler) + (size_t)vocab * sizeof(sampler->candidates[0]));
    if (sampler == NULL)
        return hw_err_set(err, HW_ENOMEM, "no memory for a sampler");
    sampler->conf = *conf;
    sampler->vocab = vocab;
    random_seed(sampler->random, conf->seed);
    if (conf->repetition_penalty > 0.0f && conf->repetition_penalty != 1.0f) {
        if (sampler->conf.repeat_last == 0)
            sampler->conf.repeat_last = HW_SAMPLER_REPEAT_LAST;
        if (sampler->conf.repeat_last > HW_SAMPLER_MAX_REPEAT_LAST)
            sampler->conf.repeat_last = HW_SAMPLER_MAX_REPEAT_LAST;
        sampler->lately = calloc(sampler->conf.repeat_last, sizeof(*sampler->lately));
        sampler->penalised = calloc(vocab, sizeof(*sampler->penalised));
        if (sampler->lately == NULL || sampler->penalised == NULL) {
            hw_sampler_destroy(&sampler);
            return hw_err_set(err, HW_ENOMEM, "no memory for a sampler");
        }
    }
    *out = sampler;
    return 0;
}

void
hw_sampler_destroy(struct hw_sampler **sampler)
{
    if (*sampler == NULL)
        return;
    free((*sampler)->lately);
    free((*sampler)->penalised);
    free(*sampler);
    *sampler = NULL;
}

uint32_t
hw_greedy_pick(const float *logits, uint32_t vocab)
{
    uint32_t best = 0;

    for (uint32_t i = 1; i < vocab; i++)
        if (logits[i] > logits[best] || (isnan(logits[best]) && !isnan(logits[i])))
            best = i;
    return best;
}

void
hw_sampler_note(struct hw_sampler *sampler, uint32_t token)
{
    if (sampler->lately == NULL)
        return;
    sampler->lately[sampler->next] = token % sampler->vocab;
    sampler->next = (sampler->next + 1) % sampler->conf.repeat_last;
    if (sampler->noted < sampler->conf.repeat_last)
        sampler->noted++;
}

void
hw_sampler_save(const struct hw_sampler *sampler, struct hw_sampler_state *out)
{
    uint32_t oldest = sampler->noted < sampler->conf.repeat_last ? 0 : sampler->next;

    memcpy(out->random, sampler->random, sizeof(out->random));
    out->lately_count = sampler->noted;
    for (uint32_t i = 0; i < sampler->noted; i++)
        out->lately[i] = sampler->lately[(oldest + i) % sampler->conf.repeat_last];
}

void
hw_sampler_restore(struct hw_sampler *sampler, const struct hw_sampler_state *state)
{
    memcpy(sampler->random, state->random, sizeof(sampler->random));
    for (uint32_t i = 0; i < state->lately_count; i++)
        hw_sampler_note(sampler, state->lately[i]);
}

/* Each token that came lately once, however often it came: towards less likely on either side of 0.
 */
static const float *
penalise(struct hw_sampler *sampler, const float *logits)
{
    float penalty = sampler->conf.repetition_penalty;

    if (sampler->lately == NULL)
        return logits;
    memcpy(sampler->penalised, logits, sampler->vocab * sizeof(*logits));
    for (uint32_t i = 0; i < sampler->noted; i++) {
        uint32_t token = sampler->lately[i];
        sampler->penalised[token] =
            logits[token] > 0.0f ? logits[token] / penalty : logits[token] * penalty;
    }
    return sampler->penalised;
}

/* Largest first; equal logits in token order, so that a seed means the same everywhere. */
static int
compare_candidates(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;

    if (x->logit != y->logit)
        return x->logit > y->logit ? -1 : 1;
    return (x->token > y->token) - (x->token < y->token);
}

/* The k-th largest logit: what is below it need not be listed. Minus infinity, which no logit is
 * below, where there are fewer. */
static float
kth_largest(const float *logits, uint32_t vocab, uint32_t k)
{
    float top[QUICK_K];

    for (uint32_t i = 0; i < k; i++)
        top[i] = -INFINITY;
    for (uint32_t i = 0; i < vocab; i++) {
        if (!(logits[i] > top[k - 1])) /* nor if it is no number */
            continue;
        uint32_t at = k - 1;
        for (; at > 0 && top[at - 1] < logits[i]; at--)
            top[at] = top[at - 1];
        top[at] = logits[i];
    }
    return top[k - 1];
}

/* Those that are numbers and not below `least`. */
static uint32_t
list_candidates(const float *logits, uint32_t vocab, float least, struct candidate *list)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < vocab; i++)
        if (logits[i] >= least)
            list[count++] = (struct candidate){.logit = logits[i], .token = i};
    return count;
}

static uint32_t
keep_top_k(const struct candidate *sorted, uint32_t count, uint32_t k)
{
    if (k == 0 || k >= count)
        return count;
    uint32_t kept = k;
    while (kept < count && sorted[kept].logit == sorted[k - 1].logit)
        kept++;
    return kept;
}

static uint32_t
keep_top_p(const struct candidate *sorted, uint32_t count, double total, double p)
{
    double reached = 0.0;

    for (uint32_t i = 0; i < count; i++) {
        reached += sorted[i].weight;
        if (reached >= p * total)
            return i + 1;
    }
    return count;
}

static uint32_t
keep_min_p(struct candidate *list, uint32_t count, double least)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < count; i++)
        if (list[i].weight >= least)
            list[kept++] = list[i];
    return kept;
}

static double
weigh(struct candidate *candidates, uint32_t count, float largest, float temperature)
{
    double total = 0.0;

    for (uint32_t i = 0; i < count; i++) {
        double scaled = ((double)candidates[i].logit - (double)largest) / (double)temperature;
        candidates[i].weight = exp(scaled);
        total += candidates[i].weight;
    }
    return total;
}

uint32_t
hw_sampler_pick(struct hw_sampler *sampler, const float *logits)
{
    const struct hw_sampler_conf *conf = &sampler->conf;
    struct candidate *list = sampler->candidates;
    logits = penalise(sampler, logits);
    uint32_t best = hw_greedy_pick(logits, sampler->vocab);
    float least = -INFINITY;

    if (!(conf->temperature > 0.0f) || !isfinite(logits[best]))
        return best;
    if (conf->top_k != 0 && conf->top_k <= QUICK_K)
        least = kth_largest(logits, sampler->vocab, conf->top_k);
    uint32_t count = list_candidates(logits, sampler->vocab, least, list);
    bool nucleus = conf->top_p > 0.0f && conf->top_p < 1.0f;
    if (conf->top_k != 0 || nucleus) {
        qsort(list, count, sizeof(*list), compare_candidates);
        count = keep_top_k(list, count, conf->top_k);
    }
    double total = weigh(list, count, logits[best], conf->temperature);
    if (nucleus) {
        count = keep_top_p(list, count, total, (double)conf->top_p);
        total = weigh(list, count, logits[best], conf->temperature);
    }
    if (conf->min_p > 0.0f) { /* the likeliest weighs 1 */
        count = keep_min_p(list, count, (double)conf->min_p);
        total = weigh(list, count, logits[best], conf->temperature);
    }

    double at = (double)(random_next(sampler->random) >> 11) * 0x1p-53 * total;
    for (uint32_t i = 0; i < count; i++) {
        at -= list[i].weight;
        if (at < 0.0)
            return list[i].token;
    }
    return best; /* rounding left a crumb behind the last */
}

uint32_t
hw_logprobs(const float *logits, uint32_t vocab, uint32_t token, uint32_t top,
            struct hw_logprob *out)
{
    uint32_t best = hw_greedy_pick(logits, vocab), count = 1;
    double total = 0.0;

    for (uint32_t i = 0; i < vocab; i++)
        if (!isnan(logits[i]))
            total += exp((double)logits[i] - (double)logits[best]);
    double off = (double)logits[best] + log(total);
    out[0] = (struct hw_logprob){token, (float)((double)logits[token] - off)};
    /* By insertion: top is at most some twenty. */
    for (uint32_t i = 0; i < vocab; i++) {
        float logprob = (float)((double)logits[i] - off);
        if (isnan(logits[i]) || (count == top + 1 && !(logprob > out[top].logprob)) || top == 0)
            continue;
        uint32_t at = count < top + 1 ? count++ : top;
        for (; at > 1 && out[at - 1].logprob < logprob; at--)
            out[at] = out[at - 1];
        out[at] = (struct hw_logprob){i, logprob};
    }
    return count;
}
