/* Answers on the tiny random model: the greedy vector comes out as text, limits and prompts hold.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "engine/generate.h"
#include "engine/told.h"
#include "engine/textout.h"

#define VECTOR HW_SOURCE_DIR "/tests/vectors/bdh/tiny_s002/"

struct fixture {
    struct hw_bdh_model *model;
    struct hw_bdh_engine *engine;
    struct hw_bdh_session *session;
    uint8_t prompt[48];
};

static int
set_up(void **state)
{
    static struct fixture f;
    uint16_t tokens[48];
    FILE *file = fopen(VECTOR "tokens.u16", "rb");
    if (file == NULL || fread(tokens, 2, 48, file) != 48)
        return -1;
    fclose(file);
    for (int i = 0; i < 48; i++)
        f.prompt[i] = (uint8_t)tokens[i];
    *state = &f;
    return hw_bdh_model_load(VECTOR "model.safetensors", &f.model, NULL) ||
           hw_bdh_engine_create(f.model, &f.engine, NULL) ||
           hw_bdh_session_create(f.engine, &f.session, NULL);
}

static int
tear_down(void **state)
{
    struct fixture *f = *state;
    hw_bdh_session_destroy(&f->session);
    hw_bdh_engine_destroy(&f->engine);
    hw_bdh_model_destroy(&f->model);
    return 0;
}

static void
test_greedy_text(void **state)
{
    struct fixture *f = *state;
    const struct hw_generation_conf conf = {.max_tokens = 32};
    uint16_t greedy[32];
    struct hw_textout out;
    struct hw_buf expected, text;
    struct hw_generation *g;
    FILE *file = fopen(VECTOR "greedy.u16", "rb");
    assert_non_null(file);
    assert_int_equal(fread(greedy, 2, 32, file), 32);
    fclose(file);
    hw_buf_init(&expected, 1000);
    hw_buf_init(&text, 1000);
    hw_textout_init(&out);
    for (int i = 0; i < 32; i++)
        hw_textout_byte(&out, (uint8_t)greedy[i], &expected);
    hw_textout_finish(&out, &expected);

    hw_bdh_session_reset(f->session);
    assert_int_equal(
        hw_generation_create(f->session, &f->model->conf, &conf, f->prompt, 48, &g, NULL), 0);
    hw_generation_prefill(g, 20); /* in pieces */
    assert_int_equal(hw_generation_state(g), HW_GENERATION_PREFILL);
    assert_int_equal(hw_generation_prompt_tokens(g), 20);
    hw_generation_decode(g, &text); /* not yet: nothing happens */
    assert_int_equal(hw_generation_output_tokens(g), 0);
    hw_generation_prefill(g, 100);
    while (hw_generation_state(g) == HW_GENERATION_DECODE)
        hw_generation_decode(g, &text);
    assert_int_equal(hw_generation_state(g), HW_GENERATION_LENGTH);
    assert_int_equal(hw_generation_output_tokens(g), 32);
    assert_string_equal(text.data, expected.data);
    hw_generation_destroy(&g);
    hw_buf_free(&text);
    hw_buf_free(&expected);
}

