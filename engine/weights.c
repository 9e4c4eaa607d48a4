/* engine/weights.c - a model's weights repacked for the hot loops, in f32 or fast.
 *
 * Encoder and lm_head lie in panels of outputs; encoder_v is transposed, each neuron's row beside
 * the decoder's, because both are visited by lists of neurons. D is padded to whole vectors with
 * zeros, N to whole panels: no loop has a remainder. What f32 reads by lists it keeps in bf16 where
 * that holds every weight exactly, as in a model that was written so: the same bits. Where f32 is
 * screened the encoder lies there three times: in panels, in bytes, and transposed for those that
 * bytes cannot tell. Fast holds the encoder in int8, a scale a neuron, and rows of neurons too, and
 * the state in bytes: a quarter of the bytes that a token moves. The embedding and lm_head stay
 * f32: they are small, and nothing behind lm_head evens an error out. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/forward_parts.h"
#include "engine/halfs.h"
#include "engine/int8.h"
#include "engine/turns.h"

#define LEAST_SCALE 1e-20f /* products of what is smaller lose bits */

static size_t
round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

void *
hw_bdh_alloc(size_t count, size_t size)
{
    const size_t huge = (size_t)2 << 20;
    size_t bytes = count * size;
    size_t align = bytes >= huge ? huge : 64;

    bytes = round_up(bytes, align);
    void *p = aligned_alloc(align, bytes == 0 ? align : bytes);
    if (p == NULL)
        return NULL;
    /* the state is walked in jumps that would miss the TLB on each row otherwise */
    if (align == huge)
        madvise(p, bytes, MADV_HUGEPAGE);
    return memset(p, 0, bytes);
}

/* matrix [inputs, outputs] row-major into panels of HW_PANEL outputs. */
static void
pack_panels(const float *matrix, size_t inputs, size_t outputs, float *panels)
{
    for (size_t o = 0; o < outputs; o++) {
        float *panel = panels + o / HW_PANEL * inputs * HW_PANEL + o % HW_PANEL;
        for (size_t i = 0; i < inputs; i++)
            panel[i * HW_PANEL] = matrix[i * outputs + o];
    }
}

/* A sum in f32 of d products is off by less than this share of both sides' lengths' product, what
 * the screen's own few operations round included. */
static double
rounding_of(size_t d)
{
    return (double)(d + 64) * 0x1p-24;
}

/* A row of weights to bytes; returns their scale. The screen, if any, grows by what that loses:
 * without a bound where the weights are so small that products with their scale lose bits. */
static float
to_bytes(const float *row, size_t d, int8_t *bytes, struct hw_screen *screen)
{
    float scale = hw_int8_scale(row, d, 1);
    double off = 0.0, size = 0.0, length = 0.0;

    for (size_t j = 0; j < d; j++) {
        bytes[j] = hw_int8_round(row[j], scale);
        double weight = row[j] != 0.0f ? (double)row[j] / (double)scale : 0.0;
        off += (weight - bytes[j]) * (weight - bytes[j]);
        size += (double)bytes[j] * bytes[j];
        length += weight * weight;
    }
    if (screen != NULL) {
        bool bounded = length == 0.0 || scale >= LEAST_SCALE;
        off = bounded ? sqrt(off) + rounding_of(d) * sqrt(length) : INFINITY;
        screen->off = fmaxf(screen->off, (float)off);
        screen->size = fmaxf(screen->size, (float)sqrt(size));
    }
    return scale;
}

/* Neuron i of head h in encoder or encoder_v [H, D, N]: a column of it. */
static void
take_column(const struct hw_bdh_config *conf, const float *matrix, size_t h, size_t i, float *row)
{
    for (size_t j = 0; j < conf->n_embd; j++)
        row[j] = matrix[(h * conf->n_embd + j) * conf->n_neuron + i];
}

/* What packing a neuron needs on its way. */
struct rooms {
    float *row;    /* [D] */
    int8_t *bytes; /* [D] */
};

