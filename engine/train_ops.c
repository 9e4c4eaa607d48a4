/* Each function here touches memory once and is compiled for the wide vector units too: together
 * they cost about a tenth of a training step, the matrix products the rest. Sums over a row run in
 * eight parts because C forbids the compiler to reorder a single float sum. */
#include "engine/train_ops.h"

#include <math.h>

#include "engine/train_wide.h"

enum { PARTS = 16 };

static inline float
sum_parts(const float *part)
{
    float sum = 0.0f;

    for (int p = 0; p < PARTS; p++)
        sum += part[p];
    return sum;
}

static inline float
row_sum(const float *v, size_t d)
{
    float part[PARTS] = {0};
    size_t i = 0;

    for (; i + PARTS <= d; i += PARTS)
        for (size_t p = 0; p < PARTS; p++)
            part[p] += v[i + p];
    for (; i < d; i++)
        part[0] += v[i];
    return sum_parts(part);
}

static inline float
row_dot(const float *v, const float *w, size_t d)
{
    float part[PARTS] = {0};
    size_t i = 0;

    for (; i + PARTS <= d; i += PARTS)
        for (size_t p = 0; p < PARTS; p++)
            part[p] += v[i + p] * w[i + p];
    for (; i < d; i++)
        part[0] += v[i] * w[i];
    return sum_parts(part);
}

HW_WIDE void
hw_ops_norm(const float *v, float *out, float *rstd, size_t rows, size_t d)
{
    for (size_t r = 0; r < rows; r++) {
        const float *from = v + r * d;
        float *to = out + r * d;
        float mean = row_sum(from, d) / (float)d;
        for (size_t i = 0; i < d; i++)
            to[i] = from[i] - mean;
        float scale = 1.0f / sqrtf(row_dot(to, to, d) / (float)d + 1e-5f);
        for (size_t i = 0; i < d; i++)
            to[i] *= scale;
        rstd[r] = scale;
    }
}

HW_WIDE void
hw_ops_norm_back(float *grad, const float *normed, const float *rstd, size_t rows, size_t d)
{
    for (size_t r = 0; r < rows; r++) {
        float *restrict g = grad + r * d;
        const float *restrict n = normed + r * d;
        float mean = row_sum(g, d) / (float)d;
        float along = row_dot(g, n, d) / (float)d;
        for (size_t i = 0; i < d; i++)
            g[i] = rstd[r] * (g[i] - mean - n[i] * along);
    }
}

void
hw_ops_rope_table(const float *freqs, size_t n, size_t len, bool wide, float *cosine, float *sine)
{
    const float turn = 6.283185307179586f;

    for (size_t t = 0; t < len; t++)
        for (size_t i = 0; i < n / 2; i++) {
            float product = (float)t * freqs[2 * i];
            double phase = wide ? (double)t * (double)freqs[2 * i] : (double)product;
            float angle = (float)(phase - floor(phase)) * turn;
            cosine[t * (n / 2) + i] = cosf(angle);
            sine[t * (n / 2) + i] = sinf(angle);
        }
}

HW_WIDE void
hw_ops_rope(const float *a, float *q, const struct hw_ops_rope *rope, size_t len)
{
    size_t half = rope->n / 2;

    for (size_t t = 0; t < len; t++) {
        const float *restrict from = a + t * rope->n;
        float *restrict to = q + t * rope->n;
        const float *restrict c = rope->cosine + t * half;
        const float *restrict s = rope->sine + t * half;
        for (size_t i = 0; i < half; i++) {
            to[2 * i] = from[2 * i] * c[i] - from[2 * i + 1] * s[i];
            to[2 * i + 1] = from[2 * i + 1] * c[i] + from[2 * i] * s[i];
        }
    }
}

HW_WIDE void
hw_ops_relu_rope(float *a, float *q, const struct hw_ops_rope *rope, size_t len)
{
    size_t half = rope->n / 2;

    for (size_t t = 0; t < len; t++) {
        float *restrict from = a + t * rope->n;
        float *restrict to = q + t * rope->n;
        const float *restrict c = rope->cosine + t * half;
        const float *restrict s = rope->sine + t * half;
        for (size_t i = 0; i < half; i++) {
            float even = from[2 * i] > 0.0f ? from[2 * i] : 0.0f;
            float odd = from[2 * i + 1] > 0.0f ? from[2 * i + 1] : 0.0f;
            from[2 * i] = even;
            from[2 * i + 1] = odd;
            to[2 * i] = even * c[i] - odd * s[i];
            to[2 * i + 1] = odd * c[i] + even * s[i];
        }
    }
}

