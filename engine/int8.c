/* engine/int8.c - see int8.h. */
#include "engine/int8.h"

#include <math.h>

static float
largest_of(const float *v, size_t count, size_t stride)
{
    float largest = 0.0f;

    for (size_t i = 0; i < count; i++)
        largest = fmaxf(largest, fabsf(v[i * stride]));
    return largest;
}

int8_t
hw_int8_round(float weight, float scale)
{
    return scale > 0.0f ? (int8_t)lrintf(fminf(fmaxf(weight / scale, -127.0f), 127.0f)) : 0;
}

/* What rounding a channel's weights at this scale costs, squared. */
static double
rounding_loss(const float *weights, size_t count, size_t stride, float scale)
{
    double loss = 0.0;

    for (size_t i = 0; i < count; i++) {
        float w = weights[i * stride];
        double off = (double)(w - scale * (float)hw_int8_round(w, scale));
        loss += off * off;
    }
    return loss;
}

float
hw_int8_scale(const float *weights, size_t count, size_t stride)
{
    float whole = largest_of(weights, count, stride) / 127.0f, best = whole;
    double least = INFINITY;

    if (!(whole > 0.0f) || !isfinite(1.0f / whole))
        return 0.0f;
    for (int step = 0; step < 8; step++) {
        float scale = whole * (1.0f - 0.04f * (float)step);
        double loss = rounding_loss(weights, count, stride, scale);
        if (loss < least) {
            least = loss;
            best = scale;
        }
    }
    return best;
}
