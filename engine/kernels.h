/* engine/kernels.h - the hot loops of a token's step, one table a vector width.
 *
 * Widths are in floats and multiples of HW_LANES; rows and vectors are 64-byte aligned and their
 * padding is zero. Index lists ascend. Loops over a prompt's tokens give each token the same bits
 * as alone. The integer products are exact: the same on every machine. */
#ifndef HW_ENGINE_KERNELS_H
#define HW_ENGINE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#define HW_LANES 16u
#define HW_PANEL 64u /* outputs side by side in a panel of a dense matrix */

/* A dense matrix in int8, a scale an output: panels of HW_PANEL outputs, [inputs / 4][64][4]. */
struct hw_panels8 {
    const int8_t *panels;
    const float *scales; /* [panel_count * HW_PANEL] */
    const int32_t *sums; /* [panel_count * HW_PANEL]: of each output's weights */
    size_t panel_count;
    size_t groups; /* inputs / 4, rounded up */
};

/* The inputs of one token in int8, as two bytes a value: x = scale * (high + low / 256). The
 * second byte costs no weight traffic and leaves the weights' rounding as the only loss. */
struct hw_input8 {
    int8_t *high, *low; /* [width] */
    float scale;
};

/* What the neurons of one head do for one token. */
struct hw_fired {
    uint32_t *rows;   /* [n] state rows with q != 0 */
    float *q;         /* [n] beside rows */
    uint32_t *active; /* [n] neurons with a > 0 */
    float *a;         /* [n] beside active */
    size_t row_count, active_count;
};

struct hw_kernels {
    const char *name;
    /* out[t][p * HW_PANEL + j] = sum over i < inputs of x[t][i] * panels[p][i][j]; the strides lead
     * from one token's x and out to the next one's */
    void (*dense)(const float *panels, size_t panel_count, size_t inputs, const float *x,
                  size_t x_stride, size_t tokens, float *out, size_t out_stride);
    /* The same in int8, for one token. */
    void (*dense8)(const struct hw_panels8 *weights, const struct hw_input8 *x, float *out);
    /* x [width] to bytes; the zeros of its padding stay zeros. */
    void (*quantise)(const float *x, size_t width, struct hw_input8 *out);
    /* relu and RoPE of a head's encoder outputs, a pair (2i, 2i+1) at a time, into lists. n is
     * padded to HW_LANES, arrays of `to` have room for that. */
    void (*list)(const float *encoded, const float *cosines, const float *sines, size_t n,
                 struct hw_fired *to);
    /* Of c[k] = a[k] * b[k] those above 0, with their indices. rows and c have room for count
     * rounded up to HW_LANES. Returns how many. */
    size_t (*gate)(const uint32_t *active, const float *a, const float *b, size_t count,
                   uint32_t *rows, float *c);
    /* For each listed row r of state, in one pass: y += q[k] * state[r]; state[r] += q[k] * x.
     * The row is read before it is written: a token does not see itself. */
    void (*attend)(float *state, size_t width, const uint32_t *rows, const float *q, size_t count,
                   const float *x, float *y);
    /* The same with the state in bf16, rounded at random by the seed; width a multiple of
     * 2 * HW_LANES. The order of columns in a row is the table's own. */
    void (*attend16)(uint16_t *state, size_t width, const uint32_t *rows, const float *q,
                     size_t count, const float *x, float *y, uint32_t seed);
    /* out[k] = dot(matrix + rows[k] * stride, v), over width */
    void (*dots)(const float *matrix, size_t stride, size_t width, const uint32_t *rows,
                 size_t count, const float *v, float *out);
    void (*dots16)(const uint16_t *matrix, size_t stride, size_t width, const uint32_t *rows,
                   size_t count, const float *v, float *out); /* a matrix in bf16 */
    /* z += sum over k of c[k] * (matrix + rows[k] * stride), over width */
    void (*combine)(const float *matrix, size_t stride, size_t width, const uint32_t *rows,
                    const float *c, size_t count, float *z);
    void (*combine16)(const uint16_t *matrix, size_t stride, size_t width, const uint32_t *rows,
                      const float *c, size_t count, float *z);
    /* LN without affine over n values, sums in double; what is behind n stays. */
    void (*norm)(float *v, size_t n);
};

/* The widest that this processor runs. HATCHWAY_KERNELS=base|avx2|avx512|neon narrows it (scalar
 * is base), for tests. */
const struct hw_kernels *hw_kernels_pick(void);

extern const struct hw_kernels hw_kernels_base;
extern const struct hw_kernels hw_kernels_avx2;
extern const struct hw_kernels hw_kernels_avx512;
extern const struct hw_kernels hw_kernels_vnni; /* AVX-512 with its int8 products */
extern const struct hw_kernels hw_kernels_neon;
extern const struct hw_kernels hw_kernels_dotprod; /* NEON with its int8 products */

#endif
