/* The trainer's hand-written gradient against central differences of an independent forward pass in
 * double precision: plain loops straight from the formulas, sharing no code with the net. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/train_net.h"

enum { MAX_LEN = 9, MAX_D = 16, MAX_N = 32 };

struct shape {
    uint32_t layers, embd, heads, multiplier, vocab;
    float decay;
};

static const uint32_t lengths[] = {9, 1, 5};
enum { SEQUENCES = 3, ROWS = 15 };

static uint64_t dice = 1;

static double
draw(void)
{
    dice = dice * 6364136223846793005u + 1442695040888963407u;
    return (double)(dice >> 11) / 9007199254740992.0;
}

struct reference {
    struct hw_bdh_config conf;
    const float *freqs;
    double *w; /* all parameters, in the order of struct hw_train_params */
};

static void
norm(double *v, size_t d)
{
    double mean = 0, var = 0;

    for (size_t i = 0; i < d; i++)
        mean += v[i] / (double)d;
    for (size_t i = 0; i < d; i++)
        var += (v[i] - mean) * (v[i] - mean) / (double)d;
    for (size_t i = 0; i < d; i++)
        v[i] = (v[i] - mean) / sqrt(var + 1e-5);
}

static void
relu_times(const double *x, const double *matrix, size_t d, size_t n, double *out)
{
    for (size_t j = 0; j < n; j++) {
        out[j] = 0;
        for (size_t i = 0; i < d; i++)
            out[j] += x[i] * matrix[i * n + j];
        out[j] = out[j] > 0 ? out[j] : 0;
    }
}

/* One head of one layer at position t: adds (a * b) . decoder_h to z. q_all keeps the rotated
 * vectors of all positions up to t. */
static void
head_at(const struct reference *ref, size_t h, size_t t, const double (*x)[MAX_D],
        double (*q_all)[MAX_N], double *z)
{
    size_t d = ref->conf.n_embd, n = ref->conf.n_neuron, wide = ref->conf.n_head * n * d;
    double a[MAX_N], b[MAX_N], y[MAX_D] = {0};

    relu_times(x[t], ref->w + h * d * n, d, n, a);
    for (size_t i = 0; i < n; i += 2) {
        float phase = (float)t * ref->freqs[i];
        phase -= floorf(phase);
        double angle = (double)(phase * 6.283185307179586f);
        q_all[t][i] = a[i] * cos(angle) - a[i + 1] * sin(angle);
        q_all[t][i + 1] = a[i + 1] * cos(angle) + a[i] * sin(angle);
    }
    for (size_t s = 0; s < t; s++) {
        double score = 0;
        for (size_t i = 0; i < n; i++)
            score += q_all[t][i] * q_all[s][i];
        for (size_t later = s + 1; later < t; later++)
            score *= ref->conf.decay == 0.0f ? 1.0 : (double)ref->conf.decay;
        for (size_t i = 0; i < d; i++)
            y[i] += score * x[s][i];
    }
    norm(y, d);
    relu_times(y, ref->w + wide + h * d * n, d, n, b);
    for (size_t j = 0; j < n; j++)
        for (size_t i = 0; i < d; i++)
            z[i] += a[j] * b[j] * ref->w[2 * wide + (h * n + j) * d + i];
}

static double
sequence_loss(const struct reference *ref, const uint8_t *tokens, const uint8_t *targets,
              const float *weights, size_t len)
{
    size_t d = ref->conf.n_embd, v = ref->conf.vocab;
    size_t wide = ref->conf.n_head * ref->conf.n_neuron * d;
    const double *embed = ref->w + 3 * wide, *lm_head = embed + v * d;
    double x[MAX_LEN][MAX_D] = {{0}}, next[MAX_LEN][MAX_D] = {{0}}, loss = 0;

    for (size_t t = 0; t < len; t++) {
        memcpy(x[t], embed + tokens[t] * d, d * sizeof(double));
        norm(x[t], d);
    }
    for (size_t l = 0; l < ref->conf.n_layer; l++) {
        double z[MAX_LEN][MAX_D] = {{0}};
        for (size_t h = 0; h < ref->conf.n_head; h++) {
            double q_all[MAX_LEN][MAX_N];
            for (size_t t = 0; t < len; t++)
                head_at(ref, h, t, (const double(*)[MAX_D])x, q_all, z[t]);
        }
        for (size_t t = 0; t < len; t++) {
            norm(z[t], d);
            for (size_t i = 0; i < d; i++)
                next[t][i] = x[t][i] + z[t][i];
            norm(next[t], d);
        }
        memcpy(x, next, sizeof(x));
    }
    for (size_t t = 0; t < len; t++) {
        double sum = 0, wanted = 0;
        for (size_t k = 0; k < v; k++) {
            double logit = 0;
            for (size_t i = 0; i < d; i++)
                logit += x[t][i] * lm_head[i * v + k];
            sum += exp(logit);
            wanted = k == targets[t] ? logit : wanted;
        }
        loss += (double)weights[t] * (log(sum) - wanted);
    }
    return loss;
}

static double
reference_loss(const struct reference *ref, const struct hw_train_batch *batch)
{
    double loss = 0;
    size_t row = 0;

    for (size_t i = 0; i < batch->sequences; i++) {
        loss += sequence_loss(ref, batch->tokens + row, batch->targets + row, batch->weights + row,
                              batch->lengths[i]);
        row += batch->lengths[i];
    }
    return loss;
}

