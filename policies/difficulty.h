/* policies/difficulty.h - does this query need the strong model?
 *
 * Learned from recorded outcomes: how well a weak and a strong model answered the same text, 0..1
 * each. A linear regression of the difference over the text's n-grams (features.h) and six plain
 * measures of it. Pure and deterministic, like learn.h.
 *
 * A score means nothing by itself, so it is told as a rank: the share of the recorded queries that
 * are easier, by scores they got from models that had not seen them. The operator gives the share
 * of queries that may go to the strong model; those of the highest rank do. */
#ifndef HW_POLICIES_DIFFICULTY_H
#define HW_POLICIES_DIFFICULTY_H

#include <stddef.h>

#include "hatchway/err.h"

#define HW_OUTCOMES_MIN 50 /* fewer teach nothing */
#define HW_DIFFICULTY_FOLDS 5
#define HW_DIFFICULTY_SHARES 11 /* 0 %, 10 % ... 100 % */

/* --- outcomes --- */

struct hw_outcomes;
struct hw_outcomes *hw_outcomes_create(void);
void hw_outcomes_destroy(struct hw_outcomes **outcomes); /* NULL-safe, nulls it */
int hw_outcomes_add(struct hw_outcomes *outcomes, const char *text, size_t len, float weak,
                    float strong, struct hw_err *err);
size_t hw_outcomes_count(const struct hw_outcomes *outcomes);

/* --- what it is worth --- */

/* Told by rows that the model was not trained on. */
struct hw_difficulty_report {
    size_t tried;
    double weak, strong; /* mean outcome when all go to the one or to the other */
    /* Mean outcome when the most difficult 0 %, 10 % ... go to the strong model. */
    double at[HW_DIFFICULTY_SHARES];
    /* Mean, over all shares, of the part of (strong - weak) that is gained: dice 0.50. */
    double area;
};

/* --- learning and answering --- */

struct hw_difficulty;
/* On 0 the caller owns *out. report, told by cross-validation, may be NULL. */
int hw_difficulty_learn(const struct hw_outcomes *outcomes, struct hw_difficulty **out,
                        struct hw_difficulty_report *report, struct hw_err *err);
void hw_difficulty_destroy(struct hw_difficulty **difficulty); /* NULL-safe, nulls it */
/* 0..1: the share of queries like the recorded ones that are easier. */
float hw_difficulty_rank(const struct hw_difficulty *difficulty, const char *text, size_t len);
/* Tries a model on rows that it was not trained on. */
int hw_difficulty_try(const struct hw_difficulty *difficulty, const struct hw_outcomes *outcomes,
                      struct hw_difficulty_report *report, struct hw_err *err);

#endif
