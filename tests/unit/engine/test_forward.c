/* The recurrent forward against vectors worked out in fp64 by tests/vectors/make_bdh_vectors.py
 * (and tiny_s002, by the reference implementation): |f32 - fp64| <= 2e-5 * max(1, |logit| max), the
 * greedy continuation exact. */
#include <dirent.h>
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/bench_model.h"
#include "engine/forward.h"
#include "engine/forward_parts.h"
#include "engine/halfs.h"
#include "tests/unit/engine/kernel_sets.h"

/* A state that decays; between positions 96 and 112 it takes over what the scale has lost. */
#define FADES HW_SOURCE_DIR "/tests/vectors/bdh/h3_d20_fades"

static void *
read_file(const char *folder, const char *name, size_t *len)
{
    char path[PATH_MAX + 32];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        fail_msg("cannot open %s", path);
    char *bytes = malloc(1u << 22);
    assert_non_null(bytes);
    *len = fread(bytes, 1, 1u << 22, file);
    fclose(file);
    return bytes;
}

static struct hw_bdh_engine *
load_engine_as(const char *folder, enum hw_bdh_precision precision)
{
    char path[PATH_MAX + 32];
    struct hw_bdh_model *model;
    struct hw_bdh_engine *engine;
    struct hw_err err = {{0}};
    snprintf(path, sizeof(path), "%s/model.safetensors", folder);
    if (hw_bdh_model_load(path, &model, &err) != 0 ||
        hw_bdh_engine_create_as(model, precision, &engine, &err) != 0)
        fail_msg("%s", err.msg);
    hw_bdh_model_destroy(&model);
    return engine;
}

static struct hw_bdh_engine *
load_engine(const char *folder)
{
    return load_engine_as(folder, HW_BDH_F32);
}

/* By comparison: a maximum in double of floats crashes gcc 12 for aarch64. */
static void
raise_to(double *most, double value)
{
    if (fabs(value) > *most)
        *most = fabs(value);
}

static uint32_t
largest(const float *logits, uint32_t vocab)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < vocab; i++)
        if (logits[i] > logits[best])
            best = i;
    return best;
}

static void
check_vector(const char *folder)
{
    struct hw_bdh_engine *engine = load_engine(folder);
    struct hw_bdh_session *session;
    size_t token_bytes, greedy_bytes, reference_bytes;
    uint16_t *tokens = read_file(folder, "tokens.u16", &token_bytes);
    uint16_t *greedy = read_file(folder, "greedy.u16", &greedy_bytes);
    float *reference = read_file(folder, "logits_ref64.f32", &reference_bytes);
    uint32_t vocab = hw_bdh_engine_config(engine)->vocab;
    size_t count = token_bytes / 2;
    float *logits = calloc(vocab, sizeof(float));
    assert_int_equal(reference_bytes, count * vocab * sizeof(float));
    assert_int_equal(hw_bdh_session_create(engine, &session, NULL), 0);

    double absmax = 1.0, worst = 0.0;
    for (size_t i = 0; i < count * vocab; i++)
        raise_to(&absmax, (double)reference[i]);
    for (size_t t = 0; t < count; t++) {
        hw_bdh_session_step(session, tokens[t], logits);
        for (size_t i = 0; i < vocab; i++)
            raise_to(&worst, (double)logits[i] - (double)reference[t * vocab + i]);
    }
    if (!(worst <= 2e-5 * absmax))
        fail_msg("%s: off by %g, allowed %g", folder, worst, 2e-5 * absmax);
    for (size_t g = 0; g < greedy_bytes / 2; g++) {
        uint32_t token = largest(logits, vocab);
        if (token != greedy[g])
            fail_msg("%s: greedy token %zu is %u, not %u", folder, g, token, greedy[g]);
        hw_bdh_session_step(session, token, logits);
    }
    assert_int_equal(hw_bdh_session_position(session), count + greedy_bytes / 2);
    free(logits);
    free(tokens);
    free(greedy);
    free(reference);
    hw_bdh_session_destroy(&session);
    hw_bdh_engine_destroy(&engine);
}

/* Every folder of vectors, by each set of kernels that this machine has. */
static void
test_vectors(void **state)
{
    (void)state;
    const char *root = HW_SOURCE_DIR "/tests/vectors/bdh";
    for (size_t k = 0; k < KERNEL_SETS; k++) {
        setenv("HATCHWAY_KERNELS", kernel_sets[k], 1);
        DIR *dir = opendir(root);
        assert_non_null(dir);
        int checked = 0;
        for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
            char folder[PATH_MAX];
            if (entry->d_name[0] == '.')
                continue;
            snprintf(folder, sizeof(folder), "%s/%s", root, entry->d_name);
            check_vector(folder);
            checked++;
        }
        closedir(dir);
        assert_true(checked >= 8);
    }
    unsetenv("HATCHWAY_KERNELS");
}

