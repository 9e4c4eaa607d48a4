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

#include "engine/halfs.h"
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
check_dense(const struct hw_kernels *kernels, size_t inputs, size_t panels, size_t tokens)
{
    size_t x_stride = inputs + 3, out_stride = (panels + 1) * HW_PANEL;
    float *w = random_floats(panels * inputs * HW_PANEL), *x = random_floats(tokens * x_stride);
    float *out = random_floats(tokens * out_stride), *alone = random_floats(out_stride);
    kernels->dense(w, panels, inputs, x, x_stride, tokens, out, out_stride);
    for (size_t t = 0; t < tokens; t++) {
        for (size_t o = 0; o < panels * HW_PANEL; o++) {
            double sum = 0.0;
            for (size_t i = 0; i < inputs; i++)
                sum += (double)x[t * x_stride + i] *
                       (double)w[(o / HW_PANEL * inputs + i) * HW_PANEL + o % HW_PANEL];
            expect_near(out[t * out_stride + o], sum);
        }
        kernels->dense(w, panels, inputs, x + t * x_stride, x_stride, 1, alone, out_stride);
        assert_memory_equal(alone, out + t * out_stride, panels * HW_PANEL * sizeof(float));
    }
    free(w);
    free(x);
    free(out);
    free(alone);
}

/* Bytes in, the same product as of the floats that they stand for. */
static void
check_dense8(const struct hw_kernels *kernels, size_t width, size_t panels)
{
    size_t outputs = panels * HW_PANEL;
    float *x = random_floats(width), *scales = random_floats(outputs);
    float *out = random_floats(outputs);
    int8_t *w = aligned_alloc(64, outputs * width);
    int32_t *sums = aligned_alloc(64, outputs * sizeof(*sums));
    int8_t high[400], low[400];
    struct hw_input8 in = {high, low, 0.0f};
    assert_non_null(w);
    assert_non_null(sums);
    memset(sums, 0, outputs * sizeof(*sums));
    for (size_t o = 0; o < outputs; o++)
        for (size_t i = 0; i < width; i++) {
            size_t at =
                o / HW_PANEL * width * HW_PANEL + i / 4 * 4 * HW_PANEL + o % HW_PANEL * 4 + i % 4;
            w[at] = (int8_t)(next_float() * 254.0f);
            sums[o] += w[at];
        }
    kernels->quantise(x, width, &in);
    for (size_t i = 0; i < width; i++)
        assert_true(fabsf(in.scale * ((float)high[i] + (float)low[i] / 256.0f) - x[i]) < 2e-5f);
    const struct hw_panels8 weights = {w, scales, sums, panels, width / 4};
    kernels->dense8(&weights, &in, out);
    for (size_t o = 0; o < outputs; o++) {
        double sum = 0.0;
        for (size_t i = 0; i < width; i++)
            sum += ((double)high[i] + (double)low[i] / 256.0) *
                   (double)w[o / HW_PANEL * width * HW_PANEL + i / 4 * 4 * HW_PANEL +
                             o % HW_PANEL * 4 + i % 4];
        double expected = sum * (double)in.scale * (double)scales[o];
        assert_true(fabs((double)out[o] - expected) <= 1e-5 * fmax(1.0, fabs(expected)));
    }
    free(x);
    free(scales);
    free(out);
    free(w);
    free(sums);
}

static void
check_lists(const struct hw_kernels *kernels, size_t n)
{
    float *encoded = random_floats(n), *cosines = random_floats(n), *sines = random_floats(n);
    uint32_t rows[272 + HW_LANES], active[272 + HW_LANES], open[272 + HW_LANES];
    float q[272 + HW_LANES], a[272 + HW_LANES], b[272 + HW_LANES], c[272 + HW_LANES];
    struct hw_fired fired = {.rows = rows, .q = q, .active = active, .a = a};
    size_t row = 0, neuron = 0, gate = 0;
    kernels->list(encoded, cosines, sines, n, &fired);
    for (size_t i = 0; i < n; i++) {
        double own = fmax(0.0, (double)encoded[i]), other = fmax(0.0, (double)encoded[i ^ 1]);
        double turned =
            own * (double)cosines[i] + (i % 2 == 0 ? -1.0 : 1.0) * other * (double)sines[i];
        if (own > 0.0) {
            assert_int_equal(active[neuron], i);
            assert_true(a[neuron++] == encoded[i]);
        }
        if (own > 0.0 || other > 0.0) {
            assert_int_equal(rows[row], i);
            expect_near(q[row++], turned);
        }
    }
    assert_int_equal(fired.row_count, row);
    assert_int_equal(fired.active_count, neuron);
    for (size_t k = 0; k < neuron; k++)
        b[k] = next_float();
    size_t gated = kernels->gate(active, a, b, neuron, open, c);
    for (size_t k = 0; k < neuron; k++)
        if (a[k] * b[k] > 0.0f) {
            assert_int_equal(open[gate], active[k]);
            assert_true(c[gate++] == a[k] * b[k]);
        }
    assert_int_equal(gated, gate);
    free(encoded);
    free(cosines);
    free(sines);
}

