/* engine/forward_parts.h - private to forward*.c and weights.c: the layout of engine and session.
 */
#ifndef HW_ENGINE_FORWARD_PARTS_H
#define HW_ENGINE_FORWARD_PARTS_H

#include "engine/forward.h"
#include "engine/kernels.h"

struct hw_bdh_engine {
    struct hw_bdh_config conf;
    enum hw_bdh_precision precision;
    const struct hw_kernels *kernels;
    size_t width;       /* D padded to whole vectors */
    size_t head_panels; /* panels of one head's N */
    size_t head_width;  /* head_panels * HW_PANEL: N padded */
    size_t vocab_panels;
    size_t groups;       /* D / 4, rounded up */
    float *embed;        /* [V][width], layer-normed: no token needs it otherwise */
    float *lm_head;      /* [vocab_panels][D][HW_PANEL] */
    float *freqs;        /* [N] */
    float *encoder;      /* f32: [H][head_panels][D][HW_PANEL] */
    float *neurons;      /* f32: [H][N][2][width]: encoder_v's column, decoder's row */
    int8_t *encoder8;    /* fast: [H][head_panels][groups][HW_PANEL][4] */
    float *scales8;      /* fast: [H][head_width] */
    int32_t *sums8;      /* fast: [H][head_width] */
    uint16_t *neurons16; /* fast: as neurons, in bf16 */
};

/* Zeroed and vector-aligned; large ones on huge pages where the system gives them. */
void *hw_bdh_alloc(size_t count, size_t size);

#endif
