/* The Anthropic dialect: which bodies become which query, and what agents are told. */
#include "protocol_help.h"

#define DIALECT &hw_dialect_anthropic
#define HI "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define TAIL ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}"

static void
to_openai(const char *query, const char *body, const char *dropped)
{
    help_expect(DIALECT, query, &hw_protocol_openai, "m", "/v1/chat/completions", body, dropped);
}

static void
a_plain_query(void **state)
{
    struct help_query h;

    (void)state;
    help_must_parse(&h, DIALECT,
                    "{\"model\":\"auto\",\"max_tokens\":9,\"system\":[{\"type\":\"text\",\"text\":"
                    "\"be\"},{\"type\":\"text\",\"text\":\"brief\",\"cache_control\":{}}],"
                    "\"temperature\":0," HI "}");
    assert_false(h.query.stream);
    assert_true(h.query.deterministic);
    assert_int_equal(h.query.max_tokens, 9);
    assert_int_equal(h.query.message_count, 2);
    assert_int_equal(h.query.messages[0].role, HW_MSG_SYSTEM);
    assert_string_equal(help_text(&h, &h.query.messages[0]), "be\nbrief");
    assert_string_equal(help_text(&h, h.query.last_user), "hi");
    assert_int_equal(h.query.prompt_bytes, 10);
    assert_int_equal(h.query.lost_count, 0);
    help_free(&h);
}

static void
fields_to_openai(void **state)
{
    (void)state;
    to_openai("{\"model\":\"a\",\"max_tokens\":16,\"temperature\":0.10,\"top_p\":0.9,\"top_k\":5,"
              "\"stop_sequences\":[\"x\",\"y\"],\"metadata\":{\"user_id\":\"u\"},\"service_tier\":"
              "\"auto\",\"system\":\"s\\u00e9\"," HI "}",
              "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"s\\u00e9\"},"
              "{\"role\":\"user\",\"content\":\"hi\"}],\"max_tokens\":16,\"temperature\":0.10,"
              "\"top_p\":0.9,\"stop\":[\"x\",\"y\"]" TAIL,
              "top_k, service_tier");
    to_openai("{\"model\":\"a\",\"output_config\":{\"format\":{\"type\":\"json_schema\",\"schema\":"
              "{\"type\":\"object\" }}},\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":9},"
              "\"system\":\"\"," HI "}",
              "{\"model\":\"m\"," HI
              ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":"
              "{\"name\":\"answer\",\"schema\":{\"type\":\"object\" }}}" TAIL,
              "thinking");
}

#define TOOL_QUERY                                                                                 \
    "{\"model\":\"a\",\"tools\":[{\"name\":\"f\",\"description\":\"d\",\"input_schema\":{"         \
    "\"type\":\"object\"}},{\"type\":\"web_search_20250305\",\"name\":\"w\"}],\"tool_choice\":{"   \
    "\"type\":\"tool\",\"name\":\"f\"},\"messages\":["                                             \
    "{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"hm\","             \
    "\"signature\":\"x\"},{\"type\":\"text\",\"text\":\"I look\"},{\"type\":\"tool_use\","         \
    "\"id\":\"t1\",\"name\":\"f\",\"input\":{\"a\": \"b\"}},{\"type\":\"tool_use\",\"id\":"        \
    "\"t2\",\"name\":\"f\",\"input\":{}}]},"                                                       \
    "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"t1\","            \
    "\"content\":\"42\"},{\"type\":\"tool_result\",\"tool_use_id\":\"t2\",\"is_error\":true,"      \
    "\"content\":[{\"type\":\"text\",\"text\":\"no\"},{\"type\":\"image\"}]},"                     \
    "{\"type\":\"text\",\"text\":\"and\"},{\"type\":\"document\"},{\"type\":\"text\","             \
    "\"text\":\"now?\"}]}]}"

