/* policies/difficulty_private.h - what the files of the learned difficulty share. */
#ifndef HW_POLICIES_DIFFICULTY_PRIVATE_H
#define HW_POLICIES_DIFFICULTY_PRIVATE_H

#include <stdint.h>

#include "policies/difficulty.h"
#include "policies/features.h"

#define HW_MEASURES                                                                                \
    6 /* log length, shares of digits, operators, capitals and new lines, word length */
#define HW_DIFFICULTY_BITS 16
#define HW_DIFFICULTY_CUTS 101 /* of the rank: one a percent */

struct hw_outcome {
    size_t start, count; /* of its buckets in features */
    float measures[HW_MEASURES];
    float weak, strong;
};

struct hw_outcomes {
    struct hw_kinds *kinds;
    struct hw_outcome *items;
    size_t count, capacity;
    uint16_t *features;
    size_t feature_count, feature_capacity;
};

struct hw_difficulty_row { /* of a bucket: one load an n-gram */
    float weight, idf;
};

struct hw_difficulty {
    struct hw_kinds *kinds;
    struct hw_difficulty_row *rows; /* [2^HW_DIFFICULTY_BITS] */
    float bias; /* for training alone: it changes no order, and would differ from fold to fold */
    float measure_weights[HW_MEASURES], means[HW_MEASURES], scales[HW_MEASURES];
    float cuts[HW_DIFFICULTY_CUTS]; /* ascending: scores below which 0 %, 1 % ... of queries are */
};

void hw_measure(const char *text, size_t len, float measures[static HW_MEASURES]);
float hw_difficulty_score(const struct hw_difficulty *difficulty, const uint16_t *features,
                          size_t count, const float measures[static HW_MEASURES]);

#endif
