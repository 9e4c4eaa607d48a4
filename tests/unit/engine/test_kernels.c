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
#include "tests/unit/engine/kernel_data.h"
#include "tests/unit/engine/kernel_sets.h"

#define ROWS 40
#define TOLERANCE 1e-5

static const size_t widths[] = {16, 32, 48, 64, 80, 96, 112, 128, 144, 240, 256, 272, 400};
#define WIDTHS (sizeof(widths) / sizeof(widths[0]))

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
    enum { TOKENS = 6 };
    size_t outputs = panels * HW_PANEL;
    float *x = random_floats(width), *scales = random_floats(outputs);
    float *out = random_floats(outputs), *many = random_floats(TOKENS * outputs);
    int8_t *w = aligned_alloc(64, outputs * width);
    int32_t *sums = aligned_alloc(64, outputs * sizeof(*sums));
    int8_t bytes[400], others[400];
    struct hw_input8 in = {.bytes = bytes};
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
    int32_t in_sum = 0;
    for (size_t i = 0; i < width; i++) {
        assert_true(fabsf(in.scale * (float)bytes[i] - x[i]) <= 0.51f * in.scale);
        in_sum += bytes[i];
        others[i] = (int8_t)-bytes[i];
    }
    assert_int_equal(in.sum, in_sum);
    const struct hw_panels8 weights = {w, scales, sums, panels, width / 4};
    kernels->dense8(&weights, &in, 1, out, outputs);
    const struct hw_input8 other = {.bytes = others, .sum = -in_sum, .scale = 0.5f};
    const struct hw_input8 ins[TOKENS] = {other, in, in, other, in, in};
    for (size_t tokens = 2; tokens <= TOKENS; tokens++) {
        memset(many, 0, tokens * outputs * sizeof(float));
        kernels->dense8(&weights, ins, tokens, many, outputs);
        for (size_t t = 0; t < tokens; t++)
            assert_int_equal(memcmp(many + t * outputs, out, outputs * sizeof(float)) == 0,
                             ins[t].bytes == in.bytes);
    }
    for (size_t o = 0; o < outputs; o++) {
        double sum = 0.0;
        for (size_t i = 0; i < width; i++)
            sum += (double)bytes[i] * (double)w[o / HW_PANEL * width * HW_PANEL +
                                                i / 4 * 4 * HW_PANEL + o % HW_PANEL * 4 + i % 4];
        double expected = sum * (double)in.scale * (double)scales[o];
        assert_true(fabs((double)out[o] - expected) <= 1e-5 * fmax(1.0, fabs(expected)));
    }
    free(x);
    free(scales);
    free(out);
    free(many);
    free(w);
    free(sums);
}

static void
check_lists(const struct hw_kernels *kernels, size_t n)
{
    float *encoded = random_floats(n), *cosines = random_floats(n), *sines = random_floats(n);
    float *q = random_floats(n), *scales = random_floats(n), *same_q = random_floats(n);
    float a[272 + HW_LANES], b[272 + HW_LANES], c[272 + HW_LANES], scaled[272];
    uint32_t pairs[272], active[272 + HW_LANES], open[272 + HW_LANES];
    uint32_t *touched = aligned_alloc(64, (2 * n + 63) / 64 * 64);
    struct hw_fired fired = {
        .pairs = pairs, .active = active, .a = a, .touched = touched, .bit = 1u << 3};
    size_t pair = 0, neuron = 0, gate = 0;
    assert_non_null(touched);
    for (size_t i = 0; i < n / 2; i++)
        touched[i] = 1;
    for (size_t i = 4; i < 8; i++) /* pairs of which none fires */
        encoded[i] = -1.0f;
    kernels->list(encoded, cosines, sines, scales, n, same_q, &fired);
    memcpy(scaled, a, sizeof(scaled));
    kernels->list(encoded, cosines, sines, NULL, n, q, &fired);
    for (size_t i = 0; i < n; i++) {
        double own = fmax(0.0, (double)encoded[i]), other = fmax(0.0, (double)encoded[i ^ 1]);
        double turned =
            own * (double)cosines[i] + (i % 2 == 0 ? -1.0 : 1.0) * other * (double)sines[i];
        bool moves = own > 0.0 || other > 0.0;
        if (own > 0.0) {
            assert_int_equal(active[neuron], i);
            assert_true(scaled[neuron] == encoded[i] * scales[i]);
            assert_true(a[neuron++] == encoded[i]);
        }
        if (moves && i % 2 == 0)
            assert_int_equal(pairs[pair++], i / 2);
        expect_near(q[i], turned);
        assert_true(same_q[i] == q[i]);
        assert_int_equal(touched[i / 2], moves ? 9 : 1);
    }
    assert_int_equal(fired.pair_count, pair);
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
    free(scales);
    free(q);
    free(same_q);
    free(touched);
}

