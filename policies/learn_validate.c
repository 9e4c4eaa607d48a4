/* policies/learn_validate.c - what a model is worth, told by examples that it was not trained on.
 *
 * The examples are dealt into folds, class by class; each fold in turn is left out of training and
 * then tried. The likenesses found so give two things that need no examples of foreign texts:
 * the threshold (a quantile of them) and the confidence (how often a likeness was right, as a
 * logistic curve after Platt). Many examples need no ten trainings: some folds held out
 * tell enough. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"
#include "policies/learn_private.h"

#define FOLDS 10
#define FOLDS_MAX 20
#define FEWER_FOLDS_FROM 500 /* examples */
#define FEWER_FOLDS 5
#define SOME_FOLDS_FROM 2000 /* examples: so many that not all of FOLDS need be tried, */
#define SOME_FOLDS 4         /* but more than one: the threshold is a quantile of few texts */
#define NEWTON_STEPS 30

struct trial {
    float likeness;
    bool right;
};

struct trials {
    struct trial *items; /* [examples->count] */
    size_t count;
};

uint8_t *
hw_learn_deal(const struct hw_examples *examples, unsigned folds, uint64_t seed)
{
    uint8_t *dealt = malloc(examples->count + 1);
    uint32_t *next = calloc(examples->class_count + 1, sizeof(*next)); /* the last: of none */
    uint64_t dice = seed | 1;

    if (dealt != NULL && next != NULL) {
        for (size_t c = 0; c <= examples->class_count; c++)
            next[c] = (uint32_t)(hw_learn_dice(&dice) >> 40);
        for (size_t i = 0; i < examples->count; i++) {
            int32_t label = examples->classes[i];
            size_t class = label >= 0 ? (size_t)label : examples->class_count;
            dealt[i] = (uint8_t)(examples->hints[i] ? HW_LEARN_KEPT : next[class]++ % folds);
        }
    } else {
        free(dealt);
        dealt = NULL;
    }
    free(next);
    return dealt;
}

static void
try_fold(const struct hw_examples *examples, const struct hw_weights *weights, const uint8_t *dealt,
         unsigned fold, struct trials *trials, struct hw_learn_report *report)
{
    float scores[HW_LEARN_CLASSES_MAX];

    for (size_t i = 0; i < examples->count; i++) {
        size_t start = examples->starts[i], count = examples->starts[i + 1] - start;
        int32_t label = examples->classes[i];
        if (dealt[i] != fold || label < 0)
            continue;
        float strange = hw_weights_score(weights, examples->features + start, count, scores);
        struct hw_learn_best best = hw_learn_best(scores, examples->class_count, strange);
        struct trial *trial = &trials->items[trials->count++];
        *trial = (struct trial){best.likeness, best.label == label};
        if (report != NULL && report->class_tried != NULL)
            report->class_tried[label]++;
        if (report != NULL && report->class_right != NULL)
            report->class_right[label] += trial->right;
        if (report != NULL && report->taken_for != NULL && best.label >= 0)
            report->taken_for[(size_t)label * examples->class_count + (size_t)best.label]++;
    }
}

/* Deals into `folds`, and tries the first `tried` of them. */
static int
run_trials(const struct hw_examples *examples, const struct hw_learn_conf *conf, unsigned folds,
           unsigned tried, struct trials *trials, struct hw_learn_report *report,
           struct hw_err *err)
{
    uint8_t *dealt = hw_learn_deal(examples, folds, conf->seed);
    int rc = 0;

    *trials = (struct trials){.items = calloc(examples->count + 1, sizeof(struct trial))};
    if (dealt == NULL || trials->items == NULL)
        rc = hw_err_set(err, HW_ENOMEM, "no memory to try %zu examples", examples->count);
    for (unsigned fold = 0; fold < tried && rc == 0; fold++) {
        struct hw_weights weights;
        rc = hw_weights_train(examples, conf, dealt, fold, &weights, err);
        if (rc != 0)
            break;
        try_fold(examples, &weights, dealt, fold, trials, report);
        hw_weights_free(&weights);
    }
    free(dealt);
    if (rc != 0)
        free(trials->items);
    return rc;
}

static int
by_likeness(const void *a, const void *b)
{
    const struct trial *x = a, *y = b;
    return (x->likeness > y->likeness) - (x->likeness < y->likeness);
}

/* The likeness that a share `abstain` of the trials does not reach. */
static float
threshold_of(struct trials *trials, float abstain)
{
    qsort(trials->items, trials->count, sizeof(struct trial), by_likeness);
    size_t below = (size_t)((double)abstain * (double)trials->count);
    if (trials->count == 0 || abstain <= 0.0f)
        return -INFINITY;
    return trials->items[below < trials->count ? below : trials->count - 1].likeness;
}

