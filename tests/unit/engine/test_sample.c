/* Sampling: what may be picked, how often, and the same again for the same seed. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/sample.h"

#define DRAWS 20000

static void
draw(struct hw_sampler_conf conf, const float *logits, uint32_t vocab, uint32_t *counts)
{
    struct hw_sampler *sampler;
    assert_int_equal(hw_sampler_create(vocab, &conf, &sampler, NULL), 0);
    for (uint32_t i = 0; i < vocab; i++)
        counts[i] = 0;
    for (int i = 0; i < DRAWS; i++) {
        uint32_t token = hw_sampler_pick(sampler, logits);
        assert_true(token < vocab);
        counts[token]++;
    }
    hw_sampler_destroy(&sampler);
    assert_null(sampler);
}

static void
test_greedy(void **state)
{
    (void)state;
    const float logits[] = {-1.0f, 3.0f, 3.0f, 2.0f};
    uint32_t counts[4];
    draw((struct hw_sampler_conf){.temperature = 0.0f, .top_k = 3, .seed = 1}, logits, 4, counts);
    assert_int_equal(counts[1], DRAWS);
    assert_int_equal(hw_greedy_pick((const float[]){NAN, -5.0f, NAN}, 3), 1);
    assert_int_equal(hw_greedy_pick((const float[]){NAN, NAN}, 2), 0);
}

/* Frequencies follow softmax(logits / temperature). */
static void
test_temperature(void **state)
{
    (void)state;
    const float logits[] = {0.0f, 1.0f, 2.0f};
    const float temperatures[] = {0.5f, 1.0f, 2.0f};
    for (int t = 0; t < 3; t++) {
        uint32_t counts[3];
        double total = 0.0;
        draw((struct hw_sampler_conf){.temperature = temperatures[t], .seed = 7}, logits, 3,
             counts);
        for (int i = 0; i < 3; i++)
            total += exp((double)(logits[i] / temperatures[t]));
        for (int i = 0; i < 3; i++) {
            double p = exp((double)(logits[i] / temperatures[t])) / total;
            double spread = 5.0 * sqrt(p * (1.0 - p) * DRAWS);
            assert_true(fabs((double)counts[i] - p * DRAWS) < spread);
        }
    }
}

static void
test_top_k_keeps_ties(void **state)
{
    (void)state;
    const float logits[] = {1.0f, 5.0f, 4.0f, 4.0f, 4.0f, 0.0f};
    uint32_t counts[6];
    draw((struct hw_sampler_conf){.temperature = 1.0f, .top_k = 2, .seed = 3}, logits, 6, counts);
    assert_true(counts[1] > 0 && counts[2] > 0 && counts[3] > 0 && counts[4] > 0);
    assert_int_equal(counts[0] + counts[5], 0);
    draw((struct hw_sampler_conf){.temperature = 1.0f, .top_k = 1, .seed = 3}, logits, 6, counts);
    assert_int_equal(counts[1], DRAWS);
    draw((struct hw_sampler_conf){.temperature = 1.0f, .top_k = 100, .seed = 3}, logits, 6, counts);
    assert_true(counts[0] > 0 && counts[5] > 0);
}

static void
test_top_p(void **state)
{
    (void)state;
    /* probabilities 0.5, 0.3, 0.2 */
    const float logits[] = {-1.2039728f, -0.6931472f, -1.6094379f};
    uint32_t counts[3];
    draw((struct hw_sampler_conf){.temperature = 1.0f, .top_p = 0.7f, .seed = 9}, logits, 3,
         counts);
    assert_true(counts[0] > 0 && counts[1] > 0);
    assert_int_equal(counts[2], 0);
    assert_true(fabs((double)counts[1] / DRAWS - 0.625) < 0.02);
    draw((struct hw_sampler_conf){.temperature = 1.0f, .top_p = 0.0001f, .seed = 9}, logits, 3,
         counts);
    assert_int_equal(counts[1], DRAWS);
    draw((struct hw_sampler_conf){.temperature = 1.0f, .top_p = 1.0f, .seed = 9}, logits, 3,
         counts);
    assert_true(counts[2] > 0);
}

static void
test_seed(void **state)
{
    (void)state;
    float logits[256];
    struct hw_sampler_conf conf = {.temperature = 1.0f, .top_k = 50, .top_p = 0.95f, .seed = 42};
    struct hw_sampler *a, *b, *c;
    int same = 0;
    for (int i = 0; i < 256; i++)
        logits[i] = sinf((float)i) * 3.0f;
    assert_int_equal(hw_sampler_create(256, &conf, &a, NULL), 0);
    assert_int_equal(hw_sampler_create(256, &conf, &b, NULL), 0);
    conf.seed = 43;
    assert_int_equal(hw_sampler_create(256, &conf, &c, NULL), 0);
    for (int i = 0; i < 200; i++) {
        uint32_t token = hw_sampler_pick(a, logits);
        assert_int_equal(token, hw_sampler_pick(b, logits));
        same += token == hw_sampler_pick(c, logits);
    }
    assert_true(same < 100);
    hw_sampler_destroy(&a);
    hw_sampler_destroy(&b);
    hw_sampler_destroy(&c);
}