static void
tools_to_openai(void **state)
{
    (void)state;
    to_openai(
        TOOL_QUERY,
        "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":\"I look\","
        "\"reasoning_content\":\"hm\",\"tool_calls\":[{\"id\":\"t1\",\"type\":\"function\","
        "\"function\":{\"name\":\"f\","
        "\"arguments\":\"{\\\"a\\\": \\\"b\\\"}\"}},{\"id\":\"t2\",\"type\":\"function\","
        "\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},"
        "{\"role\":\"tool\",\"content\":\"42\",\"tool_call_id\":\"t1\"},"
        "{\"role\":\"tool\",\"content\":\"no\",\"tool_call_id\":\"t2\"},"
        "{\"role\":\"user\",\"content\":\"and\\nnow?\"}],"
        "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\","
        "\"parameters\":{\"type\":\"object\"}}}],\"tool_choice\":{\"type\":\"function\","
        "\"function\":{\"name\":\"f\"}}" TAIL,
        "tools[1], messages[1].content[1].is_error, messages[1].content[1].content, "
        "messages[1].content[3]");
}

static void
images_to_openai(void **state)
{
    (void)state;
    to_openai(
        "{\"model\":\"a\",\"messages\":[{\"role\":\"user\",\"content\":["
        "{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\","
        "\"data\":\"QUJD\\/\"}},{\"type\":\"text\",\"text\":\"what?\"},"
        "{\"type\":\"image\",\"source\":{\"type\":\"url\",\"url\":\"http://x/y\"}}]}]}",
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\","
        "\"image_url\":{\"url\":\"data:image/png;base64,QUJD\\/\"}},{\"type\":\"text\","
        "\"text\":\"what?\"},{\"type\":\"image_url\",\"image_url\":{\"url\":\"http://x/"
        "y\"}}]}]" TAIL,
        "");
}

static void
to_ollama(void **state)
{
    (void)state;
    help_expect(
        DIALECT, TOOL_QUERY, &hw_protocol_ollama, "m", "/api/chat",
        "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":\"I look\","
        "\"thinking\":\"hm\",\"tool_calls\":[{\"id\":\"t1\",\"function\":{\"name\":\"f\","
        "\"arguments\":{\"a\": "
        "\"b\"}}},{\"id\":\"t2\",\"function\":{\"name\":\"f\",\"arguments\":{}}}]},"
        "{\"role\":\"tool\",\"content\":\"42\",\"tool_call_id\":\"t1\",\"tool_name\":\"f\"},"
        "{\"role\":\"tool\",\"content\":\"no\",\"tool_call_id\":\"t2\",\"tool_name\":\"f\"},"
        "{\"role\":\"user\",\"content\":\"and\\nnow?\"}],"
        "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":"
        "\"d\",\"parameters\":{\"type\":\"object\"}}}],\"options\":{},\"stream\":true}",
        "tool_choice, tools[1], messages[1].content[1].is_error, "
        "messages[1].content[1].content, messages[1].content[3]");
    help_expect(DIALECT,
                "{\"model\":\"a\",\"max_tokens\":3,\"stop_sequences\":[\"x\"],\"thinking\":{"
                "\"type\":\"enabled\"}," HI "}",
                &hw_protocol_ollama, "m", "/api/chat",
                "{\"model\":\"m\"," HI ",\"options\":{\"num_predict\":3,\"stop\":[\"x\"]},"
                "\"stream\":true,\"think\":true}",
                "");
}

