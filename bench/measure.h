/* bench/measure.h - what the benches of decisions share: times, their least and median, cold
 * caches, and real sentences to read. Whatever fails ends the program with the reason. */
#ifndef HW_BENCH_MEASURE_H
#define HW_BENCH_MEASURE_H

#include <stddef.h>

#include "hatchway/err.h"

struct hw_bench_figure {
    double least, median;
};

_Noreturn void hw_bench_fail(const struct hw_err *err);
/* For what is too short for the CPU clock's own cost; the least and median leave out what else ran.
 */
double hw_bench_wall_us(void);
/* Sorts the values. */
struct hw_bench_figure hw_bench_figure_of(double *values, size_t count);
/* Fills text [size] and ends it with a NUL: the sentences of hwu64_role.test.jsonl in the folder,
 * one behind the other and again from the first. */
void hw_bench_read_text(const char *folder, char *text, size_t size);

#endif
