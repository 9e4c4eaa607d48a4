/* engine/model.c - checkpoints in memory: limits, allocation, RoPE's frequencies.
 *
 * The limits keep every product of two sizes inside 64 bits and bound what a hostile file can make
 * us allocate; the loader checks the shapes against the file's length before it comes here. */
#include "engine/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LAYERS 256u
#define MAX_EMBD 16384u
#define MAX_HEADS 1024u
#define MAX_MULTIPLIER 65536u
#define MAX_VOCAB 65536u /* tokens travel as 16 bits */
#define MAX_PARAMS (UINT64_C(1) << 31)

static int
check_range(const char *key, uint32_t value, uint32_t max, struct hw_err *err)
{
    if (value < 1 || value > max)
        return hw_err_set(err, HW_EINVAL, "%s must be from 1 to %u, got %u", key, max, value);
    return 0;
}

int
hw_bdh_config_check(struct hw_bdh_config *conf, struct hw_err *err)
{
    int rc;

    if ((rc = check_range("n_layer", conf->n_layer, MAX_LAYERS, err)) != 0 ||
        (rc = check_range("n_embd", conf->n_embd, MAX_EMBD, err)) != 0 ||
        (rc = check_range("n_head", conf->n_head, MAX_HEADS, err)) != 0 ||
        (rc = check_range("mlp_internal_dim_multiplier", conf->multiplier, MAX_MULTIPLIER, err)) !=
            0 ||
        (rc = check_range("vocab_size", conf->vocab, MAX_VOCAB, err)) != 0)
        return rc;
    if (!(conf->dropout >= 0.0f && conf->dropout < 1.0f))
        return hw_err_set(err, HW_EINVAL, "dropout must be at least 0 and below 1, got %g",
                          (double)conf->dropout);

    if (conf->decay == 1.0f)
        conf->decay = 0.0f;
    if (conf->decay != 0.0f && !(conf->decay >= 0.5f && conf->decay < 1.0f))
        return hw_err_set(err, HW_EINVAL, "decay must be from 0.5 to 1, or 0 for none, got %g",
                          (double)conf->decay);

    uint32_t n_neuron =
        (uint32_t)((uint64_t)conf->multiplier * conf->n_embd / (uint64_t)conf->n_head);
    if (n_neuron < 2 || n_neuron % 2 != 0)
        return hw_err_set(err, HW_EINVAL,
                          "neurons a head (mlp_internal_dim_multiplier * n_embd / n_head) must be "
                          "even and at least 2, got %u",
                          n_neuron);
    uint64_t hn = (uint64_t)conf->n_head * n_neuron;
    if (hn * conf->n_embd > MAX_PARAMS / 4)
        return hw_err_set(err, HW_ELIMIT,
                          "n_head %u x neurons %u x n_embd %u is more than this engine runs",
                          conf->n_head, n_neuron, conf->n_embd);
    conf->n_neuron = n_neuron;
    return 0;
}

size_t
hw_bdh_param_count(const struct hw_bdh_config *conf)
{
    size_t hnd = (size_t)conf->n_head * conf->n_neuron * conf->n_embd;
    return 3 * hnd + 2 * (size_t)conf->vocab * conf->n_embd;
}

size_t
hw_bdh_state_bytes(const struct hw_bdh_config *conf)
{
    return (size_t)conf->n_layer * conf->n_head * conf->n_neuron * conf->n_embd * sizeof(float);
}

/* freqs[i] = 65536^(-2 floor(i/2) / N) / (2 pi), in turns: the two of a pair turn together. */
static void
compute_freqs(float *freqs, uint32_t n_neuron)
{
    for (uint32_t i = 0; i < n_neuron; i++) {
        double pair = (double)(i / 2 * 2);
        freqs[i] = (float)(pow(65536.0, -pair / (double)n_neuron) / (2.0 * M_PI));
    }
}

static float *
zeroed(size_t count)
{
    return calloc(count, sizeof(float));
}

int
hw_bdh_model_create(const struct hw_bdh_config *conf, struct hw_bdh_model **out, struct hw_err *err)
{
    struct hw_bdh_config checked = *conf;
    int rc = hw_bdh_config_check(&checked, err);
    if (rc != 0)
        return rc;

    struct hw_bdh_model *model = calloc(1, sizeof(*model));
    if (model == NULL)
        return hw_err_set(err, HW_ENOMEM, "no memory for a model");
    model->conf = checked;
    size_t hnd = (size_t)checked.n_head * checked.n_neuron * checked.n_embd;
    size_t vd = (size_t)checked.vocab * checked.n_embd;
    model->encoder = zeroed(hnd);
    model->encoder_v = zeroed(hnd);
    model->decoder = zeroed(hnd);
    model->embed = zeroed(vd);
    model->lm_head = zeroed(vd);
    model->freqs = zeroed(checked.n_neuron);
    if (model->encoder == NULL || model->encoder_v == NULL || model->decoder == NULL ||
        model->embed == NULL || model->lm_head == NULL || model->freqs == NULL) {
        hw_bdh_model_destroy(&model);
        return hw_err_set(err, HW_ENOMEM, "no memory for a model of %zu parameters",
                          hw_bdh_param_count(&checked));
    }
    compute_freqs(model->freqs, checked.n_neuron);
    *out = model;
    return 0;
}

void
hw_bdh_model_destroy(struct hw_bdh_model **model)
{
    struct hw_bdh_model *m = *model;

    if (m == NULL)
        return;
    free(m->encoder);
    free(m->encoder_v);
    free(m->decoder);
    free(m->embed);
    free(m->lm_head);
    free(m->freqs);
    free(m);
    *model = NULL;
}
