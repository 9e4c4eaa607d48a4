/* policies/learn.h - a linear classifier over hashed n-grams, learned from examples.
 *
 * Pure and deterministic: the same examples in the same order with the same seed give the same
 * model, bit for bit, on every machine (no FMA, no threads, the dice are handed in as a seed).
 *
 * Life: examples -> hw_learn -> a model, which is then only read, by any thread. A model may be
 * written to bytes and read back; what is read is checked, and a hostile file gives an error.
 *
 * Training is one-vs-rest with squared hinge loss by plain SGD (learn_train.c), weights are then
 * quantised to int8 (learn_model.c). The threshold below which a text is none of the classes, and
 * what a score is worth as confidence, come from cross-validation (learn_validate.c). */
#ifndef HW_POLICIES_LEARN_H
#define HW_POLICIES_LEARN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hatchway/buf.h"
#include "hatchway/err.h"

#define HW_LEARN_CLASSES_MAX 1024
#define HW_LEARN_EXAMPLES_MAX 1000000
#define HW_LEARN_LABEL_MAX 256 /* bytes */
#define HW_LEARN_NONE (-1)     /* the class of examples that are none of the classes */

struct hw_learn_conf {
    uint32_t bits;   /* 2^bits buckets */
    uint32_t epochs; /* passes over the examples */
    float rate;      /* of the first step; falls to 0 */
    float dropout;   /* share of n-grams left out of a step */
    float abstain;   /* share of texts like the examples that may be called none of them */
    uint64_t seed;
};
void hw_learn_conf_init(struct hw_learn_conf *conf);

/* --- examples --- */

struct hw_examples;
struct hw_examples *hw_examples_create(uint32_t bits);
void hw_examples_destroy(struct hw_examples **examples); /* NULL-safe, nulls it */
/* The class called label (added when it is new), or an error below 0. */
int hw_examples_class(struct hw_examples *examples, const char *label, size_t len,
                      struct hw_err *err);
/* label is a class or HW_LEARN_NONE. */
int hw_examples_add(struct hw_examples *examples, int label, const char *text, size_t len,
                    struct hw_err *err);
/* What says something of a class without being an example of it: its description. It is learned
 * from, and never held out to measure by. */
int hw_examples_hint(struct hw_examples *examples, int label, const char *text, size_t len,
                     struct hw_err *err);
/* Each class's label as words ("email_query", "emailQuery": email query), as a hint. */
int hw_examples_hint_names(struct hw_examples *examples, struct hw_err *err);
size_t hw_examples_count(const struct hw_examples *examples);
size_t hw_examples_classes(const struct hw_examples *examples);
const char *hw_examples_label(const struct hw_examples *examples, int label);

/* --- learning --- */

/* How good a model of these examples will be, told by examples that it was not trained on. */
struct hw_learn_report {
    size_t tried;    /* examples */
    double accuracy; /* share of them whose nearest class is the right one */
    double kept;     /* the same, and the threshold lets it pass */
    double refused;  /* share below the threshold */
    /* By class, to be filled where not NULL; each has room for all classes. */
    uint32_t *class_tried, *class_right;
    uint32_t *taken_for; /* [class][nearest class]; room for classes x classes */
};

struct hw_learned;
/* On 0 the caller owns *out. */
int hw_learn(const struct hw_examples *examples, const struct hw_learn_conf *conf,
             struct hw_learned **out, struct hw_err *err);
/* Cross-validates: `folds` (2 to 20) times, learns from the others and tries one part. */
int hw_learn_validate(const struct hw_examples *examples, const struct hw_learn_conf *conf,
                      unsigned folds, struct hw_learn_report *report, struct hw_err *err);
void hw_learned_destroy(struct hw_learned **learned); /* NULL-safe, nulls it */

/* --- answering --- */

struct hw_learned_answer {
    int label;        /* the nearest class; -1: the text has nothing to go by */
    bool known;       /* it is not below the threshold */
    float score;      /* of the nearest class: about 1 for a plain case, -1 for none */
    float confidence; /* 0..1: how often such a score is right among texts like the examples */
};
void hw_learned_answer(const struct hw_learned *learned, const char *text, size_t len,
                       struct hw_learned_answer *out);
/* The same of a text that is known by its n-grams alone: buckets of HW_FEATURE_BITS_MAX bits in
 * ascending order (policies/features.h). */
void hw_learned_answer_buckets(const struct hw_learned *learned, const uint16_t *buckets,
                               size_t count, struct hw_learned_answer *out);
/* All classes' scores. scores has room for the model's classes. */
void hw_learned_scores(const struct hw_learned *learned, const char *text, size_t len,
                       float *scores);
size_t hw_learned_classes(const struct hw_learned *learned);
const char *hw_learned_label(const struct hw_learned *learned, int label);
float hw_learned_threshold(const struct hw_learned *learned);

/* A word of a text, and by how much the score of a class falls without it. */
struct hw_learned_word {
    size_t at, len; /* in the text */
    float weight;
};
/* The words that speak most for label, heaviest first; returns how many of max were found. Slow
 * (one classification a word): for explaining, not for serving. */
size_t hw_learned_explain(const struct hw_learned *learned, const char *text, size_t len, int label,
                          struct hw_learned_word *words, size_t max);

/* --- files --- */

#define HW_LEARNED_FILE_MAX (96u << 20)
/* Appends the model to out. */
int hw_learned_write(const struct hw_learned *learned, struct hw_buf *out);
int hw_learned_read(const void *bytes, size_t len, struct hw_learned **out, struct hw_err *err);

#endif
