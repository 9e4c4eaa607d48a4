/* A screened encoder finds every neuron that fires, to the bit, also where sums are so near to 0
 * that bytes cannot tell, and where numbers are so small or large that nothing may be concluded. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/bench_model.h"
#include "engine/forward_parts.h"
#include "tests/unit/engine/kernel_sets.h"
#include "tests/unit/engine/next_float.h"

static uint64_t dice = 7;

static float
next_float(void)
{
    return hw_next_float(&dice);
}

/* What a token's x may be: as layers give it, and what no model should give. */
static void
make_input(int kind, float *x, size_t d)
{
    for (size_t i = 0; i < d; i++)
        x[i] = 3.5f * next_float();
    if (kind == 1) /* nearly all in one place: the rest have bytes of 0 */
        x[d / 2] = 900.0f;
    for (size_t i = 0; i < d && kind >= 2; i++)
        x[i] *= kind == 2   ? 1e-9f
                : kind == 3 ? 1e-20f
                : kind == 4 ? 1e-39f
                : kind == 5 ? 1e19f
                : kind == 6 ? 0.0f
                            : 1.0f;
    for (size_t i = 0; i < d && kind == 7; i++) /* bytes tell these exactly */
        x[i] = x[i] > 0.0f ? 1.0f : -1.0f;
    if (kind == 8)
        x[1] = NAN;
    for (size_t i = 0; i < d && kind == 9; i++) /* and these but for what f32 rounds */
        x[i] = 1.1f * (i == 0 ? 127.0f : roundf(250.0f * next_float()));
}
#define INPUTS 10

/* Weights that their bytes hold exactly, the sum with x as far above that with its bytes as lengths
 * allow, which is a bit below 0. */
static void
turn_from_bytes(const float *x, float *w, size_t d)
{
    float largest = 0.0f, most = 0.0f;
    double off2 = 0.0, length2 = 0.0;

    for (size_t i = 0; i < d; i++)
        largest = fmaxf(largest, fabsf(x[i]));
    for (size_t i = 0; i < d; i++) {
        float byte = roundf(x[i] / largest * 127.0f) * (largest / 127.0f);
        off2 += (double)(x[i] - byte) * (double)(x[i] - byte);
        length2 += (double)byte * (double)byte;
        w[i] = x[i] - byte;
    }
    for (size_t i = 0; i < d; i++) {
        w[i] -= (float)(0.9 * off2 / length2) * (x[i] - w[i]);
        most = fmaxf(most, fabsf(w[i]));
    }
    for (size_t i = 0; i < d; i++)
        w[i] = roundf(w[i] / most * 127.0f);
}

/* A neuron whose sum with x is about `share` of what both lengths allow: for its kind, from clearly
 * none to less than f32 can tell. */
static void
make_neuron(size_t kind, const float *x, float *w, size_t d)
{
    double share = pow(10.0, -(double)(kind / 8 % 10)) * (kind % 2 == 0 ? 1.0 : -1.0);
    double length2 = 0.0, sum = 0.0, size2 = 0.0;

    for (size_t i = 0; i < d; i++)
        w[i] = kind % 8 < 2 ? roundf(254.0f * next_float()) : 0.04f * next_float();
    for (size_t i = 0; i < d; i++) {
        length2 += (double)x[i] * (double)x[i];
        size2 += (double)w[i] * (double)w[i];
        sum += (double)x[i] * (double)w[i];
    }
    if (kind % 8 == 1 && length2 > 1e-9 && isfinite(length2)) {
        turn_from_bytes(x, w, d);
        return;
    }
    for (size_t i = 0; i + 1 < d && kind % 8 == 0 && kind % 16 == 0; i += 2) { /* 0, but for f32 */
        w[i] = roundf(x[i + 1] / 1.1f);
        w[i + 1] = -roundf(x[i] / 1.1f);
    }
    bool leans = length2 > 0.0 && isfinite(length2) && kind % 8 >= 2;
    for (size_t i = 0; i < d && leans; i++)
        w[i] += (float)(((kind / 80 % 3 == 0 ? 0.0 : share) * sqrt(size2 / length2) * 0.2 -
                         sum / length2) *
                        (double)x[i]);
    for (size_t i = 0; i < d && kind % 8 == 7; i++)
        w[i] *= kind / 8 % 4 == 0   ? 1e-25f
                : kind / 8 % 4 == 1 ? 1e-36f
                : kind / 8 % 4 == 2 ? 1e-39f
                                    : 0.0f;
    for (size_t i = 0; i < d && kind % 8 == 6 && kind % 3 == 0; i++)
        w[i] *= kind / 3 % 2 == 0 ? 1e22f : i == kind % d ? 1.0f : 0.0f;
}