static void
test_stops(void **state)
{
    struct fixture *f = *state;
    const struct hw_generation_conf conf = {.stop_count = 1, .stops = {"Ut"}};
    const struct hw_generation_conf bad = {.stop_count = 1, .stops = {""}};
    struct hw_generation *g = NULL;
    struct hw_buf text;
    hw_buf_init(&text, 1000);
    hw_bdh_session_reset(f->session);
    assert_int_equal(
        hw_generation_create(f->session, &f->model->conf, &bad, f->prompt, 48, &g, NULL),
        HW_EINVAL);
    assert_int_equal(
        hw_generation_create(f->session, &f->model->conf, &conf, f->prompt, 0, &g, NULL),
        HW_EINVAL);
    assert_null(g);
    assert_int_equal(
        hw_generation_create(f->session, &f->model->conf, &conf, f->prompt, 48, &g, NULL), 0);
    hw_generation_prefill(g, 48);
    while (hw_generation_state(g) == HW_GENERATION_DECODE)
        hw_generation_decode(g, &text);
    assert_int_equal(hw_generation_state(g), HW_GENERATION_STOPPED);
    /* greedy is e8 f1 f5 W U t ...: three ill-formed bytes, then "W" before the stop string */
    assert_string_equal(text.data, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdW");
    hw_generation_destroy(&g);
    hw_buf_free(&text);
}

/* The bytes that were told of, as they come beside the text. */
static void
tell(struct fixture *f, struct hw_generation_conf conf, struct hw_buf *text, struct hw_buf *told,
     uint32_t *beside)
{
    struct hw_generation *g = NULL;
    const struct hw_logprob *logprobs;
    uint32_t count;
    hw_bdh_session_reset(f->session);
    assert_int_equal(
        hw_generation_create(f->session, &f->model->conf, &conf, f->prompt, 48, &g, NULL), 0);
    hw_generation_prefill(g, 48);
    while (hw_generation_state(g) == HW_GENERATION_DECODE) {
        hw_generation_decode(g, text);
        while ((count = hw_generation_logprobs(g, &logprobs)) > 0) {
            uint8_t byte = (uint8_t)logprobs[0].token;
            hw_buf_append(told, &byte, 1);
            assert_true(logprobs[0].logprob <= 0.0f);
            if (count > 1) /* greedy */
                assert_true(logprobs[0].token == logprobs[1].token &&
                            logprobs[0].logprob == logprobs[1].logprob);
            *beside = count - 1;
        }
    }
    hw_generation_destroy(&g);
}

/* Greedy is e8 f1 f5 W U t ... */
static void
test_logprobs_go_with_their_text(void **state)
{
    struct fixture *f = *state;
    static const struct {
        struct hw_generation_conf conf;
        const char *told;
        uint32_t beside;
    } cases[] = {
        {{.max_tokens = 6, .logprobs = 1}, "\xe8\xf1\xf5WUt", 0},
        {{.max_tokens = 6, .logprobs = 4}, "\xe8\xf1\xf5WUt", 3},
        {{.max_tokens = 6, .logprobs = 1000}, "\xe8\xf1\xf5WUt", HW_TOLD_MAX_TOP},
        {{.max_tokens = 1, .logprobs = 1}, "\xe8", 0}, /* a character's beginning, at the end */
        {{.logprobs = 1, .stop_count = 1, .stops = {"Ut"}}, "\xe8\xf1\xf5W", 0},
        {{.logprobs = 1, .stop_count = 1, .stops = {"WUt"}}, "\xe8\xf1\xf5", 0},
        {{.max_tokens = 5, .logprobs = 1, .stop_count = 1, .stops = {"WUt"}}, "\xe8\xf1\xf5WU", 0},
        /* Stop strings of what has become U+FFFD; the last byte tells that the one before is none.
         */
        {{.logprobs = 1, .stop_count = 1, .stops = {"\xef\xbf\xbd"}}, "", 0},
        {{.logprobs = 1, .stop_count = 1, .stops = {"\xef\xbf\xbdW"}}, "\xe8\xf1", 0},
        {{.max_tokens = 3}, "", 0}, /* nobody asked */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct hw_buf text, told;
        uint32_t beside = 0;
        hw_buf_init(&text, 1000);
        hw_buf_init(&told, 1000);
        hw_buf_append(&told, "", 0);
        tell(f, cases[i].conf, &text, &told, &beside);
        assert_string_equal(told.data, cases[i].told);
        assert_int_equal(beside, cases[i].beside);
        hw_buf_free(&text);
        hw_buf_free(&told);
    }
}

static void
test_vocabulary(void **state)
{
    struct fixture *f = *state;
    struct hw_bdh_config small = f->model->conf;
    const struct hw_generation_conf conf = {.max_tokens = 1};
    struct hw_generation *g = NULL;
    struct hw_err err;
    small.vocab = 100;
    assert_int_equal(hw_generation_create(f->session, &small, &conf, "\x65", 1, &g, &err),
                     HW_EINVAL);
    assert_non_null(strstr(err.msg, "byte 101"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy_text),
        cmocka_unit_test(test_stops),
        cmocka_unit_test(test_logprobs_go_with_their_text),
        cmocka_unit_test(test_vocabulary),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
