/* The Ollama dialect: which bodies become which query, and what agents are told. */
#include "protocol_help.h"

#define CHAT &hw_dialect_ollama
#define GENERATE &hw_dialect_ollama_generate
#define HI "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

static void
a_plain_chat(void **state)
{
    struct help_query h;

    (void)state;
    help_must_parse(&h, CHAT, "{\"model\":\"auto\"," HI "}");
    assert_string_equal(h.query.model, "auto");
    assert_true(h.query.stream); /* unlike OpenAI's */
    assert_true(h.query.keepable);
    assert_false(h.query.deterministic);
    assert_false(h.query.loads);
    assert_int_equal(h.query.message_count, 1);
    assert_string_equal(help_text(&h, h.query.last_user), "hi");
    assert_int_equal(h.query.prompt_bytes, 2);
    help_free(&h);
    help_must_parse(&h, CHAT, "{\"model\":\"auto\",\"stream\":false," HI "}");
    assert_false(h.query.stream);
    help_free(&h);
}

static void
a_plain_generate(void **state)
{
    struct help_query h;

    (void)state;
    help_must_parse(&h, GENERATE,
                    "{\"model\":\"auto\",\"prompt\":\"a\\nb\",\"system\":\"be brief\","
                    "\"images\":[\"QUJD\"],\"options\":{\"seed\":7}}");
    assert_int_equal(h.query.message_count, 2);
    assert_int_equal(h.query.messages[0].role, HW_MSG_SYSTEM);
    assert_string_equal(help_text(&h, &h.query.messages[0]), "be brief");
    assert_string_equal(help_text(&h, h.query.last_user), "a\nb");
    assert_true(h.query.wants_images);
    assert_true(h.query.deterministic);
    help_free(&h);
}

static void
no_prompt_only_loads(void **state)
{
    static const char *const generates[] = {"{\"model\":\"m\"}",
                                            "{\"model\":\"m\",\"prompt\":\"\"}",
                                            "{\"model\":\"m\",\"prompt\":null,\"keep_alive\":0}"};
    static const char *const chats[] = {"{\"model\":\"m\"}", "{\"model\":\"m\",\"messages\":[]}"};
    struct help_query h;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        help_must_parse(&h, GENERATE, generates[i]);
        assert_true(h.query.loads);
        help_free(&h);
    }
    for (size_t i = 0; i < 2; i++) {
        help_must_parse(&h, CHAT, chats[i]);
        assert_true(h.query.loads);
        help_free(&h);
    }
}

static void
mistakes_are_named(void **state)
{
    static const struct {
        const struct hw_dialect *dialect;
        const char *body, *message;
    } table[] = {
        {CHAT, "[]", "the body must be a JSON object, got an array"},
        {CHAT, "{" HI "}", "model is missing: name one, or \"auto\" to let the policy choose"},
        {CHAT, "{\"model\":\"m\",\"model\":\"n\"}", "model is given twice"},
        {CHAT, "{\"model\":\"m\",\"messages\":{}}", "messages must be an array, got an object"},
        {CHAT, "{\"model\":\"m\",\"messages\":[1]}", "messages[0] must be an object, got a number"},
        {CHAT, "{\"model\":\"m\",\"messages\":[{\"content\":\"x\"}]}",
         "messages[0].role is missing"},
        {CHAT, "{\"model\":\"m\",\"messages\":[{\"role\":\"x\"}]}",
         "messages[0].role must be system, user, assistant or tool, got a string"},
        {CHAT, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[]}]}",
         "messages[0].content must be a string, got an array"},
        {CHAT, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"images\":[1]}]}",
         "messages[0].images[0] must be a base64 string, got a number"},
        {CHAT,
         "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{"
         "\"name\":\"f\",\"arguments\":\"{}\"}}]}]}",
         "messages[0].tool_calls[0].function.arguments must be an object, got a string"},
        {CHAT, "{\"model\":\"m\",\"options\":3}", "options must be an object, got 3"},
        {CHAT, "{\"model\":\"m\",\"options\":{\"temperature\":\"hot\"}}",
         "options.temperature must be a number from 0 to 1000, got a string"},
        {CHAT, "{\"model\":\"m\",\"options\":{\"seed\":1,\"seed\":2}}",
         "options.seed is given twice"},
        {CHAT, "{\"model\":\"m\",\"format\":7}", "format must be \"json\" or a schema, got 7"},
        {CHAT, "{\"model\":\"m\",\"think\":7}", "think must be a boolean or a level, got 7"},
        {CHAT, "{\"model\":\"m\",\"tools\":[7]}", "tools[0] must be an object, got a number"},
        {GENERATE, "{\"model\":\"m\",\"prompt\":[]}", "prompt must be a string, got an array"},
        {GENERATE, "{\"model\":\"m\",\"prompt\":\"\\u0000\"}", "prompt: "},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct help_query h;
        help_parse(&h, table[i].dialect, table[i].body);
        assert_int_equal(h.rc, HW_EINVAL);
        if (strncmp(h.err.msg, table[i].message, strlen(table[i].message)) != 0)
            fail_msg("%s: %s", table[i].body, h.err.msg);
        help_free(&h);
    }
}

