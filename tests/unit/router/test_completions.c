/* /v1/completions: which bodies become which query, and what agents are told. */
#include "protocol_help.h"

#define DIALECT &hw_dialect_completions

static void
a_prompt_is_a_message(void **state)
{
    static const char *const bodies[] = {
        "{\"model\":\"auto\",\"prompt\":\"a\\nb\",\"temperature\":0}",
        "{\"model\":\"auto\",\"prompt\":[\"a\\nb\"],\"temperature\":0}"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct help_query h;
        help_must_parse(&h, DIALECT, bodies[i]);
        assert_int_equal(h.query.message_count, 1);
        assert_string_equal(help_text(&h, h.query.last_user), "a\nb");
        assert_int_equal(h.query.prompt_bytes, 3);
        assert_true(h.query.deterministic && h.query.keepable && !h.query.stream);
        help_free(&h);
    }
}

static void
mistakes_are_named(void **state)
{
#define ONE "prompt must be one string; several prompts, or tokens, are not taken, got "
    static const char *const table[][2] = {
        {"[]", "the body must be a JSON object, got an array"},
        {"{\"prompt\":\"p\"}", "model is missing: name one, or \"auto\" to let the policy choose"},
        {"{\"model\":\"m\"}", "prompt is missing"},
        {"{\"model\":\"m\",\"prompt\":[\"a\",\"b\"]}", ONE "an array"},
        {"{\"model\":\"m\",\"prompt\":[]}", ONE "an array"},
        {"{\"model\":\"m\",\"prompt\":[1]}", ONE "an array"},
        {"{\"model\":\"m\",\"prompt\":7}", ONE "7"},
        {"{\"model\":\"m\",\"prompt\":\"p\",\"n\":0}",
         "n must be a whole number from 1 to 128, got 0"},
        {"{\"model\":\"m\",\"prompt\":\"p\",\"prompt\":\"q\"}", "prompt is given twice"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct help_query h;
        help_parse(&h, DIALECT, table[i][0]);
        assert_int_equal(h.rc, HW_EINVAL);
        assert_string_equal(h.err.msg, table[i][1]);
        help_free(&h);
    }
}

static void
to_backends(void **state)
{
    static const char body[] = "{ \"model\":\"m\",\"prompt\":\"p\",\"echo\":true,\"min_p\":0.10,"
                               "\"max_tokens\":3,\"stop\":\"x\",\"logprobs\":2}";

    (void)state;
    help_expect(DIALECT, body, &hw_protocol_openai, "m", "/v1/completions", body, "");
    help_expect(
        DIALECT, body, &hw_protocol_ollama, "m", "/api/chat",
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"p\"}],\"options\":{"
        "\"num_predict\":3,\"min_p\":0.10,\"stop\":[\"x\"]},\"stream\":true,\"logprobs\":true,"
        "\"top_logprobs\":2}",
        "echo");
    help_expect(DIALECT, body, &hw_protocol_bdh, NULL, "/api/bdh/ask", "{\"question\":\"p\"}",
                "echo, min_p, max_tokens, stop, logprobs");
    help_expect(DIALECT, "{\"model\":\"m\",\"prompt\":\"p\",\"logprobs\":999}", &hw_protocol_ollama,
                "m", "/api/chat",
                "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"p\"}],"
                "\"options\":{},\"stream\":true}",
                "logprobs");
}

#define FRAME(text, reason)                                                                        \
    "{\"id\":\"cmpl-r1\",\"object\":\"text_completion\",\"created\":7,\"model\":\"m\","            \
    "\"choices\":[{\"index\":0,\"text\":\"" text "\",\"logprobs\":null,\"finish_reason\":" reason  \
    "}]"
#define USAGE ",\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2,\"total_tokens\":7}"

static void
answers(void **state)
{
    const struct hw_event said[] = {
        {.type = HW_EVENT_TEXT, .text = "o\"k", .len = 3},
        {.type = HW_EVENT_FINISH, .finish = HW_FINISH_LENGTH, .usage = {true, 5, 2}},
    };
    struct hw_query query = {.dialect = DIALECT, .include_usage = true};
    struct hw_reply reply = {.query = &query, .id = "r1", .model = "m", .created_s = 7};
    struct hw_answer answer;
    struct hw_buf out;

    (void)state;
    hw_buf_init(&out, 1 << 16);
    hw_answer_init(&answer, 1 << 16);
    for (size_t i = 0; i < 2; i++) {
        hw_answer_add(&answer, &said[i]);
        hw_dialect_completions.write_event(&reply, &said[i], &out);
    }
    assert_string_equal(out.data,
                        "data: " FRAME("o\\\"k", "null") ",\"usage\":null}\n\n"
                                                         "data: " FRAME("", "\"length\"") USAGE
                        "}\n\ndata: [DONE]\n\n");
    hw_buf_clear(&out);
    hw_dialect_completions.write_whole(&reply, &answer, &out);
    assert_string_equal(out.data, FRAME("o\\\"k", "\"length\"") USAGE "}");
    hw_answer_free(&answer);
    hw_buf_free(&out);
}

/* A token given twice among the likeliest is written once, offsets count characters, and what an
 * entry lacks is null. */
static void
log_probabilities(void **state)
{
    static const char entries[] =
        "{\"token\":\"\\u00e9a\",\"logprob\":-0.10,\"top_logprobs\":["
        "{\"token\":\"\\u00e9a\",\"logprob\":-0.10},{\"token\":\"x\",\"logprob\":-2},"
        "{\"token\":\"x\",\"logprob\":-3},{\"token\":7,\"logprob\":-3},8]},{\"token\":\"b\"}";
    const struct hw_event said = {.type = HW_EVENT_TEXT,
                                  .text = "\xc3\xa9"
                                          "ab",
                                  .len = 4,
                                  .logprobs = entries,
                                  .logprobs_len = sizeof(entries) - 1};
    struct hw_query query = {.dialect = DIALECT};
    struct hw_reply reply = {.query = &query, .id = "r1", .model = "m", .created_s = 7};
    struct hw_buf out;

    (void)state;
    hw_buf_init(&out, 1 << 16);
    hw_dialect_completions.write_event(&reply, &said, &out);
    assert_non_null(strstr(out.data, "\"logprobs\":{\"tokens\":[\"\\u00e9a\",\"b\"],"
                                     "\"token_logprobs\":[-0.10,null],\"text_offset\":[0,2],"
                                     "\"top_logprobs\":[{\"\\u00e9a\":-0.10,\"x\":-2},{}]},"
                                     "\"finish_reason\":null"));
    hw_buf_clear(&out);
    hw_dialect_completions.write_event(&reply, &said, &out);
    assert_non_null(strstr(out.data, "\"text_offset\":[3,5]"));
    hw_buf_free(&out);
}

static void
a_backends_completion_is_read(void **state)
{
    static const char stream[] =
        "data: " FRAME("a\\u00e9", "null") "}\n\n"
                                           "data: " FRAME("b", "\"length\"") USAGE
        "}\n\ndata: [DONE]\n\n";
    static const char whole[] = FRAME("ab", "\"stop\"") USAGE "}";
    struct help_query h;

    (void)state;
    help_must_parse(&h, DIALECT, "{\"model\":\"m\",\"prompt\":\"p\"}");
    for (size_t i = 0; i < sizeof(stream); i++) {
        struct hw_buf out;
        hw_buf_init(&out, 4096);
        help_read_split(&hw_protocol_openai, &h.query, 200, "text/event-stream", stream,
                        sizeof(stream) - 1, i, 4096, &out);
        assert_non_null(strstr(out.data, "T(a\xc3\xa9)T(b)F(length 5 2)"));
        hw_buf_clear(&out);
        help_read_split(&hw_protocol_openai, &h.query, 200, "application/json", whole,
                        sizeof(whole) - 1, i < sizeof(whole) ? i : 0, 4096, &out);
        assert_string_equal(out.data, "T(ab)F(stop 5 2)");
        hw_buf_free(&out);
    }
    help_free(&h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prompt_is_a_message), cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(to_backends),           cmocka_unit_test(answers),
        cmocka_unit_test(log_probabilities),     cmocka_unit_test(a_backends_completion_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
