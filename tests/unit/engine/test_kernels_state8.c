/* A state in bytes, of each set of hot loops: what is read of it is exact, what is written arrives
 * but for its scale's steps, and on the average without them. */
#include <float.h>
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
#include "tests/unit/engine/kernel_data.h"
#include "tests/unit/engine/kernel_sets.h"

#define PAIRS 96u
#define GROUP (2 * HW_LANES) /* columns */

/* Of 128 columns the loops keep all in registers; of others not. */
static const size_t widths[] = {32, 96, 128, 256, 416};

static void *
room_for(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    assert_non_null(p);
    return memset(p, 0, bytes);
}

/* One value of a pair, odd row or even, in whole steps. */
static uint8_t *
byte_of(uint32_t *state, size_t width, size_t pair, size_t odd, size_t column)
{
    uint32_t *word = state + pair * width / 2 + column / GROUP * HW_LANES + column % HW_LANES;

    return (uint8_t *)word + 2 * odd + (column % GROUP >= HW_LANES);
}

static int
steps_of(uint32_t *state, size_t width, size_t pair, size_t odd, size_t column)
{
    uint8_t byte = *byte_of(state, width, pair, odd, column);

    return column % GROUP >= HW_LANES ? (int8_t)byte : byte - HW_BIAS8;
}

struct asking {
    uint32_t pairs[PAIRS + HW_LANES];
    struct hw_fired fired;
    struct hw_asked8 asked;
    struct hw_input8 q8;
    uint8_t *kept;
    float *q, *y;
};

/* A token of whose pairs one in `of` fires; none if it is 0. */
static struct asking *
make_asking(size_t width, uint32_t of)
{
    struct asking *a = room_for(sizeof(*a));
    float *q = random_floats(2 * PAIRS);

    a->fired.pairs = a->pairs;
    for (uint32_t pair = 0; pair < PAIRS; pair++)
        if (of > 0 && pair % of == 0)
            a->pairs[a->fired.pair_count++] = pair;
        else
            q[2 * pair] = q[2 * pair + 1] = 0.0f;
    a->q = q;
    a->asked.words = room_for(PAIRS * sizeof(uint32_t));
    a->asked.sums = room_for(width * sizeof(uint32_t));
    a->q8.bytes = room_for(2 * PAIRS);
    a->kept = room_for(2 * PAIRS);
    a->y = random_floats(width);
    return a;
}

static void
free_asking(struct asking *a)
{
    free(a->q);
    free(a->asked.words);
    free(a->asked.sums);
    free(a->q8.bytes);
    free(a->kept);
    free(a->y);
    free(a);
}

static int
ask_of(const struct asking *a, size_t neuron)
{
    uint32_t both = a->asked.words[neuron / 2];

    return (int16_t)(neuron % 2 == 0 ? both & 0xffffu : both >> 16);
}

/* Whole numbers that stand for q times the scales, and for q. */
static void
check_asked(const struct asking *a, const float *scales)
{
    uint32_t sum = 0;
    int32_t sum8 = 0;

    for (size_t i = 0; i < 2 * PAIRS; i++) {
        float q = a->q[i], asked = q * scales[i / 2];
        assert_true(fabsf((float)ask_of(a, i) * a->asked.scale - asked) <= 0.51f * a->asked.scale);
        assert_true(fabsf((float)a->q8.bytes[i] * a->q8.scale - q) <= 0.51f * a->q8.scale);
        assert_int_equal(a->kept[i], a->q8.bytes[i] + HW_BIAS8);
        sum += (uint32_t)ask_of(a, i);
        sum8 += a->q8.bytes[i];
    }
    assert_true(a->asked.sum == sum);
    assert_int_equal(a->q8.sum, sum8);
}

static void
check_reading(const struct hw_kernels *kernels, size_t width)
{
    static const uint32_t ofs[] = {3, 0, 1, 2, 7};
    enum { TOKENS = sizeof(ofs) / sizeof(ofs[0]) };
    uint32_t *state = room_for(PAIRS * width * 2);
    float *scales = random_floats(PAIRS);
    struct asking *asking[TOKENS];
    struct hw_reader readers[TOKENS];

    for (size_t i = 0; i < PAIRS * width * 2; i++)
        ((uint8_t *)state)[i] = (uint8_t)(int)(next_float() * 256.0f);
    for (size_t pair = 0; pair < PAIRS; pair++)
        scales[pair] = pair % 5 == 0 ? 0.0f : fabsf(scales[pair]); /* some are not written to */
    for (size_t t = 0; t < TOKENS; t++) {
        struct asking *a = asking[t] = make_asking(width, ofs[t]);
        kernels->ask8(a->q, scales, 2 * PAIRS, &a->asked, &a->q8, a->kept);
        check_asked(a, scales);
        readers[t] = (struct hw_reader){.fired = &a->fired, .asked = &a->asked, .y = a->y};
    }
    float *before[TOKENS], *scanned = random_floats(width);
    for (size_t t = 0; t < TOKENS; t++)
        before[t] = copy_of(readers[t].y, width);
    kernels->read8(state, width, PAIRS, readers, TOKENS);
    for (size_t t = 0; t < TOKENS; t++) {
        struct hw_reader alone = readers[t];
        for (size_t j = 0; j < width; j++) {
            double sum = 0.0;
            for (size_t i = 0; i < 2 * PAIRS; i++)
                sum +=
                    (double)ask_of(asking[t], i) * (double)steps_of(state, width, i / 2, i % 2, j);
            double expected = (double)before[t][j] + sum * (double)alone.asked->scale;
            assert_true(fabs((double)alone.y[j] - expected) <= 1e-5 * fmax(1.0, fabs(expected)));
        }
        alone.y = before[t];
        memcpy(scanned, alone.y, width * sizeof(float));
        kernels->read8(state, width, PAIRS, &alone, 1);
        assert_memory_equal(alone.y, readers[t].y, width * sizeof(float));
        alone.y = scanned;
        kernels->scan8(state, width, PAIRS, &alone);
        assert_memory_equal(scanned, readers[t].y, width * sizeof(float));
        free_asking(asking[t]);
        free(before[t]);
    }
    free(scanned);
    free(state);
    free(scales);
}

