/* Numbers at random for the tests of the hot loops, the same each time. */
#ifndef HW_TESTS_KERNEL_DATA_H
#define HW_TESTS_KERNEL_DATA_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/engine/next_float.h"

static uint64_t dice = 1;

static inline float
next_float(void)
{
    return hw_next_float(&dice);
}

static inline float *
random_floats(size_t count)
{
    float *p = aligned_alloc(64, (count * sizeof(float) + 63) / 64 * 64);
    assert_non_null(p);
    for (size_t i = 0; i < count; i++)
        p[i] = next_float();
    return p;
}

static inline float *
copy_of(const float *from, size_t count)
{
    float *p = random_floats(count);
    memcpy(p, from, count * sizeof(float));
    return p;
}

#endif
