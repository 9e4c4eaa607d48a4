/* policies/learn_self.c - see learn_self.h.
 *
 * Each round trains on the examples and on what the round before labelled, rates the whole pool
 * anew, and takes its surest: of each class the same share of what was found to be of that class,
 * more from round to round. So a class that is rare stays in, and one that is often asked, or that
 * swallows what is foreign, is bounded twice: by that share and by a multiple of the mean. A label
 * is never kept for being old. */
#include "policies/learn_self.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"
#include "policies/learn_private.h"

#define FOLDS_MAX 20
#define ROUNDS_MAX 10
#define CLASS_MAX_TIMES 3 /* the mean of what the classes were given */

struct rated {
    float likeness;
    uint32_t at; /* in the pool */
    int32_t label;
};

/* Examples and pool in one: the pool's behind, with the labels that they were given. */
struct work {
    struct hw_examples *all;
    size_t first; /* of the pool */
    uint8_t *out; /* of all: 1 is left out of training */
    struct rated *rated;
    uint32_t *found, *given; /* by class */
    float floor;             /* likeness */
};

void
hw_learn_self_conf_init(struct hw_learn_self_conf *conf)
{
    *conf = (struct hw_learn_self_conf){.rounds = 4, .share = 0.6f, .confidence = 0.0f};
}

static int
append(struct hw_examples *to, const struct hw_examples *from, struct hw_err *err)
{
    int rc = 0;

    for (size_t i = 0; i < from->count && rc == 0; i++)
        rc = hw_examples_add_features(to, from->classes[i], from->features + from->starts[i],
                                      from->starts[i + 1] - from->starts[i], from->hints[i], err);
    return rc;
}

static int
copy_examples(const struct hw_examples *labelled, struct hw_examples **out, struct hw_err *err)
{
    struct hw_examples *copy = hw_examples_create(labelled->bits);
    int rc = 0;

    for (size_t c = 0; c < labelled->class_count && rc >= 0; c++)
        rc = hw_examples_class(copy, labelled->labels[c], strlen(labelled->labels[c]), err);
    if (rc >= 0)
        rc = append(copy, labelled, err);
    if (rc != 0)
        hw_examples_destroy(&copy);
    *out = copy;
    return rc;
}

static void
work_free(struct work *work)
{
    hw_examples_destroy(&work->all);
    free(work->out);
    free(work->rated);
    free(work->found);
    free(work->given);
}

static int
work_init(struct work *work, const struct hw_examples *labelled, const struct hw_learn_pool *pool,
          struct hw_err *err)
{
    *work = (struct work){.first = labelled->count, .floor = -INFINITY};
    int rc = copy_examples(labelled, &work->all, err);
    if (rc == 0)
        rc = append(work->all, hw_learn_pool_examples(pool), err);
    if (rc != 0) {
        work_free(work);
        return rc;
    }
    work->out = hw_xcalloc(work->all->count + 1, 1);
    work->rated = hw_xcalloc(work->all->count + 1, sizeof(*work->rated));
    work->found = hw_xcalloc(labelled->class_count + 1, sizeof(*work->found));
    work->given = hw_xcalloc(labelled->class_count + 1, sizeof(*work->given));
    return 0;
}

