/* policies/difficulty_train.c - least squares by stochastic gradient descent, and what it is worth.
 *
 * The target is strong - weak: where the strong model helps. It is a noisy target (most rows say
 * that both were right), so the rate is small and a fifth of the n-grams sits each step out: steps
 * of 0.02 reach an area of 0.68 on bench/data's test rows, of 0.1 0.65. The measures are scaled to
 * a deviation of 0.3 beside the n-grams' vector of length one. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"
#include "policies/difficulty_private.h"
#include "policies/learn_private.h"

#define EPOCHS 20
#define RATE 0.02f
#define BIAS_RATE 0.1f
#define DROPPED 51u /* of 256 */
#define KIND_WEIGHT 2.0f
#define MEASURES_DEVIATION 0.3f
#define SEED 0x6469666669637564u
#define NO_FOLD HW_DIFFICULTY_FOLDS /* train on all */

/* Rows are dealt in turn after a shuffle. */
struct dealt {
    uint32_t *order; /* [count] */
    size_t count;
};

static int
deal(const struct hw_outcomes *outcomes, struct dealt *dealt, struct hw_err *err)
{
    uint64_t dice = SEED;

    dealt->count = outcomes->count;
    dealt->order = calloc(outcomes->count + 1, sizeof(*dealt->order));
    if (dealt->order == NULL)
        return hw_err_set(err, HW_ENOMEM, "no memory to deal %zu outcomes", outcomes->count);
    for (size_t i = 0; i < dealt->count; i++)
        dealt->order[i] = (uint32_t)i;
    hw_learn_shuffle(dealt->order, dealt->count, &dice);
    return 0;
}

static struct hw_difficulty *
create(void)
{
    struct hw_difficulty *difficulty = calloc(1, sizeof(*difficulty));

    if (difficulty == NULL)
        return NULL;
    difficulty->kinds = hw_kinds_create();
    difficulty->rows = calloc((size_t)1 << HW_DIFFICULTY_BITS, sizeof(struct hw_difficulty_row));
    if (difficulty->kinds == NULL || difficulty->rows == NULL)
        hw_difficulty_destroy(&difficulty);
    return difficulty;
}

/* idf of the n-grams, mean and deviation of the measures, and the mean target as bias. */
static void
prepare(const struct hw_outcomes *outcomes, const uint32_t *order, size_t count,
        struct hw_difficulty *difficulty)
{
    double sums[HW_MEASURES] = {0}, squares[HW_MEASURES] = {0}, target = 0;
    float n = (float)count;

    for (size_t i = 0; i < count; i++) {
        const struct hw_outcome *item = &outcomes->items[order[i]];
        for (size_t f = 0; f < item->count; f++)
            difficulty->rows[outcomes->features[item->start + f]].idf += 1.0f;
        for (size_t k = 0; k < HW_MEASURES; k++) {
            sums[k] += (double)item->measures[k];
            squares[k] += (double)item->measures[k] * (double)item->measures[k];
        }
        target += (double)item->strong - (double)item->weak;
    }
    for (size_t b = 0; b < (size_t)1 << HW_DIFFICULTY_BITS; b++) {
        struct hw_difficulty_row *row = &difficulty->rows[b];
        bool kind = b < hw_features_kinds_end(HW_DIFFICULTY_BITS);
        row->idf = (logf((1.0f + n) / (1.0f + row->idf)) + 1.0f) * (kind ? KIND_WEIGHT : 1.0f);
    }
    for (size_t k = 0; k < HW_MEASURES; k++) {
        double mean = sums[k] / (double)count;
        double deviation = sqrt(fmax(squares[k] / (double)count - mean * mean, 0));
        difficulty->means[k] = (float)mean;
        difficulty->scales[k] = deviation > 1e-6 ? (float)(MEASURES_DEVIATION / deviation) : 0.0f;
    }
    difficulty->bias = (float)(target / (double)count);
}

