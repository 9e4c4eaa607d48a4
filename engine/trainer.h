/* engine/trainer.h - training steps: batches over threads, AdamW or Muon, schedule, exact
 * resumption.
 *
 * Everything that a step does is decided by the options, the data and the step's number, so a
 * trainer loaded from a checkpoint goes on as if it had never stopped (with the same number of
 * threads, since they decide in which order floats are summed). Only a time limit breaks that: the
 * schedule then follows the clock. */
#ifndef HW_ENGINE_TRAINER_H
#define HW_ENGINE_TRAINER_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/model.h"
#include "engine/train_data.h"

struct hw_trainer_conf {
    struct hw_bdh_config shape; /* checked; its dropout is used */
    uint64_t steps;             /* at most */
    double time_limit_s;        /* 0: none; the schedule ends with whichever comes first */
    size_t batch;               /* sequences a step */
    size_t block;               /* rows of the longest sequence */
    size_t rows;                /* rows a thread works on at once: memory against speed */
    float lr, min_lr;           /* peak, and what the cosine ends at */
    uint64_t warmup;            /* steps of linear rise */
    float weight_decay, beta1, beta2;
    float clip; /* global norm of the gradient at most; 0: off */
    uint64_t seed;
    unsigned threads;
    bool muon;       /* encoders and decoder by Muon, the rest by AdamW */
    bool plain_blas; /* do not look for OpenBLAS */
};

struct hw_train_report {
    double loss;      /* weighted mean over the batch, nats a byte */
    double grad_norm; /* before clipping */
    float lr;
    size_t tokens;
};

struct hw_trainer;

/* init: where weights and freqs come from; NULL: random weights of standard deviation 0.02. */
int hw_trainer_create(const struct hw_trainer_conf *conf, const struct hw_bdh_model *init,
                      struct hw_trainer **out, struct hw_err *err);
void hw_trainer_destroy(struct hw_trainer **trainer); /* NULL-safe, nulls it */
/* The matrix library in use. */
const char *hw_trainer_blas(const struct hw_trainer *trainer);

/* One step; elapsed_s is the training time so far, earlier runs included (time limit only). */
void hw_trainer_step(struct hw_trainer *trainer, struct hw_train_data *data, double elapsed_s,
                     struct hw_train_report *report);
/* Mean loss over at most `limit` validation sequences, spread evenly; NAN when there are none. */
double hw_trainer_validate(struct hw_trainer *trainer, const struct hw_train_data *data,
                           size_t limit);
/* 0 at the start of the run, 1 (or more) at its end. */
double hw_trainer_progress(const struct hw_trainer *trainer, double elapsed_s);
uint64_t hw_trainer_steps_done(const struct hw_trainer *trainer);

/* Weights into a model of the same shape. */
void hw_trainer_export(const struct hw_trainer *trainer, struct hw_bdh_model *model);

/* The whole state, written atomically with a digest behind it; loading refuses another shape, seed,
 * batch or thread count, and a damaged file. */
int hw_trainer_save(const struct hw_trainer *trainer, const char *path, double elapsed_s,
                    struct hw_err *err);
int hw_trainer_load(struct hw_trainer *trainer, const char *path, double *elapsed_s,
                    struct hw_err *err);

#endif
