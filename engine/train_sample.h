/* engine/train_sample.h - what a model in training writes by now. */
#ifndef HW_ENGINE_TRAIN_SAMPLE_H
#define HW_ENGINE_TRAIN_SAMPLE_H

#include "engine/model.h"
#include "hatchway/buf.h"

/* Appends the likeliest continuation of prompt (bytes as the model was trained on), at most
 * max_tokens, up to the end of an answer when the model has a template. */
int hw_train_sample(const struct hw_bdh_model *model, const struct hw_buf *prompt,
                    uint32_t max_tokens, struct hw_buf *out, struct hw_err *err);

#endif
