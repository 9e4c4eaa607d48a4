/* policies/learn_train.c - one-vs-rest squared hinge by stochastic gradient descent.
 *
 * For each example and class, with y = 1 or -1 and s the score: g = -2y max(0, 1 - ys); the rows of
 * the example's n-grams go down the gradient. The rate falls linearly to zero over all steps. An
 * n-gram is left out of a step with probability `dropout`, so that no single one decides alone.
 * n-grams weigh idf = ln((1 + N) / (1 + df)) + 1 in a vector of length one; one that was never seen
 * has the largest idf and no weight, which pulls the score of a strange text towards the bias. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"
#include "policies/learn_private.h"

#define BIAS_RATE 0.1f
#define KIND_WEIGHT 2.0f /* of a word's kind, beside an n-gram as rare */
#define IDF_MAX 15.9f    /* what the quantised row has room for */

void
hw_learn_conf_init(struct hw_learn_conf *conf)
{
    *conf = (struct hw_learn_conf){.bits = 16,
                                   .epochs = 20,
                                   .rate = 0.1f,
                                   .dropout = 0.2f,
                                   .abstain = 0.02f,
                                   .seed = 0x68617463687761};
}

void
hw_weights_free(struct hw_weights *weights)
{
    free(weights->rows);
    free(weights->idf);
    free(weights->bias);
    *weights = (struct hw_weights){0};
}

/* What no example has weighs the same of whatever sort: it says only that a text is strange. */
static float
idf_of(size_t count, float df, float weight)
{
    float idf = logf((1.0f + (float)count) / (1.0f + df)) + 1.0f;

    return df > 0.0f ? fminf(idf * weight, IDF_MAX) : idf;
}

static void
count_idf(const struct hw_examples *examples, const uint32_t *order, size_t count, float *idf,
          size_t buckets)
{
    for (size_t i = 0; i < count; i++)
        for (size_t f = examples->starts[order[i]]; f < examples->starts[order[i] + 1]; f++)
            idf[examples->features[f]] += 1.0f;
    for (size_t b = 0; b < buckets; b++)
        idf[b] =
            idf_of(count, idf[b], b < hw_features_kinds_end(examples->bits) ? KIND_WEIGHT : 1.0f);
}

HW_LEARN_INLINE void
add_row(float *restrict to, const float *restrict row, float by, size_t width)
{
    for (size_t at = 0; at < width; at += HW_LEARN_LANES)
        for (size_t c = 0; c < HW_LEARN_LANES; c++)
            to[at + c] += by * row[at + c];
}

HW_LEARN_INLINE float
score(const struct hw_weights *weights, const uint16_t *features, size_t count, float *scores)
{
    float squares = 0.0f, strange = 0.0f;

    memset(scores, 0, weights->width * sizeof(float));
    for (size_t i = 0; i < count; i++) {
        float idf = weights->idf[features[i]];
        squares += idf * idf;
        strange += idf == weights->unseen_idf ? idf * idf : 0.0f;
        add_row(scores, weights->rows + features[i] * weights->width, idf, weights->width);
    }
    float norm = squares > 0.0f ? 1.0f / sqrtf(squares) : 0.0f;
    for (size_t c = 0; c < weights->width; c++)
        scores[c] = weights->bias[c] + scores[c] * norm;
    return squares > 0.0f ? strange / squares : 1.0f;
}

float
hw_weights_score(const struct hw_weights *weights, const uint16_t *features, size_t count,
                 float *scores)
{
    return score(weights, features, count, scores);
}

struct step {
    uint16_t features[HW_FEATURES_MAX];
    size_t count;
    float scores[HW_LEARN_CLASSES_MAX];
};

/* Leaves n-grams out: a byte of the dice each. */
static void
drop(struct step *step, const uint16_t *features, size_t count, float dropout, uint64_t *dice)
{
    uint8_t limit = (uint8_t)(dropout * 256.0f);
    uint64_t bytes = 0;

    step->count = 0;
    for (size_t i = 0; i < count; i++) {
        if (i % 8 == 0)
            bytes = hw_learn_dice(dice);
        step->features[step->count] = features[i];
        step->count += (uint8_t)bytes >= limit;
        bytes >>= 8;
    }
}

