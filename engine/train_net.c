/* For each layer and head, with rows of all sequences as matrix rows:
 *
 *     a = relu(x . encoder_h)         q = rope(a)            s = strictly lower part of q q^T
 *     (weighed by the state's decay)
 *     y = s . x                       n = LN(y)              b = relu(n . encoder_v_h)
 *     z += (a * b) . decoder_h        and, heads done:       x = LN(x + LN(z))
 *
 * Kept for the way back: a, b (the two large ones), s, and what each LN gave. q and a * b cost less
 * to compute again than to keep. Attention's s is computed in blocks of rows, each against the
 * columns it may see, so that little is spent above the diagonal. */
#include "engine/train_net.h"

#include <stdlib.h>
#include <string.h>

#include "engine/train_ops.h"
#include "engine/train_sparse.h"
#include "hatchway/assert.h"

enum { CAUSAL_BLOCK = 64 };

struct head_keep {
    float *a, *b; /* [rows, N] */
    float *s;     /* [len, len] a sequence, one behind the other */
    float *n;     /* [rows, D] */
    float *n_rstd;
    bool sparse; /* a * b was sparse enough to go by neurons instead of by matrices */
};

struct layer_keep {
    struct head_keep *heads;
    float *x;          /* [rows, D]: the layer's input */
    float *z, *z_rstd; /* LN(z) */
    float *x_rstd;     /* of the LN that makes the layer's output */
};

struct hw_train_net {
    struct hw_bdh_config conf;
    const struct hw_blas *blas;
    size_t max_rows, max_len;
    float *arena; /* one block for everything below */
    struct layer_keep *layers;
    struct head_keep *heads; /* [n_layer * n_head] */
    struct hw_ops_rope rope;
    float *cosine, *sine;
    float *kept;  /* [len]: what is left of a token after so many others */
    float *x_out; /* [rows, D]: the last layer's output */
    float *embed_rstd;
    float *logits;                        /* [rows, V] */
    float *q, *product, *grad_a, *grad_b; /* [rows, N] scratch */
    float *grad_s, *sym;                  /* [len, len] scratch */
    float *encoder_vt, *grad_encoder_vt;  /* [n_head, N, D] */
    float *dx, *dz, *dy;                  /* [rows, D] scratch */
};

/* ---- the workspace ---- */

/* Hands out a piece of the arena, or with no arena only counts. Pieces start on cache lines. */
static float *
take(const struct hw_train_net *net, size_t *used, size_t count)
{
    float *piece = net->arena == NULL ? NULL : net->arena + *used;

    *used += (count + 15) / 16 * 16;
    return piece;
}

/* Called twice: first to count, then to hand out. */
static size_t
lay_out(struct hw_train_net *net)
{
    size_t rows = net->max_rows, d = net->conf.n_embd, n = net->conf.n_neuron;
    size_t scores = rows * net->max_len; /* sum of squares of lengths is at most this */
    size_t used = 0;

    for (size_t l = 0; l < net->conf.n_layer; l++) {
        struct layer_keep *layer = &net->layers[l];
        layer->heads = net->heads + l * net->conf.n_head;
        for (size_t h = 0; h < net->conf.n_head; h++) {
            struct head_keep *head = &layer->heads[h];
            head->a = take(net, &used, rows * n);
            head->b = take(net, &used, rows * n);
            head->s = take(net, &used, scores);
            head->n = take(net, &used, rows * d);
            head->n_rstd = take(net, &used, rows);
        }
        layer->x = take(net, &used, rows * d);
        layer->z = take(net, &used, rows * d);
        layer->z_rstd = take(net, &used, rows);
        layer->x_rstd = take(net, &used, rows);
    }
    net->cosine = take(net, &used, net->max_len * (n / 2));
    net->sine = take(net, &used, net->max_len * (n / 2));
    net->kept = take(net, &used, net->max_len);
    net->x_out = take(net, &used, rows * d);
    net->embed_rstd = take(net, &used, rows);
    net->logits = take(net, &used, rows * net->conf.vocab);
    net->q = take(net, &used, rows * n);
    net->product = take(net, &used, rows * n);
    net->grad_a = take(net, &used, rows * n);
    net->grad_b = take(net, &used, rows * n);
    net->grad_s = take(net, &used, net->max_len * net->max_len);
    net->sym = take(net, &used, net->max_len * net->max_len);
    net->encoder_vt = take(net, &used, net->conf.n_head * n * d);
    net->grad_encoder_vt = take(net, &used, net->conf.n_head * n * d);
    net->dx = take(net, &used, rows * d);
    net->dz = take(net, &used, rows * d);
    net->dy = take(net, &used, rows * d);
    return used;
}

