/* OpenBLAS chooses its kernels by CPU model, and Debian 12's (0.3.21) is older than the CPUs it
 * meets: on Zen 5 it falls back to Haswell's (117 against 226 GFLOPS), on Zen 4 it takes
 * Cooperlake's although Haswell's are 5 % faster there (512-bit units are half as wide).
 * OPENBLAS_CORETYPE must stand in the environment before the library is loaded. */
#include "engine/blas.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

enum { CBLAS_ROW_MAJOR = 101, CBLAS_NO_TRANS = 111, CBLAS_TRANS = 112 };

static void
library_product(const struct hw_blas *blas, const struct hw_gemm *g)
{
    blas->cblas_sgemm(CBLAS_ROW_MAJOR, g->trans_a ? CBLAS_TRANS : CBLAS_NO_TRANS,
                      g->trans_b ? CBLAS_TRANS : CBLAS_NO_TRANS, g->m, g->n, g->k, 1.0f, g->a,
                      g->lda, g->b, g->ldb, g->beta, g->c, g->ldc);
}

/* One row of C at a time: with B as stored it is a sum of B's rows, with B transposed a dot product
 * for each element, kept in eight partial sums so that the compiler may vectorise it. */
static void
plain_row(const struct hw_gemm *g, int i)
{
    float *restrict c = g->c + (size_t)i * (size_t)g->ldc;
    size_t step_a = g->trans_a ? (size_t)g->lda : 1;
    const float *a = g->a + (g->trans_a ? (size_t)i : (size_t)i * (size_t)g->lda);

    for (int j = 0; j < g->n; j++)
        c[j] = g->beta == 0.0f ? 0.0f : c[j] * g->beta;
    if (!g->trans_b) {
        for (int k = 0; k < g->k; k++) {
            float value = a[(size_t)k * step_a];
            const float *restrict b = g->b + (size_t)k * (size_t)g->ldb;
            for (int j = 0; j < g->n; j++)
                c[j] += value * b[j];
        }
        return;
    }
    for (int j = 0; j < g->n; j++) {
        const float *b = g->b + (size_t)j * (size_t)g->ldb;
        float part[8] = {0};
        int k = 0;
        for (; k + 8 <= g->k; k += 8)
            for (int p = 0; p < 8; p++)
                part[p] += a[(size_t)(k + p) * step_a] * b[k + p];
        for (; k < g->k; k++)
            part[0] += a[(size_t)k * step_a] * b[k];
        c[j] += ((part[0] + part[1]) + (part[2] + part[3])) +
                ((part[4] + part[5]) + (part[6] + part[7]));
    }
}

static void
plain_product(const struct hw_blas *blas, const struct hw_gemm *gemm)
{
    (void)blas;
    for (int i = 0; i < gemm->m; i++)
        plain_row(gemm, i);
}

/* The kernels to ask for, or NULL to leave OpenBLAS's own choice. */
static const char *
core_type(void)
{
#if defined(__x86_64__)
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;

    if (!__builtin_cpu_supports("avx512f") || __get_cpuid(0, &eax, &ebx, &ecx, &edx) == 0)
        return NULL;
    bool amd = ecx == signature_AMD_ecx;
    if (!amd || __get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0)
        return NULL;
    unsigned family = ((eax >> 8) & 0xf) + ((eax >> 20) & 0xff);
    return family > 25 ? "SkylakeX" : "Haswell";
#else
    return NULL;
#endif
}

static bool
open_library(struct hw_blas *blas)
{
    const char *core = core_type();

    if (core != NULL)
        setenv("OPENBLAS_CORETYPE", core, 0); /* the user's own setting stands */
    void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        return false;
    /* POSIX lets an object pointer from dlsym be a function; C needs the detour over memcpy. */
    void *sgemm = dlsym(library, "cblas_sgemm");
    void *set_threads = dlsym(library, "openblas_set_num_threads");
    void *core_name = dlsym(library, "openblas_get_corename");
    if (sgemm == NULL || set_threads == NULL || core_name == NULL) {
        dlclose(library);
        return false;
    }
    void (*set_threads_fn)(int);
    char *(*core_name_fn)(void);
    memcpy(&blas->cblas_sgemm, &sgemm, sizeof(sgemm));
    memcpy(&set_threads_fn, &set_threads, sizeof(set_threads));
    memcpy(&core_name_fn, &core_name, sizeof(core_name));
    set_threads_fn(1);
    blas->product = library_product;
    snprintf(blas->name, sizeof(blas->name), "openblas %s", core_name_fn());
    return true;
}

void
hw_blas_open(bool plain, struct hw_blas *blas)
{
    *blas = (struct hw_blas){.product = plain_product, .name = "plain c"};
    if (!plain)
        open_library(blas);
}