struct counts {
    size_t fire, screened, wrong;
};

/* Both ways through a head, with neurons made for this x. */
static void
compare(const struct hw_bdh_engine *e, struct hw_bdh_session *session, const float *x,
        struct counts *counts)
{
    struct hw_scratch *s = &session->scratch;
    float *expected = hw_bdh_alloc(e->head_width, sizeof(float));

    memset(s->x, 0, e->width * sizeof(float));
    memcpy(s->x, x, e->conf.n_embd * sizeof(float));
    hw_bdh_screen_take(e, s);
    for (size_t head = 0; head < e->conf.n_head; head++) {
        e->kernels->dense(e->encoder + head * e->head_width * e->conf.n_embd, e->head_panels,
                          e->conf.n_embd, s->x, e->width, 1, expected, e->head_width);
        hw_bdh_screen_encode(e, s, head);
        for (size_t i = 0; i < e->head_width; i++) { /* its padding too */
            bool same = memcmp(&s->encoded[i], &expected[i], sizeof(float)) == 0;
            counts->fire += expected[i] > 0.0f;
            counts->screened += !same;
            counts->wrong += expected[i] > 0.0f ? !same : s->encoded[i] > 0.0f;
        }
    }
    free(expected);
}

static void
check_edges(uint32_t width, int kind, struct counts *counts)
{
    const struct hw_bdh_config conf = {
        .n_layer = 1, .n_embd = width, .n_head = 3, .multiplier = 3 * 512 / width, .vocab = 4};
    struct hw_bdh_model *model;
    struct hw_bdh_engine *engine;
    struct hw_bdh_session *session;
    float *x = calloc(width, sizeof(float)), *w = calloc(width, sizeof(float));

    assert_int_equal(hw_bench_model_random(&conf, &model, NULL), 0);
    make_input(kind, x, width);
    size_t neurons = model->conf.n_neuron;
    for (size_t head = 0; head < 3; head++)
        for (size_t i = 0; i < neurons; i++) {
            make_neuron(head * neurons + i, x, w, width);
            for (size_t j = 0; j < width; j++)
                model->encoder[(head * width + j) * neurons + i] = w[j];
        }
    assert_int_equal(hw_bdh_engine_create_f32(model, true, true, &engine, NULL), 0);
    assert_int_equal(hw_bdh_session_create(engine, &session, NULL), 0);
    assert_non_null(engine->encoder_rows);
    compare(engine, session, x, counts);
    hw_bdh_session_destroy(&session);
    hw_bdh_engine_destroy(&engine);
    hw_bdh_model_destroy(&model);
    free(x);
    free(w);
}

static void
test_edges(void **state)
{
    (void)state;
    static const uint32_t widths[] = {20, 100, 128};
    for (size_t k = 0; k < KERNEL_SETS; k++) {
        setenv("HATCHWAY_KERNELS", kernel_sets[k], 1);
        for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++)
            for (int kind = 0; hw_kernels_pick()->screens_encoder && kind < INPUTS; kind++) {
                struct counts counts = {0};
                check_edges(widths[i], kind, &counts);
                if (counts.wrong > 0)
                    fail_msg("%s, width %u, input %d: %zu of %zu wrong", kernel_sets[k], widths[i],
                             kind, counts.wrong, counts.fire);
                if (kind == 0)
                    assert_true(counts.fire > 100 && counts.screened > 60);
            }
    }
    unsetenv("HATCHWAY_KERNELS");
}

/* One by one, so screened, in pieces of two and three, and beside another session: the same bits.
 */
