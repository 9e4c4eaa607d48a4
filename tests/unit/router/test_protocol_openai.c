/* To OpenAI-compatible backends: the agent's own bytes around a new model name. */
#include "protocol_help.h"

#define PATH "/v1/chat/completions"
#define BEFORE " {\"zeta\": 1e400, \"model\" : "
#define BEHIND                                                                                     \
    " ,\"messages\":[{\"role\":\"user\",\"content\":\"\\u0041\",\"x\":9007199254740993}],"         \
    "\"unknown\":[]}\n"

static void
only_the_model_is_edited(void **state)
{
    (void)state;
    help_expect(&hw_dialect_openai, BEFORE "\"auto\"" BEHIND, &hw_protocol_openai, "llama \"3\"",
                PATH, BEFORE "\"llama \\\"3\\\"\"" BEHIND, "");
    help_expect(&hw_dialect_openai, BEFORE "\"m\\u0031\"" BEHIND, &hw_protocol_openai, "m2", PATH,
                BEFORE "\"m2\"" BEHIND, "");
}

static void
the_same_model_is_left_alone(void **state)
{
    struct help_query h;
    struct help_request r;

    (void)state;
    help_must_parse(&h, &hw_dialect_openai, BEFORE "\"m\\u0031\"" BEHIND);
    for (int named = 0; named < 2; named++) {
        help_write(&r, &hw_protocol_openai, &h.query, named ? "m1" : NULL);
        assert_int_equal(r.segment_count, 1);
        assert_string_equal(r.body.data, BEFORE "\"m\\u0031\"" BEHIND);
        help_request_free(&r);
    }
    help_free(&h);
}

static void
a_question_becomes_a_chat(void **state)
{
    struct help_query h;
    struct help_request r;

    (void)state;
    help_expect(&hw_dialect_bdh, "{\"question\":\"a\\n\\u00e9?\"}", &hw_protocol_openai, "m", PATH,
                "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\\n\\u00e9?\"}],"
                "\"max_tokens\":200,"
                "\"temperature\":0,\"stream\":true,\"stream_options\":{\"include_usage\":true}}",
                "");
    help_expect(
        &hw_dialect_bdh,
        "{\"question\":\"q\",\"temperature\":0.50,\"top_p\":1,\"top_k\":3,\"seed\":-7,\"colour\":"
        "1}",
        &hw_protocol_openai, "m", PATH,
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"max_tokens\":200,"
        "\"temperature\":0.50,\"top_p\":1,\"seed\":-7,\"stream\":true,"
        "\"stream_options\":{\"include_usage\":true}}",
        "top_k, colour");
    help_must_parse(&h, &hw_dialect_bdh, "{\"question\":\"q\"}");
    help_write(&r, &hw_protocol_openai, &h.query, NULL);
    assert_int_equal(r.rc, HW_EINVAL);
    help_request_free(&r);
    help_free(&h);
}

static void
protocols_by_kind(void **state)
{
    (void)state;
    assert_ptr_equal(hw_protocol_of(HW_KIND_OPENAI), &hw_protocol_openai);
    assert_ptr_equal(hw_protocol_of(HW_KIND_OLLAMA), &hw_protocol_ollama);
    assert_ptr_equal(hw_protocol_of(HW_KIND_BDH), &hw_protocol_bdh);
    assert_true(hw_protocol_speaks(&hw_protocol_openai, &hw_dialect_openai));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_model_is_edited),
        cmocka_unit_test(the_same_model_is_left_alone),
        cmocka_unit_test(a_question_becomes_a_chat),
        cmocka_unit_test(protocols_by_kind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
