/* Numbers at random, the same each time: Knuth's linear congruential generator. */
#ifndef HW_TESTS_NEXT_FLOAT_H
#define HW_TESTS_NEXT_FLOAT_H

#include <stdint.h>

/* -0.5 .. 0.5, the next of those that `dice` stands for. */
static inline float
hw_next_float(uint64_t *dice)
{
    *dice = *dice * 6364136223846793005u + 1442695040888963407u;
    return (float)(*dice >> 40) / (float)(1 << 24) - 0.5f;
}

#endif