static void
check_norm(const struct hw_kernels *kernels, size_t n)
{
    float *v = random_floats(n + 1), *before = copy_of(v, n + 1);
    double mean = 0.0, variance = 0.0;
    kernels->norm(v, n);
    for (size_t i = 0; i < n; i++)
        mean += (double)before[i] / (double)n;
    for (size_t i = 0; i < n; i++)
        variance += pow((double)before[i] - mean, 2.0) / (double)n;
    for (size_t i = 0; i < n; i++)
        expect_near(v[i], ((double)before[i] - mean) / sqrt(variance + 1e-5));
    assert_true(v[n] == before[n]);
    free(v);
    free(before);
}

/* A state in bf16 keeps seven bits after the first; what it rounds away it keeps on the average: a
 * thousand additions of a tenth of a rounding step arrive. */
static void
check_attend16(const struct hw_kernels *kernels, size_t width)
{
    const uint32_t rows[] = {1, 3};
    const float once[] = {1.0f, -2.0f}, none[] = {0.0f, 0.0f}, half[] = {0.5f, 0.0f};
    uint16_t *state = aligned_alloc(64, 4 * width * sizeof(*state));
    float *x = random_floats(width), *y = random_floats(width), *zero = random_floats(width);
    assert_non_null(state);
    memset(state, 0, 4 * width * sizeof(*state));
    for (size_t j = 0; j < width; j++) {
        x[j] = 1.0f + (float)j / 1024.0f;
        zero[j] = y[j] = 0.0f;
    }
    kernels->attend16(state, width, rows, once, 2, x, y, 7);
    assert_memory_equal(y, zero, width * sizeof(float)); /* read before written */
    for (uint32_t i = 0; i < 1000; i++) {
        float little[] = {0.0008f, 0.0f};
        kernels->attend16(state, width, rows, little, 2, x, zero, i * 977);
    }
    kernels->attend16(state, width, rows, half, 2, x, y, 7);
    for (size_t j = 0; j < width; j++)
        assert_true(fabsf(y[j] - 0.9f * x[j]) < 0.08f * x[j]);
    kernels->attend16(state, width, rows, none, 2, x, y, 7);
    for (size_t j = 0; j < 2 * width; j++)
        assert_int_equal(state[j / width * 2 * width + j % width], 0); /* rows not listed */
    free(state);
    free(x);
    free(y);
    free(zero);
}

static uint16_t *
halves_of(float *values, size_t count)
{
    uint16_t *halves = aligned_alloc(64, (count * sizeof(*halves) + 63) / 64 * 64);
    assert_non_null(halves);
    for (size_t i = 0; i < count; i++) {
        halves[i] = hw_bf16_from_f32(values[i]);
        values[i] = hw_f32_from_bf16(halves[i]);
    }
    return halves;
}

static void
check_halves(const struct hw_kernels *kernels, size_t width)
{
    uint32_t rows[ROWS];
    float out[ROWS], out16[ROWS];
    size_t count = pick_rows(rows);
    float *matrix = random_floats(ROWS * width), *v = random_floats(width);
    float *z = random_floats(width), *z16 = copy_of(z, width);
    uint16_t *matrix16 = halves_of(matrix, ROWS * width);
    kernels->dots(matrix, width, width, rows, count, v, out);
    kernels->dots16(matrix16, width, width, rows, count, v, out16);
    assert_memory_equal(out, out16, count * sizeof(float));
    kernels->combine(matrix, width, width, rows, out, count, z);
    kernels->combine16(matrix16, width, width, rows, out, count, z16);
    assert_memory_equal(z, z16, width * sizeof(float));
    free(matrix);
    free(matrix16);
    free(v);
    free(z);
    free(z16);
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
        check_dense(kernels, inputs[i], 1 + i % 3, 1 + i);
    for (size_t i = 0; i < WIDTHS; i++) {
        check_dense8(kernels, widths[i], 1 + i % 2);
        check_norm(kernels, widths[i] - i);
        check_halves(kernels, widths[i]);
        if (widths[i] <= 272)
            check_lists(kernels, widths[i]);
        if (widths[i] % 32 == 0)
            check_attend16(kernels, widths[i]);
        check_attend(kernels, widths[i], false);
        check_attend(kernels, widths[i], true);
        check_dots_and_combine(kernels, widths[i]);
    }
}

static void
test_every_set(void **state)
{
    (void)state;
    static const char *const names[] = {"scalar", "avx2", "avx512", "neon", "best"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
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