/* Platt's fit of a logistic curve to (likeness, right), by Newton's method with a step bound. The
 * targets are smoothed, so that trials which are all right do not make a step of it. */
static void
fit_confidence(const struct trials *trials, float *slope, float *offset)
{
    size_t right = 0;
    double a = 1.0, b = 0.0;

    for (size_t i = 0; i < trials->count; i++)
        right += trials->items[i].right;
    double high = ((double)right + 1.0) / ((double)right + 2.0);
    double low = 1.0 / ((double)(trials->count - right) + 2.0);
    for (int step = 0; step < NEWTON_STEPS; step++) {
        double ga = 1e-3 * (a - 1.0), gb = 1e-3 * b, haa = 1e-3, hab = 0.0, hbb = 1e-3;
        for (size_t i = 0; i < trials->count; i++) {
            double x = (double)trials->items[i].likeness;
            double p = 1.0 / (1.0 + exp(-(a * x + b)));
            double miss = p - (trials->items[i].right ? high : low), curve = p * (1.0 - p) + 1e-6;
            ga += miss * x;
            gb += miss;
            haa += curve * x * x;
            hab += curve * x;
            hbb += curve;
        }
        double det = haa * hbb - hab * hab;
        double da = (ga * hbb - gb * hab) / det, db = (gb * haa - ga * hab) / det;
        double longest = fmax(fabs(da), fabs(db)), bound = longest > 2.0 ? 2.0 / longest : 1.0;
        a -= da * bound;
        b -= db * bound;
    }
    *slope = a > 0.1 ? (float)a : 0.1f; /* a higher likeness never means less */
    *offset = (float)b;
}

int
hw_learn_calibrate(const struct hw_examples *examples, const struct hw_learn_conf *conf,
                   struct hw_learned *learned, struct hw_err *err)
{
    struct trials trials;
    bool few = examples->count < FEWER_FOLDS_FROM, many = examples->count >= SOME_FOLDS_FROM;
    unsigned folds = few || many ? FOLDS : FEWER_FOLDS;
    int rc = run_trials(examples, conf, folds, many ? SOME_FOLDS : folds, &trials, NULL, err);

    if (rc != 0)
        return rc;
    learned->threshold = threshold_of(&trials, conf->abstain);
    fit_confidence(&trials, &learned->slope, &learned->offset);
    free(trials.items);
    return 0;
}

int
hw_learn(const struct hw_examples *examples, const struct hw_learn_conf *conf,
         struct hw_learned **out, struct hw_err *err)
{
    struct hw_weights weights;

    if (examples->class_count == 0 || examples->count == 0)
        return hw_err_set(err, HW_EINVAL, "no examples to learn from");
    int rc = hw_weights_train(examples, conf, NULL, 0, &weights, err);
    if (rc != 0)
        return rc;
    struct hw_learned *learned = hw_learned_quantise(&weights);
    hw_weights_free(&weights);
    if (learned == NULL)
        return hw_err_set(err, HW_ENOMEM, "no memory for a model of %zu classes",
                          examples->class_count);
    for (size_t c = 0; c < examples->class_count; c++) {
        size_t size = strlen(examples->labels[c]) + 1;
        learned->labels[c] = hw_xcalloc(size, 1);
        memcpy(learned->labels[c], examples->labels[c], size);
    }
    rc = hw_learn_calibrate(examples, conf, learned, err);
    if (rc == 0)
        *out = learned;
    else
        hw_learned_destroy(&learned);
    return rc;
}

int
hw_learn_validate(const struct hw_examples *examples, const struct hw_learn_conf *conf,
                  unsigned folds, struct hw_learn_report *report, struct hw_err *err)
{
    struct trials trials;
    size_t right = 0, kept = 0, refused = 0;

    if (folds < 2 || folds > FOLDS_MAX)
        return hw_err_set(err, HW_EINVAL, "from 2 to %d folds, got %u", FOLDS_MAX, folds);
    int rc = run_trials(examples, conf, folds, folds, &trials, report, err);
    if (rc != 0)
        return rc;
    float threshold = threshold_of(&trials, conf->abstain);
    for (size_t i = 0; i < trials.count; i++) {
        const struct trial *trial = &trials.items[i];
        right += trial->right;
        kept += trial->right && trial->likeness >= threshold;
        refused += trial->likeness < threshold;
    }
    double tried = trials.count > 0 ? (double)trials.count : 1.0;
    report->tried = trials.count;
    report->accuracy = (double)right / tried;
    report->kept = (double)kept / tried;
    report->refused = (double)refused / tried;
    free(trials.items);
    return 0;
}
