/* engine/forward_screen.c - which neurons need not be summed in f32 (struct hw_screen). */
#include <math.h>

#include "engine/forward_parts.h"

#define LEAST_LENGTH2 1e-24f
#define TRIED 16u      /* tokens, and if too few of their neurons are spared, */
#define UNTRIED 240u   /* that many go without a screen */
#define MARGIN 1.0001f /* for the rounding of these very sums */

/* |v| and |v - its bytes|. Infinite where the squares of what is so small are lost, or v is no
 * number: nothing may be said then. */
static void
measure(const float *v, size_t width, const struct hw_input8 *bytes, float *length,
        float *input_off)
{
    float lengths[8] = {0}, offs[8] = {0}, length2 = 0.0f, off2 = 0.0f;

    for (size_t i = 0; i < width; i += 8)
        for (size_t j = 0; j < 8; j++) {
            float rest = v[i + j] - bytes->scale * (float)bytes->bytes[i + j];
            lengths[j] += v[i + j] * v[i + j];
            offs[j] += rest * rest;
        }
    for (size_t j = 0; j < 8; j++) {
        length2 += lengths[j];
        off2 += offs[j];
    }
    bool there = length2 > LEAST_LENGTH2;
    *length = there ? MARGIN * sqrtf(length2) : INFINITY;
    *input_off = there ? MARGIN * sqrtf(off2) : INFINITY;
}

float
hw_bdh_screen_least(const struct hw_screen *screen, const float *y, size_t width,
                    const struct hw_input8 *bytes)
{
    float length, off;

    measure(y, width, bytes, &length, &off);
    return isinf(length) ? -INFINITY : -(screen->off * length + screen->size * off);
}

/* Tokens differ, so TRIED of them are judged together. Which way one goes is no matter of bits. */
bool
hw_bdh_screen_pays(const struct hw_bdh_engine *e, struct hw_scratch *s)
{
    const size_t neurons = (size_t)e->conf.n_layer * e->conf.n_head * e->conf.n_neuron;

    if (e->encoder_rows == NULL)
        return false;
    if (s->turn == TRIED && s->summed <= TRIED * neurons / 5 * 2)
        s->turn = 0; /* else panels are read faster than so many rows */
    if (s->turn == TRIED + UNTRIED)
        s->turn = 0;
    if (s->turn == 0)
        s->summed = 0;
    return s->turn++ < TRIED;
}

void
hw_bdh_screen_take(const struct hw_bdh_engine *e, struct hw_scratch *s)
{
    const size_t part = hw_part_inputs(e->conf.n_embd);

    e->kernels->quantise(s->x, e->width, &s->inputs[0]);
    measure(s->x, e->width, &s->inputs[0], &s->margins.length, &s->margins.input_off);
    for (size_t i = 0; i < e->conf.n_embd; i++)
        s->x_parts[hw_part_place(i, part)] = s->x[i];
}

void
hw_bdh_screen_encode(const struct hw_bdh_engine *e, struct hw_scratch *s, size_t head)
{
    const struct hw_panels8 weights = hw_bdh_encoder8(e, head);
    const float *restrict sums = s->dots;
    const uint32_t *restrict maybe = s->maybe;
    float *restrict encoded = s->encoded;

    s->margins.off = e->encoder_off + head * e->head_width;
    s->margins.size = e->encoder_size + head * e->head_width;
    e->kernels->dense8(&weights, s->inputs, 1, s->encoded, e->head_width);
    size_t count = e->kernels->may_fire(s->encoded, &s->margins, e->conf.n_neuron, s->maybe);
    s->summed += count;
    hw_bdh_dots(e, e->encoder_rows, head * e->conf.n_neuron * e->width, e->width, maybe, count,
                s->x_parts, s->dots);
    for (size_t k = 0; k < count; k++)
        encoded[maybe[k]] = sums[k];
}
