/* engine/kernels_avx2.c - the hot loops for AVX2 and FMA. */
#ifdef __AVX2__
#define HW_KERNELS_TABLE hw_kernels_avx2
#define LANES 8
#define HW_KERNELS_NAME "avx2"
#include "engine/kernels.inc" /* NOLINT(bugprone-suspicious-include) */
#else
/* Compiled for another machine: hw_kernels_pick does not name this table there. */
typedef int hw_no_kernels_avx2;
#endif