static void
cut_at_every_byte(const struct hw_dialect *dialect, const char *body)
{
    size_t len = strlen(body);
    struct help_query h;

    for (size_t i = 0; i < len; i++) {
        help_parse_bytes(&h, dialect, body, i);
        assert_int_equal(h.rc, HW_EINVAL);
        help_free(&h);
    }
    help_must_parse(&h, dialect, body);
    help_free(&h);
}

static void
a_body_cut_at_every_byte(void **state)
{
    (void)state;
    cut_at_every_byte(
        CHAT, "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":\"\\u00e9\","
              "\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{\"a\":[1,2.5]}}}]},"
              "{\"role\":\"tool\",\"content\":\"x\",\"tool_name\":\"f\"}],\"format\":{\"a\":1},"
              "\"options\":{\"stop\":[\"a\"],\"num_predict\":-1},\"think\":\"low\"}");
    cut_at_every_byte(GENERATE, "{\"model\":\"m\",\"prompt\":\"p\",\"images\":[\"QQ==\"]}");
}

#define TO_OPENAI "/v1/chat/completions"
#define TAIL ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}"

static void
to_openai(const struct hw_dialect *dialect, const char *query, const char *body,
          const char *dropped)
{
    help_expect(dialect, query, &hw_protocol_openai, "m", TO_OPENAI, body, dropped);
}

static void
to_openai_field_by_field(void **state)
{
    (void)state;
    to_openai(CHAT,
              "{\"model\":\"auto\",\"options\":{\"num_predict\":16,\"temperature\":0.10,\"top_p\":"
              "0.9,\"top_k\":20,\"seed\":9007199254740993,\"stop\":[\"\\n\",\"b\"],\"presence_"
              "penalty\":1e-1,\"num_ctx\":8192},\"think\":\"high\",\"keep_alive\":\"5m\"," HI "}",
              "{\"model\":\"m\"," HI ",\"max_tokens\":16,\"temperature\":0.10,\"top_p\":0.9,"
              "\"seed\":9007199254740993,\"presence_penalty\":1e-1,\"stop\":[\"\\n\",\"b\"],"
              "\"reasoning_effort\":\"high\"" TAIL,
              "keep_alive, options.top_k, options.num_ctx");
    to_openai(CHAT, "{\"model\":\"a\",\"format\":\"json\",\"think\":true," HI "}",
              "{\"model\":\"m\"," HI ",\"response_format\":{\"type\":\"json_object\"}" TAIL,
              "think");
    to_openai(CHAT, "{\"model\":\"a\",\"format\":{\"type\":\"object\" },\"think\":false," HI "}",
              "{\"model\":\"m\"," HI
              ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"answer\","
              "\"schema\":{\"type\":\"object\" }}}" TAIL,
              "think");
    to_openai(GENERATE,
              "{\"model\":\"a\",\"prompt\":\"hi\",\"system\":\"s\",\"raw\":true,\"suffix\":\"x\","
              "\"context\":[1]}",
              "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"s\"},"
              "{\"role\":\"user\",\"content\":\"hi\"}]" TAIL,
              "raw, suffix, context");
    /* Within a message too; false is a value like another where it is not what is meant anyway. */
    to_openai(CHAT,
              "{\"model\":\"a\",\"truncate\":false,\"raw\":false,\"messages\":[{\"role\":\"user\","
              "\"content\":\"hi\",\"mood\":\"x\",\"other\":null}]}",
              "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]" TAIL,
              "truncate, messages[0].mood");
}

