/* engine/tensors.h - what of a model stands in a file, by name: one list for reading and writing.
 */
#ifndef HW_ENGINE_TENSORS_H
#define HW_ENGINE_TENSORS_H

#include <stdio.h>
#include <string.h>

#include "engine/model.h"

/* The tensors of a model, in the order in which they are written and digested. */
enum { HW_TENSORS = 6 };
struct hw_tensor {
    const char *name;
    const char *other_name; /* as older modules call it, or NULL */
    float *values;
    size_t count;
    uint32_t dim_count;
    uint64_t dims[4];
    uint32_t channel_axis; /* in int8, what lies along it (a neuron's weights) has one scale */
    bool optional;
    bool stays_f32;
};

static inline void
hw_list_tensors(const struct hw_bdh_model *model, struct hw_tensor tensors[HW_TENSORS])
{
    const struct hw_bdh_config *c = &model->conf;
    uint64_t h = c->n_head, d = c->n_embd, n = c->n_neuron, v = c->vocab;
    const struct hw_tensor list[HW_TENSORS] = {
        {"decoder", NULL, model->decoder, h * n * d, 2, {h * n, d}, 1, false, false},
        {"encoder", NULL, model->encoder, h * n * d, 3, {h, d, n}, 1, false, false},
        {"encoder_v", NULL, model->encoder_v, h * n * d, 3, {h, d, n}, 1, false, false},
        {"lm_head", NULL, model->lm_head, d * v, 2, {d, v}, 0, false, false},
        {"embed.weight", NULL, model->embed, v * d, 2, {v, d}, 1, false, false},
        {"attn.freqs", "attns.0.freqs", model->freqs, n, 4, {1, 1, 1, n}, 0, true, true},
    };
    memcpy(tensors, list, sizeof(list));
}

/* How far apart the weights of one channel lie. */
static inline size_t
hw_tensor_stride(const struct hw_tensor *tensor)
{
    size_t stride = 1;

    for (uint32_t i = tensor->channel_axis + 1; i < tensor->dim_count; i++)
        stride *= tensor->dims[i];
    return stride;
}

static inline size_t
hw_tensor_channels(const struct hw_tensor *tensor)
{
    return tensor->count / tensor->dims[tensor->channel_axis];
}

/* Whose weight values[i] is. */
static inline size_t
hw_tensor_channel(const struct hw_tensor *tensor, size_t i)
{
    size_t stride = hw_tensor_stride(tensor);

    return i / (stride * tensor->dims[tensor->channel_axis]) * stride + i % stride;
}

#define HW_SCALE_NAME_BYTES 32

static inline void
hw_tensor_scale_name(const struct hw_tensor *tensor, char name[HW_SCALE_NAME_BYTES])
{
    snprintf(name, HW_SCALE_NAME_BYTES, "%s.scale", tensor->name);
}

/* Metadata of our own beside the state dict's configuration. */
#define HW_META_DECAY "hatchway.decay"
#define HW_META_PHASES "hatchway.phases" /* f32 or f64 */
#define HW_META_CONTEXT "hatchway.trained_context"

struct hw_template_field {
    const char *key;
    char *text;
    size_t size;
};

static inline void
hw_list_template(struct hw_bdh_template *tmpl, struct hw_template_field fields[3])
{
    fields[0] = (struct hw_template_field){"hatchway.before_user", tmpl->before_user,
                                           sizeof(tmpl->before_user)};
    fields[1] = (struct hw_template_field){"hatchway.before_assistant", tmpl->before_assistant,
                                           sizeof(tmpl->before_assistant)};
    fields[2] = (struct hw_template_field){"hatchway.after_assistant", tmpl->after_assistant,
                                           sizeof(tmpl->after_assistant)};
}

#endif