static void
check_ways(const struct hw_bdh_model *model)
{
    enum { COUNT = 48 };
    struct hw_bdh_engine *engine;
    struct hw_bdh_session *alone, *pieces, *beside[2];
    uint32_t vocab = model->conf.vocab, tokens[COUNT];
    float *x = calloc(vocab, sizeof(float)), *y = calloc(vocab, sizeof(float));
    float *z = calloc(vocab, sizeof(float)), *none = NULL;

    assert_int_equal(hw_bdh_engine_create_f32(model, true, true, &engine, NULL), 0);
    assert_int_equal(hw_bdh_session_create(engine, &alone, NULL), 0);
    assert_int_equal(hw_bdh_session_create(engine, &pieces, NULL), 0);
    assert_int_equal(hw_bdh_session_create(engine, &beside[0], NULL), 0);
    assert_int_equal(hw_bdh_session_create(engine, &beside[1], NULL), 0);
    for (uint32_t t = 0; t < COUNT; t++)
        tokens[t] = (t * t + 'Q') % vocab;
    for (uint32_t t = 0, n; t < COUNT; t += n) {
        n = t % 2 == 0 ? 3 : 1;
        n = n < COUNT - t ? n : COUNT - t;
        hw_bdh_session_feed(pieces, tokens + t, n, y);
        for (uint32_t i = 0; i < n; i++) {
            const uint32_t two[] = {tokens[t + i], i};
            float *const logits[] = {z, none};
            hw_bdh_session_step(alone, tokens[t + i], x);
            hw_bdh_sessions_step(beside, two, 2, logits);
            assert_memory_equal(x, z, vocab * sizeof(float));
        }
        assert_memory_equal(x, y, vocab * sizeof(float));
    }
    hw_bdh_session_destroy(&alone);
    hw_bdh_session_destroy(&pieces);
    hw_bdh_session_destroy(&beside[0]);
    hw_bdh_session_destroy(&beside[1]);
    hw_bdh_engine_destroy(&engine);
    free(x);
    free(y);
    free(z);
}

static void
test_ways(void **state)
{
    (void)state;
    static const uint32_t widths[] = {20, 36, 128};
    struct hw_bdh_model *model;
    for (size_t k = 0; k < KERNEL_SETS; k++) {
        setenv("HATCHWAY_KERNELS", kernel_sets[k], 1);
        for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
            const struct hw_bdh_config conf = {
                .n_layer = 2, .n_embd = widths[i], .n_head = 3, .multiplier = 9, .vocab = 256};
            assert_int_equal(hw_bench_model_random(&conf, &model, NULL), 0);
            check_ways(model);
            hw_bdh_model_destroy(&model);
        }
    }
    unsetenv("HATCHWAY_KERNELS");
    assert_int_equal(hw_bdh_model_load(HW_SOURCE_DIR "/models/hatchling.safetensors", &model, NULL),
                     0);
    check_ways(model);
    hw_bdh_model_destroy(&model);
}

/* Where most neurons fire the next tokens go without, and it is tried again. */
static void
test_pays(void **state)
{
    (void)state;
    const struct hw_bdh_config conf = {
        .n_layer = 2, .n_embd = 64, .n_head = 2, .multiplier = 8, .vocab = 256};
    struct hw_bdh_model *model;
    struct hw_bdh_engine *engine;
    struct hw_bdh_session *session;
    static const char text[] = "What is a route? A route leads from a model's name to backends. ";
    if (!hw_kernels_pick()->screens_encoder)
        skip();
    assert_int_equal(hw_bench_model_random(&conf, &model, NULL), 0);
    for (int trained = 0; trained < 2; trained++) {
        assert_int_equal(hw_bdh_engine_create_f32(model, true, true, &engine, NULL), 0);
        assert_int_equal(hw_bdh_session_create(engine, &session, NULL), 0);
        for (uint32_t t = 0; t < 520; t++) {
            size_t before = session->scratch.turn % 256 == 0 ? 0 : session->scratch.summed;
            hw_bdh_session_step(session, (uint8_t)text[t % (sizeof(text) - 1)], NULL);
            bool screened = session->scratch.summed != before;
            assert_true(screened == (trained || t % 256 < 16));
        }
        hw_bdh_session_destroy(&session);
        hw_bdh_engine_destroy(&engine);
        hw_bdh_model_destroy(&model);
        if (!trained)
            assert_int_equal(
                hw_bdh_model_load(HW_SOURCE_DIR "/models/hatchling.safetensors", &model, NULL), 0);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_ways),
        cmocka_unit_test(test_pays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