/* Those above a bound. */
static void
check_sift(const struct hw_kernels *kernels, size_t n)
{
    float *estimates = random_floats(n), *a = random_floats(n), kept[400 + HW_LANES];
    uint32_t list[400 + HW_LANES], rows[400 + HW_LANES];
    size_t expected = 0;
    for (size_t k = 0; k < n; k++)
        list[k] = (uint32_t)(3 * k);
    size_t found = kernels->sift(list, a, estimates, n, -0.2f, rows, kept);
    for (size_t k = 0; k < n; k++)
        if (estimates[k] > -0.2f) {
            assert_int_equal(rows[expected], list[k]);
            assert_true(kept[expected++] == a[k]);
        }
    assert_int_equal(found, expected);
    free(estimates);
    free(a);
}

/* Those that may be above 0: by their estimate and its margin, or because neither is a number. */
static void
check_may_fire(const struct hw_kernels *kernels, size_t n)
{
    size_t room = n + HW_LANES;
    float *estimates = random_floats(room), *off = random_floats(room), *size = random_floats(room);
    uint32_t rows[400 + HW_LANES];
    size_t expected = 0;
    for (size_t i = 0; i < n; i++) {
        off[i] = fabsf(off[i]);
        size[i] = i % 5 == 0 ? 0.0f : fabsf(size[i]);
    }
    estimates[1] = NAN;
    estimates[2] = off[2] = size[2] = 0.0f;
    estimates[3] = -1e30f;
    off[3] = INFINITY;
    const struct hw_margins margins = {off, size, 0.5f, 0.25f};
    size_t found = kernels->may_fire(estimates, &margins, n, rows);
    for (size_t i = 0; i < n; i++) {
        double most = (double)estimates[i] + 0.5 * (double)off[i] + 0.25 * (double)size[i];
        if (i == 1 || most > 0.0)
            assert_int_equal(rows[expected++], i);
    }
    assert_int_equal(found, expected);
    free(estimates);
    free(off);
    free(size);
}

/* A row laid out for it gives a dense output's bits, whatever rows are beside it. */
static void
check_rows_as_dense(const struct hw_kernels *kernels, size_t inputs)
{
    size_t width = (inputs + HW_LANES - 1) / HW_LANES * HW_LANES, part = hw_part_inputs(inputs);
    float *panel = random_floats(inputs * HW_PANEL), *x = random_floats(inputs);
    float *matrix = random_floats(HW_PANEL * width), *v = random_floats(width);
    float out[HW_PANEL + 7], *expected = random_floats(HW_PANEL);
    uint32_t rows[HW_PANEL];
    memset(matrix, 0, HW_PANEL * width * sizeof(float));
    memset(v, 0, width * sizeof(float));
    for (size_t i = 0; i < inputs; i++) {
        assert_true(hw_part_place(i, part) < width);
        v[hw_part_place(i, part)] = x[i];
        for (size_t o = 0; o < HW_PANEL; o++)
            matrix[o * width + hw_part_place(i, part)] = panel[i * HW_PANEL + o];
    }
    kernels->dense(panel, 1, inputs, x, inputs, 1, expected, HW_PANEL);
    for (size_t step = 1; step < 12; step++) {
        size_t count = 0;
        for (uint32_t o = (uint32_t)step / 2; o < HW_PANEL; o += (uint32_t)step)
            rows[count++] = o;
        kernels->dots(matrix, width, width, rows, count, v, out);
        for (size_t k = 0; k < count; k++)
            assert_memory_equal(&out[k], &expected[rows[k]], sizeof(float));
    }
    free(panel);
    free(x);
    free(matrix);
    free(v);
    free(expected);
}

