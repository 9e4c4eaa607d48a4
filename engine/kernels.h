/* engine/kernels.h - the four hot loops of a token's step, one table a vector width.
 *
 * Widths are in floats and multiples of HW_LANES; rows and vectors are 64-byte aligned and their
 * padding is zero. Index lists ascend. */
#ifndef HW_ENGINE_KERNELS_H
#define HW_ENGINE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#define HW_LANES 16u
#define HW_PANEL 64u /* outputs side by side in a panel of a dense matrix */

struct hw_kernels {
    const char *name;
    /* out[p * HW_PANEL + j] = sum over i < inputs of x[i] * panels[p][i][j] */
    void (*dense)(const float *panels, size_t panel_count, size_t inputs, const float *x,
                  float *out);
    /* For each listed row r of state, in one pass: y += q[k] * state[r]; state[r] += q[k] * x.
     * The row is read before it is written: a token does not see itself. */
    void (*attend)(float *state, size_t width, const uint32_t *rows, const float *q, size_t count,
                   const float *x, float *y);
    /* out[k] = dot(matrix + rows[k] * stride, v), over width */
    void (*dots)(const float *matrix, size_t stride, size_t width, const uint32_t *rows,
                 size_t count, const float *v, float *out);
    /* z += sum over k of c[k] * (matrix + rows[k] * stride), over width */
    void (*combine)(const float *matrix, size_t stride, size_t width, const uint32_t *rows,
                    const float *c, size_t count, float *z);
};

/* The widest that this processor runs. HATCHWAY_KERNELS=base|avx2|avx512 narrows it, for tests. */
const struct hw_kernels *hw_kernels_pick(void);

extern const struct hw_kernels hw_kernels_base;
extern const struct hw_kernels hw_kernels_avx2;
extern const struct hw_kernels hw_kernels_avx512;

#endif
