/* The iteration X <- a X + (b A + c A A) X with A = X X^T drives every singular value of X, which
 * must begin at or below 1, to about 1 within five rounds; it needs products alone. */
#include "engine/train_muon.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/train_wide.h"
#include "hatchway/assert.h"

enum { ROUNDS = 5 };

struct hw_muon {
    const struct hw_blas *blas;
    size_t rows, columns;
    float *arena;
    float *x, *next;    /* [rows, columns] or, transposed, [columns, rows] */
    float *gram, *poly; /* [rows, rows] */
};

int
hw_muon_create(size_t rows, size_t columns, const struct hw_blas *blas, struct hw_muon **out,
               struct hw_err *err)
{
    struct hw_muon *muon = hw_xcalloc(1, sizeof(*muon));
    size_t matrix = (rows * columns + 15) / 16 * 16, square = (rows * rows + 15) / 16 * 16;

    muon->blas = blas;
    muon->rows = rows;
    muon->columns = columns;
    muon->arena = aligned_alloc(64, (2 * matrix + 2 * square) * sizeof(float));
    if (muon->arena == NULL) {
        free(muon);
        return hw_err_set(err, HW_ENOMEM, "no memory for the optimiser");
    }
    muon->x = muon->arena;
    muon->next = muon->x + matrix;
    muon->gram = muon->next + matrix;
    muon->poly = muon->gram + square;
    *out = muon;
    return 0;
}

void
hw_muon_destroy(struct hw_muon **muon)
{
    if (*muon == NULL)
        return;
    free((*muon)->arena);
    free(*muon);
    *muon = NULL;
}

/* gram = X X^T (or X^T X of a transposed one), poly = b gram + c gram gram, X = a X + poly X. */
static void
iterate(struct hw_muon *muon, bool transposed)
{
    static const float a = 3.4445f, b = -4.7750f, c = 2.0315f;
    int rows = (int)muon->rows, columns = (int)muon->columns;
    size_t square = muon->rows * muon->rows, matrix = muon->rows * muon->columns;
    int stride = transposed ? rows : columns;

    hw_blas_gemm(muon->blas, &(struct hw_gemm){.m = rows,
                                               .n = rows,
                                               .k = columns,
                                               .a = muon->x,
                                               .lda = stride,
                                               .trans_a = transposed,
                                               .b = muon->x,
                                               .ldb = stride,
                                               .trans_b = !transposed,
                                               .c = muon->gram,
                                               .ldc = rows});
    hw_blas_gemm(muon->blas, &(struct hw_gemm){.m = rows,
                                               .n = rows,
                                               .k = rows,
                                               .a = muon->gram,
                                               .lda = rows,
                                               .b = muon->gram,
                                               .ldb = rows,
                                               .c = muon->poly,
                                               .ldc = rows});
    for (size_t i = 0; i < square; i++)
        muon->poly[i] = b * muon->gram[i] + c * muon->poly[i];
    for (size_t i = 0; i < muon->rows; i++)
        muon->poly[i * muon->rows + i] += a;
    hw_blas_gemm(muon->blas, &(struct hw_gemm){.m = transposed ? columns : rows,
                                               .n = transposed ? rows : columns,
                                               .k = rows,
                                               .a = transposed ? muon->x : muon->poly,
                                               .lda = rows,
                                               .b = transposed ? muon->poly : muon->x,
                                               .ldb = stride,
                                               .c = muon->next,
                                               .ldc = stride});
    memcpy(muon->x, muon->next, matrix * sizeof(float));
}

/* Nesterov momentum into x; returns the sum of squares. */
HW_WIDE static double
gather(float *restrict x, float *restrict m, const float *restrict grad, size_t count,
       float momentum)
{
    double squares = 0.0;

    for (size_t i = 0; i < count; i++) {
        m[i] = momentum * m[i] + grad[i];
        x[i] = grad[i] + momentum * m[i];
    }
    for (size_t i = 0; i < count; i++)
        squares += (double)x[i] * (double)x[i];
    return squares;
}

void
hw_muon_step(struct hw_muon *muon, bool transposed, const struct hw_muon_step *step, float *w,
             const float *grad, float *m)
{
    size_t count = muon->rows * muon->columns;
    size_t longest = muon->rows > muon->columns ? muon->rows : muon->columns;
    double squares = gather(muon->x, m, grad, count, step->momentum);
    float scale = 1.0f / (float)(sqrt(squares) + 1e-12);
    float rate = step->lr * 0.2f * sqrtf((float)longest);
    float keep = 1.0f - step->lr * step->decay;

    for (size_t i = 0; i < count; i++)
        muon->x[i] *= scale;
    for (int i = 0; i < ROUNDS; i++)
        iterate(muon, transposed);
    for (size_t i = 0; i < count; i++)
        w[i] = keep * w[i] - rate * muon->x[i];
}