int
hw_train_net_create(const struct hw_bdh_config *conf, const float *freqs,
                    const struct hw_blas *blas, size_t max_rows, size_t max_len,
                    struct hw_train_net **out, struct hw_err *err)
{
    struct hw_train_net *net = hw_xcalloc(1, sizeof(*net));

    net->conf = *conf;
    net->blas = blas;
    net->max_rows = max_rows;
    net->max_len = max_len;
    net->layers = hw_xcalloc(conf->n_layer, sizeof(*net->layers));
    net->heads = hw_xcalloc((size_t)conf->n_layer * conf->n_head, sizeof(*net->heads));
    size_t bytes = lay_out(net) * sizeof(float);
    net->arena = aligned_alloc(64, bytes);
    if (net->arena == NULL) {
        hw_train_net_destroy(&net);
        return hw_err_set(err, HW_ENOMEM,
                          "no memory for a training workspace of %zu MiB (a smaller --block or "
                          "--rows needs less)",
                          bytes >> 20);
    }
    lay_out(net);
    hw_ops_rope_table(freqs, conf->n_neuron, max_len, conf->wide_phases, net->cosine, net->sine);
    net->kept[0] = 1.0f;
    for (size_t i = 1; i < max_len; i++)
        net->kept[i] = conf->decay == 0.0f ? 1.0f : net->kept[i - 1] * conf->decay;
    net->rope = (struct hw_ops_rope){.cosine = net->cosine, .sine = net->sine, .n = conf->n_neuron};
    *out = net;
    return 0;
}

void
hw_train_net_destroy(struct hw_train_net **net)
{
    if (*net == NULL)
        return;
    free((*net)->arena);
    free((*net)->heads);
    free((*net)->layers);
    free(*net);
    *net = NULL;
}

/* ---- products ---- */

/* c [m, n] = a [m, k] . b [k, n] (+ c) */
static void
product_nn(const struct hw_train_net *net, size_t m, size_t n, size_t k, const float *a,
           const float *b, float *c, float beta)
{
    hw_blas_gemm(net->blas, &(struct hw_gemm){.m = (int)m,
                                              .n = (int)n,
                                              .k = (int)k,
                                              .a = a,
                                              .lda = (int)k,
                                              .b = b,
                                              .ldb = (int)n,
                                              .c = c,
                                              .ldc = (int)n,
                                              .beta = beta});
}

/* c [m, n] = a [m, k] . (b [n, k])^T (+ c), c's rows ldc apart */
static void
product_nt(const struct hw_train_net *net, size_t m, size_t n, size_t k, const float *a,
           const float *b, float *c, size_t ldc, float beta)
{
    hw_blas_gemm(net->blas, &(struct hw_gemm){.m = (int)m,
                                              .n = (int)n,
                                              .k = (int)k,
                                              .a = a,
                                              .lda = (int)k,
                                              .b = b,
                                              .ldb = (int)k,
                                              .trans_b = true,
                                              .c = c,
                                              .ldc = (int)ldc,
                                              .beta = beta});
}

/* c [m, n] += (a [k, m])^T . b [k, n] */
static void
product_tn(const struct hw_train_net *net, size_t m, size_t n, size_t k, const float *a,
           const float *b, float *c)
{
    hw_blas_gemm(net->blas, &(struct hw_gemm){.m = (int)m,
                                              .n = (int)n,
                                              .k = (int)k,
                                              .a = a,
                                              .lda = (int)m,
                                              .trans_a = true,
                                              .b = b,
                                              .ldb = (int)n,
                                              .c = c,
                                              .ldc = (int)n,
                                              .beta = 1.0f});
}

/* ---- forward ---- */

