/* engine/train_sparse.h - the products that only a few neurons take part in.
 *
 * Once a model has begun to learn, a * b is zero for nine neurons in ten. What is multiplied by it,
 * or flows back through it, is then cheaper neuron by neuron than as a dense matrix product. */
#ifndef HW_ENGINE_TRAIN_SPARSE_H
#define HW_ENGINE_TRAIN_SPARSE_H

#include <stdbool.h>
#include <stddef.h>

/* True when so few of product [rows, n] are not zero that the functions below are the faster way;
 * looks at every 16th row. */
bool hw_sparse_pays(const float *product, size_t rows, size_t n);

/* z [rows, d] += product [rows, n] . decoder [n, d] */
void hw_sparse_forward(const float *product, const float *decoder, float *z, size_t rows, size_t n,
                       size_t d);

/* The way back from z to LN(y) and a, for one head. encoder_vt is encoder_v transposed, [n, d], and
 * so is its gradient. */
struct hw_sparse_back {
    size_t rows, n, d;
    const float *product; /* [rows, n]: a * b, after dropout */
    const float *a, *b;
    float drop_scale;                      /* 1 / (1 - dropout) */
    const float *grad_z, *normed;          /* [rows, d]; normed is LN(y) */
    const float *decoder, *encoder_vt;     /* [n, d] */
    float *grad_decoder, *grad_encoder_vt; /* [n, d], added to */
    float *grad_normed;                    /* [rows, d], set */
    float *grad_a;                         /* [rows, n], set */
};
void hw_sparse_backward(const struct hw_sparse_back *back);

/* out [columns, rows] = in [rows, columns]^T, or added to it. */
void hw_sparse_transpose(const float *in, size_t rows, size_t columns, float *out, bool add);

#endif