/* Neuron i of head h: its encoder in int8, into a panel; where it is to screen, how far off. */
static void
pack_encoder8(struct hw_bdh_engine *e, const struct hw_bdh_model *model, size_t h, size_t i,
              const struct rooms *rooms)
{
    size_t at = h * e->head_width + i;
    int8_t *panel = e->encoder8 + h * e->head_width * e->groups * 4 +
                    i / HW_PANEL * e->groups * 4 * HW_PANEL + i % HW_PANEL * 4;
    struct hw_screen screen = {0};

    take_column(&e->conf, model->encoder, h, i, rooms->row);
    e->scales8[at] = to_bytes(rooms->row, e->conf.n_embd, rooms->bytes, &screen);
    if (e->encoder_rows != NULL) {
        e->encoder_off[at] = isinf(screen.off) ? INFINITY : e->scales8[at] * screen.off;
        e->encoder_size[at] = e->scales8[at] * screen.size;
    }
    for (size_t j = 0; j < e->conf.n_embd; j++) {
        panel[j / 4 * 4 * HW_PANEL + j % 4] = rooms->bytes[j];
        e->sums8[at] += rooms->bytes[j];
    }
}

/* Its encoder_v. Returns the scale. */
static float
pack_encoder_v8(struct hw_bdh_engine *e, const struct hw_bdh_model *model, size_t h, size_t i,
                const struct rooms *rooms, struct hw_screen *screen)
{
    uint8_t *row = e->encoder_v8 + (h * e->conf.n_neuron + i) * e->row_bytes;

    take_column(&e->conf, model->encoder_v, h, i, rooms->row);
    float scale = to_bytes(rooms->row, e->conf.n_embd, rooms->bytes, screen);
    for (size_t j = 0; j < e->conf.n_embd; j++)
        row[j] = (uint8_t)(rooms->bytes[j] + HW_BIAS8);
    return scale;
}

/* Of a row that f32 reads by lists. */
static void
put_weight(const struct hw_bdh_engine *e, void *weights, size_t at, float value)
{
    if (e->narrow)
        ((uint16_t *)weights)[at] = hw_bf16_from_f32(value);
    else
        ((float *)weights)[at] = value;
}

/* The same in f32, a row. */
static void
pack_encoder_row(struct hw_bdh_engine *e, size_t h, size_t i, const struct rooms *rooms)
{
    const size_t part = hw_part_inputs(e->conf.n_embd);
    size_t at = (h * e->conf.n_neuron + i) * e->width;

    for (size_t j = 0; j < e->conf.n_embd; j++)
        put_weight(e, e->encoder_rows, at + hw_part_place(j, part), rooms->row[j]);
}

static void
pack_f32(struct hw_bdh_engine *e, const struct hw_bdh_model *model, const struct rooms *rooms)
{
    size_t d = e->conf.n_embd, n = e->conf.n_neuron;

    for (size_t h = 0; h < e->conf.n_head; h++) {
        pack_panels(model->encoder + h * d * n, d, n, e->encoder + h * e->head_width * d);
        for (size_t i = 0; i < n; i++) {
            size_t at = (h * n + i) * 2 * e->width;
            take_column(&e->conf, model->encoder_v, h, i, rooms->row);
            for (size_t j = 0; j < d; j++) {
                put_weight(e, e->neurons, at + j, rooms->row[j]);
                put_weight(e, e->neurons, at + e->width + j, model->decoder[(h * n + i) * d + j]);
            }
            if (e->screens != NULL)
                pack_encoder_v8(e, model, h, i, rooms, &e->screens[h]);
            if (e->encoder_rows != NULL) {
                pack_encoder8(e, model, h, i, rooms);
                pack_encoder_row(e, h, i, rooms);
            }
        }
    }
}

static void
pack_fast(struct hw_bdh_engine *e, const struct hw_bdh_model *model, const struct rooms *rooms)
{
    size_t d = e->conf.n_embd, n = e->conf.n_neuron;

    for (size_t h = 0; h < e->conf.n_head; h++)
        for (size_t i = 0; i < n; i++) {
            pack_encoder8(e, model, h, i, rooms);
            e->row_scales8[h * e->head_width + i] =
                pack_encoder_v8(e, model, h, i, rooms, NULL) *
                to_bytes(model->decoder + (h * n + i) * d, d,
                         e->decoder8 + (h * n + i) * e->row_bytes, NULL);
        }
}

