/* engine/halfs.h - floats' bits, and the two 16-bit floats of checkpoint files. */
#ifndef HW_ENGINE_HALFS_H
#define HW_ENGINE_HALFS_H

#include <stdint.h>
#include <string.h>

static inline float
hw_f32_from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof(f));
    return f;
}

static inline uint32_t
hw_bits_from_f32(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof(bits));
    return bits;
}

static inline float
hw_f32_from_bf16(uint16_t half)
{
    return hw_f32_from_bits((uint32_t)half << 16);
}

/* Rounds to nearest, ties to even. Finite input only: a NaN's payload could round to infinity. */
static inline uint16_t
hw_bf16_from_f32(float value)
{
    uint32_t bits = hw_bits_from_f32(value);
    bits += 0x7fffu + ((bits >> 16) & 1u);
    return (uint16_t)(bits >> 16);
}

static inline float
hw_f32_from_f16(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t exponent = (half >> 10) & 0x1fu;
    uint32_t fraction = half & 0x3ffu;

    if (exponent == 0) { /* zero and subnormals: fraction * 2^-24, exact in f32 */
        float magnitude = (float)fraction * 0x1p-24f;
        return sign != 0 ? -magnitude : magnitude;
    }
    uint32_t wide = exponent == 0x1fu ? 0xffu : exponent + 112u;
    return hw_f32_from_bits(sign | wide << 23 | fraction << 13);
}

#endif
