/* policies/learn_model.c - the quantised model, and the hot path: one pass over a text's rows.
 *
 * A row of the table is a bucket: three bytes that tell idf^2, then an int8 a class, padded to
 * whole vectors of 16. So an n-gram costs one cache line, whose prefetch starts the moment its
 * bucket is known; with up to 13 classes the whole table is 1 MiB, and as it lies on one large page
 * where the kernel gives them, a text does not pay for walks through page tables either. idf is
 * folded into the weights and one scale serves all: score = bias + scale * sum of rows / sqrt(sum
 * of idf^2). Sums are carried in int16 and widened before 256 rows could overflow them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"
#include "hatchway/large.h"
#include "policies/learn_private.h"

#define ROWS_BEFORE_WIDENING 256
#define IDF_UNIT 64.0f
#define IDF_BITS 7 /* of either byte */

typedef int8_t lanes8 __attribute__((vector_size(HW_LEARN_LANES)));
typedef int16_t lanes16 __attribute__((vector_size(2 * HW_LEARN_LANES)));

size_t
hw_learned_stride(size_t class_count)
{
    return (class_count + HW_LEARN_ROW_HEAD + HW_LEARN_LANES - 1) / HW_LEARN_LANES * HW_LEARN_LANES;
}

struct hw_learned *
hw_learned_create(uint32_t bits, size_t class_count)
{
    struct hw_learned *learned = calloc(1, sizeof(*learned));
    size_t stride = hw_learned_stride(class_count);

    if (learned == NULL)
        return NULL;
    learned->bits = bits;
    learned->class_count = class_count;
    learned->stride = stride;
    learned->labels = calloc(class_count, sizeof(char *));
    learned->bias = calloc(class_count, sizeof(float));
    learned->kinds = hw_kinds_create();
    learned->rows = hw_large_alloc(stride << bits);
    if (learned->labels == NULL || learned->bias == NULL || learned->rows == NULL ||
        learned->kinds == NULL)
        hw_learned_destroy(&learned);
    return learned;
}

void
hw_learned_destroy(struct hw_learned **learned)
{
    struct hw_learned *l = *learned;

    if (l == NULL)
        return;
    for (size_t i = 0; l->labels != NULL && i < l->class_count; i++)
        free(l->labels[i]);
    free(l->labels);
    free(l->bias);
    free(l->rows);
    free(l->kinds);
    free(l);
    *learned = NULL;
}

static uint16_t
pack_idf(float idf)
{
    const uint16_t max = (1u << 2 * IDF_BITS) - 1;
    float squared = idf * idf * IDF_UNIT + 0.5f;
    return squared < (float)max ? (uint16_t)squared : max;
}

/* The scale at which the heaviest weight of all is 127. */
static float
find_scale(const struct hw_weights *weights)
{
    float heaviest = 0.0f;

    for (size_t b = 0; b < (size_t)1 << weights->bits; b++)
        for (size_t c = 0; c < weights->class_count; c++)
            heaviest =
                fmaxf(heaviest, fabsf(weights->rows[b * weights->width + c]) * weights->idf[b]);
    return heaviest > 0.0f ? heaviest / 127.0f : 1.0f;
}

struct hw_learned *
hw_learned_quantise(const struct hw_weights *weights)
{
    struct hw_learned *learned = hw_learned_create(weights->bits, weights->class_count);

    if (learned == NULL)
        return NULL;
    learned->scale = find_scale(weights);
    learned->unseen = pack_idf(weights->unseen_idf);
    memcpy(learned->bias, weights->bias, weights->class_count * sizeof(float));
    for (size_t b = 0; b < (size_t)1 << weights->bits; b++) {
        int8_t *row = learned->rows + b * learned->stride;
        uint16_t idf = pack_idf(weights->idf[b]);
        memset(row, 0, learned->stride);
        row[0] = (int8_t)(idf & ((1u << IDF_BITS) - 1));
        row[1] = (int8_t)(idf >> IDF_BITS);
        row[2] = idf == learned->unseen;
        for (size_t c = 0; c < weights->class_count; c++)
            row[HW_LEARN_ROW_HEAD + c] = (int8_t)lrintf(weights->rows[b * weights->width + c] *
                                                        weights->idf[b] / learned->scale);
    }
    return learned;
}

/* Adds rows[..count) of `blocks` vectors from byte `from` on to sums. */
HW_LEARN_INLINE void
add_rows(const struct hw_learned *learned, const uint16_t *features, size_t count, size_t from,
         size_t blocks, int32_t *sums)
{
    const int8_t *rows = learned->rows + from;
    lanes16 narrow[4] = {{0}};

    for (size_t i = 0; i < count; i++) {
        const int8_t *row = rows + features[i] * learned->stride;
        for (size_t k = 0; k < blocks; k++) {
            lanes8 lane;
            memcpy(&lane, row + k * HW_LEARN_LANES, sizeof(lane));
            narrow[k] += __builtin_convertvector(lane, lanes16);
        }
    }
    for (size_t k = 0; k < blocks; k++)
        for (size_t c = 0; c < HW_LEARN_LANES; c++)
            sums[k * HW_LEARN_LANES + c] += narrow[k][c];
}

