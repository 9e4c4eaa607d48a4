/* engine/train_ops.h - the elementwise half of BDH's forward and backward pass.
 *
 * All matrices row-major and dense. Formulas: docs/engine.md (the published model's). */
#ifndef HW_ENGINE_TRAIN_OPS_H
#define HW_ENGINE_TRAIN_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* out = LN(v) over each row of d values (biased variance, eps 1e-5, no affine); rstd [rows] is kept
 * for the way back. out may be v. */
void hw_ops_norm(const float *v, float *out, float *rstd, size_t rows, size_t d);
/* grad [rows, d] becomes the gradient of LN's input; normed and rstd are what hw_ops_norm gave. */
void hw_ops_norm_back(float *grad, const float *normed, const float *rstd, size_t rows, size_t d);

/* Rotation angles of positions 0 .. len-1: cosine and sine [len, n / 2], f32 phases as in the
 * published model. */
void hw_ops_rope_table(const float *freqs, size_t n, size_t len, bool wide, float *cosine,
                       float *sine); /* wide: phases in double */

struct hw_ops_rope {
    const float *cosine, *sine; /* [positions, n / 2] */
    size_t n;
};
/* One sequence of len rows: a = relu(a), q = rope(a). */
void hw_ops_relu_rope(float *a, float *q, const struct hw_ops_rope *rope, size_t len);
/* q = rope(a). */
void hw_ops_rope(const float *a, float *q, const struct hw_ops_rope *rope, size_t len);
/* grad = (grad + unrope(grad_q)) where a > 0, else 0: the way back through rope and relu. */
void hw_ops_relu_rope_back(float *grad, const float *grad_q, const float *a,
                           const struct hw_ops_rope *rope, size_t len);

/* b = relu(b), product = a * b. */
void hw_ops_relu_product(float *b, const float *a, float *product, size_t count);
/* product = a * b */
void hw_ops_product(const float *a, const float *b, float *product, size_t count);
/* The way back through product = a * relu(b): grad (of the product) becomes the gradient of b
 * before its relu, grad_a that of a; product is computed again. */
void hw_ops_relu_product_back(float *grad, const float *a, const float *b, float *grad_a,
                              float *product, size_t count);

/* Zeroes each value with probability `drop` and scales the rest by 1 / (1 - drop). The same key
 * drops the same places again. */
void hw_ops_dropout(float *v, size_t count, float drop, uint64_t key);

/* Cross entropy of one row of logits in nats; logits become weight * (softmax - onehot). */
float hw_ops_cross_entropy(float *logits, size_t vocab, size_t target, float weight);

/* sum += more */
void hw_ops_add(float *sum, const float *more, size_t count);

/* sum of v[i]^2, in float: for pieces of a thousand or so */
float hw_ops_squares(const float *v, size_t count);

struct hw_ops_adam {
    float lr, beta1, beta2, eps, decay;
    float correct1, correct2; /* 1 - beta^step */
    float grad_scale;         /* of clipping */
};
/* AdamW: decoupled weight decay. */
void hw_ops_adam(float *w, const float *grad, float *m, float *v, size_t count,
                 const struct hw_ops_adam *adam);

#endif
