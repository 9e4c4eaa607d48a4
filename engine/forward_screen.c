/* engine/forward_screen.c - which neurons need not be summed in f32 (struct hw_screen). */
#include <math.h>

#include "engine/forward_parts.h"

#define LEAST_LENGTH2 1e-24f
#define MARGIN 1.0001f /* for the rounding of these very sums */

float
hw_bdh_screen_least(const struct hw_screen *screen, const float *y, size_t width,
                    const struct hw_input8 *bytes)
{
    float length[8] = {0}, off[8] = {0}, length2 = 0.0f, off2 = 0.0f;

    for (size_t i = 0; i < width; i += 8)
        for (size_t j = 0; j < 8; j++) {
            float rest = y[i + j] - bytes->scale * (float)bytes->bytes[i + j];
            length[j] += y[i + j] * y[i + j];
            off[j] += rest * rest;
        }
    for (size_t j = 0; j < 8; j++) {
        length2 += length[j];
        off2 += off[j];
    }
    if (!(length2 > LEAST_LENGTH2))
        return -INFINITY; /* the squares of what is smaller are lost: all may be above 0 */
    return -MARGIN * (screen->off * sqrtf(length2) + screen->size * sqrtf(off2));
}
