/* engine/int8.h - weights as bytes: a channel (one neuron's weights) shares a scale, and a weight
 * is scale * byte, byte in -127 .. 127. */
#ifndef HW_ENGINE_INT8_H
#define HW_ENGINE_INT8_H

#include <stddef.h>
#include <stdint.h>

/* The scale of those tried that loses least by rounding, in squares: clipping a lone large weight a
 * little can leave all others less rounded. 0: all weights are 0, or as good as. */
float hw_int8_scale(const float *weights, size_t count, size_t stride);
/* The byte for a weight; 0 for a scale of 0. */
int8_t hw_int8_round(float weight, float scale);

#endif