static bool
pack(struct hw_bdh_engine *e, const struct hw_bdh_model *model)
{
    size_t d = e->conf.n_embd;

    for (size_t token = 0; token < e->conf.vocab; token++) {
        float *row = e->embed + token * e->width;
        memcpy(row, model->embed + token * d, d * sizeof(float));
        e->kernels->norm(row, d);
    }
    pack_panels(model->lm_head, d, e->conf.vocab, e->lm_head);
    memcpy(e->freqs, model->freqs, e->conf.n_neuron * sizeof(float));
    struct rooms rooms = {hw_bdh_alloc(d, sizeof(float)), hw_bdh_alloc(d, 1)};
    bool there = rooms.row != NULL && rooms.bytes != NULL;
    if (there && e->precision == HW_BDH_F32)
        pack_f32(e, model, &rooms);
    else if (there)
        pack_fast(e, model, &rooms);
    free(rooms.row);
    free(rooms.bytes);
    return there;
}

static bool
alloc_encoder8(struct hw_bdh_engine *e)
{
    size_t places = e->conf.n_head * e->head_width;

    e->encoder8 = hw_bdh_alloc(places * e->groups, 4);
    e->scales8 = hw_bdh_alloc(places, sizeof(float));
    e->sums8 = hw_bdh_alloc(places, sizeof(int32_t));
    return e->encoder8 != NULL && e->scales8 != NULL && e->sums8 != NULL;
}

static bool
alloc_encoder_screen(struct hw_bdh_engine *e)
{
    size_t places = e->conf.n_head * e->head_width;

    e->encoder_rows = hw_bdh_alloc(e->conf.n_head * e->conf.n_neuron * e->width,
                                   e->narrow ? sizeof(uint16_t) : sizeof(float));
    e->encoder_off = hw_bdh_alloc(places, sizeof(float));
    e->encoder_size = hw_bdh_alloc(places, sizeof(float));
    return e->encoder_rows != NULL && e->encoder_off != NULL && e->encoder_size != NULL &&
           alloc_encoder8(e);
}

static bool
alloc_f32(struct hw_bdh_engine *e, bool screened)
{
    size_t heads = e->conf.n_head, values = heads * e->conf.n_neuron * e->width;

    e->encoder = hw_bdh_alloc(heads * e->head_width * e->conf.n_embd, sizeof(float));
    e->neurons = hw_bdh_alloc(2 * values, e->narrow ? sizeof(uint16_t) : sizeof(float));
    if (screened) {
        e->encoder_v8 = hw_bdh_alloc(heads * e->conf.n_neuron * e->row_bytes, 1);
        e->screens = calloc(heads, sizeof(*e->screens));
    }
    return e->encoder != NULL && e->neurons != NULL &&
           (!screened || (e->encoder_v8 != NULL && e->screens != NULL)) &&
           (!screened || !e->kernels->screens_encoder || alloc_encoder_screen(e));
}

static bool
alloc_fast(struct hw_bdh_engine *e)
{
    size_t places = e->conf.n_head * e->head_width;
    size_t values = e->conf.n_head * e->conf.n_neuron * e->row_bytes;

    e->encoder_v8 = hw_bdh_alloc(values, 1);
    e->decoder8 = hw_bdh_alloc(values, 1);
    e->row_scales8 = hw_bdh_alloc(places, sizeof(float));
    return e->encoder_v8 != NULL && e->decoder8 != NULL && e->row_scales8 != NULL &&
           alloc_encoder8(e);
}

static bool
alloc_weights(struct hw_bdh_engine *e, bool screened)
{
    e->embed = hw_bdh_alloc(e->conf.vocab * e->width, sizeof(float));
    e->lm_head = hw_bdh_alloc(e->vocab_panels * e->conf.n_embd * HW_PANEL, sizeof(float));
    e->freqs = hw_bdh_alloc(e->conf.n_neuron, sizeof(float));
    return e->embed != NULL && e->lm_head != NULL && e->freqs != NULL &&
           (e->precision == HW_BDH_F32 ? alloc_f32(e, screened) : alloc_fast(e));
}

static bool
fits_bf16(const float *weights, size_t count)
{
    uint32_t lower = 0;

    for (size_t i = 0; i < count; i++)
        lower |= hw_bits_from_f32(weights[i]);
    return (lower & 0xffffu) == 0;
}