/* A prompt taken without logits leaves the same state as one that asked for them at each token, and
 * a reset session is as new. */
static void
test_quiet_steps_and_reset(void **state)
{
    (void)state;
    struct hw_bdh_engine *engine = load_engine(HW_SOURCE_DIR "/tests/vectors/bdh/tiny_s002");
    struct hw_bdh_session *loud, *quiet;
    float a[256], b[256];
    assert_int_equal(hw_bdh_session_create(engine, &loud, NULL), 0);
    assert_int_equal(hw_bdh_session_create(engine, &quiet, NULL), 0);
    for (int round = 0; round < 2; round++) {
        for (uint32_t t = 0; t < 20; t++) {
            hw_bdh_session_step(loud, t * 7, a);
            hw_bdh_session_step(quiet, t * 7, t == 19 ? b : NULL);
        }
        assert_memory_equal(a, b, sizeof(a));
        hw_bdh_session_reset(quiet);
        assert_int_equal(hw_bdh_session_position(quiet), 0);
        hw_bdh_session_reset(loud);
    }
    hw_bdh_session_step(loud, 100000,
                        a); /* no token of ours: taken modulo vocab, not out of bounds */
    hw_bdh_session_step(quiet, 100000 % 256, b);
    assert_memory_equal(a, b, sizeof(a));
    hw_bdh_session_destroy(&loud);
    hw_bdh_session_destroy(&quiet);
    hw_bdh_engine_destroy(&engine);
}

/* Tokens fed together, however they are cut, leave the same bits as one by one. */
static void
check_feeding(const char *folder, enum hw_bdh_precision precision)
{
    enum { COUNT = 130 };
    static const size_t cuts[] = {1, 2, 15, 16, 17, 40, COUNT};
    struct hw_bdh_engine *engine = load_engine_as(folder, precision);
    uint32_t vocab = hw_bdh_engine_config(engine)->vocab, tokens[COUNT];
    struct hw_bdh_session *stepped, *fed;
    float *a = calloc(vocab, sizeof(float)), *b = calloc(vocab, sizeof(float));
    assert_int_equal(hw_bdh_session_create(engine, &stepped, NULL), 0);
    assert_int_equal(hw_bdh_session_create(engine, &fed, NULL), 0);
    for (uint32_t i = 0; i < COUNT; i++)
        tokens[i] = i * 31 % vocab;
    for (size_t c = 0; c < sizeof(cuts) / sizeof(cuts[0]); c++) {
        hw_bdh_session_reset(stepped);
        hw_bdh_session_reset(fed);
        for (size_t at = 0; at < COUNT; at += cuts[c]) {
            size_t n = cuts[c] < COUNT - at ? cuts[c] : COUNT - at;
            for (size_t i = 0; i < n; i++)
                hw_bdh_session_step(stepped, tokens[at + i], a);
            hw_bdh_session_feed(fed, tokens + at, n, b);
            assert_memory_equal(a, b, vocab * sizeof(float));
        }
        assert_int_equal(hw_bdh_session_position(fed), COUNT);
    }
    free(a);
    free(b);
    hw_bdh_session_destroy(&stepped);
    hw_bdh_session_destroy(&fed);
    hw_bdh_engine_destroy(&engine);
}

static void
test_feeding_is_stepping(void **state)
{
    (void)state;
    check_feeding(HW_SOURCE_DIR "/tests/vectors/bdh/h5_d36_s02", HW_BDH_F32);
    check_feeding(HW_SOURCE_DIR "/tests/vectors/bdh/h5_d36_s02", HW_BDH_FAST);
    check_feeding(FADES, HW_BDH_F32);
    check_feeding(FADES, HW_BDH_FAST);
}

/* Sessions stepped together, more than fit in one chunk and at different positions, leave the same
 * bits as alone: same seed, same text, whatever else is in the batch. */