/* Each tensor by itself: the largest difference may be a thousandth of its largest gradient. Relu's
 * kink may lie between the two points of a difference; with these seeds none does. */
static void
check_tensor(const char *name, struct reference *ref, const struct hw_train_batch *batch,
             size_t first, size_t count, const float *grad)
{
    const double step = 1e-6;
    double largest = 0, worst = 0;

    for (size_t i = 0; i < count; i++) {
        double *w = &ref->w[first + i], kept = *w;
        *w = kept + step;
        double up = reference_loss(ref, batch);
        *w = kept - step;
        double down = reference_loss(ref, batch);
        *w = kept;
        double slope = 0.5 * (up - down) / (2 * step);
        double off = fabs(slope - (double)grad[first + i]);
        largest = fabs(slope) > largest ? fabs(slope) : largest;
        worst = off > worst ? off : worst;
    }
    if (largest < 1e-4 || worst > 1e-3 * largest)
        fail_msg("%s: worst difference %g, largest gradient %g", name, worst, largest);
}

static void
check_gradient(const struct shape *shape, bool plain_blas)
{
    struct hw_bdh_config conf = {.n_layer = shape->layers,
                                 .n_embd = shape->embd,
                                 .n_head = shape->heads,
                                 .multiplier = shape->multiplier,
                                 .vocab = shape->vocab,
                                 .decay = shape->decay};
    struct hw_bdh_model *model = NULL;
    struct hw_train_params params, grad;
    struct hw_train_net *net = NULL;
    struct hw_blas blas;
    uint8_t tokens[ROWS], targets[ROWS];
    float weights[ROWS];

    dice = 42;
    assert_int_equal(hw_bdh_config_check(&conf, NULL), 0);
    assert_int_equal(hw_bdh_model_create(&conf, &model, NULL), 0);
    assert_int_equal(hw_train_params_create(&conf, &params, NULL), 0);
    assert_int_equal(hw_train_params_create(&conf, &grad, NULL), 0);
    hw_blas_open(plain_blas, &blas);
    assert_int_equal(hw_train_net_create(&conf, model->freqs, &blas, ROWS, MAX_LEN, &net, NULL), 0);
    for (size_t i = 0; i < ROWS; i++) {
        tokens[i] = (uint8_t)(draw() * shape->vocab);
        targets[i] = (uint8_t)(draw() * shape->vocab);
        weights[i] = i % 4 == 3 ? 0.0f : i % 4 == 2 ? 0.25f : 1.0f;
    }
    struct reference ref = {
        .conf = conf, .freqs = model->freqs, .w = calloc(params.count, sizeof(double))};
    for (size_t i = 0; i < params.count; i++) {
        params.all[i] = (float)(draw() - 0.5);
        ref.w[i] = (double)params.all[i];
    }
    struct hw_train_batch batch = {.tokens = tokens,
                                   .targets = targets,
                                   .weights = weights,
                                   .lengths = lengths,
                                   .rows = ROWS,
                                   .sequences = SEQUENCES};
    double loss = hw_train_net_run(net, &params, &batch, 0.5f, &grad);
    assert_true(fabs(loss - reference_loss(&ref, &batch)) < 1e-4);
    assert_true(fabs(loss - hw_train_net_run(net, &params, &batch, 0.5f, NULL)) < 1e-9);

    size_t wide = (size_t)(params.encoder_v - params.encoder);
    size_t narrow = (size_t)(params.lm_head - params.embed);
    check_tensor("encoder", &ref, &batch, 0, wide, grad.all);
    check_tensor("encoder_v", &ref, &batch, wide, wide, grad.all);
    check_tensor("decoder", &ref, &batch, 2 * wide, wide, grad.all);
    check_tensor("embed", &ref, &batch, 3 * wide, narrow, grad.all);
    check_tensor("lm_head", &ref, &batch, 3 * wide + narrow, narrow, grad.all);

    free(ref.w);
    hw_train_net_destroy(&net);
    hw_train_params_destroy(&grad);
    hw_train_params_destroy(&params);
    hw_bdh_model_destroy(&model);
}

static void
test_one_layer(void **state)
{
    (void)state;
    check_gradient(&(struct shape){1, 8, 2, 2, 11, 0}, true);
}

static void
test_odd_heads_and_layers(void **state)
{
    (void)state;
    /* 3 heads: N = 4 * 10 div 3 = 13 is odd and refused, 42 div 3 = 14 is not. */
    check_gradient(&(struct shape){3, 14, 3, 3, 7, 0}, true);
    check_gradient(&(struct shape){2, 10, 5, 5, 13, 0}, true);
}

static void
test_decay(void **state)
{
    (void)state;
    check_gradient(&(struct shape){2, 14, 3, 3, 7, 0.75f}, true);
}

static void
test_library_agrees(void **state)
{
    (void)state;
    check_gradient(&(struct shape){2, 14, 3, 3, 7, 0}, false);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_layer),
        cmocka_unit_test(test_odd_heads_and_layers),
        cmocka_unit_test(test_decay),
        cmocka_unit_test(test_library_agrees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