/* Shape and loops; no weights yet. */
static struct hw_bdh_engine *
begin_engine(const struct hw_bdh_model *model, enum hw_bdh_precision precision)
{
    struct hw_bdh_engine *e = calloc(1, sizeof(*e));
    size_t cache = hw_turn_cache_bytes();

    if (e == NULL)
        return NULL;
    e->conf = model->conf;
    e->fading = e->conf.decay == 0.0f ? 0.0 : -log2((double)e->conf.decay);
    e->precision = precision;
    e->kernels = hw_kernels_pick();
    e->width = round_up(e->conf.n_embd, precision == HW_BDH_F32 ? HW_LANES : 2 * HW_LANES);
    e->row_bytes = round_up(e->conf.n_embd, HW_PANEL);
    e->head_panels = round_up(e->conf.n_neuron, HW_PANEL) / HW_PANEL;
    e->block = precision == HW_BDH_F32 ? HW_BLOCK : HW_BLOCK8;
    e->head_width = e->head_panels * HW_PANEL;
    e->vocab_panels = round_up(e->conf.vocab, HW_PANEL) / HW_PANEL;
    e->groups = round_up(e->conf.n_embd, 4) / 4;
    size_t count = (size_t)e->conf.n_head * e->conf.n_neuron * e->conf.n_embd;
    e->narrow = precision == HW_BDH_F32 && fits_bf16(model->encoder, count) &&
                fits_bf16(model->encoder_v, count) && fits_bf16(model->decoder, count);
    e->streams = cache > 0 && hw_bdh_engine_state_bytes(e) > cache;
    memcpy(e->digest, model->digest, sizeof(e->digest));
    return e;
}

/* Takes what begin_engine gave. */
static int
finish_engine(struct hw_bdh_engine *e, const struct hw_bdh_model *model, bool screened,
              struct hw_bdh_engine **out, struct hw_err *err)
{
    if (e == NULL || !alloc_weights(e, screened) || !pack(e, model)) {
        hw_bdh_engine_destroy(&e);
        return hw_err_set(err, HW_ENOMEM, "no memory for the weights of %s", model->name);
    }
    *out = e;
    return 0;
}

int
hw_bdh_engine_create_f32(const struct hw_bdh_model *model, bool screened, bool narrow,
                         struct hw_bdh_engine **out, struct hw_err *err)
{
    struct hw_bdh_engine *e = begin_engine(model, HW_BDH_F32);

    if (e != NULL)
        e->narrow = e->narrow && narrow;
    return finish_engine(e, model, screened, out, err);
}

int
hw_bdh_engine_create_as(const struct hw_bdh_model *model, enum hw_bdh_precision precision,
                        struct hw_bdh_engine **out, struct hw_err *err)
{
    if (precision == HW_BDH_FAST && model->conf.n_neuron > HW_MAX_NEURONS8)
        return hw_err_set(err, HW_ELIMIT, "fast is for at most %u neurons a head, %s has %u: f32",
                          HW_MAX_NEURONS8, model->name, model->conf.n_neuron);
    struct hw_bdh_engine *e = begin_engine(model, precision);
    /* Where no cache holds a state, weights too come from memory: many pieces of it take as long as
     * all in one stream. */
    bool screened = e != NULL && !e->streams;

    return finish_engine(e, model, screened, out, err);
}

int
hw_bdh_engine_create(const struct hw_bdh_model *model, struct hw_bdh_engine **out,
                     struct hw_err *err)
{
    return hw_bdh_engine_create_as(model, HW_BDH_F32, out, err);
}

void
hw_bdh_engine_destroy(struct hw_bdh_engine **engine)
{
    struct hw_bdh_engine *e = *engine;

    if (e == NULL)
        return;
    free(e->embed);
    free(e->lm_head);
    free(e->freqs);
    free(e->encoder);
    free(e->encoder_rows);
    free(e->encoder_off);
    free(e->encoder_size);
    free(e->screens);
    free(e->neurons);
    free(e->encoder8);
    free(e->scales8);
    free(e->sums8);
    free(e->encoder_v8);
    free(e->decoder8);
    free(e->row_scales8);
    free(e);
    *engine = NULL;
}

const struct hw_bdh_config *
hw_bdh_engine_config(const struct hw_bdh_engine *engine)
{
    return &engine->conf;
}

const char *
hw_bdh_engine_kernels(const struct hw_bdh_engine *engine)
{
    return engine->kernels->name;
}
