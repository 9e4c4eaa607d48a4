/* engine/kernels.h - the hot loops of a token's step, one table a vector width.
 *
 * Widths are in floats and multiples of HW_LANES; rows and vectors are 64-byte aligned and their
 * padding is zero. Index lists ascend. Loops over a prompt's tokens give each token the same bits
 * as alone. The integer products are exact: the same on every machine. */
#ifndef HW_ENGINE_KERNELS_H
#define HW_ENGINE_KERNELS_H

#include <stdbool.h>
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

/* The inputs of one token in int8: x = scale * byte. */
struct hw_input8 {
    int8_t *bytes; /* [width] */
    int32_t sum;   /* of the bytes */
    float scale;
};

/* VNNI multiplies unsigned by signed bytes. */
#define HW_BIAS8 128

#define HW_BLOCK 16u  /* tokens that pass together, and whose writes to the state wait together */
#define HW_BLOCK8 32u /* so many wait where the state is in bytes: each fold rounds */
_Static_assert(HW_BLOCK8 % HW_BLOCK == 0 && HW_BLOCK8 <= 32, "no pass crosses a block; its bits");

/* A state in bytes: the largest scale, and neurons of a head whose products' sum is in range. */
#define HW_MAX_SCALE8 1e33f
#define HW_MAX_NEURONS8 (UINT32_C(1) << 17)

/* What the neurons of one head do for one token. The lists have room for HW_LANES more. */
struct hw_fired {
    uint32_t *pairs;  /* [n / 2] pairs (2i, 2i + 1) of which one fires: rows of the state */
    uint32_t *active; /* [n] neurons with a > 0 */
    float *a;         /* [n] beside active; in fast times the neuron's scale */
    size_t pair_count, active_count;
    uint32_t *touched; /* [n / 2]: each such pair's gets the bit */
    uint32_t bit;
};

/* What a token asks of a state in bytes: q times the pairs' scales, as scale * whole numbers. */
struct hw_asked8 {
    uint32_t *words; /* [n / 2]: a pair's two, of 16 bits */
    uint32_t *sums;  /* [width]: room for the answer */
    uint32_t sum;    /* of the whole numbers */
    float scale;
};

/* A token that reads a state: at most HW_BLOCK at a time. */
struct hw_reader {
    const struct hw_fired *fired; /* its pairs */
    const float *q;               /* f32, or */
    struct hw_asked8 *asked;      /* bytes */
    float *y;
};

/* Where LANES == 16 a product over `inputs` is added up in HW_PARTS parts of consecutive inputs, so
 * many each (even); in each, the even ones and the odd ones. A row of a matrix that is laid out so
 * that each lane of a vector has a sum to itself gives the same bits. */
#define HW_PARTS 8u
static inline size_t
hw_part_inputs(size_t inputs)
{
    return (inputs + HW_LANES - 1) / HW_LANES * HW_LANES / HW_PARTS;
}
/* Where in such a row, and in the input beside it, this input stands. */
static inline size_t
hw_part_place(size_t input, size_t part_inputs)
{
    return input % part_inputs / 2 * HW_LANES + input % 2 * HW_PARTS + input / part_inputs;
}

/* How far estimates may be off: of output i by off[i] * length + size[i] * input_off. */
struct hw_margins {
    const float *off, *size; /* of the outputs */
    float length, input_off; /* of the input */
};

/* Where a block of tokens and a wide pair of rows wait while they are added. */
struct hw_fold_room {
    uint32_t *values; /* [HW_BLOCK8][width] */
    uint32_t *q;      /* [HW_BLOCK8][HW_FOLD_STRIDE] */
    float *sums;      /* [2 * width] */
};
#define HW_FOLD_PAIRS 64u
#define HW_FOLD_STRIDE (HW_FOLD_PAIRS + HW_LANES) /* a power of two would crowd a cache's set */

/* A block of tokens that a state in bytes does not hold yet, in one layer and head. */
struct hw_block8 {
    const uint8_t *q; /* [HW_BLOCK8][stride], HW_BIAS8 added */
    size_t stride;
    const float *scales;     /* [HW_BLOCK8]: of q */
    const float *x;          /* [HW_BLOCK8][width] */
    const uint32_t *touched; /* [n / 2]: by which of them */
};