/* What a token at u < t is worth at t. */
static void
weigh(const struct hw_train_net *net, size_t len, float *s)
{
    if (net->conf.decay == 0.0f)
        return;
    for (size_t t = 1; t < len; t++)
        for (size_t u = 0; u < t; u++)
            s[t * len + u] *= net->kept[t - 1 - u];
}

/* Strictly lower triangle of q q^T, weighed by decay, and y = s . x, for one sequence. */
static void
attend(const struct hw_train_net *net, size_t len, const float *q, const float *x, float *s,
       float *y)
{
    size_t n = net->conf.n_neuron, d = net->conf.n_embd;

    for (size_t first = 0; first < len; first += CAUSAL_BLOCK) {
        size_t last = first + CAUSAL_BLOCK < len ? first + CAUSAL_BLOCK : len;
        product_nt(net, last - first, last, n, q + first * n, q, s + first * len, len, 0.0f);
    }
    for (size_t t = 0; t < len; t++)
        memset(s + t * len + t, 0, (len - t) * sizeof(float));
    weigh(net, len, s);
    product_nn(net, len, d, len, s, x, y, 0.0f);
}

static void
forward_head(struct hw_train_net *net, const struct hw_train_params *params,
             const struct hw_train_batch *batch, size_t l, size_t h)
{
    size_t n = net->conf.n_neuron, d = net->conf.n_embd, rows = batch->rows;
    struct layer_keep *layer = &net->layers[l];
    struct head_keep *head = &layer->heads[h];

    product_nn(net, rows, n, d, layer->x, params->encoder + h * d * n, head->a, 0.0f);
    size_t row = 0, score = 0;
    for (size_t i = 0; i < batch->sequences; i++) {
        size_t len = batch->lengths[i];
        hw_ops_relu_rope(head->a + row * n, net->q, &net->rope, len);
        attend(net, len, net->q, layer->x + row * d, head->s + score, head->n + row * d);
        row += len;
        score += len * len;
    }
    hw_ops_norm(head->n, head->n, head->n_rstd, rows, d);
    product_nn(net, rows, n, d, head->n, params->encoder_v + h * d * n, head->b, 0.0f);
    hw_ops_relu_product(head->b, head->a, net->product, rows * n);
    if (batch->dropout > 0.0f)
        hw_ops_dropout(net->product, rows * n, batch->dropout,
                       batch->dropout_key + l * net->conf.n_head + h);
    if (h == 0)
        memset(layer->z, 0, rows * d * sizeof(float));
    head->sparse = hw_sparse_pays(net->product, rows, n);
    if (head->sparse)
        hw_sparse_forward(net->product, params->decoder + h * n * d, layer->z, rows, n, d);
    else
        product_nn(net, rows, d, n, net->product, params->decoder + h * n * d, layer->z, 1.0f);
}

static float *
layer_output(struct hw_train_net *net, size_t l)
{
    return l + 1 < net->conf.n_layer ? net->layers[l + 1].x : net->x_out;
}

static void
forward(struct hw_train_net *net, const struct hw_train_params *params,
        const struct hw_train_batch *batch)
{
    size_t d = net->conf.n_embd, rows = batch->rows;

    for (size_t r = 0; r < rows; r++)
        memcpy(net->layers[0].x + r * d, params->embed + batch->tokens[r] * d, d * sizeof(float));
    hw_ops_norm(net->layers[0].x, net->layers[0].x, net->embed_rstd, rows, d);
    for (size_t l = 0; l < net->conf.n_layer; l++) {
        struct layer_keep *layer = &net->layers[l];
        float *out = layer_output(net, l);
        for (size_t h = 0; h < net->conf.n_head; h++)
            forward_head(net, params, batch, l, h);
        hw_ops_norm(layer->z, layer->z, layer->z_rstd, rows, d);
        memcpy(out, layer->x, rows * d * sizeof(float));
        hw_ops_add(out, layer->z, rows * d);
        hw_ops_norm(out, out, layer->x_rstd, rows, d);
    }
}

/* ---- backward ---- */