/* What has no bytes: all become 0, and nothing overflows. */
static void
check_quantise_of_nothing(const struct hw_kernels *kernels)
{
    static const float strange[] = {0.0f, 1e-44f, 3e-37f, -1e-36f, NAN, INFINITY, -INFINITY};
    float *x = random_floats(64);
    int8_t bytes[64];
    for (size_t i = 0; i < sizeof(strange) / sizeof(strange[0]); i++) {
        struct hw_input8 out = {.bytes = bytes, .sum = 1};
        for (size_t j = 0; j < 64; j++)
            x[j] = strange[i];
        kernels->quantise(x, 64, &out);
        for (size_t j = 0; j < 64; j++)
            assert_int_equal(bytes[j], 0);
        assert_int_equal(out.sum, 0);
        assert_true(out.scale == 0.0f);
    }
    free(x);
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

/* Rows of bytes: what the same rows and inputs give in floats, the dots exactly. */
static void
check_bytes(const struct hw_kernels *kernels, size_t width)
{
    uint32_t rows[ROWS];
    float out[ROWS + 3], c[ROWS];
    size_t count = pick_rows(rows);
    float *v = random_floats(width), *matrix = random_floats(ROWS * width);
    float *z = random_floats(width), *z8 = copy_of(z, width);
    uint8_t *biased = aligned_alloc(64, ROWS * width);
    int8_t *bytes = aligned_alloc(64, ROWS * width), *in_bytes = aligned_alloc(64, width);
    struct hw_input8 in = {.bytes = in_bytes};
    assert_non_null(biased);
    assert_non_null(bytes);
    assert_non_null(in_bytes);
    for (size_t i = 0; i < ROWS * width; i++) {
        bytes[i] = (int8_t)(i % 5 == 0 ? -127 : matrix[i] * 254.0f);
        biased[i] = (uint8_t)(bytes[i] + HW_BIAS8);
        matrix[i] = (float)bytes[i];
    }
    kernels->quantise(v, width, &in);
    kernels->dots8(biased, width, rows, count, &in, out);
    for (size_t k = 0; k < count; k++) {
        int32_t sum = 0;
        for (size_t i = 0; i < width; i++)
            sum += bytes[rows[k] * width + i] * in_bytes[i];
        assert_true(out[k] == (float)sum * in.scale);
        c[k] = next_float();
    }
    kernels->combine(matrix, width, width, rows, c, count, z);
    kernels->combine8(bytes, width, width, rows, c, count, z8);
    assert_memory_equal(z, z8, width * sizeof(float));
    free(v);
    free(matrix);
    free(z);
    free(z8);
    free(biased);
    free(bytes);
    free(in_bytes);
}

/* Some pairs' rows, read by q; and earlier tokens that the state does not hold yet. */
static void
check_reading(const struct hw_kernels *kernels, size_t width)
{
    enum { N = 96, EARLIER = 6 }; /* q's of N; the first ROWS have rows */
    uint32_t pairs[ROWS / 2];
    struct hw_fired fired = {.pairs = pairs};
    float *state = random_floats(ROWS * width), *q = random_floats((EARLIER + 1) * N);
    float *x = random_floats(EARLIER * width), *y = random_floats(width);
    float *before = copy_of(y, width), *scanned = copy_of(y, width), *own = q + EARLIER * N;
    for (uint32_t pair = 0; pair < ROWS / 2; pair++)
        if (next_float() > 0.0f)
            pairs[fired.pair_count++] = pair;
        else
            own[2 * pair] = own[2 * pair + 1] = 0.0f;
    const struct hw_reader reader = {.fired = &fired, .q = own, .y = y};
    kernels->read(state, width, ROWS / 2, &reader, 1);
    kernels->scan(state, width, ROWS / 2, own, scanned);
    assert_memory_equal(y, scanned, width * sizeof(float));
    kernels->recall(q, N, N, EARLIER, x, width, y);
    for (size_t j = 0; j < width; j++) {
        double sum = (double)before[j];
        for (size_t k = 0; k < 2 * fired.pair_count; k++) {
            size_t row = 2 * pairs[k / 2] + k % 2;
            sum += (double)own[row] * (double)state[row * width + j];
        }
        for (size_t i = 0; i < EARLIER * N; i++)
            sum += (double)own[i % N] * (double)q[i] * (double)x[i / N * width + j];
        expect_near(y[j], sum);
    }
    free(state);
    free(q);
    free(x);
    free(y);
    free(before);
    free(scanned);
}

/* Tokens that read together read what each would alone, to the bit, also where a state is so wide
 * that it is read in pieces. */
static void
check_reading_together(const struct hw_kernels *kernels, size_t width)
{
    enum { PAIRS = 90, TOKENS = 5 };
    uint32_t pairs[TOKENS][PAIRS + HW_LANES];
    struct hw_fired fired[TOKENS] = {{0}};
    struct hw_reader together[TOKENS], alone;
    float *state = random_floats(2 * PAIRS * width), *q = random_floats(TOKENS * 2 * PAIRS);
    float *y = random_floats(TOKENS * width), *expected = copy_of(y, TOKENS * width);
    for (size_t t = 0; t < TOKENS; t++) {
        fired[t].pairs = pairs[t];
        for (uint32_t pair = 0; pair < PAIRS; pair++)
            if (t == 1 || (t > 1 && next_float() > 0.0f)) /* one has none, one has all */
                pairs[t][fired[t].pair_count++] = pair;
        together[t] =
            (struct hw_reader){.fired = &fired[t], .q = q + t * 2 * PAIRS, .y = y + t * width};
        alone = together[t];
        alone.y = expected + t * width;
        kernels->read(state, width, PAIRS, &alone, 1);
    }
    kernels->read(state, width, PAIRS, together, TOKENS);
    assert_memory_equal(y, expected, TOKENS * width * sizeof(float));
    free(state);
    free(q);
    free(y);
    free(expected);
}

/* A block of tokens goes into the pairs that they touch. */
static void
check_fold(const struct hw_kernels *kernels, size_t width)
{
    float *state = random_floats(ROWS * width), *before = copy_of(state, ROWS * width);
    float *q = random_floats(HW_BLOCK * ROWS), *x = random_floats(HW_BLOCK * width);
    uint32_t touched[ROWS / 2];
    for (size_t pair = 0; pair < ROWS / 2; pair++) {
        touched[pair] = pair * 2731 & 0xffffu;
        for (size_t t = 0; t < HW_BLOCK; t++)
            if ((touched[pair] >> t & 1) == 0)
                q[t * ROWS + 2 * pair] = q[t * ROWS + 2 * pair + 1] = 0.0f;
    }
    kernels->fold(state, width, ROWS / 2, touched, q, ROWS, x);
    for (size_t i = 0; i < ROWS * width; i++) {
        double sum = (double)before[i];
        for (size_t t = 0; t < HW_BLOCK; t++)
            sum += (double)q[t * ROWS + i / width] * (double)x[t * width + i % width];
        expect_near(state[i], sum);
    }
    free(state);
    free(before);
    free(q);
    free(x);
}

/* The same bits from bf16 as from the floats that it stands for. */
static void
check_narrow(const struct hw_kernels *kernels, float *matrix, size_t width, const uint32_t *rows,
             size_t count, const float *v)
{
    const size_t stride = 2 * width;
    float wide[ROWS + 7], narrow[ROWS + 7];
    float *z = random_floats(width), *z16 = copy_of(z, width);
    uint16_t *halves = aligned_alloc(64, (ROWS * stride * sizeof(*halves) + 63) / 64 * 64);
    assert_non_null(halves);
    for (size_t i = 0; i < ROWS * stride; i++) {
        halves[i] = hw_bf16_from_f32(matrix[i]);
        matrix[i] = hw_f32_from_bf16(halves[i]);
    }
    kernels->dots(matrix, stride, width, rows, count, v, wide);
    kernels->dots16(halves, stride, width, rows, count, v, narrow);
    assert_memory_equal(wide, narrow, count * sizeof(float));
    kernels->combine(matrix + width, stride, width, rows, wide, count, z);
    kernels->combine16(halves + width, stride, width, rows, wide, count, z16);
    assert_memory_equal(z, z16, width * sizeof(float));
    free(z);
    free(z16);
    free(halves);
}

static void
check_dots_and_combine(const struct hw_kernels *kernels, size_t width)
{
    uint32_t rows[ROWS];
    float out[ROWS + 7], c[ROWS];
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
    check_narrow(kernels, matrix, width, rows, count, v);
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
    check_quantise_of_nothing(kernels);
    for (size_t i = 0; i < WIDTHS; i++) {
        check_dense8(kernels, widths[i], 1 + i % 2);
        check_norm(kernels, widths[i] - i);
        check_sift(kernels, widths[i] - i);
        check_may_fire(kernels, widths[i] - i);
        if (kernels->screens_encoder)
            for (size_t few = widths[i] - 15; few <= widths[i]; few++)
                check_rows_as_dense(kernels, few);
        if (widths[i] % HW_PANEL == 0)
            check_bytes(kernels, widths[i]);
        if (widths[i] <= 272)
            check_lists(kernels, widths[i]);
        check_reading(kernels, widths[i]);
        check_reading_together(kernels, widths[i]);
        check_fold(kernels, widths[i]);
        check_dots_and_combine(kernels, widths[i]);
    }
}

static void
test_every_set(void **state)
{
    (void)state;
    for (size_t i = 0; i < KERNEL_SETS; i++) {
        setenv("HATCHWAY_KERNELS", kernel_sets[i], 1);
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