static void
mistakes_are_named(void **state)
{
    static const char *const table[][2] = {
        {"7", "the body must be a JSON object, got 7"},
        {"{" HI "}", "model is missing: name one, or \"auto\" to let the policy choose"},
        {"{\"model\":\"m\"}", "messages is missing"},
        {"{\"model\":\"m\",\"messages\":[]}", "messages must not be empty"},
        {"{\"model\":\"m\",\"messages\":7}", "messages must be an array, got 7"},
        {"{\"model\":\"m\",\"messages\":[7]}", "messages[0] must be an object, got a number"},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"\"}]}",
         "messages[0].role must be user or assistant, got a string"},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\"}]}", "messages[0].content is missing"},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":{}}]}",
         "messages[0].content must be a string or an array of blocks, got an object"},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]}",
         "messages[0].content[0].text must be a string"},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
         "\"text\":\"\\u0000\"}]}]}",
         "messages[0].content[0].text must not contain \\u0000"},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[7]}]}",
         "messages[0].content[0] must be an object with a type"},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image\"}]}]}",
         "messages[0].content[0].source must be an object with a type"},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\"}"
         "]}]}",
         "messages[0].content[0].tool_use_id must be a string"},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":[{\"type\":"
         "\"tool_use\",\"id\":\"a\",\"name\":\"b\",\"input\":\"{}\"}]}]}",
         "messages[0].content[0].input must be an object"},
        {"{\"model\":\"m\",\"tools\":[{\"name\":7}]," HI "}", "tools[0].name must be a string"},
        {"{\"model\":\"m\",\"tool_choice\":\"auto\"," HI "}",
         "tool_choice must be an object with a type"},
        {"{\"model\":\"m\",\"tool_choice\":{\"type\":\"tool\"}," HI "}",
         "tool_choice.type must be auto, any, none, or tool with a name"},
        {"{\"model\":\"m\",\"stop_sequences\":\"x\"," HI "}",
         "stop_sequences must be an array of strings, got a string"},
        {"{\"model\":\"m\",\"system\":7," HI "}",
         "system must be a string or an array of blocks, got 7"},
        {"{\"model\":\"m\",\"thinking\":true," HI "}", "thinking must be an object with a type"},
        {"{\"model\":\"m\",\"max_tokens\":1,\"max_tokens\":2," HI "}", "max_tokens is given twice"},
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
a_body_cut_at_every_byte(void **state)
{
    struct help_query h;

    (void)state;
    for (size_t i = 0; i < sizeof(TOOL_QUERY) - 1; i++) {
        help_parse_bytes(&h, DIALECT, TOOL_QUERY, i);
        assert_int_equal(h.rc, HW_EINVAL);
        help_free(&h);
    }
}