static void
test_broken_logits(void **state)
{
    (void)state;
    const struct hw_sampler_conf conf = {.temperature = 1.0f, .top_k = 2, .top_p = 0.9f, .seed = 1};
    const float cases[][3] = {{NAN, NAN, NAN},
                              {INFINITY, 0.0f, NAN},
                              {-INFINITY, -INFINITY, -INFINITY},
                              {-INFINITY, 1.0f, NAN},
                              {1e38f, -1e38f, 0.0f}};
    struct hw_sampler *sampler;
    assert_int_equal(hw_sampler_create(3, &conf, &sampler, NULL), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_true(hw_sampler_pick(sampler, cases[i]) < 3);
    assert_int_equal(hw_sampler_pick(sampler, cases[3]), 1);
    assert_int_equal(hw_sampler_pick(sampler, cases[1]), 0);
    hw_sampler_destroy(&sampler);
}

/* What is less likely than min_p times the likeliest is never picked, at the draw's temperature. */
static void
test_min_p(void **state)
{
    (void)state;
    const float logits[] = {0.0f, logf(0.5f), logf(0.2f), logf(0.05f)};
    uint32_t counts[4];
    draw((struct hw_sampler_conf){.temperature = 1.0f, .min_p = 0.15f, .seed = 3}, logits, 4,
         counts);
    assert_true(counts[0] > counts[1] && counts[1] > counts[2] && counts[2] > 0);
    assert_int_equal(counts[3], 0);
    draw((struct hw_sampler_conf){.temperature = 2.0f, .min_p = 0.15f, .seed = 3}, logits, 4,
         counts);
    assert_true(counts[3] > 0);
}

static void
test_repetition_penalty(void **state)
{
    (void)state;
    const float logits[] = {2.0f, 1.8f, -1.0f, 1.9f};
    struct hw_sampler_conf conf = {.repetition_penalty = 1.2f, .repeat_last = 2};
    struct hw_sampler *sampler;
    assert_int_equal(hw_sampler_create(4, &conf, &sampler, NULL), 0);
    assert_int_equal(hw_sampler_pick(sampler, logits), 0);
    hw_sampler_note(sampler, 0); /* 2.0 / 1.2 is below 1.8 and 1.9 */
    assert_int_equal(hw_sampler_pick(sampler, logits), 3);
    hw_sampler_note(sampler, 3);
    assert_int_equal(hw_sampler_pick(sampler, logits), 1);
    hw_sampler_note(sampler, 2); /* pushes 0 out of the window */
    assert_int_equal(hw_sampler_pick(sampler, logits), 0);
    hw_sampler_destroy(&sampler);

    const float low[] = {-2.0f, -2.1f};
    assert_int_equal(hw_sampler_create(2, &conf, &sampler, NULL), 0);
    hw_sampler_note(sampler, 0); /* -2.4 */
    assert_int_equal(hw_sampler_pick(sampler, low), 1);
    hw_sampler_destroy(&sampler);
}

static void
test_logprobs(void **state)
{
    (void)state;
    const float logits[] = {logf(1.0f), logf(6.0f), NAN, logf(3.0f)};
    struct hw_logprob out[6];
    assert_int_equal(hw_logprobs(logits, 4, 0, 0, out), 1);
    assert_true(out[0].token == 0 && fabsf(out[0].logprob - logf(0.1f)) < 1e-6f);
    assert_int_equal(hw_logprobs(logits, 4, 3, 2, out), 3);
    assert_true(out[0].token == 3 && fabsf(out[0].logprob - logf(0.3f)) < 1e-6f);
    assert_true(out[1].token == 1 && fabsf(out[1].logprob - logf(0.6f)) < 1e-6f);
    assert_true(out[2].token == 3);
    assert_int_equal(hw_logprobs(logits, 4, 1, 5, out), 4); /* there are no more */
    assert_true(out[3].token == 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_min_p),         cmocka_unit_test(test_repetition_penalty),
        cmocka_unit_test(test_logprobs),      cmocka_unit_test(test_greedy),
        cmocka_unit_test(test_temperature),   cmocka_unit_test(test_top_k_keeps_ties),
        cmocka_unit_test(test_top_p),         cmocka_unit_test(test_seed),
        cmocka_unit_test(test_broken_logits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
