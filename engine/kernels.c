/* engine/kernels.c - which table of hot loops this machine runs. */
#include "engine/kernels.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#ifdef __aarch64__
#include <sys/auxv.h>
#endif

/* Whether the user wants no more than this set. */
static bool
at_most(const char *name)
{
    const char *most = getenv("HATCHWAY_KERNELS");

    return most != NULL && strcmp(most, name) == 0;
}

#ifdef __x86_64__
static const struct hw_kernels *
pick_avx512(void)
{
    if (at_most("avx512") || !__builtin_cpu_supports("avx512vnni"))
        return &hw_kernels_avx512;
    if (at_most("vnni") || !__builtin_cpu_supports("avx512bf16"))
        return &hw_kernels_vnni;
    return &hw_kernels_bf16;
}
#endif

const struct hw_kernels *
hw_kernels_pick(void)
{
    if (at_most("base") || at_most("scalar"))
        return &hw_kernels_base;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!at_most("avx2") && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw"))
        return pick_avx512();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &hw_kernels_avx2;
#elif defined(__aarch64__)
    return !at_most("neon") && (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0 ? &hw_kernels_dotprod
                                                                          : &hw_kernels_neon;
#endif
    return &hw_kernels_base;
}
