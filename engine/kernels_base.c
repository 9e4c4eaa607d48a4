/* engine/kernels_base.c - the hot loops for whatever the compiler's default target has
 * (SSE2 on x86-64). */
#define HW_KERNELS_TABLE hw_kernels_base
#define LANES 4
#define HW_KERNELS_NAME "base"
#include "engine/kernels.inc" /* NOLINT(bugprone-suspicious-include) */