/* The way back through y = tril(q q^T, -1) . x of one sequence: dx is added to, dq is set. */
static void
attend_back(struct hw_train_net *net, size_t len, const float *q, const float *x, const float *s,
            const float *dy, float *dx, float *dq)
{
    size_t n = net->conf.n_neuron, d = net->conf.n_embd;

    product_tn(net, len, d, len, s, dy, dx);
    product_nt(net, len, len, d, dy, x, net->grad_s, len, 0.0f);
    weigh(net, len, net->grad_s);
    /* s[t][u] for u < t meets q_t and q_u alike: dq = (g + g^T) q with g strictly lower. */
    for (size_t t = 0; t < len; t++) {
        net->sym[t * len + t] = 0.0f;
        for (size_t u = 0; u < t; u++) {
            float g = net->grad_s[t * len + u];
            net->sym[t * len + u] = g;
            net->sym[u * len + t] = g;
        }
    }
    product_nn(net, len, n, len, net->sym, q, dq, 0.0f);
}

/* From the gradient of z, in net->dz, to that of LN(y), in net->dy, and of a, in net->grad_a. */
static void
back_to_normed(struct hw_train_net *net, const struct hw_train_params *params,
               const struct hw_train_batch *batch, size_t l, size_t h, struct hw_train_params *grad)
{
    size_t n = net->conf.n_neuron, d = net->conf.n_embd, rows = batch->rows;
    struct head_keep *head = &net->layers[l].heads[h];
    uint64_t key = batch->dropout_key + l * net->conf.n_head + h;

    product_nt(net, rows, n, d, net->dz, params->decoder + h * n * d, net->grad_b, n, 0.0f);
    if (batch->dropout > 0.0f)
        hw_ops_dropout(net->grad_b, rows * n, batch->dropout, key);
    hw_ops_relu_product_back(net->grad_b, head->a, head->b, net->grad_a, net->product, rows * n);
    if (batch->dropout > 0.0f)
        hw_ops_dropout(net->product, rows * n, batch->dropout, key);
    product_tn(net, n, d, rows, net->product, net->dz, grad->decoder + h * n * d);
    product_nt(net, rows, d, n, net->grad_b, params->encoder_v + h * d * n, net->dy, d, 0.0f);
    product_tn(net, d, n, rows, head->n, net->grad_b, grad->encoder_v + h * d * n);
}

/* The same by the active neurons alone. */
static void
back_to_normed_sparse(struct hw_train_net *net, const struct hw_train_params *params,
                      const struct hw_train_batch *batch, size_t l, size_t h,
                      struct hw_train_params *grad)
{
    size_t n = net->conf.n_neuron, d = net->conf.n_embd, rows = batch->rows;
    struct head_keep *head = &net->layers[l].heads[h];

    hw_ops_product(head->a, head->b, net->product, rows * n);
    if (batch->dropout > 0.0f)
        hw_ops_dropout(net->product, rows * n, batch->dropout,
                       batch->dropout_key + l * net->conf.n_head + h);
    hw_sparse_backward(&(struct hw_sparse_back){
        .rows = rows,
        .n = n,
        .d = d,
        .product = net->product,
        .a = head->a,
        .b = head->b,
        .drop_scale = 1.0f / (1.0f - batch->dropout),
        .grad_z = net->dz,
        .normed = head->n,
        .decoder = params->decoder + h * n * d,
        .encoder_vt = net->encoder_vt + h * n * d,
        .grad_decoder = grad->decoder + h * n * d,
        .grad_encoder_vt = net->grad_encoder_vt + h * n * d,
        .grad_normed = net->dy,
        .grad_a = net->grad_a,
    });
}

