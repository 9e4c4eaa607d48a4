/* engine/kernels.c - which table of hot loops this machine runs. */
#include "engine/kernels.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

const struct hw_kernels *
hw_kernels_pick(void)
{
#ifdef __x86_64__
    const char *most = getenv("HATCHWAY_KERNELS");
    bool narrow = most != NULL && (strcmp(most, "base") == 0 || strcmp(most, "scalar") == 0);
    bool middle = most != NULL && strcmp(most, "avx2") == 0;
    bool no_vnni = most != NULL && strcmp(most, "avx512") == 0;

    __builtin_cpu_init();
    if (!narrow && !middle && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw"))
        return !no_vnni && __builtin_cpu_supports("avx512vnni") ? &hw_kernels_vnni
                                                                : &hw_kernels_avx512;
    if (!narrow && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &hw_kernels_avx2;
#endif
    return &hw_kernels_base;
}