HW_LEARN_INLINE void
add_chunk(const struct hw_learned *learned, const uint16_t *features, size_t count, int32_t *sums)
{
    size_t from = 0;

    for (; from + 4 * HW_LEARN_LANES <= learned->stride; from += 4 * HW_LEARN_LANES)
        add_rows(learned, features, count, from, 4, sums + from);
    for (; from + 2 * HW_LEARN_LANES <= learned->stride; from += 2 * HW_LEARN_LANES)
        add_rows(learned, features, count, from, 2, sums + from);
    for (; from < learned->stride; from += HW_LEARN_LANES)
        add_rows(learned, features, count, from, 1, sums + from);
}

HW_LEARN_WIDE static void
add_chunk_wide(const struct hw_learned *learned, const uint16_t *features, size_t count,
               int32_t *sums)
{
    add_chunk(learned, features, count, sums);
}

static void
add_chunk_base(const struct hw_learned *learned, const uint16_t *features, size_t count,
               int32_t *sums)
{
    add_chunk(learned, features, count, sums);
}

float
hw_learned_score_features(const struct hw_learned *learned, const uint16_t *features, size_t count,
                          float *scores)
{
    int32_t sums[HW_LEARN_CLASSES_MAX + 2 * HW_LEARN_LANES];

    memset(sums, 0, learned->stride * sizeof(sums[0]));
    bool wide = hw_learn_wide();
    for (size_t i = 0; i < count; i += ROWS_BEFORE_WIDENING) {
        size_t chunk = count - i < ROWS_BEFORE_WIDENING ? count - i : ROWS_BEFORE_WIDENING;
        (wide ? add_chunk_wide : add_chunk_base)(learned, features + i, chunk, sums);
    }
    float squares = (float)sums[0] + (float)(1 << IDF_BITS) * (float)sums[1];
    float norm = squares > 0.0f ? learned->scale / sqrtf(squares / IDF_UNIT) : 0.0f;
    for (size_t c = 0; c < learned->class_count; c++)
        scores[c] = learned->bias[c] + norm * (float)sums[HW_LEARN_ROW_HEAD + c];
    return squares > 0.0f ? (float)sums[2] * (float)learned->unseen / squares : 1.0f;
}

struct hw_learn_best
hw_learn_best(const float *scores, size_t count, float strange)
{
    struct hw_learn_best best = {.label = 0};
    float second = -1.0f;

    for (size_t c = 1; c < count; c++)
        if (scores[c] > scores[best.label])
            best.label = (int)c;
    for (size_t c = 0; c < count; c++)
        if ((int)c != best.label && scores[c] > second)
            second = scores[c];
    best.score = scores[best.label];
    /* Measured: a text that two classes want is rather one of them than none, and one of n-grams
     * that no example had is rather none. */
    best.likeness = best.score + 0.3f * second - 0.6f * strange;
    return best;
}

static void
answer_features(const struct hw_learned *learned, const uint16_t *features, size_t count,
                struct hw_learned_answer *out)
{
    float scores[HW_LEARN_CLASSES_MAX];

    *out = (struct hw_learned_answer){.label = -1};
    if (count == 0)
        return;
    float strange = hw_learned_score_features(learned, features, count, scores);
    struct hw_learn_best best = hw_learn_best(scores, learned->class_count, strange);
    out->label = best.label;
    out->score = best.score;
    out->known = best.likeness >= learned->threshold;
    out->confidence = 1.0f / (1.0f + expf(-(learned->slope * best.likeness + learned->offset)));
}

void
hw_learned_answer(const struct hw_learned *learned, const char *text, size_t len,
                  struct hw_learned_answer *out)
{
    uint16_t features[HW_FEATURES_MAX];
    size_t count = hw_features(learned->kinds, text, len, learned->bits, learned->rows,
                               learned->stride, features);

    answer_features(learned, features, count, out);
}

void
hw_learned_answer_buckets(const struct hw_learned *learned, const uint16_t *buckets, size_t count,
                          struct hw_learned_answer *out)
{
    uint16_t features[HW_FEATURES_MAX];
    size_t kept = hw_learn_fewer_bits(buckets, count, learned->bits, features);

    answer_features(learned, features, kept, out);
}

void
hw_learned_scores(const struct hw_learned *learned, const char *text, size_t len, float *scores)
{
    uint16_t features[HW_FEATURES_MAX];
    size_t count = hw_features(learned->kinds, text, len, learned->bits, learned->rows,
                               learned->stride, features);

    hw_learned_score_features(learned, features, count, scores);
}

size_t
hw_learned_classes(const struct hw_learned *learned)
{
    return learned->class_count;
}

const char *
hw_learned_label(const struct hw_learned *learned, int label)
{
    return learned->labels[label];
}
