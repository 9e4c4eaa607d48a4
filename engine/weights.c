/* engine/weights.c - a model's weights repacked for the hot loops, in f32 or fast.
 *
 * Encoder and lm_head lie in panels of outputs; encoder_v is transposed, each neuron's row beside
 * the decoder's, because both are visited by lists of neurons. D is padded to whole vectors with
 * zeros, N to whole panels: no loop has a remainder. Fast holds the encoder in int8, a scale a
 * neuron, and rows of neurons too, and the state in bf16: a third of the bytes that a token moves.
 * The embedding and lm_head stay f32: they are small, and nothing behind lm_head evens an error
 * out. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/forward_parts.h"
#include "engine/int8.h"
#include "engine/turns.h"

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

/* One head's encoder [D, N] in int8. */
static void
pack_encoder8(struct hw_bdh_engine *e, size_t head, const float *matrix)
{
    size_t d = e->conf.n_embd, n = e->conf.n_neuron;
    int8_t *panels = e->encoder8 + head * e->head_width * e->groups * 4;

    for (size_t o = 0; o < n; o++) {
        int8_t *panel = panels + o / HW_PANEL * e->groups * 4 * HW_PANEL + o % HW_PANEL * 4;
        float scale = hw_int8_scale(matrix + o, d, n);
        int32_t sum = 0;
        for (size_t i = 0; i < d; i++) {
            int8_t w = hw_int8_round(matrix[i * n + o], scale);
            panel[i / 4 * 4 * HW_PANEL + i % 4] = w;
            sum += w;
        }
        e->scales8[head * e->head_width + o] = scale;
        e->sums8[head * e->head_width + o] = sum;
    }
}

/* Neuron i of head h in encoder_v: a column of it. */
static void
take_column(const struct hw_bdh_model *model, size_t h, size_t i, float *row)
{
    size_t d = model->conf.n_embd, n = model->conf.n_neuron;

    for (size_t j = 0; j < d; j++)
        row[j] = model->encoder_v[(h * d + j) * n + i];
}

static void
pack_f32(struct hw_bdh_engine *e, const struct hw_bdh_model *model)
{
    size_t d = e->conf.n_embd, n = e->conf.n_neuron;

    for (size_t h = 0; h < e->conf.n_head; h++) {
        pack_panels(model->encoder + h * d * n, d, n, e->encoder + h * e->head_width * d);
        for (size_t i = 0; i < n; i++) {
            float *rows = e->neurons + (h * n + i) * 2 * e->width;
            take_column(model, h, i, rows);
            memcpy(rows + e->width, model->decoder + (h * n + i) * d, d * sizeof(float));
        }
    }
}

/* column: room for D floats. */
static void
pack_fast(struct hw_bdh_engine *e, const struct hw_bdh_model *model, float *column)
{
    size_t d = e->conf.n_embd, n = e->conf.n_neuron;

    for (size_t h = 0; h < e->conf.n_head; h++) {
        pack_encoder8(e, h, model->encoder + h * d * n);
        for (size_t i = 0; i < n; i++) {
            const float *row = model->decoder + (h * n + i) * d;
            uint8_t *from = e->encoder_v8 + (h * n + i) * e->width;
            int8_t *to = e->decoder8 + (h * n + i) * e->width;
            take_column(model, h, i, column);
            float column_scale = hw_int8_scale(column, d, 1), row_scale = hw_int8_scale(row, d, 1);
            for (size_t j = 0; j < d; j++) {
                from[j] = (uint8_t)(hw_int8_round(column[j], column_scale) + HW_BIAS8);
                to[j] = hw_int8_round(row[j], row_scale);
            }
            e->row_scales8[h * e->head_width + i] = column_scale * row_scale;
        }
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
    if (e->precision == HW_BDH_F32) {
        pack_f32(e, model);
        return true;
    }
    float *column = hw_bdh_alloc(d, sizeof(float));
    if (column != NULL)
        pack_fast(e, model, column);
    free(column);
    return column != NULL;
}

static bool
alloc_weights(struct hw_bdh_engine *e)
{
    size_t d = e->conf.n_embd, heads = e->conf.n_head;
    size_t row_values = heads * e->conf.n_neuron * e->width;

    e->embed = hw_bdh_alloc(e->conf.vocab * e->width, sizeof(float));
    e->lm_head = hw_bdh_alloc(e->vocab_panels * d * HW_PANEL, sizeof(float));
    e->freqs = hw_bdh_alloc(e->conf.n_neuron, sizeof(float));
    if (e->embed == NULL || e->lm_head == NULL || e->freqs == NULL)
        return false;
    if (e->precision == HW_BDH_F32) {
        e->encoder = hw_bdh_alloc(heads * e->head_width * d, sizeof(float));
        e->neurons = hw_bdh_alloc(2 * row_values, sizeof(float));
        return e->encoder != NULL && e->neurons != NULL;
    }
    e->encoder8 = hw_bdh_alloc(heads * e->head_width * e->groups, 4);
    e->scales8 = hw_bdh_alloc(heads * e->head_width, sizeof(float));
    e->sums8 = hw_bdh_alloc(heads * e->head_width, sizeof(int32_t));
    e->encoder_v8 = hw_bdh_alloc(row_values, 1);
    e->decoder8 = hw_bdh_alloc(row_values, 1);
    e->row_scales8 = hw_bdh_alloc(heads * e->head_width, sizeof(float));
    return e->encoder8 != NULL && e->scales8 != NULL && e->sums8 != NULL && e->encoder_v8 != NULL &&
           e->decoder8 != NULL && e->row_scales8 != NULL;
}

int
hw_bdh_engine_create_as(const struct hw_bdh_model *model, enum hw_bdh_precision precision,
                        struct hw_bdh_engine **out, struct hw_err *err)
{
    struct hw_bdh_engine *e = calloc(1, sizeof(*e));
    if (e == NULL)
        return hw_err_set(err, HW_ENOMEM, "no memory for an engine");
    e->conf = model->conf;
    e->fading = e->conf.decay == 0.0f ? 0.0 : -log2((double)e->conf.decay);
    e->precision = precision;
    e->kernels = hw_kernels_pick();
    e->width = round_up(e->conf.n_embd, precision == HW_BDH_F32 ? HW_LANES : HW_PANEL);
    e->head_panels = round_up(e->conf.n_neuron, HW_PANEL) / HW_PANEL;
    e->head_width = e->head_panels * HW_PANEL;
    e->vocab_panels = round_up(e->conf.vocab, HW_PANEL) / HW_PANEL;
    e->groups = round_up(e->conf.n_embd, 4) / 4;
    size_t cache = hw_turn_cache_bytes();
    e->streams = cache > 0 && hw_bdh_engine_state_bytes(e) > cache;
    if (!alloc_weights(e) || !pack(e, model)) {
        hw_bdh_engine_destroy(&e);
        return hw_err_set(err, HW_ENOMEM, "no memory for the weights of %s", model->name);
    }
    memcpy(e->digest, model->digest, sizeof(e->digest));
    *out = e;
    return 0;
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
