/* engine/kernels_neon.c - the hot loops for NEON, that every 64-bit ARM has. */
#ifdef __aarch64__
#define HW_KERNELS_TABLE hw_kernels_neon
#define LANES 4
#define HW_KERNELS_NAME "neon"
#include "engine/kernels.inc" /* NOLINT(bugprone-suspicious-include) */
#else
/* Compiled for another machine: hw_kernels_pick does not name this table there. */
typedef int hw_no_kernels_neon;
#endif
