/* engine/blas.h - matrix products for the trainer, from OpenBLAS when it is there.
 *
 * The library is loaded at training time only (dlopen), never linked: the gateway and its workers
 * must not carry it. Without it a plain C product does the same, several times slower. */
#ifndef HW_ENGINE_BLAS_H
#define HW_ENGINE_BLAS_H

#include <stdbool.h>

/* C [m, n] = op(A) [m, k] . op(B) [k, n] + beta * C, all row-major; lda, ldb, ldc are row strides
 * of the matrices as stored. */
struct hw_gemm {
    int m, n, k;
    const float *a;
    int lda;
    bool trans_a;
    const float *b;
    int ldb;
    bool trans_b;
    float *c;
    int ldc;
    float beta; /* 0: C is not read */
};

struct hw_blas {
    void (*product)(const struct hw_blas *blas, const struct hw_gemm *gemm);
    void (*cblas_sgemm)(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
                        const float *a, int lda, const float *b, int ldb, float beta, float *c,
                        int ldc); /* NULL in the plain one */
    char name[64];                /* "openblas Haswell" or "plain c" */
};

/* plain: do not look for a library. OpenBLAS is set to one thread: callers bring their own. The
 * library stays loaded for the life of the process. */
void hw_blas_open(bool plain, struct hw_blas *blas);

static inline void
hw_blas_gemm(const struct hw_blas *blas, const struct hw_gemm *gemm)
{
    blas->product(blas, gemm);
}

#endif
