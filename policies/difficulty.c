/* policies/difficulty.c - recorded outcomes, and what a model makes of a text. */
#include "policies/difficulty.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"
#include "policies/difficulty_private.h"

#define OUTCOMES_MAX 1000000
#define FEATURES_TOTAL_MAX ((size_t)1 << 30)

struct hw_outcomes *
hw_outcomes_create(void)
{
    struct hw_outcomes *outcomes = hw_xcalloc(1, sizeof(*outcomes));

    outcomes->kinds = hw_kinds_create();
    HW_ASSERT(outcomes->kinds != NULL);
    return outcomes;
}

void
hw_outcomes_destroy(struct hw_outcomes **outcomes)
{
    struct hw_outcomes *o = *outcomes;

    if (o == NULL)
        return;
    free(o->kinds);
    free(o->items);
    free(o->features);
    free(o);
    *outcomes = NULL;
}

size_t
hw_outcomes_count(const struct hw_outcomes *outcomes)
{
    return outcomes->count;
}

static int
reserve(struct hw_outcomes *outcomes, size_t more, struct hw_err *err)
{
    if (outcomes->count == OUTCOMES_MAX || outcomes->feature_count + more > FEATURES_TOTAL_MAX)
        return hw_err_set(err, HW_ELIMIT, "more than %d outcomes, or texts too long for so many",
                          OUTCOMES_MAX);
    if (outcomes->count == outcomes->capacity) {
        size_t capacity = outcomes->capacity * 2 + 64;
        struct hw_outcome *items = realloc(outcomes->items, capacity * sizeof(*items));
        if (items == NULL)
            return hw_err_set(err, HW_ENOMEM, "no memory for %zu outcomes", capacity);
        outcomes->items = items;
        outcomes->capacity = capacity;
    }
    if (outcomes->feature_count + more > outcomes->feature_capacity) {
        size_t capacity = (outcomes->feature_count + more) * 2;
        uint16_t *features = realloc(outcomes->features, capacity * sizeof(*features));
        if (features == NULL)
            return hw_err_set(err, HW_ENOMEM, "no memory for the n-grams of %zu outcomes",
                              outcomes->count);
        outcomes->features = features;
        outcomes->feature_capacity = capacity;
    }
    return 0;
}

int
hw_outcomes_add(struct hw_outcomes *outcomes, const char *text, size_t len, float weak,
                float strong, struct hw_err *err)
{
    uint16_t features[HW_FEATURES_MAX];
    size_t count = hw_features(outcomes->kinds, text, len, HW_DIFFICULTY_BITS, NULL, 0, features);
    int rc = reserve(outcomes, count + 1, err);

    if (rc != 0)
        return rc;
    struct hw_outcome *item = &outcomes->items[outcomes->count++];
    *item = (struct hw_outcome){
        .start = outcomes->feature_count, .count = count, .weak = weak, .strong = strong};
    hw_measure(text, len, item->measures);
    memcpy(outcomes->features + outcomes->feature_count, features, count * sizeof(features[0]));
    outcomes->feature_count += count;
    return 0;
}

void
hw_difficulty_destroy(struct hw_difficulty **difficulty)
{
    struct hw_difficulty *d = *difficulty;

    if (d == NULL)
        return;
    free(d->kinds);
    free(d->rows);
    free(d);
    *difficulty = NULL;
}

/* --- measures --- */

enum sort { OTHER, DIGIT, OPERATOR, CAPITAL, SMALL, LINE, SORTS };

static enum sort
sort_of(uint8_t c)
{
    if (c >= 'a' && c <= 'z')
        return SMALL;
    if (c >= 'A' && c <= 'Z')
        return CAPITAL;
    if (c >= '0' && c <= '9')
        return DIGIT;
    if (c >= 0x80)
        return SMALL;
    if (c == '\n')
        return LINE;
    return c > ' ' && strchr("+-*/=<>^_\\{}()[]|&%$#", c) != NULL ? OPERATOR : OTHER;
}

struct counts {
    uint32_t sorts[SORTS];
    uint32_t words;
};

static void
count(const char *text, size_t len, struct counts *counts)
{
    bool in_word = false;

    for (size_t i = 0; i < len; i++) {
        enum sort sort = sort_of((uint8_t)text[i]);
        bool letter = sort == SMALL || sort == CAPITAL;
        counts->sorts[sort]++;
        counts->words += letter && !in_word;
        in_word = letter;
    }
}

/* Of the part that the n-grams are read from as well; only the length is of the whole text. */
void
hw_measure(const char *text, size_t len, float measures[static HW_MEASURES])
{
    struct counts counts = {.words = 0};
    size_t read = len;

    if (len <= HW_FEATURE_WINDOW) {
        count(text, len, &counts);
    } else {
        count(text, HW_FEATURE_HEAD, &counts);
        count(text + len - HW_FEATURE_TAIL, HW_FEATURE_TAIL, &counts);
        read = HW_FEATURE_HEAD + HW_FEATURE_TAIL;
    }
    float all = (float)read + 1.0f;
    measures[0] = logf((float)len + 1.0f);
    measures[1] = (float)counts.sorts[DIGIT] / all;
    measures[2] = (float)counts.sorts[OPERATOR] / all;
    measures[3] = (float)counts.sorts[CAPITAL] / all;
    measures[4] = (float)counts.sorts[LINE] / all;
    measures[5] = (float)(counts.sorts[SMALL] + counts.sorts[CAPITAL]) / (float)(counts.words + 1);
}

/* --- answering --- */

float
hw_difficulty_score(const struct hw_difficulty *difficulty, const uint16_t *features, size_t count,
                    const float measures[static HW_MEASURES])
{
    float sum = 0.0f, squares = 0.0f, score = 0.0f;

    for (size_t i = 0; i < count; i++) {
        const struct hw_difficulty_row *row = &difficulty->rows[features[i]];
        sum += row->idf * row->weight;
        squares += row->idf * row->idf;
    }
    if (squares > 0.0f)
        score += sum / sqrtf(squares);
    for (size_t k = 0; k < HW_MEASURES; k++)
        score += difficulty->measure_weights[k] * (measures[k] - difficulty->means[k]) *
                 difficulty->scales[k];
    return score;
}

float
hw_difficulty_rank(const struct hw_difficulty *difficulty, const char *text, size_t len)
{
    uint16_t features[HW_FEATURES_MAX];
    float measures[HW_MEASURES];
    size_t below = 0;

    size_t count = hw_features(difficulty->kinds, text, len, HW_DIFFICULTY_BITS, difficulty->rows,
                               sizeof(difficulty->rows[0]), features);
    hw_measure(text, len, measures);
    float score = hw_difficulty_score(difficulty, features, count, measures);
    while (below < HW_DIFFICULTY_CUTS && difficulty->cuts[below] <= score)
        below++;
    if (below == 0)
        return 0.0f;
    if (below == HW_DIFFICULTY_CUTS)
        return 1.0f;
    float from = difficulty->cuts[below - 1], to = difficulty->cuts[below];
    return ((float)(below - 1) + (score - from) / (to - from)) / (HW_DIFFICULTY_CUTS - 1);
}
