/* engine/forward_parts.h - private to forward*.c, weights.c and snapshot*.c: the layout of engine
 * and session. */
#ifndef HW_ENGINE_FORWARD_PARTS_H
#define HW_ENGINE_FORWARD_PARTS_H

#include "engine/forward.h"
#include "engine/kernels.h"

struct hw_bdh_engine {
    struct hw_bdh_config conf;
    uint8_t digest[32]; /* the model's */
    enum hw_bdh_precision precision;
    const struct hw_kernels *kernels;
    size_t width;       /* D padded to whole vectors */
    size_t row_bytes;   /* D padded to whole vectors of bytes */
    size_t head_panels; /* panels of one head's N */
    size_t head_width;  /* head_panels * HW_PANEL: N padded */
    size_t vocab_panels;
    size_t groups;      /* D / 4, rounded up */
    size_t block;       /* tokens whose writes to the state wait together */
    bool streams;       /* a session's state is larger than any cache */
    double fading;      /* bits that the state loses a token: -log2(decay); 0: none */
    float *embed;       /* [V][width], layer-normed: no token needs it otherwise */
    float *lm_head;     /* [vocab_panels][D][HW_PANEL] */
    float *freqs;       /* [N] */
    float *encoder;     /* f32: [H][head_panels][D][HW_PANEL] */
    bool narrow;        /* f32: bf16 holds the weights exactly: encoder_rows and neurons are that */
    void *encoder_rows; /* f32: [H][N][width]: its columns, by hw_part_place; NULL: not screened */
    float *encoder_off; /* then [H][head_width]: how far each neuron in encoder8 is off, and */
    float *encoder_size; /* [H][head_width]: how long it is (struct hw_margins) */
    void *neurons;       /* f32: [H][N][2][width]: encoder_v's column, decoder's row */
    int8_t *encoder8;    /* fast, and f32 to screen: [H][head_panels][groups][HW_PANEL][4] */
    float *scales8;      /* [H][head_width]: of encoder8 */
    int32_t *sums8;      /* [H][head_width] */
    uint8_t *encoder_v8; /* fast, and f32 to screen: [H][N][row_bytes], biased (HW_BIAS8) */
    int8_t *decoder8;    /* fast: [H][N][row_bytes] */
    float *row_scales8;  /* fast: [H][head_width]: of a neuron in encoder_v times in decoder */
    struct hw_screen *screens; /* f32: [H]: of encoder_v; NULL: not screened */
};

/* Products with listed rows of encoder_rows or neurons, from value `first` on. */
static inline void
hw_bdh_dots(const struct hw_bdh_engine *e, const void *weights, size_t first, size_t stride,
            const uint32_t *rows, size_t count, const float *v, float *out)
{
    if (e->narrow)
        e->kernels->dots16((const uint16_t *)weights + first, stride, e->width, rows, count, v,
                           out);
    else
        e->kernels->dots((const float *)weights + first, stride, e->width, rows, count, v, out);
}

static inline struct hw_panels8
hw_bdh_encoder8(const struct hw_bdh_engine *e, size_t head)
{
    return (struct hw_panels8){
        .panels = e->encoder8 + head * e->head_width * e->groups * 4,
        .scales = e->scales8 + head * e->head_width,
        .sums = e->sums8 + head * e->head_width,
        .panel_count = e->head_panels,
        .groups = e->groups,
    };
}

/* Most neurons do not fire, and of those that do most say nothing to y. Bytes can tell which: a sum
 * w . y, in units of the weights' scale, is not off by more than |w - its bytes| |y| + |its bytes|
 * |y - its bytes| (lengths) from what the bytes say. Only where it may be above 0 the weights in
 * f32 are read and summed: to the same answer, for what is not above 0 counts as 0, from half of
 * the memory. */
struct hw_screen { /* the largest of a head's neurons, or one neuron's */
    float off;     /* |w - its bytes|, and what sums in f32 are rounded by */
    float size;    /* |its bytes| */
};
/* The least estimate of a sum that may be above 0, for an input and its bytes. */
float hw_bdh_screen_least(const struct hw_screen *screen, const float *y, size_t width,
                          const struct hw_input8 *bytes);
/* hw_bdh_engine_create_as in f32, screened or not, in bf16 where that is exact or not: for tests.
 */
int hw_bdh_engine_create_f32(const struct hw_bdh_model *model, bool screened, bool narrow,
                             struct hw_bdh_engine **out, struct hw_err *err);

/* Under decay S = scale * S', and S' is what is kept: nothing is multiplied but what is read and
 * written. The scale halves every 1 / fading tokens; when it has by HW_FADE_STEP bits, S' takes
 * them over: an exact change, for it is one of exponents alone. */
#define HW_FADE_STEP 32u

