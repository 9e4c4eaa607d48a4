/* engine/kernels_bf16.c - the hot loops for AVX-512 with VNNI and BF16. */
#ifdef __AVX512BF16__
#define HW_KERNELS_TABLE hw_kernels_bf16
#define LANES 16
#define HW_KERNELS_NAME "avx512-bf16"
#include "engine/kernels.inc" /* NOLINT(bugprone-suspicious-include) */
#else
/* Compiled for another machine: hw_kernels_pick does not name this table there. */
typedef int hw_no_kernels_bf16;
#endif
