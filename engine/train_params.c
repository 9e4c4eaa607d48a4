/* One array holds all that is trained, so that the optimiser, the sum of gradients and a checkpoint
 * need not know tensors apart. */
#include "engine/train_net.h"

#include <stdlib.h>
#include <string.h>

static void
point(struct hw_train_params *params, const struct hw_bdh_config *conf)
{
    size_t wide = (size_t)conf->n_head * conf->n_neuron * conf->n_embd;

    params->encoder = params->all;
    params->encoder_v = params->encoder + wide;
    params->decoder = params->encoder_v + wide;
    params->embed = params->decoder + wide;
    params->lm_head = params->embed + (size_t)conf->vocab * conf->n_embd;
}

int
hw_train_params_create(const struct hw_bdh_config *conf, struct hw_train_params *out,
                       struct hw_err *err)
{
    size_t count = hw_bdh_param_count(conf);
    /* Whole cache lines, as aligned_alloc wants it. */
    size_t bytes = (count * sizeof(float) + 63) / 64 * 64;
    float *all = aligned_alloc(64, bytes);

    if (all == NULL)
        return hw_err_set(err, HW_ENOMEM, "no memory for %zu parameters", count);
    memset(all, 0, bytes);
    out->all = all;
    out->count = count;
    point(out, conf);
    return 0;
}

void
hw_train_params_destroy(struct hw_train_params *params)
{
    free(params->all);
    *params = (struct hw_train_params){0};
}

void
hw_train_params_from_model(struct hw_train_params *params, const struct hw_bdh_model *model)
{
    size_t wide = (size_t)(params->encoder_v - params->encoder);
    size_t narrow = (size_t)(params->lm_head - params->embed);

    memcpy(params->encoder, model->encoder, wide * sizeof(float));
    memcpy(params->encoder_v, model->encoder_v, wide * sizeof(float));
    memcpy(params->decoder, model->decoder, wide * sizeof(float));
    memcpy(params->embed, model->embed, narrow * sizeof(float));
    memcpy(params->lm_head, model->lm_head, narrow * sizeof(float));
}

void
hw_train_params_to_model(const struct hw_train_params *params, struct hw_bdh_model *model)
{
    size_t wide = (size_t)(params->encoder_v - params->encoder);
    size_t narrow = (size_t)(params->lm_head - params->embed);

    memcpy(model->encoder, params->encoder, wide * sizeof(float));
    memcpy(model->encoder_v, params->encoder_v, wide * sizeof(float));
    memcpy(model->decoder, params->decoder, wide * sizeof(float));
    memcpy(model->embed, params->embed, narrow * sizeof(float));
    memcpy(model->lm_head, params->lm_head, narrow * sizeof(float));
}