static int
by_likeness(const void *a, const void *b)
{
    const struct rated *x = a, *y = b;

    if (x->likeness < y->likeness || x->likeness > y->likeness)
        return x->likeness > y->likeness ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

static size_t
rate(struct work *work, const struct hw_weights *weights)
{
    const struct hw_examples *all = work->all;
    size_t count = all->count - work->first;
    float scores[HW_LEARN_CLASSES_MAX];

    memset(work->found, 0, all->class_count * sizeof(*work->found));
    for (size_t i = 0; i < count; i++) {
        size_t start = all->starts[work->first + i];
        float strange = hw_weights_score(weights, all->features + start,
                                         all->starts[work->first + i + 1] - start, scores);
        struct hw_learn_best best = hw_learn_best(scores, all->class_count, strange);
        work->rated[i] = (struct rated){best.likeness, (uint32_t)i, best.label};
        if (best.label >= 0)
            work->found[best.label]++;
    }
    qsort(work->rated, count, sizeof(*work->rated), by_likeness);
    return count;
}

/* Gives the surest of the pool their labels, and takes them from all others. */
static size_t
label(struct work *work, size_t count, float share)
{
    float mean = share * (float)count / (float)work->all->class_count;
    size_t taken = 0;

    memset(work->given, 0, work->all->class_count * sizeof(*work->given));
    for (size_t i = 0; i < count; i++) {
        const struct rated *rated = &work->rated[i];
        size_t at = work->first + rated->at;
        bool take = rated->label >= 0 && rated->likeness >= work->floor;
        if (take) {
            float most = fminf(share * (float)work->found[rated->label], CLASS_MAX_TIMES * mean);
            take = work->given[rated->label] < (uint32_t)(most + 0.5f);
        }
        work->all->classes[at] = take ? rated->label : HW_LEARN_NONE;
        work->out[at] = !take;
        if (take)
            work->given[rated->label]++;
        taken += take;
    }
    return taken;
}

/* With out[0 .. first) set: labels the pool, over and over. */
static int
run(struct work *work, const struct hw_learn_conf *conf, const struct hw_learn_self_conf *self,
    struct hw_err *err)
{
    memset(work->out + work->first, 1, work->all->count - work->first);
    for (unsigned round = 1; round <= self->rounds; round++) {
        struct hw_weights weights;
        int rc = hw_weights_train(work->all, conf, work->out, 1, &weights, err);
        if (rc != 0)
            return rc;
        size_t count = rate(work, &weights);
        hw_weights_free(&weights);
        if (label(work, count, self->share * (float)round / (float)self->rounds) == 0)
            break;
    }
    return 0;
}

/* The likeness from which on a label is as sure as is wanted, and no less than is known at all. */
static int
find_floor(const struct hw_examples *labelled, const struct hw_learn_conf *conf, float confidence,
           float *floor, struct hw_err *err)
{
    struct hw_learned *learned = NULL;
    int rc = hw_learn(labelled, conf, &learned, err);

    if (rc != 0)
        return rc;
    *floor = learned->threshold;
    if (confidence > 0.0f) {
        float p = fminf(confidence, 0.999f);
        *floor = fmaxf(*floor, (logf(p / (1.0f - p)) - learned->offset) / learned->slope);
    }
    hw_learned_destroy(&learned);
    return 0;
}

static int
check(const struct hw_examples *labelled, const struct hw_learn_pool *pool,
      const struct hw_learn_self_conf *self, struct hw_err *err)
{
    if (self->rounds < 1 || self->rounds > ROUNDS_MAX)
        return hw_err_set(err, HW_EINVAL, "from 1 to %d rounds, got %u", ROUNDS_MAX, self->rounds);
    if (labelled->class_count < 2)
        return hw_err_set(err, HW_EINVAL,
                          "examples of two labels at least are wanted: with one there is nothing "
                          "to tell apart");
    if (hw_learn_pool_count(pool) == 0)
        return hw_err_set(err, HW_EINVAL, "no query to learn from");
    return 0;
}

int
hw_learn_self(const struct hw_examples *labelled, const struct hw_learn_pool *pool,
              const struct hw_learn_conf *conf, const struct hw_learn_self_conf *self,
              struct hw_examples **out, int32_t *labels, struct hw_err *err)
{
    struct work work;
    struct hw_examples *learned = NULL;
    int rc = check(labelled, pool, self, err);

    if (rc == 0)
        rc = work_init(&work, labelled, pool, err);
    if (rc != 0)
        return rc;
    rc = find_floor(labelled, conf, self->confidence, &work.floor, err);
    if (rc == 0)
        rc = run(&work, conf, self, err);
    if (rc == 0)
        rc = copy_examples(labelled, &learned, err);
    for (size_t i = work.first; i < work.all->count && rc == 0; i++) {
        labels[i - work.first] = work.all->classes[i];
        if (work.all->classes[i] >= 0)
            rc = hw_examples_add_features(learned, work.all->classes[i],
                                          work.all->features + work.all->starts[i],
                                          work.all->starts[i + 1] - work.all->starts[i], true, err);
    }
    work_free(&work);
    if (rc == 0)
        *out = learned;
    else
        hw_examples_destroy(&learned);
    return rc;
}

/* --- what it is worth ------------------------------------------------------------------------ */

/* Which of the left out examples the model gets right, into right[0 .. first). */
static int
try_left_out(const struct work *work, const struct hw_learn_conf *conf, bool *right,
             struct hw_err *err)
{
    struct hw_weights weights;
    float scores[HW_LEARN_CLASSES_MAX];
    int rc = hw_weights_train(work->all, conf, work->out, 1, &weights, err);

    for (size_t i = 0; i < work->first && rc == 0; i++) {
        size_t start = work->all->starts[i];
        if (!work->out[i])
            continue;
        float strange = hw_weights_score(&weights, work->all->features + start,
                                         work->all->starts[i + 1] - start, scores);
        right[i] =
            hw_learn_best(scores, work->all->class_count, strange).label == work->all->classes[i];
    }
    if (rc == 0)
        hw_weights_free(&weights);
    return rc;
}

static void
count_fold(const struct work *work, const bool *before, const bool *after,
           struct hw_learn_self_report *report)
{
    for (size_t i = 0; i < work->first; i++) {
        int32_t class = work->all->classes[i];
        if (!work->out[i] || class < 0)
            continue;
        report->tried++;
        report->class_tried[class]++;
        report->right_before += before[i];
        report->class_before[class] += before[i];
        report->right_after += after[i];
        report->class_after[class] += after[i];
        report->gained += after[i] && !before[i];
        report->lost += before[i] && !after[i];
    }
}

static int
validate_fold(struct work *work, const struct hw_learn_conf *conf,
              const struct hw_learn_self_conf *self, bool *before, bool *after,
              struct hw_learn_self_report *report, struct hw_err *err)
{
    memset(work->out + work->first, 1, work->all->count - work->first);
    int rc = try_left_out(work, conf, before, err);
    if (rc == 0)
        rc = run(work, conf, self, err);
    if (rc == 0)
        rc = try_left_out(work, conf, after, err);
    if (rc == 0)
        count_fold(work, before, after, report);
    return rc;
}

int
hw_learn_self_validate(const struct hw_examples *labelled, const struct hw_learn_pool *pool,
                       const struct hw_learn_conf *conf, const struct hw_learn_self_conf *self,
                       unsigned folds, struct hw_learn_self_report *report, struct hw_err *err)
{
    struct work work;

    if (folds < 2 || folds > FOLDS_MAX)
        return hw_err_set(err, HW_EINVAL, "from 2 to %d folds, got %u", FOLDS_MAX, folds);
    int rc = check(labelled, pool, self, err);
    if (rc == 0)
        rc = work_init(&work, labelled, pool, err);
    if (rc != 0)
        return rc;
    uint8_t *dealt = hw_learn_deal(labelled, folds, conf->seed);
    HW_ASSERT(dealt != NULL);
    bool *before = hw_xcalloc(2 * labelled->count + 1, sizeof(bool));
    rc = find_floor(labelled, conf, self->confidence, &work.floor, err);
    for (unsigned fold = 0; fold < folds && rc == 0; fold++) {
        for (size_t i = 0; i < work.first; i++)
            work.out[i] = dealt[i] == fold;
        rc = validate_fold(&work, conf, self, before, before + labelled->count, report, err);
    }
    free(before);
    free(dealt);
    work_free(&work);
    return rc;
}

int
hw_learn_self_verdict(const struct hw_learn_self_report *report)
{
    double more = (double)report->gained - (double)report->lost;
    double chance = 2.0 * sqrt((double)(report->gained + report->lost));

    return more > chance ? 1 : -more > chance ? -1 : 0;
}
