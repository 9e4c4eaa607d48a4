/* engine/kernels_avx512.c - the hot loops for AVX-512. */
#ifdef __AVX512F__
#define HW_KERNELS_TABLE hw_kernels_avx512
#define LANES 16
#define HW_KERNELS_NAME "avx512"
#include "engine/kernels.inc" /* NOLINT(bugprone-suspicious-include) */
#else
/* Compiled for another machine: hw_kernels_pick does not name this table there. */
typedef int hw_no_kernels_avx512;
#endif
