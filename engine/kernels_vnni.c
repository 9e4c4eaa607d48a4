/* engine/kernels_vnni.c - the hot loops for AVX-512 with VNNI. */
#ifdef __AVX512VNNI__
#define HW_KERNELS_TABLE hw_kernels_vnni
#define LANES 16
#define HW_KERNELS_NAME "avx512-vnni"
#include "engine/kernels.inc" /* NOLINT(bugprone-suspicious-include) */
#else
/* Compiled for another machine: hw_kernels_pick does not name this table there. */
typedef int hw_no_kernels_vnni;
#endif
