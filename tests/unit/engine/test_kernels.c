/* Each set of hot loops against plain sums in double, in widths that take every path of theirs. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/kernels.h"

#define ROWS 40
#define TOLERANCE 1e-5

static const size_t widths[] = {16, 32, 48, 64, 80, 96, 112, 128, 144, 240, 256, 272, 400};
#define WIDTHS (sizeof(widths) / sizeof(widths[0]))

static uint64_t dice = 1;

static float
next_float(void)
{
    dice = dice * 6364136223846793005u + 1442695040888963407u;
    return (float)(dice >> 40) / (float)(1 << 24) - 0.5f;
}

static float *
random_floats(size_t count)
{
    float *p = aligned_alloc(64, (count * sizeof(float) + 63) / 64 * 64);
    assert_non_null(p);
    for (size_t i = 0; i < count; i++)
        p[i] = next_float();
    return p;
}

static float *
copy_of(const float *from, size_t count)
{
    float *p = random_floats(count);
    memcpy(p, from, count * sizeof(float));
    return p;
}

static void
expect_near(float got, double expected)
{
    if (!(fabs((double)got - expected) <= TOLERANCE))
        fail_msg("%.9g is not %.9g", (double)got, expected);
}

/* About half of the rows, ascending. */
static size_t
pick_rows(uint32_t *rows)
{
    size_t count = 0;
    for (uint32_t row = 0; row < ROWS; row++)
        if (next_float() > 0.0f)
            rows[count++] = row;
    return count;
}

static void
check_dense(const struct hw_kernels *kernels, size_t inputs, size_t panels)
{
    float *w = random_floats(panels * inputs * HW_PANEL), *x = random_floats(inputs);
    float *out = random_floats(panels * HW_PANEL);
    kernels->dense(w, panels, inputs, x, out);
    for (size_t o = 0; o < panels * HW_PANEL; o++) {
        double sum = 0.0;
        for (size_t i = 0; i < inputs; i++)
            sum += (double)x[i] * (double)w[(o / HW_PANEL * inputs + i) * HW_PANEL + o % HW_PANEL];
        expect_near(out[o], sum);
    }
    free(w);
    free(x);
    free(out);
}

static void
check_attend(const struct hw_kernels *kernels, size_t width, bool empty)
{
    uint32_t rows[ROWS];
    float q[ROWS];
    size_t count = empty ? 0 : pick_rows(rows);
    float *state = random_floats(ROWS * width), *before = copy_of(state, ROWS * width);
    float *x = random_floats(width), *y = random_floats(width), *y_before = copy_of(y, width);
    for (size_t k = 0; k < count; k++)
        q[k] = next_float();
    kernels->attend(state, width, rows, q, count, x, y);
    for (size_t j = 0; j < width; j++) {
        double sum = (double)y_before[j];
        size_t k = 0;
        for (size_t row = 0; row < ROWS; row++) {
            double held = (double)before[row * width + j];
            bool listed = k < count && rows[k] == row;
            if (listed) {
                sum += (double)q[k] * held;
                held += (double)q[k] * (double)x[j];
                k++;
            }
            expect_near(state[row * width + j], held);
        }
        expect_near(y[j], sum);
    }
    free(state);
    free(before);
    free(x);
    free(y);
    free(y_before);
}

static void
check_dots_and_combine(const struct hw_kernels *kernels, size_t width)
{
    uint32_t rows[ROWS];
    float out[ROWS], c[ROWS];
    size_t count = pick_rows(rows), stride = 2 * width;
    float *matrix = random_floats(ROWS * stride), *v = random_floats(width);
    float *z = random_floats(width), *z_before = copy_of(z, width);
    kernels->dots(matrix, stride, width, rows, count, v, out);
    for (size_t k = 0; k < count; k++) {
        double sum = 0.0;
        for (size_t j = 0; j < width; j++)
            sum += (double)matrix[rows[k] * stride + j] * (double)v[j];
        expect_near(out[k], sum);
        c[k] = next_float();
    }
    kernels->combine(matrix + width, stride, width, rows, c, count, z);
    for (size_t j = 0; j < width; j++) {
        double sum = (double)z_before[j];
        for (size_t k = 0; k < count; k++)
            sum += (double)c[k] * (double)matrix[rows[k] * stride + width + j];
        expect_near(z[j], sum);
    }
    free(matrix);
    free(v);
    free(z);
    free(z_before);
}

static void
check_all(const struct hw_kernels *kernels)
{
    static const size_t inputs[] = {1, 2, 3, 20, 127, 128};
    for (size_t i = 0; i < sizeof(inputs) / sizeof(inputs[0]); i++)
        check_dense(kernels, inputs[i], 1 + i % 3);
    for (size_t i = 0; i < WIDTHS; i++) {
        check_attend(kernels, widths[i], false);
        check_attend(kernels, widths[i], true);
        check_dots_and_combine(kernels, widths[i]);
    }
}

static void
test_every_set(void **state)
{
    (void)state;
    static const char *const names[] = {"base", "avx2", "avx512"};
    for (size_t i = 0; i < 3; i++) {
        setenv("HATCHWAY_KERNELS", names[i], 1);
        check_all(hw_kernels_pick());
    }
    setenv("HATCHWAY_KERNELS", "base", 1);
    assert_string_equal(hw_kernels_pick()->name, "base");
    unsetenv("HATCHWAY_KERNELS");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_set)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
