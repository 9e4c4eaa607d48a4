/* Neurons are taken in tiles whose rows of the decoder, of encoder_v and of their gradients stay in
 * the second-level cache while all rows of the batch pass by. Dense, the five products that meet
 * here cost some 47 cycles a neuron and row; so, about 80 for each that is active and 3 to find
 * them. */
#include "engine/train_sparse.h"

#include <stdint.h>
#include <string.h>

#include "engine/train_wide.h"

enum { TILE = 128, SAMPLE = 16, PARTS = 16, BLOCK = 16 };

bool
hw_sparse_pays(const float *product, size_t rows, size_t n)
{
    size_t active = 0, seen = 0;

    for (size_t r = 0; r < rows; r += SAMPLE, seen += n)
        for (size_t j = 0; j < n; j++)
            active += product[r * n + j] != 0.0f;
    return active < seen / 6;
}

/* Which of the tile's neurons are active in a row; no branch to mispredict. */
static inline size_t
find_active(const float *product, size_t count, uint32_t active[TILE])
{
    size_t found = 0;

    for (size_t j = 0; j < count; j++) {
        active[found] = (uint32_t)j;
        found += product[j] != 0.0f;
    }
    return found;
}

HW_WIDE void
hw_sparse_forward(const float *product, const float *decoder, float *z, size_t rows, size_t n,
                  size_t d)
{
    uint32_t active[TILE];

    for (size_t first = 0; first < n; first += TILE) {
        size_t count = n - first < TILE ? n - first : TILE;
        for (size_t r = 0; r < rows; r++) {
            const float *p = product + r * n + first;
            float *restrict to = z + r * d;
            size_t found = find_active(p, count, active);
            for (size_t k = 0; k < found; k++) {
                const float *restrict row = decoder + (first + active[k]) * d;
                float value = p[active[k]];
                HW_NO_OVERLAP
                for (size_t i = 0; i < d; i++)
                    to[i] += value * row[i];
            }
        }
    }
}

static inline float
dot(const float *v, const float *w, size_t d)
{
    float part[PARTS] = {0};
    size_t i = 0;

    for (; i + PARTS <= d; i += PARTS)
        for (size_t p = 0; p < PARTS; p++)
            part[p] += v[i + p] * w[i + p];
    for (; i < d; i++)
        part[0] += v[i] * w[i];
    for (size_t half = PARTS / 2; half > 0; half /= 2)
        for (size_t p = 0; p < half; p++)
            part[p] += part[p + half];
    return part[0];
}

/* One active neuron j in row r: everything that passes through its a * b. */
static inline void
back_neuron(const struct hw_sparse_back *back, size_t r, size_t j)
{
    size_t d = back->d, at = r * back->n + j;
    const float *restrict grad_z = back->grad_z + r * d;
    const float *restrict normed = back->normed + r * d;
    const float *restrict encoder_vt = back->encoder_vt + j * d;
    float *restrict grad_normed = back->grad_normed + r * d;
    float *restrict grad_decoder = back->grad_decoder + j * d;
    float *restrict grad_encoder_vt = back->grad_encoder_vt + j * d;
    float product = back->product[at];
    float grad = back->drop_scale * dot(grad_z, back->decoder + j * d, d);
    float grad_b = grad * back->a[at];

    back->grad_a[at] = grad * back->b[at];
    HW_NO_OVERLAP
    for (size_t i = 0; i < d; i++) {
        grad_decoder[i] += product * grad_z[i];
        grad_normed[i] += grad_b * encoder_vt[i];
        grad_encoder_vt[i] += grad_b * normed[i];
    }
}

HW_WIDE void
hw_sparse_backward(const struct hw_sparse_back *back)
{
    uint32_t active[TILE];

    memset(back->grad_normed, 0, back->rows * back->d * sizeof(float));
    for (size_t first = 0; first < back->n; first += TILE) {
        size_t count = back->n - first < TILE ? back->n - first : TILE;
        for (size_t r = 0; r < back->rows; r++) {
            size_t found = find_active(back->product + r * back->n + first, count, active);
            memset(back->grad_a + r * back->n + first, 0, count * sizeof(float));
            for (size_t k = 0; k < found; k++)
                back_neuron(back, r, first + active[k]);
        }
    }
}

void
hw_sparse_transpose(const float *in, size_t rows, size_t columns, float *out, bool add)
{
    for (size_t r0 = 0; r0 < rows; r0 += BLOCK)
        for (size_t c0 = 0; c0 < columns; c0 += BLOCK)
            for (size_t c = c0; c < c0 + BLOCK && c < columns; c++)
                for (size_t r = r0; r < r0 + BLOCK && r < rows; r++)
                    out[c * rows + r] = (add ? out[c * rows + r] : 0.0f) + in[r * columns + c];
}