static void
what_is_lost_is_bounded(void **state)
{
    struct hw_buf body;
    struct help_query h;

    (void)state;
    hw_buf_init(&body, 1 << 16);
    hw_buf_puts(&body, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[");
    for (int i = 0; i < 100; i++)
        hw_buf_puts(&body, i == 0 ? "{\"type\":\"document\"}" : ",{\"type\":\"document\"}");
    hw_buf_puts(&body, "]}]}");
    help_must_parse(&h, DIALECT, body.data);
    assert_int_equal(h.query.lost_count, HW_MAX_LOST);
    assert_string_equal(h.query.lost[0], "messages[0].content[0]");
    assert_string_equal(h.query.lost[HW_MAX_LOST - 1], "...");
    help_free(&h);
    hw_buf_free(&body);
}

/* ---- answers ---- */

static const struct hw_event said[] = {
    {.type = HW_EVENT_REASONING, .text = "hm", .len = 2},
    {.type = HW_EVENT_TEXT, .text = "o\"", .len = 2},
    {.type = HW_EVENT_TEXT, .text = "k", .len = 1},
    {.type = HW_EVENT_TOOL_CALL, .id = "c0", .name = "f", .text = "{\"a\"", .len = 4},
    {.type = HW_EVENT_TOOL_CALL, .index = 1, .id = "c1", .name = "g", .text = "", .len = 0},
    {.type = HW_EVENT_TOOL_CALL, .text = ":1}", .len = 3},
    {.type = HW_EVENT_FINISH, .finish = HW_FINISH_STOP, .usage = {true, 11, 3}},
};

static void
write_all(const struct hw_event *events, size_t count, bool whole, struct hw_buf *out)
{
    struct hw_query query = {.dialect = DIALECT, .prompt_bytes = 40};
    struct hw_reply reply = {.query = &query, .id = "r1", .model = "m"};
    struct hw_answer answer;

    hw_buf_init(out, 1 << 16);
    hw_reply_init(&reply);
    hw_answer_init(&answer, 1 << 16);
    for (size_t i = 0; i < count; i++) {
        hw_answer_add(&answer, &events[i]);
        if (!whole)
            hw_dialect_anthropic.write_event(&reply, &events[i], out);
    }
    if (whole)
        hw_dialect_anthropic.write_whole(&reply, &answer, out);
    hw_answer_free(&answer);
    hw_reply_free(&reply);
}

#define HEAD "\"id\":\"msg_r1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\""

static void
whole_answers(void **state)
{
    struct hw_buf out;

    (void)state;
    write_all(said, 7, true, &out);
    assert_string_equal(
        out.data,
        "{" HEAD ",\"content\":[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"\"},"
        "{\"type\":\"text\",\"text\":\"o\\\"k\"},{\"type\":\"tool_use\",\"id\":\"c0\",\"name\":"
        "\"f\","
        "\"input\":{\"a\":1}},{\"type\":\"tool_use\",\"id\":\"c1\",\"name\":\"g\",\"input\":{}}],"
        "\"stop_reason\":\"tool_use\",\"stop_sequence\":null,\"usage\":{\"input_tokens\":11,"
        "\"output_tokens\":3}}");
    hw_buf_free(&out);
}

#define EVENT(name, rest) "event: " name "\ndata: {\"type\":\"" name "\"" rest "}\n\n"
#define START                                                                                      \
    EVENT("message_start",                                                                         \
          ",\"message\":{" HEAD ",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,"     \
          "\"usage\":{\"input_tokens\":10,\"output_tokens\":0}}")

static void
streamed_answers(void **state)
{
    const struct hw_event finish = {.type = HW_EVENT_FINISH, .finish = HW_FINISH_LENGTH};
    struct hw_buf out;

    (void)state;
    write_all(said, 7, false, &out);
    assert_string_equal(
        out.data,
        START EVENT("content_block_start", ",\"index\":0,\"content_block\":{\"type\":\"thinking\","
                                           "\"thinking\":\"\",\"signature\":\"\"}")
            EVENT("content_block_delta",
                  ",\"index\":0,\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"hm\"}")
                EVENT("content_block_stop", ",\"index\":0") EVENT(
                    "content_block_start",
                    ",\"index\":1,\"content_block\":{\"type\":\"text\",\"text\":\"\"}")
                    EVENT("content_block_delta",
                          ",\"index\":1,\"delta\":{\"type\":\"text_delta\",\"text\":\"o\\\"\"}")
                        EVENT("content_block_delta",
                              ",\"index\":1,\"delta\":{\"type\":\"text_delta\",\"text\":\"k\"}")
                            EVENT("content_block_stop", ",\"index\":1") EVENT(
                                "content_block_start",
                                ",\"index\":2,\"content_block\":{\"type\":\"tool_use\","
                                "\"id\":\"c0\",\"name\":\"f\",\"input\":{}}")
                                EVENT("content_block_delta",
                                      ",\"index\":2,\"delta\":{\"type\":\"input_json_delta\","
                                      "\"partial_json\":\"{\\\"a\\\"\"}")
                                    EVENT("content_block_delta",
                                          ",\"index\":2,\"delta\":{\"type\":\"input_json_delta\","
                                          "\"partial_json\":\":1}\"}")
                                        EVENT("content_block_stop", ",\"index\":2") EVENT(
                                            "content_block_start",
                                            ",\"index\":3,\"content_block\":{\"type\":\"tool_use\","
                                            "\"id\":\"c1\",\"name\":\"g\",\"input\":{}}")
                                            EVENT("content_block_delta",
                                                  ",\"index\":3,\"delta\":{\"type\":\"input_json_"
                                                  "delta\",\"partial_json\":\"{}\"}")
                                                EVENT("content_block_stop", ",\"index\":3")
                                                    EVENT("message_delta",
                                                          ",\"delta\":{\"stop_reason\":\"tool_"
                                                          "use\",\"stop_sequence\":null},"
                                                          "\"usage\":{\"input_tokens\":11,\"output_"
                                                          "tokens\":3}") EVENT("message_stop", ""));
    hw_buf_free(&out);

    write_all(&finish, 1, false, &out);
    assert_string_equal(out.data,
                        START EVENT("message_delta",
                                    ",\"delta\":{\"stop_reason\":\"max_tokens\",\"stop_sequence\":"
                                    "null},\"usage\":{\"input_tokens\":10,\"output_tokens\":0}")
                            EVENT("message_stop", ""));
    hw_buf_free(&out);
}

/* A word while a call's arguments are open waits for their end, and a call that ends is closed
 * before the next begins. */
static void
what_comes_within_a_call_waits(void **state)
{
    static const struct hw_event mixed[] = {
        {.type = HW_EVENT_TOOL_CALL, .id = "c0", .name = "f", .text = "{", .len = 1},
        {.type = HW_EVENT_TEXT, .text = "so", .len = 2},
        {.type = HW_EVENT_TOOL_CALL, .text = "}", .len = 1},
        {.type = HW_EVENT_TOOL_CALL, .index = 1, .id = "c1", .name = "g", .text = "{}", .len = 2},
        {.type = HW_EVENT_FINISH, .finish = HW_FINISH_STOP, .usage = {true, 11, 3}},
    };
    static const char *const order[] = {"\"id\":\"c0\"",
                                        "\"partial_json\":\"{\"",
                                        "\"partial_json\":\"}\"",
                                        "content_block_stop",
                                        "\"text\":\"so\"",
                                        "content_block_stop",
                                        "\"id\":\"c1\"",
                                        "\"partial_json\":\"{}\"",
                                        "content_block_stop",
                                        "\"stop_reason\":\"tool_use\"",
                                        "message_stop"};
    struct hw_buf out;

    (void)state;
    write_all(mixed, 5, false, &out);
    const char *at = out.data;
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        at = strstr(at, order[i]);
        if (at == NULL)
            fail_msg("%s is not in its place: %s", order[i], out.data);
        at += strlen(order[i]);
    }
    hw_buf_free(&out);
}

static void
errors_by_status(void **state)
{
    static const struct {
        int status;
        const char *type;
    } table[] = {{400, "invalid_request_error"},
                 {401, "authentication_error"},
                 {403, "permission_error"},
                 {404, "not_found_error"},
                 {413, "request_too_large"},
                 {429, "rate_limit_error"},
                 {502, "api_error"},
                 {503, "overloaded_error"},
                 {504, "timeout_error"}};
    const struct hw_event broke = {.type = HW_EVENT_ERROR, .text = "no", .len = 2};
    struct hw_buf out;

    (void)state;
    hw_buf_init(&out, 4096);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char wanted[256];
        snprintf(wanted, sizeof(wanted),
                 "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":\"no\"}}",
                 table[i].type);
        hw_buf_clear(&out);
        hw_dialect_anthropic.write_error(table[i].status, "no", NULL, &out);
        assert_string_equal(out.data, wanted);
    }
    hw_buf_free(&out);
    write_all(&broke, 1, false, &out);
    assert_string_equal(out.data, "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":"
                                  "\"api_error\",\"message\":\"no\"}}\n\n");
    hw_buf_free(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_query),
        cmocka_unit_test(fields_to_openai),
        cmocka_unit_test(tools_to_openai),
        cmocka_unit_test(images_to_openai),
        cmocka_unit_test(to_ollama),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(a_body_cut_at_every_byte),
        cmocka_unit_test(what_is_lost_is_bounded),
        cmocka_unit_test(whole_answers),
        cmocka_unit_test(streamed_answers),
        cmocka_unit_test(what_comes_within_a_call_waits),
        cmocka_unit_test(errors_by_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