static void
check_batch(const char *folder, uint32_t apart, enum hw_bdh_precision precision)
{
    enum { SESSIONS = 19, STEPS = 12 };
    struct hw_bdh_engine *engine = load_engine_as(folder, precision);
    uint32_t vocab = hw_bdh_engine_config(engine)->vocab, tokens[SESSIONS];
    struct hw_bdh_session *together[SESSIONS], *alone[SESSIONS];
    float *logits[SESSIONS], *expected = calloc(vocab, sizeof(float));
    for (uint32_t i = 0; i < SESSIONS; i++) {
        assert_int_equal(hw_bdh_session_create(engine, &together[i], NULL), 0);
        assert_int_equal(hw_bdh_session_create(engine, &alone[i], NULL), 0);
        logits[i] = i % 5 == 4 ? NULL : calloc(vocab, sizeof(float));
        for (uint32_t t = 0; t < i * apart; t++) {
            hw_bdh_session_step(together[i], t * 13 % vocab, NULL);
            hw_bdh_session_step(alone[i], t * 13 % vocab, NULL);
        }
    }
    for (uint32_t step = 0; step < STEPS; step++) {
        for (uint32_t i = 0; i < SESSIONS; i++)
            tokens[i] = (i * 7 + step * 3) % vocab;
        hw_bdh_sessions_step(together, tokens, SESSIONS, logits);
        for (uint32_t i = 0; i < SESSIONS; i++) {
            hw_bdh_session_step(alone[i], tokens[i], expected);
            if (logits[i] != NULL)
                assert_memory_equal(logits[i], expected, vocab * sizeof(float));
        }
    }
    for (uint32_t i = 0; i < SESSIONS; i++) {
        assert_int_equal(hw_bdh_session_position(together[i]), i * apart + STEPS);
        hw_bdh_session_destroy(&together[i]);
        hw_bdh_session_destroy(&alone[i]);
        free(logits[i]);
    }
    free(expected);
    hw_bdh_engine_destroy(&engine);
}

static void
test_batches(void **state)
{
    (void)state;
    check_batch(HW_SOURCE_DIR "/tests/vectors/bdh/h5_d36_s02", 1, HW_BDH_F32);
    check_batch(HW_SOURCE_DIR "/tests/vectors/bdh/h5_d36_s02", 1, HW_BDH_FAST);
    check_batch(FADES, 6, HW_BDH_F32);
    check_batch(FADES, 6, HW_BDH_FAST);
}

/* Fast differs, but not by much: within 8 % of the largest logit on every vector and every set of
 * kernels (random weights; bench prints what it costs a trained model). */
static void
test_fast_is_close(void **state)
{
    (void)state;
    static const char *const names[] = {"tiny_s002", "h5_d36_s02", "h3_d20_s002", "h7_d20_v300",
                                        "h3_d20_fades"};
    for (size_t i = 0; i < 5 * KERNEL_SETS; i++) {
        char folder[PATH_MAX];
        snprintf(folder, sizeof(folder), HW_SOURCE_DIR "/tests/vectors/bdh/%s",
                 names[i / KERNEL_SETS]);
        setenv("HATCHWAY_KERNELS", kernel_sets[i % KERNEL_SETS], 1);
        struct hw_bdh_engine *exact = load_engine(folder);
        struct hw_bdh_engine *fast = load_engine_as(folder, HW_BDH_FAST);
        struct hw_bdh_session *a, *b;
        uint32_t vocab = hw_bdh_engine_config(exact)->vocab;
        float *x = calloc(vocab, sizeof(float)), *y = calloc(vocab, sizeof(float));
        float most = 0.0f, off = 0.0f;
        assert_int_equal(hw_bdh_session_create(exact, &a, NULL), 0);
        assert_int_equal(hw_bdh_session_create(fast, &b, NULL), 0);
        for (uint32_t t = 0; t < 120; t++) {
            hw_bdh_session_step(a, t * 11 % vocab, x);
            hw_bdh_session_step(b, t * 11 % vocab, y);
            for (uint32_t v = 0; v < vocab; v++) {
                most = fmaxf(most, fabsf(x[v]));
                off = fmaxf(off, fabsf(x[v] - y[v]));
            }
        }
        if (!(off > 0.0f && off <= 0.08f * most))
            fail_msg("%s, %s: off by %g of %g", folder, kernel_sets[i % KERNEL_SETS], (double)off,
                     (double)most);
        free(x);
        free(y);
        hw_bdh_session_destroy(&a);
        hw_bdh_session_destroy(&b);
        hw_bdh_engine_destroy(&exact);
        hw_bdh_engine_destroy(&fast);
    }
    unsetenv("HATCHWAY_KERNELS");
}

/* Screened or not, f32 gives the same bits: the neurons left out would have counted nothing. So it
 * does from weights kept in bf16, where that holds them. */