/* Leaves n-grams out: a byte of the dice each. Returns how many stay in kept. */
static size_t
drop(const uint16_t *features, size_t count, uint16_t *kept, uint64_t *dice)
{
    uint64_t bytes = 0;
    size_t stay = 0;

    for (size_t i = 0; i < count; i++) {
        if (i % 8 == 0)
            bytes = hw_learn_dice(dice);
        kept[stay] = features[i];
        stay += (uint8_t)bytes >= DROPPED;
        bytes >>= 8;
    }
    return stay;
}

static void
learn_one(struct hw_difficulty *difficulty, const struct hw_outcome *item, const uint16_t *kept,
          size_t count, float rate)
{
    float squares = 0.0f;
    float miss = item->strong - item->weak - difficulty->bias -
                 hw_difficulty_score(difficulty, kept, count, item->measures);

    for (size_t i = 0; i < count; i++)
        squares += difficulty->rows[kept[i]].idf * difficulty->rows[kept[i]].idf;
    float by = squares > 0.0f ? rate * miss / sqrtf(squares) : 0.0f;
    for (size_t i = 0; i < count; i++)
        difficulty->rows[kept[i]].weight += by * difficulty->rows[kept[i]].idf;
    for (size_t k = 0; k < HW_MEASURES; k++)
        difficulty->measure_weights[k] += BIAS_RATE * rate * miss *
                                          (item->measures[k] - difficulty->means[k]) *
                                          difficulty->scales[k];
    difficulty->bias += BIAS_RATE * rate * miss;
}

/* Trains on the dealt rows but those of a fold. NULL: no memory. */
static struct hw_difficulty *
train(const struct hw_outcomes *outcomes, const struct dealt *dealt, size_t left_out)
{
    struct hw_difficulty *difficulty = create();
    uint32_t *order = calloc(dealt->count + 1, sizeof(*order));
    uint16_t kept[HW_FEATURES_MAX];
    uint64_t dice = SEED;
    size_t count = 0;

    if (difficulty == NULL || order == NULL) {
        hw_difficulty_destroy(&difficulty);
        free(order);
        return NULL;
    }
    for (size_t i = 0; i < dealt->count; i++)
        if (i % HW_DIFFICULTY_FOLDS != left_out)
            order[count++] = dealt->order[i];
    prepare(outcomes, order, count, difficulty);
    float steps = (float)EPOCHS * (float)count;
    for (size_t step = 0; step < EPOCHS * count; step++) {
        if (step % count == 0)
            hw_learn_shuffle(order, count, &dice);
        const struct hw_outcome *item = &outcomes->items[order[step % count]];
        size_t stay = drop(outcomes->features + item->start, item->count, kept, &dice);
        learn_one(difficulty, item, kept, stay, RATE * (1.0f - (float)step / steps));
    }
    free(order);
    return difficulty;
}

/* --- what it is worth --- */

struct tried {
    float score;
    const struct hw_outcome *item;
};

static float
score_of(const struct hw_difficulty *difficulty, const struct hw_outcomes *outcomes,
         const struct hw_outcome *item)
{
    return hw_difficulty_score(difficulty, outcomes->features + item->start, item->count,
                               item->measures);
}

static int
hardest_first(const void *a, const void *b)
{
    const struct tried *x = a, *y = b;
    return (x->score < y->score) - (x->score > y->score);
}

static void
sum_up(struct tried *tried, size_t count, struct hw_difficulty_report *report)
{
    double weak = 0, strong = 0, gained = 0, area = 0;
    size_t share = 0;

    qsort(tried, count, sizeof(*tried), hardest_first);
    for (size_t i = 0; i < count; i++) {
        weak += (double)tried[i].item->weak;
        strong += (double)tried[i].item->strong;
    }
    double n = (double)count;
    for (size_t i = 0; i <= count; i++) {
        for (; share < HW_DIFFICULTY_SHARES && share * count <= i * (HW_DIFFICULTY_SHARES - 1);
             share++)
            report->at[share] = (weak + gained) / n;
        if (i == count)
            break;
        gained += (double)tried[i].item->strong - (double)tried[i].item->weak;
        area += gained;
    }
    report->tried = count;
    report->weak = weak / n;
    report->strong = strong / n;
    report->area = strong != weak ? area / n / (strong - weak) : 0.5;
}

