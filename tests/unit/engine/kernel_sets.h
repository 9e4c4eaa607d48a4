/* Values of HATCHWAY_KERNELS: a set that this processor lacks gives the next one it has. */
#ifndef HW_TESTS_KERNEL_SETS_H
#define HW_TESTS_KERNEL_SETS_H

static const char *const kernel_sets[] = {"scalar", "avx2", "avx512", "vnni", "neon", "best"};
#define KERNEL_SETS (sizeof(kernel_sets) / sizeof(kernel_sets[0]))

#endif