/* Scales at one position. */
struct hw_fade {
    float reading; /* what is read of S' and of the tokens beside it counts so much */
    float writing; /* and what this token adds to them is multiplied by so much */
};
struct hw_fade hw_bdh_fade(const struct hw_bdh_engine *engine, uint64_t position);
/* Whether the state takes over the scale's bits when a block ends at this position. */
bool hw_bdh_fade_steps(const struct hw_bdh_engine *engine, uint64_t position);
/* Divides by 2^HW_FADE_STEP; what would leave the range of normal numbers is gone. */
void hw_bdh_fade_values(float *values, size_t count);

#define HW_HISTORY_BYTES 32u
#define HW_HISTORY_RECENT 16u /* tokens kept */

/* What a session has read, in constant size: a chain of BLAKE2b hashes, a link for every
 * HW_HISTORY_RECENT tokens, and beside it the tokens that no link covers yet. */
struct hw_history {
    uint8_t chain[HW_HISTORY_BYTES];
    uint16_t recent[HW_HISTORY_RECENT]; /* token t at t % HW_HISTORY_RECENT */
};
/* The token at this position. */
void hw_history_note(struct hw_history *history, uint64_t position, uint32_t token);
/* Whether two that have come to this position have read the same. */
bool hw_history_same(const struct hw_history *a, const struct hw_history *b, uint64_t position);

/* What the tokens that pass together need on their way; the first one's session lends it. */
struct hw_scratch {
    float *cosines, *sines;            /* [HW_BLOCK][head_width] */
    float *x, *z;                      /* [HW_BLOCK][width] */
    float *encoded;                    /* [HW_BLOCK][head_width]: one head's, before relu */
    int8_t *bytes;                     /* [HW_BLOCK + 1][row_bytes]: of */
    struct hw_input8 inputs[HW_BLOCK]; /* x in fast, */
    struct hw_input8 asked;            /* and y in fast and where f32 is screened */
    float *x_parts;                    /* [width]: x by hw_part_place, and */
    struct hw_margins margins;         /* its lengths, where one token's encoder is screened */
    size_t turn, summed;               /* tokens on trial; their neurons that were summed */
    float *y;                          /* [HW_BLOCK][width]: in one head */
    struct hw_asked8 asks[HW_BLOCK];   /* fast: of the state, in one head; */
    struct hw_input8 q8[HW_BLOCK];     /* and of the tokens that wait; */
    float *q;                          /* [head_width]: both from this */
    struct hw_fold_room room;          /* fast */
    struct hw_fired fired[HW_BLOCK];   /* in one head; lists with room for head_width + HW_LANES */
    /* of one token in one head */
    float *dots;     /* beside its fired.active, or beside maybe; then */
    uint32_t *maybe; /* screened: neurons that may fire, or answer, */
    float *maybe_a;  /* and their a; then */
    uint32_t *open;  /* neurons that answer, */
    float *c;        /* and how much */
    float *logits;   /* [vocab_panels * HW_PANEL] */
};

/* Whether the next token, alone, is to be screened: not where many fire. */
bool hw_bdh_screen_pays(const struct hw_bdh_engine *engine, struct hw_scratch *scratch);
/* One token's x, for its layer's encoder to be screened; then one head of that: encoded is what it
 * is without a screen where that is above 0, and not above 0 elsewhere. */
void hw_bdh_screen_take(const struct hw_bdh_engine *engine, struct hw_scratch *scratch);
void hw_bdh_screen_encode(const struct hw_bdh_engine *engine, struct hw_scratch *scratch,
                          size_t head);

/* Of the last tokens, position % block of them, the state proper knows nothing yet: their q and
 * x stand beside it until the block is full. All of it is one piece of memory. */
struct hw_bdh_session {
    const struct hw_bdh_engine *engine;
    uint64_t position;
    void *memory; /* [memory_bytes]: state, scales, q, q_scales, x, touched */
    size_t memory_bytes;
    void *state;               /* [n_layer][H][N][width] floats; fast: bytes (kernels_state8.inc) */
    float *scales;             /* fast: [n_layer][H][head_width / 2]: of its pairs of rows */
    void *q;                   /* [n_layer][H][block][head_width] floats or bytes + HW_BIAS8 */
    float *q_scales;           /* fast: [n_layer][H][block] */
    float *x;                  /* [n_layer][block][width]; under decay as S' takes it */
    uint32_t *touched;         /* [n_layer][H][head_width / 2] */
    struct hw_history history; /* of all tokens taken */
    uint64_t *profile;         /* [HW_BDH_STAGES] or NULL */
    uint64_t marked_ns;
    struct hw_scratch scratch;
};

uint64_t hw_bdh_now_ns(void);
/* Notes a token in the session's history and moves it on by one position. */
void hw_bdh_session_note(struct hw_bdh_session *session, uint32_t token);

/* Zeroed and vector-aligned; large ones on huge pages where the system gives them. */
void *hw_bdh_alloc(size_t count, size_t size);

#endif