struct hw_kernels {
    const char *name;
    /* Whether finding in int8 who may fire, before summing, pays; dots then has dense's bits. */
    bool screens_encoder;
    /* out[t][p * HW_PANEL + j] = sum over i < inputs of x[t][i] * panels[p][i][j]; the strides lead
     * from one token's x and out to the next one's */
    void (*dense)(const float *panels, size_t panel_count, size_t inputs, const float *x,
                  size_t x_stride, size_t tokens, float *out, size_t out_stride);
    /* The same in int8. */
    void (*dense8)(const struct hw_panels8 *weights, const struct hw_input8 *xs, size_t tokens,
                   float *out, size_t out_stride);
    /* x [width] to bytes; the zeros of its padding stay zeros. */
    void (*quantise)(const float *x, size_t width, struct hw_input8 *out);
    /* relu and RoPE of a head's encoder outputs, a pair (2i, 2i+1) at a time: q [n], and lists, a
     * times its scale [n] unless scales is NULL. n is padded to 2 * HW_LANES; the lists have room
     * for HW_LANES more. */
    void (*list)(const float *encoded, const float *cosines, const float *sines,
                 const float *scales, size_t n, float *q, struct hw_fired *to);
    /* Of c[k] = a[k] * b[k] those above 0, with their indices. rows and c have room for count
     * rounded up to HW_LANES. Returns how many. */
    size_t (*gate)(const uint32_t *active, const float *a, const float *b, size_t count,
                   uint32_t *rows, float *c);
    /* Of the listed neurons those whose estimate is above least, with their a. Returns how many.
     * All lists have room for HW_LANES more. */
    size_t (*sift)(const uint32_t *list, const float *a, const float *estimates, size_t count,
                   float least, uint32_t *rows, float *kept);
    /* The outputs i < n that may be above 0: whose estimate with its margin is, or is no number.
     * Returns how many; all have room for HW_LANES more. */
    size_t (*may_fire)(const float *estimates, const struct hw_margins *margins, size_t n,
                       uint32_t *rows);
    /* What is asked of a state in bytes: q [n] times the pairs' scales [n / 2]; and q itself in
     * bytes, once more with HW_BIAS8 added. n is a multiple of 2 * HW_LANES. */
    void (*ask8)(const float *q, const float *scales, size_t n, struct hw_asked8 *out,
                 struct hw_input8 *q8, uint8_t *kept);
    /* Each token's y += sum over its listed pairs of q[2i] * state[2i] + q[2i+1] * state[2i+1] */
    void (*read)(const float *state, size_t width, size_t pairs, const struct hw_reader *tokens,
                 size_t count);
    /* The same with the state in bytes (layout: kernels_state8.inc), width a multiple of
     * 2 * HW_LANES. */
    void (*read8)(const uint32_t *state, size_t width, size_t pairs, const struct hw_reader *tokens,
                  size_t count);
    /* The same bits by reading all pairs in one stream, for q is 0 where no neuron fires: from
     * memory that is faster than many pieces of it. */
    void (*scan)(const float *state, size_t width, size_t pairs, const float *q, float *y);
    void (*scan8)(const uint32_t *state, size_t width, size_t pairs, const struct hw_reader *token);
    /* What the state does not hold yet: y += sum over s < count of (q[count] . q[s]) * x[s].
     * stride is from one token's q to the next one's, n as above. */
    void (*recall)(const float *q, size_t stride, size_t n, size_t count, const float *x,
                   size_t width, float *y);
    /* state[r] += sum over the block's tokens t of q[t][r] * x[t], for pairs of rows touched by
     * tokens of those bits. */
    void (*fold)(float *state, size_t width, size_t pairs, const uint32_t *touched, const float *q,
                 size_t stride, const float *x);
    /* In bytes, rounded at random by the seed. */
    void (*fold8)(uint32_t *state, float *scales, size_t width, size_t pairs,
                  const struct hw_block8 *block, uint32_t seed, struct hw_fold_room *room);
    /* out[k] = dot(matrix + rows[k] * stride, v), over width; out has room for 7 more */
    void (*dots)(const float *matrix, size_t stride, size_t width, const uint32_t *rows,
                 size_t count, const float *v, float *out);
    /* The same bits from rows of bf16, of weights that bf16 holds exactly. */
    void (*dots16)(const uint16_t *matrix, size_t stride, size_t width, const uint32_t *rows,
                   size_t count, const float *v, float *out);
    /* In int8, rows side by side, each byte with HW_BIAS8 added; width a multiple of HW_PANEL (v's
     * bytes are 0 behind its own), out with room for 3 more. */
    void (*dots8)(const uint8_t *matrix, size_t width, const uint32_t *rows, size_t count,
                  const struct hw_input8 *v, float *out);
    /* z += sum over k of c[k] * (matrix + rows[k] * stride), over width */
    void (*combine)(const float *matrix, size_t stride, size_t width, const uint32_t *rows,
                    const float *c, size_t count, float *z);
    void (*combine16)(const uint16_t *matrix, size_t stride, size_t width, const uint32_t *rows,
                      const float *c, size_t count, float *z);
    void (*combine8)(const int8_t *matrix, size_t stride, size_t width, const uint32_t *rows,
                     const float *c, size_t count, float *z);
    /* LN without affine over n values, sums in double; what is behind n stays. */
    void (*norm)(float *v, size_t n);
};

/* The widest that this processor runs. HATCHWAY_KERNELS=base|avx2|avx512|vnni|neon narrows it
 * (scalar is base), for tests. */
const struct hw_kernels *hw_kernels_pick(void);

extern const struct hw_kernels hw_kernels_base;
extern const struct hw_kernels hw_kernels_avx2;
extern const struct hw_kernels hw_kernels_avx512;
extern const struct hw_kernels hw_kernels_vnni; /* AVX-512 with its int8 products */
extern const struct hw_kernels hw_kernels_bf16; /* and its bf16 products */
extern const struct hw_kernels hw_kernels_neon;
extern const struct hw_kernels hw_kernels_dotprod; /* NEON with its int8 products */

#endif