/* Adds this head's share to net->dx and to the gradients. net->dz holds the gradient of z. */
static void
backward_head(struct hw_train_net *net, const struct hw_train_params *params,
              const struct hw_train_batch *batch, size_t l, size_t h, struct hw_train_params *grad)
{
    size_t n = net->conf.n_neuron, d = net->conf.n_embd, rows = batch->rows;
    struct layer_keep *layer = &net->layers[l];
    struct head_keep *head = &layer->heads[h];

    if (head->sparse)
        back_to_normed_sparse(net, params, batch, l, h, grad);
    else
        back_to_normed(net, params, batch, l, h, grad);
    hw_ops_norm_back(net->dy, head->n, head->n_rstd, rows, d);

    /* grad_b is free and takes the gradient of q. */
    size_t row = 0, score = 0;
    for (size_t i = 0; i < batch->sequences; i++) {
        size_t len = batch->lengths[i];
        hw_ops_rope(head->a + row * n, net->q, &net->rope, len);
        attend_back(net, len, net->q, layer->x + row * d, head->s + score, net->dy + row * d,
                    net->dx + row * d, net->grad_b);
        hw_ops_relu_rope_back(net->grad_a + row * n, net->grad_b, head->a + row * n, &net->rope,
                              len);
        row += len;
        score += len * len;
    }
    product_nt(net, rows, d, n, net->grad_a, params->encoder + h * d * n, net->dx, d, 1.0f);
    product_tn(net, d, n, rows, layer->x, net->grad_a, grad->encoder + h * d * n);
}

/* The sparse way back reads encoder_v, and writes its gradient, a neuron at a time. */
static void
transpose_encoder_v(struct hw_train_net *net, const struct hw_train_params *params)
{
    size_t n = net->conf.n_neuron, d = net->conf.n_embd, heads = net->conf.n_head;

    for (size_t h = 0; h < heads; h++)
        hw_sparse_transpose(params->encoder_v + h * d * n, d, n, net->encoder_vt + h * d * n,
                            false);
    memset(net->grad_encoder_vt, 0, heads * d * n * sizeof(float));
}

static void
collect_encoder_v(const struct hw_train_net *net, struct hw_train_params *grad)
{
    size_t n = net->conf.n_neuron, d = net->conf.n_embd;

    for (size_t h = 0; h < net->conf.n_head; h++)
        hw_sparse_transpose(net->grad_encoder_vt + h * d * n, n, d, grad->encoder_v + h * d * n,
                            true);
}

/* net->dx holds the gradient of the last layer's output. */
static void
backward(struct hw_train_net *net, const struct hw_train_params *params,
         const struct hw_train_batch *batch, struct hw_train_params *grad)
{
    size_t d = net->conf.n_embd, rows = batch->rows;

    transpose_encoder_v(net, params);
    for (size_t l = net->conf.n_layer; l-- > 0;) {
        struct layer_keep *layer = &net->layers[l];
        hw_ops_norm_back(net->dx, layer_output(net, l), layer->x_rstd, rows, d);
        memcpy(net->dz, net->dx, rows * d * sizeof(float));
        hw_ops_norm_back(net->dz, layer->z, layer->z_rstd, rows, d);
        for (size_t h = 0; h < net->conf.n_head; h++)
            backward_head(net, params, batch, l, h, grad);
    }
    collect_encoder_v(net, grad);
    hw_ops_norm_back(net->dx, net->layers[0].x, net->embed_rstd, rows, d);
    for (size_t r = 0; r < rows; r++)
        hw_ops_add(grad->embed + batch->tokens[r] * d, net->dx + r * d, d);
}

double
hw_train_net_run(struct hw_train_net *net, const struct hw_train_params *params,
                 const struct hw_train_batch *batch, float scale, struct hw_train_params *grad)
{
    size_t d = net->conf.n_embd, v = net->conf.vocab, rows = batch->rows;
    double loss = 0.0;

    HW_ASSERT(rows > 0 && rows <= net->max_rows);
    for (size_t i = 0; i < batch->sequences; i++)
        HW_ASSERT(batch->lengths[i] <= net->max_len);
    forward(net, params, batch);
    product_nn(net, rows, v, d, net->x_out, params->lm_head, net->logits, 0.0f);
    for (size_t r = 0; r < rows; r++) {
        float *row = net->logits + r * v;
        if (batch->weights[r] == 0.0f) {
            memset(row, 0, v * sizeof(float));
            continue;
        }
        loss += (double)batch->weights[r] *
                (double)hw_ops_cross_entropy(row, v, batch->targets[r], batch->weights[r] * scale);
    }
    if (grad == NULL)
        return loss;
    product_tn(net, d, v, rows, net->x_out, net->logits, grad->lm_head);
    product_nt(net, rows, d, v, net->logits, params->lm_head, net->dx, d, 0.0f);
    backward(net, params, batch, grad);
    return loss;
}