HW_WIDE void
hw_ops_relu_rope_back(float *grad, const float *grad_q, const float *a,
                      const struct hw_ops_rope *rope, size_t len)
{
    size_t half = rope->n / 2;

    for (size_t t = 0; t < len; t++) {
        float *restrict g = grad + t * rope->n;
        const float *restrict gq = grad_q + t * rope->n;
        const float *restrict at = a + t * rope->n;
        const float *restrict c = rope->cosine + t * half;
        const float *restrict s = rope->sine + t * half;
        for (size_t i = 0; i < half; i++) {
            float even = g[2 * i] + gq[2 * i] * c[i] + gq[2 * i + 1] * s[i];
            float odd = g[2 * i + 1] + gq[2 * i + 1] * c[i] - gq[2 * i] * s[i];
            g[2 * i] = at[2 * i] > 0.0f ? even : 0.0f;
            g[2 * i + 1] = at[2 * i + 1] > 0.0f ? odd : 0.0f;
        }
    }
}

HW_WIDE void
hw_ops_relu_product(float *restrict b, const float *restrict a, float *restrict product,
                    size_t count)
{
    for (size_t i = 0; i < count; i++) {
        float value = b[i] > 0.0f ? b[i] : 0.0f;
        b[i] = value;
        product[i] = a[i] * value;
    }
}

HW_WIDE void
hw_ops_product(const float *restrict a, const float *restrict b, float *restrict product,
               size_t count)
{
    for (size_t i = 0; i < count; i++)
        product[i] = a[i] * b[i];
}

HW_WIDE void
hw_ops_relu_product_back(float *restrict grad, const float *restrict a, const float *restrict b,
                         float *restrict grad_a, float *restrict product, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        float g = grad[i];
        product[i] = a[i] * b[i];
        grad_a[i] = g * b[i];
        grad[i] = b[i] > 0.0f ? g * a[i] : 0.0f;
    }
}

/* A counter hashed (32-bit finaliser of MurmurHash3): no state to carry, so that the way back draws
 * the same mask, and one instruction stream a vector lane. */
HW_WIDE void
hw_ops_dropout(float *restrict v, size_t count, float drop, uint64_t key)
{
    uint32_t low = (uint32_t)key, high = (uint32_t)(key >> 32);
    uint32_t limit = (uint32_t)(drop * 16777216.0f);
    float scale = 1.0f / (1.0f - drop);

    for (size_t i = 0; i < count; i++) {
        uint32_t h = ((uint32_t)i * 0x9e3779b1u + low) ^ high;
        h ^= h >> 16;
        h *= 0x85ebca6bu;
        h ^= h >> 13;
        h *= 0xc2b2ae35u;
        h ^= h >> 16;
        v[i] = (h >> 8) < limit ? 0.0f : v[i] * scale;
    }
}

float
hw_ops_cross_entropy(float *logits, size_t vocab, size_t target, float weight)
{
    float top = logits[0];

    for (size_t i = 1; i < vocab; i++)
        top = logits[i] > top ? logits[i] : top;
    float wanted = logits[target] - top;
    double sum = 0.0;
    for (size_t i = 0; i < vocab; i++) {
        logits[i] = expf(logits[i] - top);
        sum += (double)logits[i];
    }
    float scale = weight / (float)sum;
    for (size_t i = 0; i < vocab; i++)
        logits[i] *= scale;
    logits[target] -= weight;
    return (float)log(sum) - wanted;
}

HW_WIDE void
hw_ops_add(float *restrict sum, const float *restrict more, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sum[i] += more[i];
}

HW_WIDE float
hw_ops_squares(const float *v, size_t count)
{
    return row_dot(v, v, count);
}

HW_WIDE void
hw_ops_adam(float *restrict w, const float *restrict grad, float *restrict m, float *restrict v,
            size_t count, const struct hw_ops_adam *adam)
{
    float b1 = adam->beta1, b2 = adam->beta2, eps = adam->eps;
    float rate = adam->lr / adam->correct1;
    float keep = 1.0f - adam->lr * adam->decay;
    float root = 1.0f / sqrtf(adam->correct2);
    float grad_scale = adam->grad_scale;

    for (size_t i = 0; i < count; i++) {
        float g = grad[i] * grad_scale;
        float mi = b1 * m[i] + (1.0f - b1) * g;
        float vi = b2 * v[i] + (1.0f - b2) * g * g;
        m[i] = mi;
        v[i] = vi;
        w[i] = w[i] * keep - rate * mi / (sqrtf(vi) * root + eps);
    }
}