static void
images_and_tools_to_openai(void **state)
{
    (void)state;
    to_openai(CHAT,
              "{\"model\":\"a\",\"messages\":[{\"role\":\"user\",\"content\":\"see\",\"images\":["
              "\"iVBORw0KGgoAAA\",\"\\/9j\\/AA\"]}]}",
              "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
              "\"text\":\"see\"},{\"type\":\"image_url\",\"image_url\":{\"url\":"
              "\"data:image/png;base64,iVBORw0KGgoAAA\"}},{\"type\":\"image_url\",\"image_url\":{"
              "\"url\":\"data:image/jpeg;base64,\\/9j\\/AA\"}}]}]" TAIL,
              "");
    /* Ids are made up, and answers find their calls: by name, in order, by id. */
    to_openai(
        CHAT,
        "{\"model\":\"a\",\"tools\":[{\"type\":\"function\"}],\"messages\":["
        "{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"function\":{\"name\":\"f\","
        "\"arguments\":{\"a\": \"\\\"\"}}},{\"function\":{\"name\":\"g\"}},"
        "{\"id\":\"x\",\"function\":{\"name\":\"f\",\"arguments\":{}}}]},"
        "{\"role\":\"tool\",\"content\":\"1\",\"tool_name\":\"g\"},"
        "{\"role\":\"tool\",\"content\":\"2\"},"
        "{\"role\":\"tool\",\"content\":\"3\",\"tool_call_id\":\"x\"},"
        "{\"role\":\"tool\",\"content\":\"4\"}]}",
        "{\"model\":\"m\",\"messages\":["
        "{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":["
        "{\"id\":\"call_0_0\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":"
        "\"{\\\"a\\\": \\\"\\\\\\\"\\\"}\"}},"
        "{\"id\":\"call_0_1\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":"
        "\"{}\"}},"
        "{\"id\":\"x\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},"
        "{\"role\":\"tool\",\"content\":\"1\",\"tool_call_id\":\"call_0_1\"},"
        "{\"role\":\"tool\",\"content\":\"2\",\"tool_call_id\":\"call_0_0\"},"
        "{\"role\":\"tool\",\"content\":\"3\",\"tool_call_id\":\"x\"},"
        "{\"role\":\"user\",\"content\":\"4\"}],"
        "\"tools\":[{\"type\":\"function\"}]" TAIL,
        "");
}

static void
to_ollama_it_passes_as_it_is(void **state)
{
    static const char chat[] = "{ \"odd\":[1e400],\"model\" : \"m\"," HI " }";

    (void)state;
    help_expect(CHAT, chat, &hw_protocol_ollama, "m", "/api/chat", chat, "");
    help_expect(CHAT, chat, &hw_protocol_ollama, "n:8b", "/api/chat",
                "{ \"odd\":[1e400],\"model\" : \"n:8b\"," HI " }", "");
    help_expect(GENERATE, "{\"model\":\"m\",\"prompt\":\"p\",\"raw\":true}", &hw_protocol_ollama,
                "n", "/api/generate", "{\"model\":\"n\",\"prompt\":\"p\",\"raw\":true}", "");
    help_expect(CHAT, "{\"model\":\"m\",\"options\":{\"seed\":1}," HI "}", &hw_protocol_bdh, NULL,
                "/api/bdh/ask", "{\"question\":\"hi\"}", "options.seed");
}

/* ---- answers ---- */

#define STAMP "\"created_at\":\"2026-08-01T12:00:00Z\""
#define ENDING                                                                                     \
    "\"total_duration\":5000000,\"load_duration\":0,\"prompt_eval_count\":11,"                     \
    "\"prompt_eval_duration\":2000000,\"eval_count\":3,\"eval_duration\":3000000}"

static void
write_all(const struct hw_dialect *dialect, const struct hw_event *events, size_t count, bool whole,
          struct hw_buf *out)
{
    struct hw_query query = {.dialect = dialect};
    struct hw_reply reply = {.query = &query,
                             .model = "m",
                             .created_s = 1785585600,
                             .total_us = 5000,
                             .first_token_us = 2000};
    struct hw_answer answer;

    hw_buf_init(out, 1 << 16);
    hw_reply_init(&reply);
    hw_answer_init(&answer, 1 << 16);
    for (size_t i = 0; i < count; i++) {
        hw_answer_add(&answer, &events[i]);
        if (!whole)
            dialect->write_event(&reply, &events[i], out);
    }
    if (whole)
        dialect->write_whole(&reply, &answer, out);
    hw_answer_free(&answer);
    hw_reply_free(&reply);
}

static const struct hw_event said[] = {
    {.type = HW_EVENT_REASONING, .text = "hm", .len = 2},
    {.type = HW_EVENT_TEXT, .text = "o\"k", .len = 3},
    {.type = HW_EVENT_TOOL_CALL, .id = "c0", .name = "f", .text = "{\"a\"", .len = 4},
    {.type = HW_EVENT_TOOL_CALL, .index = 1, .id = "c1", .name = "g", .text = "no", .len = 2},
    {.type = HW_EVENT_TOOL_CALL, .text = ":1}", .len = 3},
    {.type = HW_EVENT_FINISH, .finish = HW_FINISH_TOOL_CALLS, .usage = {true, 11, 3}},
};

#define CALLS                                                                                      \
    "\"tool_calls\":[{\"id\":\"c0\",\"function\":{\"index\":0,\"name\":\"f\",\"arguments\":{"      \
    "\"a\":1}}},{\"id\":\"c1\",\"function\":{\"index\":1,\"name\":\"g\",\"arguments\":{"           \
    "\"arguments\":\"no\"}}}]}"

/* Each in a line of its own, as soon as it is complete. */
#define CALL_0                                                                                     \
    "\"tool_calls\":[{\"id\":\"c0\",\"function\":{\"index\":0,\"name\":\"f\",\"arguments\":{"      \
    "\"a\":1}}}]}"
#define CALL_1                                                                                     \
    "\"tool_calls\":[{\"id\":\"c1\",\"function\":{\"index\":1,\"name\":\"g\",\"arguments\":{"      \
    "\"arguments\":\"no\"}}}]}"

static void
whole_answers(void **state)
{
    struct hw_buf out;

    (void)state;
    write_all(CHAT, said, 6, true, &out);
    assert_string_equal(out.data, "{\"model\":\"m\"," STAMP
                                  ",\"message\":{\"role\":\"assistant\",\"content\":\"o\\\"k\","
                                  "\"thinking\":\"hm\"," CALLS
                                  ",\"done\":true,\"done_reason\":\"stop\"," ENDING);
    hw_buf_free(&out);
    write_all(GENERATE, said + 1, 1, true, &out);
    assert_string_equal(out.data, "{\"model\":\"m\"," STAMP
                                  ",\"response\":\"o\\\"k\",\"done\":true,\"done_reason\":\"stop\","
                                  "\"total_duration\":5000000,\"load_duration\":0,"
                                  "\"prompt_eval_duration\":2000000,\"eval_duration\":3000000}");
    hw_buf_free(&out);
}

#define LINE "{\"model\":\"m\"," STAMP ",\"message\":{\"role\":\"assistant\",\"content\":\""

static void
streamed_answers(void **state)
{
    struct hw_event length = {
        .type = HW_EVENT_FINISH, .finish = HW_FINISH_LENGTH, .usage = {true, 11, 3}};
    struct hw_buf out;

    (void)state;
    write_all(CHAT, said, 6, false, &out);
    assert_string_equal(out.data,
                        LINE "\",\"thinking\":\"hm\"},\"done\":false}\n" LINE
                             "o\\\"k\"},\"done\":false}\n" LINE "\"," CALL_0
                             ",\"done\":false}\n" LINE "\"," CALL_1 ",\"done\":false}\n" LINE
                             "\"},\"done\":true,\"done_reason\":\"stop\"," ENDING "\n");
    hw_buf_free(&out);
    write_all(GENERATE, &length, 1, false, &out);
    assert_string_equal(out.data,
                        "{\"model\":\"m\"," STAMP
                        ",\"response\":\"\",\"done\":true,\"done_reason\":\"length\"," ENDING "\n");
    hw_buf_free(&out);
}

static void
errors(void **state)
{
    const struct hw_event broke = {.type = HW_EVENT_ERROR, .text = "it \"broke\"", .len = 10};
    struct hw_buf out;

    (void)state;
    write_all(CHAT, &broke, 1, false, &out);
    assert_string_equal(out.data, "{\"error\":\"it \\\"broke\\\"\"}\n");
    hw_buf_clear(&out);
    hw_dialect_ollama.write_error(404, "no", "model", &out);
    assert_string_equal(out.data, "{\"error\":\"no\"}");
    hw_buf_free(&out);
}

/* What Ollama's generate says, read for a query of its own dialect. */
static void
generate_is_read(void **state)
{
    static const char lines[] =
        "{\"model\":\"m\",\"response\":\"\",\"thinking\":\"hm\",\"done\":false}\n"
        "{\"model\":\"m\",\"response\":\"o\\u006b\",\"done\":false}\n"
        "{\"model\":\"m\",\"response\":\"\",\"done\":true,\"done_reason\":\"length\","
        "\"prompt_eval_count\":5,\"eval_count\":2,\"context\":[1,2]}\n";
    struct help_query h;

    (void)state;
    help_must_parse(&h, GENERATE, "{\"model\":\"m\",\"prompt\":\"p\"}");
    for (size_t i = 0; i < sizeof(lines); i++) {
        struct hw_buf out;
        hw_buf_init(&out, 4096);
        help_read_split(&hw_protocol_ollama, &h.query, 200, "application/x-ndjson", lines,
                        sizeof(lines) - 1, i, 4096, &out);
        assert_string_equal(out.data, "R(hm)T(ok)F(length 5 2)");
        hw_buf_free(&out);
    }
    help_free(&h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_chat),
        cmocka_unit_test(a_plain_generate),
        cmocka_unit_test(no_prompt_only_loads),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(a_body_cut_at_every_byte),
        cmocka_unit_test(to_openai_field_by_field),
        cmocka_unit_test(images_and_tools_to_openai),
        cmocka_unit_test(to_ollama_it_passes_as_it_is),
        cmocka_unit_test(whole_answers),
        cmocka_unit_test(streamed_answers),
        cmocka_unit_test(errors),
        cmocka_unit_test(generate_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
