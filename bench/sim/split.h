/* bench/sim/split.h - three specialists on three GPUs against one big model split over them. */
#ifndef HW_BENCH_SPLIT_H
#define HW_BENCH_SPLIT_H

#include <stddef.h>
#include <stdint.h>

/* Prints the table: mean and 99th percentile as load grows, for mixes of roles. */
void sim_split_print(size_t query_count, uint64_t seed);

#endif
