/* engine/bench_model.h - models to measure when none of that shape is at hand. */
#ifndef HW_ENGINE_BENCH_MODEL_H
#define HW_ENGINE_BENCH_MODEL_H

#include "engine/model.h"

/* Random weights: as before training, when half of the neurons fire. On 0 the caller owns *out. */
int hw_bench_model_random(const struct hw_bdh_config *conf, struct hw_bdh_model **out,
                          struct hw_err *err);
/* Every pair of neurons twice, at half the decoder's weight: the same answers by the same share of
 * neurons, from twice as many. On 0 the caller owns *out. */
int hw_bench_model_doubled(const struct hw_bdh_model *model, struct hw_bdh_model **out,
                           struct hw_err *err);

#endif