/* Gradients in place of scores; false: every class is far enough on its side already. */
HW_LEARN_INLINE bool
gradients(float *scores, size_t classes, int label)
{
    bool any = false;

    for (size_t c = 0; c < classes; c++) {
        float y = (int)c == label ? 1.0f : -1.0f;
        float short_by = 1.0f - y * scores[c];
        scores[c] = short_by > 0.0f ? -2.0f * y * short_by : 0.0f;
        any |= short_by > 0.0f;
    }
    return any;
}

HW_LEARN_INLINE void
learn_one(struct hw_weights *weights, struct step *step, int label, float rate)
{
    float squares = 0.0f;

    score(weights, step->features, step->count, step->scores);
    if (!gradients(step->scores, weights->class_count, label))
        return;
    for (size_t i = 0; i < step->count; i++)
        squares += weights->idf[step->features[i]] * weights->idf[step->features[i]];
    float by = squares > 0.0f ? -rate / sqrtf(squares) : 0.0f;
    memset(step->scores + weights->class_count, 0,
           (weights->width - weights->class_count) * sizeof(float));
    for (size_t i = 0; i < step->count; i++) {
        uint16_t feature = step->features[i];
        add_row(weights->rows + feature * weights->width, step->scores, by * weights->idf[feature],
                weights->width);
    }
    add_row(weights->bias, step->scores, -rate * BIAS_RATE, weights->width);
}

HW_LEARN_INLINE void
descend(const struct hw_examples *examples, const struct hw_learn_conf *conf, uint32_t *order,
        size_t count, struct hw_weights *weights)
{
    struct step step;
    uint64_t dice = conf->seed | 1;
    float steps = (float)conf->epochs * (float)count;

    for (uint32_t epoch = 0; epoch < conf->epochs; epoch++) {
        hw_learn_shuffle(order, count, &dice);
        for (size_t i = 0; i < count; i++) {
            uint32_t example = order[i];
            size_t start = examples->starts[example];
            float done = ((float)epoch * (float)count + (float)i) / steps;
            drop(&step, examples->features + start, examples->starts[example + 1] - start,
                 conf->dropout, &dice);
            learn_one(weights, &step, examples->classes[example], conf->rate * (1.0f - done));
        }
    }
}

HW_LEARN_WIDE static void
descend_wide(const struct hw_examples *examples, const struct hw_learn_conf *conf, uint32_t *order,
             size_t count, struct hw_weights *weights)
{
    descend(examples, conf, order, count, weights);
}

static void
descend_base(const struct hw_examples *examples, const struct hw_learn_conf *conf, uint32_t *order,
             size_t count, struct hw_weights *weights)
{
    descend(examples, conf, order, count, weights);
}

int
hw_weights_train(const struct hw_examples *examples, const struct hw_learn_conf *conf,
                 const uint8_t *folds, unsigned left_out, struct hw_weights *out,
                 struct hw_err *err)
{
    size_t buckets = (size_t)1 << examples->bits;
    size_t width = (examples->class_count + HW_LEARN_LANES - 1) / HW_LEARN_LANES * HW_LEARN_LANES;
    struct hw_weights weights = {.bits = examples->bits,
                                 .class_count = examples->class_count,
                                 .width = width,
                                 .rows = calloc(buckets * width, sizeof(float)),
                                 .idf = calloc(buckets, sizeof(float)),
                                 .bias = calloc(width, sizeof(float))};
    uint32_t *order = calloc(examples->count + 1, sizeof(uint32_t));
    size_t count = 0;

    if (weights.rows == NULL || weights.idf == NULL || weights.bias == NULL || order == NULL) {
        hw_weights_free(&weights);
        free(order);
        return hw_err_set(err, HW_ENOMEM, "no memory to learn %zu classes", examples->class_count);
    }
    for (size_t i = 0; i < examples->count; i++)
        if (folds == NULL || folds[i] != left_out)
            order[count++] = (uint32_t)i;
    count_idf(examples, order, count, weights.idf, buckets);
    weights.unseen_idf = idf_of(count, 0.0f, 1.0f);
    (hw_learn_wide() ? descend_wide : descend_base)(examples, conf, order, count, &weights);
    free(order);
    *out = weights;
    return 0;
}