static void
check_screening(const struct hw_bdh_model *model, bool narrow)
{
    enum { STEPS = 60 };
    uint32_t vocab = model->conf.vocab;
    float *x = calloc(vocab, sizeof(float)), *y = calloc(vocab, sizeof(float));
    for (size_t i = 0; i < KERNEL_SETS; i++) {
        struct hw_bdh_engine *screened, *plain;
        struct hw_bdh_session *a, *b;
        setenv("HATCHWAY_KERNELS", kernel_sets[i], 1);
        assert_int_equal(hw_bdh_engine_create_f32(model, true, true, &screened, NULL), 0);
        assert_int_equal(hw_bdh_engine_create_f32(model, false, false, &plain, NULL), 0);
        assert_false(plain->narrow);
        assert_int_equal(screened->narrow, narrow);
        assert_int_equal(hw_bdh_session_create(screened, &a, NULL), 0);
        assert_int_equal(hw_bdh_session_create(plain, &b, NULL), 0);
        for (uint32_t t = 0; t < STEPS; t++) {
            hw_bdh_session_step(a, (t * t + 'Q') % vocab, x);
            hw_bdh_session_step(b, (t * t + 'Q') % vocab, y);
            assert_memory_equal(x, y, vocab * sizeof(float));
        }
        hw_bdh_session_destroy(&a);
        hw_bdh_session_destroy(&b);
        hw_bdh_engine_destroy(&screened);
        hw_bdh_engine_destroy(&plain);
    }
    unsetenv("HATCHWAY_KERNELS");
    free(x);
    free(y);
}

static void
round_to_bf16(float *weights, size_t count)
{
    for (size_t i = 0; i < count; i++)
        weights[i] = hw_f32_from_bf16(hw_bf16_from_f32(weights[i]));
}

static void
test_screening(void **state)
{
    (void)state;
    static const uint32_t widths[] = {20, 64, 100};
    struct hw_bdh_model *model;
    for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
        const struct hw_bdh_config conf = {
            .n_layer = 2, .n_embd = widths[i], .n_head = 3, .multiplier = 9, .vocab = 256};
        assert_int_equal(hw_bench_model_random(&conf, &model, NULL), 0);
        check_screening(model, false);
        size_t count = (size_t)conf.n_head * model->conf.n_neuron * conf.n_embd;
        round_to_bf16(model->encoder, count);
        round_to_bf16(model->encoder_v, count);
        check_screening(model, false); /* not all of them */
        round_to_bf16(model->decoder, count);
        check_screening(model, true);
        hw_bdh_model_destroy(&model);
    }
    assert_int_equal(hw_bdh_model_load(HW_SOURCE_DIR "/models/hatchling.safetensors", &model, NULL),
                     0);
    check_screening(model, true);
    hw_bdh_model_destroy(&model);
}

/* A session far along, its state rescaled dozens of times, knows nothing but what came lately. */
static void
check_forgetting(enum hw_bdh_precision precision)
{
    enum { PAST = 4000, LATE = 400 };
    struct hw_bdh_engine *engine = load_engine_as(FADES, precision);
    uint32_t vocab = hw_bdh_engine_config(engine)->vocab;
    struct hw_bdh_session *a, *b;
    float *x = calloc(vocab, sizeof(float)), *y = calloc(vocab, sizeof(float));
    assert_int_equal(hw_bdh_session_create(engine, &a, NULL), 0);
    assert_int_equal(hw_bdh_session_create(engine, &b, NULL), 0);
    for (uint32_t t = 0; t < PAST + LATE; t++) {
        uint32_t late = t * 11 % vocab;
        hw_bdh_session_step(a, t < PAST ? t * t % vocab : late, x);
        hw_bdh_session_step(b, t < PAST ? t * 5 % vocab : late, y);
    }
    for (uint32_t i = 0; i < vocab; i++)
        assert_float_equal(x[i], y[i], precision == HW_BDH_F32 ? 1e-5f : 2e-2f);
    free(x);
    free(y);
    hw_bdh_session_destroy(&a);
    hw_bdh_session_destroy(&b);
    hw_bdh_engine_destroy(&engine);
}

static void
test_decay_forgets(void **state)
{
    (void)state;
    check_forgetting(HW_BDH_F32);
    check_forgetting(HW_BDH_FAST);
}

/* Whole numbers that would not hold the sums are refused, not wrapped. */
static void
test_too_many_neurons_for_fast(void **state)
{
    (void)state;
    const struct hw_bdh_config conf = {
        .n_layer = 1, .n_embd = 4, .n_head = 1, .multiplier = 32769, .vocab = 2};
    struct hw_bdh_model *model = NULL;
    struct hw_bdh_engine *engine = NULL;
    struct hw_err err = {{0}};

    assert_int_equal(hw_bdh_model_create(&conf, &model, NULL), 0);
    assert_int_equal(hw_bdh_engine_create_as(model, HW_BDH_FAST, &engine, &err), HW_ELIMIT);
    assert_non_null(strstr(err.msg, "fast is for at most 131072 neurons a head"));
    assert_int_equal(hw_bdh_engine_create_as(model, HW_BDH_F32, &engine, NULL), 0);
    hw_bdh_engine_destroy(&engine);
    hw_bdh_model_destroy(&model);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_quiet_steps_and_reset),
        cmocka_unit_test(test_feeding_is_stepping),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_fast_is_close),
        cmocka_unit_test(test_screening),
        cmocka_unit_test(test_decay_forgets),
        cmocka_unit_test(test_too_many_neurons_for_fast),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