/* --- writing --- */

struct folding {
    uint32_t *state;
    float *scales, *x, q_scales[HW_BLOCK8];
    uint8_t *q;
    uint32_t touched[PAIRS];
    struct hw_fold_room room;
};

static struct folding *
make_folding(size_t width)
{
    struct folding *f = room_for(sizeof(*f));

    f->state = room_for(PAIRS * width * 2);
    f->scales = room_for(PAIRS * sizeof(float));
    f->x = random_floats(HW_BLOCK8 * width);
    for (size_t t = 0; t < HW_BLOCK8; t++)
        for (size_t j = 5; j < width; j += 9)
            f->x[t * width + j] = 0.0f;
    f->q = room_for(HW_BLOCK8 * 2 * PAIRS);
    memset(f->q, HW_BIAS8, HW_BLOCK8 * 2 * PAIRS);
    f->room = (struct hw_fold_room){
        .values = room_for(HW_BLOCK8 * width * sizeof(uint32_t)),
        .q = room_for(HW_BLOCK8 * HW_FOLD_STRIDE * sizeof(uint32_t)),
        .sums = room_for(2 * width * sizeof(float)),
    };
    return f;
}

static void
free_folding(struct folding *f)
{
    free(f->state);
    free(f->scales);
    free(f->x);
    free(f->q);
    free(f->room.values);
    free(f->room.q);
    free(f->room.sums);
    free(f);
}

static void
fold(const struct hw_kernels *kernels, struct folding *f, size_t width, uint32_t seed)
{
    const struct hw_block8 block = {
        .q = f->q, .stride = 2 * PAIRS, .scales = f->q_scales, .x = f->x, .touched = f->touched};
    kernels->fold8(f->state, f->scales, width, PAIRS, &block, seed, &f->room);
}

static double
value_of(const struct folding *f, size_t width, size_t row, size_t column)
{
    return (double)f->scales[row / 2] * (double)steps_of(f->state, width, row / 2, row % 2, column);
}

/* Blocks of random tokens: each value is right but for a step of its scale, what was there before
 * counted, and what rounding x to bf16 costs. What is 0 stays so, for columns of padding are. A
 * pair that no token touches stays as it is. */
static void
check_fold(const struct hw_kernels *kernels, size_t width)
{
    struct folding *f = make_folding(width);
    double *expected = room_for(2 * PAIRS * width * sizeof(double));
    double *added = room_for(2 * PAIRS * width * sizeof(double)); /* without signs */

    for (uint32_t block = 0; block < 3; block++) {
        memset(f->q, HW_BIAS8, HW_BLOCK8 * 2 * PAIRS);
        for (uint32_t t = 0; t < HW_BLOCK8; t++)
            f->q_scales[t] = fabsf(next_float());
        for (uint32_t pair = 0; pair < PAIRS; pair++) {
            f->touched[pair] = pair % 4 == block ? 0 : pair * 0x9e3779b9u * (block + 1);
            for (uint32_t t = 0; t < HW_BLOCK8; t++)
                if ((f->touched[pair] >> t & 1) != 0)
                    for (uint32_t odd = 0; odd < 2; odd++)
                        f->q[t * 2 * PAIRS + 2 * pair + odd] =
                            (uint8_t)(HW_BIAS8 + (int)(next_float() * 254.0f));
        }
        for (size_t i = 0; i < 2 * PAIRS * width; i++) {
            expected[i] = value_of(f, width, i / width, i % width);
            added[i] = 0.0;
            for (size_t t = 0; t < HW_BLOCK8; t++) {
                double product = (double)(f->q[t * 2 * PAIRS + i / width] - HW_BIAS8) *
                                 (double)f->q_scales[t] * (double)f->x[t * width + i % width];
                expected[i] += product;
                added[i] += fabs(product);
            }
        }
        fold(kernels, f, width, block);
        for (size_t i = 0; i < 2 * PAIRS * width; i++) {
            double off = fabs(value_of(f, width, i / width, i % width) - expected[i]);
            double step = (double)f->scales[i / width / 2];
            double bound = 1.02 * step + 0x1p-8 * added[i];
            assert_true(i % width % 9 != 5 || off == 0.0);
            assert_true(off <= (f->touched[i / width / 2] == 0 ? 0.0 : bound));
        }
    }
    free(expected);
    free(added);
    free_folding(f);
}

