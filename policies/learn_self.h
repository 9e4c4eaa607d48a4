/* policies/learn_self.h - learning from what was asked, without anybody saying what it was.
 *
 * A model of the labelled examples labels the logged queries that it is surest of, learns from
 * those too, and does so again with more of them: words that stand beside known ones become known.
 * Whether that is worth anything is told before it is used, by labelled examples that neither the
 * first model nor those after it were taught (hw_learn_self_validate).
 *
 * Pure and deterministic, like policies/learn.h. */
#ifndef HW_POLICIES_LEARN_SELF_H
#define HW_POLICIES_LEARN_SELF_H

#include "policies/learn.h"

#define HW_LEARN_POOL_MAX 50000 /* queries */

/* Queries without labels. Each counts once, and none that is an example already: a question asked
 * ten times says no more than once. */
struct hw_learn_pool;
struct hw_learn_pool *hw_learn_pool_create(const struct hw_examples *labelled);
void hw_learn_pool_destroy(struct hw_learn_pool **pool); /* NULL-safe, nulls it */
/* 1: added; 0: it is known, or has nothing to go by; HW_ELIMIT: the pool is full. */
int hw_learn_pool_add(struct hw_learn_pool *pool, const char *text, size_t len, struct hw_err *err);
/* The same of a text known by its buckets of HW_FEATURE_BITS_MAX bits, in ascending order. */
int hw_learn_pool_add_buckets(struct hw_learn_pool *pool, const uint16_t *buckets, size_t count,
                              struct hw_err *err);
size_t hw_learn_pool_count(const struct hw_learn_pool *pool);

struct hw_learn_self_conf {
    unsigned rounds;  /* 1 to 10 */
    float share;      /* of the pool that the last round learns from at most, 0..1 */
    float confidence; /* 0..1: less sure labels are not learned from */
};
void hw_learn_self_conf_init(struct hw_learn_self_conf *conf);

/* Labels what it is sure of: labels[i], of pool_count, becomes the class of the pool's i-th query,
 * or HW_LEARN_NONE. On 0 the caller owns *out: the examples, with those queries as hints, so that
 * what is measured with it is measured by the examples alone. */
int hw_learn_self(const struct hw_examples *labelled, const struct hw_learn_pool *pool,
                  const struct hw_learn_conf *conf, const struct hw_learn_self_conf *self,
                  struct hw_examples **out, int32_t *labels, struct hw_err *err);

struct hw_learn_self_report {
    size_t tried;                     /* examples */
    size_t right_before, right_after; /* learned from the others alone; and from the pool */
    size_t gained, lost;              /* right only after, right only before */
    uint32_t *class_tried;            /* by class; with room for all */
    uint32_t *class_before, *class_after;
};
int hw_learn_self_validate(const struct hw_examples *labelled, const struct hw_learn_pool *pool,
                           const struct hw_learn_conf *conf, const struct hw_learn_self_conf *self,
                           unsigned folds, struct hw_learn_self_report *report, struct hw_err *err);
/* What gained and lost say: 1 it is better, -1 worse, 0 no difference that chance would not make
 * (two standard deviations of tossing a coin for each). */
int hw_learn_self_verdict(const struct hw_learn_self_report *report);

#endif