/* Scores of every row by a model that had not seen it; leaves them hardest first. */
static int
cross_validate(const struct hw_outcomes *outcomes, const struct dealt *dealt, struct tried *tried)
{
    size_t count = 0;

    for (size_t fold = 0; fold < HW_DIFFICULTY_FOLDS; fold++) {
        struct hw_difficulty *difficulty = train(outcomes, dealt, fold);
        if (difficulty == NULL)
            return HW_ENOMEM;
        for (size_t i = fold; i < dealt->count; i += HW_DIFFICULTY_FOLDS) {
            const struct hw_outcome *item = &outcomes->items[dealt->order[i]];
            tried[count++] = (struct tried){score_of(difficulty, outcomes, item), item};
        }
        hw_difficulty_destroy(&difficulty);
    }
    qsort(tried, count, sizeof(*tried), hardest_first);
    return 0;
}

static bool
differs(const struct hw_outcomes *outcomes)
{
    double sum = 0;

    for (size_t i = 0; i < outcomes->count; i++)
        sum += (double)outcomes->items[i].strong - (double)outcomes->items[i].weak;
    return sum > 0;
}

int
hw_difficulty_learn(const struct hw_outcomes *outcomes, struct hw_difficulty **out,
                    struct hw_difficulty_report *report, struct hw_err *err)
{
    struct dealt dealt;
    struct hw_difficulty *difficulty = NULL;

    if (outcomes->count < HW_OUTCOMES_MIN)
        return hw_err_set(err, HW_EINVAL, "difficulty is learned from %d outcomes on, got %zu",
                          HW_OUTCOMES_MIN, outcomes->count);
    if (!differs(outcomes))
        return hw_err_set(err, HW_EINVAL,
                          "the strong model did not answer better than the weak "
                          "one: there is no difficulty to learn");
    int rc = deal(outcomes, &dealt, err);
    if (rc != 0)
        return rc;
    struct tried *tried = calloc(outcomes->count, sizeof(*tried));
    rc = tried != NULL ? cross_validate(outcomes, &dealt, tried) : HW_ENOMEM;
    if (rc == 0)
        difficulty = train(outcomes, &dealt, NO_FOLD);
    if (difficulty != NULL) {
        for (size_t i = 0; i < HW_DIFFICULTY_CUTS; i++)
            difficulty->cuts[HW_DIFFICULTY_CUTS - 1 - i] =
                tried[i * (outcomes->count - 1) / (HW_DIFFICULTY_CUTS - 1)].score;
        if (report != NULL)
            sum_up(tried, outcomes->count, report);
        *out = difficulty;
    } else {
        rc = hw_err_set(err, HW_ENOMEM, "no memory to learn from %zu outcomes", outcomes->count);
    }
    free(tried);
    free(dealt.order);
    return rc;
}

int
hw_difficulty_try(const struct hw_difficulty *difficulty, const struct hw_outcomes *outcomes,
                  struct hw_difficulty_report *report, struct hw_err *err)
{
    struct tried *tried = calloc(outcomes->count + 1, sizeof(*tried));

    if (tried == NULL || outcomes->count == 0) {
        free(tried);
        return hw_err_set(err, HW_EINVAL, "no outcomes to try the model on");
    }
    for (size_t i = 0; i < outcomes->count; i++)
        tried[i] = (struct tried){score_of(difficulty, outcomes, &outcomes->items[i]),
                                  &outcomes->items[i]};
    sum_up(tried, outcomes->count, report);
    free(tried);
    return 0;
}