/* Far less than a step, a thousand times: arrives. The same seed, the same bytes. */
static void
check_small_additions(const struct hw_kernels *kernels, size_t width)
{
    struct folding *f = make_folding(width), *again = make_folding(width);

    for (struct folding *one = f; one != NULL; one = one == f ? again : NULL) {
        for (size_t j = 0; j < width; j++)
            one->x[4 * width + j] = 1.0f + (float)(j % 256) / 1024.0f;
        one->touched[3] = 1u << 4;
        one->q_scales[4] = 1.0f;
        one->q[4 * 2 * PAIRS + 6] = one->q[4 * 2 * PAIRS + 7] = HW_BIAS8 + 100;
        fold(kernels, one, width, 7);
        one->q_scales[4] = 0.001f;
        for (uint32_t i = 0; i < 1000; i++)
            fold(kernels, one, width, i * 977);
    }
    double off = 0.0;
    for (size_t j = 0; j < width; j++) {
        double expected = 200.0 * (double)f->x[4 * width + j], step = (double)f->scales[3];
        for (size_t row = 6; row < 8; row++) {
            double value = value_of(f, width, row, j);
            assert_true(fabs(value - expected) <= 0.3 * expected);
            off += (value - expected) / step / (double)(2 * width);
        }
    }
    assert_true(fabs(off) < 8.0); /* steps, of 127; thirty columns share a chance */
    assert_memory_equal(f->state, again->state, PAIRS * width * 2);
    assert_memory_equal(f->scales, again->scales, PAIRS * sizeof(float));
    free_folding(f);
    free_folding(again);
}

/* What comes is nearly taken back, so that scales shrink to a hundredth: what was 0 is still 0. */
static void
check_zeros_stay(const struct hw_kernels *kernels, size_t width)
{
    struct folding *f = make_folding(width);

    for (uint32_t pair = 0; pair < PAIRS; pair++)
        f->touched[pair] = 1;
    for (uint32_t round = 0; round < 300; round++) {
        f->q_scales[0] = round % 2 == 0 ? 0.1f + fabsf(next_float()) : 0.99f * f->q_scales[0];
        memset(f->q, round % 2 == 0 ? HW_BIAS8 + 100 : HW_BIAS8 - 100, 2 * PAIRS);
        fold(kernels, f, width, round * 977);
        for (size_t i = 5; i < 2 * PAIRS * width;
             i += i % width + 9 < width ? 9 : width - i % width + 5)
            assert_int_equal(steps_of(f->state, width, i / width / 2, i / width % 2, i % width), 0);
    }
    free_folding(f);
}

/* What is no size leaves a pair empty, and asks nothing. */
static void
check_no_numbers(const struct hw_kernels *kernels)
{
    static const float odd_ones[] = {NAN, INFINITY, -INFINITY, FLT_MAX, 1e-40f, 0.0f};
    const size_t width = 128;

    for (size_t i = 0; i < sizeof(odd_ones) / sizeof(odd_ones[0]); i++) {
        struct folding *f = make_folding(width);
        struct asking *a = make_asking(width, 1);
        f->touched[0] = 3;
        f->q[0] = f->q[2 * PAIRS + 1] = 255;
        f->q_scales[0] = f->q_scales[1] = 1.0f;
        for (size_t j = 0; j < 2 * width; j++)
            f->x[j] = odd_ones[i];
        fold(kernels, f, width, 1);
        assert_true(f->scales[0] >= 0.0f && f->scales[0] <= FLT_MAX);
        f->scales[1] = odd_ones[i];
        kernels->ask8(a->q, f->scales, 2 * PAIRS, &a->asked, &a->q8, a->kept);
        assert_true(a->asked.scale >= 0.0f && a->asked.scale <= FLT_MAX);
        free_folding(f);
        free_asking(a);
    }
}

static void
test_every_set(void **state)
{
    (void)state;
    for (size_t i = 0; i < KERNEL_SETS; i++) {
        setenv("HATCHWAY_KERNELS", kernel_sets[i], 1);
        const struct hw_kernels *kernels = hw_kernels_pick();
        check_no_numbers(kernels);
        for (size_t j = 0; j < sizeof(widths) / sizeof(widths[0]); j++) {
            check_reading(kernels, widths[j]);
            check_fold(kernels, widths[j]);
            check_zeros_stay(kernels, widths[j]);
            check_small_additions(kernels, widths[j]);
        }
    }
    unsetenv("HATCHWAY_KERNELS");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_set)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
