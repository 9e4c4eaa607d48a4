/* bench/measure.c - see measure.h. */
#include "bench/measure.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "config/jsonl.h"

void
hw_bench_fail(const struct hw_err *err)
{
    fprintf(stderr, "%s: %s\n", program_invocation_short_name, err->msg);
    exit(1);
}

double
hw_bench_wall_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec * 1e-3;
}

static int
compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

struct hw_bench_figure
hw_bench_figure_of(double *values, size_t count)
{
    qsort(values, count, sizeof(*values), compare_doubles);
    return (struct hw_bench_figure){.least = values[0], .median = values[count / 2]};
}

void
hw_bench_read_text(const char *folder, char *text, size_t size)
{
    struct hw_err err;
    struct hw_jsonl *file;
    struct hw_jsonl_row row;
    char path[600];
    size_t len = 0;

    snprintf(path, sizeof(path), "%s/hwu64_role.test.jsonl", folder);
    while (len < size - 1) {
        int rc = hw_jsonl_open(path, &file, &err);
        if (rc != 0)
            hw_bench_fail(&err);
        while (len < size - 1 && (rc = hw_jsonl_next(file, &row, &err)) == 1)
            len += (size_t)snprintf(text + len, size - len, "%s. ", row.text);
        hw_jsonl_close(&file);
        if (rc < 0)
            hw_bench_fail(&err);
    }
}
