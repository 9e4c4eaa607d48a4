/* engine/bench_model.c - what a token costs depends on how many neurons fire, so on training: a
 * trained model doubled measures a shape twice its own as a trained one of that shape would. */
#include "engine/bench_model.h"

#include <stdio.h>
#include <string.h>

#include "engine/train_rng.h"

static void
fill(float *weights, size_t count, struct hw_train_rng *rng)
{
    for (size_t i = 0; i < count; i++)
        weights[i] = 0.02f * hw_train_rng_normal(rng);
}

int
hw_bench_model_random(const struct hw_bdh_config *conf, struct hw_bdh_model **out,
                      struct hw_err *err)
{
    struct hw_train_rng rng = hw_train_rng_make(1, 0);
    struct hw_bdh_model *model = NULL;
    int rc = hw_bdh_model_create(conf, &model, err);

    if (rc != 0)
        return rc;
    const struct hw_bdh_config *made = &model->conf;
    size_t hnd = (size_t)made->n_head * made->n_neuron * made->n_embd;
    size_t vd = (size_t)made->vocab * made->n_embd;
    fill(model->encoder, hnd, &rng);
    fill(model->encoder_v, hnd, &rng);
    fill(model->decoder, hnd, &rng);
    fill(model->embed, vd, &rng);
    fill(model->lm_head, vd, &rng);
    snprintf(model->name, sizeof(model->name), "random");
    *out = model;
    return 0;
}

/* Rows of n into rows of 2n that hold them twice. */
static void
double_rows(float *to, const float *from, size_t rows, size_t n)
{
    for (size_t row = 0; row < rows; row++) {
        memcpy(to + 2 * row * n, from + row * n, n * sizeof(float));
        memcpy(to + (2 * row + 1) * n, from + row * n, n * sizeof(float));
    }
}

int
hw_bench_model_doubled(const struct hw_bdh_model *model, struct hw_bdh_model **out,
                       struct hw_err *err)
{
    struct hw_bdh_config conf = model->conf;
    struct hw_bdh_model *twice = NULL;
    size_t h = conf.n_head, d = conf.n_embd, n = conf.n_neuron;

    conf.multiplier *= 2;
    int rc = hw_bdh_model_create(&conf, &twice, err);
    if (rc != 0)
        return rc;
    if (twice->conf.n_neuron != 2 * n) {
        hw_bdh_model_destroy(&twice);
        return hw_err_set(err, HW_EINVAL, "%s: its %zu neurons a head cannot be doubled",
                          model->name, n);
    }
    double_rows(twice->encoder, model->encoder, h * d, n);
    double_rows(twice->encoder_v, model->encoder_v, h * d, n);
    double_rows(twice->decoder, model->decoder, h, n * d);
    for (size_t i = 0; i < 2 * h * n * d; i++)
        twice->decoder[i] /= 2.0f;
    double_rows(twice->freqs, model->freqs, 1, n);
    memcpy(twice->embed, model->embed, conf.vocab * d * sizeof(float));
    memcpy(twice->lm_head, model->lm_head, conf.vocab * d * sizeof(float));
    twice->tmpl = model->tmpl;
    snprintf(twice->name, sizeof(twice->name), "%.50s, doubled", model->name);
    *out = twice;
    return 0;
}
