/* engine/kernels_dotprod.c - the hot loops for NEON with byte products (ARMv8.2 dotprod, Apple M1).
 */
#ifdef __ARM_FEATURE_DOTPROD
#define HW_KERNELS_TABLE hw_kernels_dotprod
#define LANES 4
#define HW_KERNELS_NAME "dotprod"
#include "engine/kernels.inc" /* NOLINT(bugprone-suspicious-include) */
#else
/* Compiled for another machine: hw_kernels_pick does not name this table there. */
typedef int hw_no_kernels_dotprod;
#endif
