/* policies/learn_private.h - what the files of the learned classifier share. */
#ifndef HW_POLICIES_LEARN_PRIVATE_H
#define HW_POLICIES_LEARN_PRIVATE_H

#include "policies/features.h"
#include "policies/kinds.h"
#include "policies/learn.h"

#define HW_LEARN_LANES 16 /* classes are padded to a multiple: whole vectors */
/* Before a row's weights: idf^2 (1/64ths) as two bytes of 7 bits, and 1 where no example had the
 * n-gram. Weights are bytes too, so one sum over rows gives scores, norm and strangeness. */
#define HW_LEARN_ROW_HEAD 3

/* A function compiled for AVX2 beside the base, where hw_learn_wide() says that it may run. Both do
 * the same operations in the same order (no FMA), so that a model is the same on every machine. */
#define HW_LEARN_INLINE static inline __attribute__((always_inline))
#if defined(__x86_64__)
#define HW_LEARN_WIDE __attribute__((target("avx2")))
#define hw_learn_wide() (__builtin_cpu_supports("avx2") != 0)
#else
#define HW_LEARN_WIDE
#define hw_learn_wide() false
#endif

struct hw_examples {
    struct hw_kinds *kinds;
    uint32_t bits;
    char **labels;
    size_t class_count;
    int32_t *classes; /* of each example */
    bool *hints;      /* never left out: a class's name */
    size_t *starts;   /* count + 1: example i has features[starts[i] .. starts[i + 1]) */
    uint16_t *features;
    size_t count, capacity;
    size_t feature_count, feature_capacity;
};

/* Weights as they are trained: a row of `width` floats a bucket. */
struct hw_weights {
    uint32_t bits;
    size_t class_count, width;
    float *rows; /* [2^bits][width] */
    float *idf;  /* [2^bits] */
    float *bias; /* [width] */
    float unseen_idf;
};

struct hw_learned {
    struct hw_kinds *kinds;
    uint32_t bits;
    uint16_t unseen; /* idf^2 of an n-gram that no example has */
    size_t class_count;
    size_t stride; /* bytes of a row */
    float scale;
    float threshold;     /* of likeness: below it, none of the classes */
    float slope, offset; /* confidence = sigmoid(slope * likeness + offset) */
    char **labels;
    float *bias;  /* [class_count] */
    int8_t *rows; /* [2^bits][stride], on pages of their own */
};

struct hw_learn_best {
    int label;
    float score;
    float likeness; /* the score, corrected by what else tells a text of none of the classes */
};

/* xorshift64*: the dice of training, from a seed. */
static inline uint64_t
hw_learn_dice(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1du;
}

static inline void
hw_learn_shuffle(uint32_t *order, size_t count, uint64_t *dice)
{
    for (size_t i = count; i > 1; i--) {
        size_t j = (size_t)(hw_learn_dice(dice) >> 11) % i;
        uint32_t kept = order[i - 1];
        order[i - 1] = order[j];
        order[j] = kept;
    }
}

/* Labels are printed between tabs, and "-" stands for none of them. */
bool hw_learn_label_ok(const char *label, size_t len);

/* Buckets of HW_FEATURE_BITS_MAX bits as those of fewer: each is the beginning of the other, so
 * that those which come to be the same stand side by side. out has room for HW_FEATURES_MAX. */
size_t hw_learn_fewer_bits(const uint16_t *buckets, size_t count, uint32_t bits, uint16_t *out);
/* As hw_examples_add and _hint, of the examples' own bits. */
int hw_examples_add_features(struct hw_examples *examples, int label, const uint16_t *features,
                             size_t count, bool hint, struct hw_err *err);

/* The pool's queries, of no class (learn_self.h). */
struct hw_learn_pool;
const struct hw_examples *hw_learn_pool_examples(const struct hw_learn_pool *pool);

/* Deals the examples into folds, class by class; hints get HW_LEARN_KEPT. NULL: no memory. */
#define HW_LEARN_KEPT 255
uint8_t *hw_learn_deal(const struct hw_examples *examples, unsigned folds, uint64_t seed);

/* Trains on the examples whose fold is not `left_out` (folds NULL: on all). */
int hw_weights_train(const struct hw_examples *examples, const struct hw_learn_conf *conf,
                     const uint8_t *folds, unsigned left_out, struct hw_weights *out,
                     struct hw_err *err);
void hw_weights_free(struct hw_weights *weights);
/* Scores of a text's buckets, [width]; returns the share of it that no example had, 0..1. */
float hw_weights_score(const struct hw_weights *weights, const uint16_t *features, size_t count,
                       float *scores);

/* NULL: no memory. create leaves the rows unset. */
struct hw_learned *hw_learned_create(uint32_t bits, size_t class_count);
struct hw_learned *hw_learned_quantise(const struct hw_weights *weights);
size_t hw_learned_stride(size_t class_count);
/* As hw_weights_score, [class_count]. */
float hw_learned_score_features(const struct hw_learned *learned, const uint16_t *features,
                                size_t count, float *scores);
struct hw_learn_best hw_learn_best(const float *scores, size_t count, float strange);

/* Sets threshold, slope and offset by examples that the weights have not seen. */
int hw_learn_calibrate(const struct hw_examples *examples, const struct hw_learn_conf *conf,
                       struct hw_learned *learned, struct hw_err *err);

#endif
