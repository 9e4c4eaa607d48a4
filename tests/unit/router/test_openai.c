/* The OpenAI dialect: which bodies become which query, and what agents are told. */
#include "api_help.h"
#include "router/api/calls.h"
#include "router/api/canonical.h"

#define OPENAI &hw_dialect_openai

static void
a_plain_query(void **state)
{
    static const char body[] =
        " {\"model\":\"auto\",\"messages\":[{\"role\":\"system\",\"content\":\"be \\u00e9\"},"
        "{\"role\":\"user\",\"content\":\"hi\\nthere\"}]} ";
    struct help_query h;

    (void)state;
    help_must_parse(&h, OPENAI, body);
    assert_ptr_equal(h.query.dialect, OPENAI);
    assert_string_equal(h.query.model, "auto");
    assert_int_equal(h.query.model_len, 6);
    assert_memory_equal(body + h.query.model_at, "\"auto\"", 6);
    assert_int_equal(h.query.message_count, 2);
    assert_int_equal(h.query.messages[0].role, HW_MSG_SYSTEM);
    assert_string_equal(help_text(&h, &h.query.messages[0]), "be \xc3\xa9");
    assert_ptr_equal(h.query.last_user, &h.query.messages[1]);
    assert_string_equal(help_text(&h, h.query.last_user), "hi\nthere");
    assert_int_equal(h.query.prompt_bytes, 5 + 8);
    assert_false(h.query.stream);
    assert_false(h.query.deterministic);
    assert_true(h.query.keepable);
    help_free(&h);
}

static void
every_field(void **state)
{
    struct help_query h;

    (void)state;
    help_must_parse(
        &h, OPENAI,
        "{\"mod\\u0065l\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true},"
        "\"max_tokens\":5,\"max_completion_tokens\":7,\"temperature\":0.0,\"top_p\":0.5,\"top_k\":"
        "40,"
        "\"min_p\":0.1,\"seed\":-3,\"n\":1,\"stop\":[\"a\",\"\\n\\n\"],\"presence_penalty\":-0.5,"
        "\"frequency_penalty\":1,\"logprobs\":false,\"user\":\"u\",\"unknown\":{\"x\":[1]},"
        "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],\"tool_choice\":"
        "\"auto\","
        "\"response_format\":{\"type\":\"json_object\"},"
        "\"messages\":[{\"role\":\"developer\",\"content\":\"d\"},{\"role\":\"user\",\"content\":["
        "{\"type\":\"text\",\"text\":\"one "
        "\"},{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:x\"}},"
        "{\"type\":\"text\",\"text\":\"two\"}]},"
        "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c1\",\"type\":"
        "\"function\","
        "\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},"
        "{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"42\"}]}");
    const struct hw_query *q = &h.query;
    struct hw_calls calls;
    struct hw_call call;
    struct hw_json id;
    assert_string_equal(q->model, "m");
    assert_true(q->stream && q->include_usage);
    assert_true(q->has_max_tokens);
    assert_int_equal(q->max_tokens, 7);
    assert_true(q->has_temperature && q->temperature == 0.0);
    assert_memory_equal(q->temperature_raw.p, "0.0", 3);
    assert_true(q->has_top_p && q->top_p == 0.5);
    assert_true(q->has_top_k && q->top_k == 40);
    assert_true(q->has_seed && q->seed == (uint64_t)-3);
    assert_int_equal(q->stop_count, 2);
    assert_string_equal(q->stops[1], "\n\n");
    assert_true(q->wants_tools && q->wants_images && q->wants_json);
    assert_true(q->deterministic && q->keepable);
    assert_int_equal(q->message_count, 4);
    assert_int_equal(q->messages[0].role, HW_MSG_SYSTEM);
    assert_string_equal(help_text(&h, &h.query.messages[1]), "one two");
    assert_true(q->messages[1].has_image);
    assert_string_equal(help_text(&h, &h.query.messages[2]), "");
    hw_calls_init(&calls, q, 2);
    assert_true(hw_calls_next(&calls, &call));
    assert_true(hw_json_string_is(&call.id, "c1") && hw_json_string_is(&call.name, "f"));
    assert_true(hw_json_string_is(&call.arguments, "{}"));
    assert_false(hw_calls_next(&calls, &call));
    assert_int_equal(q->messages[3].role, HW_MSG_TOOL);
    assert_true(hw_message_get(q, &q->messages[3], HW_MEMBER_TOOL_CALL_ID, &id));
    assert_true(hw_json_string_is(&id, "c1"));
    assert_false(hw_message_get(q, &q->messages[3], HW_MEMBER_REASONING, &id));
    assert_ptr_equal(q->last_user, &q->messages[1]);
    help_free(&h);
}

#define MESSAGES "\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]"

static void
null_is_absent(void **state)
{
    struct help_query h;

    (void)state;
    help_must_parse(
        &h, OPENAI,
        "{\"model\":\"m\"," MESSAGES
        ",\"stream\":null,\"temperature\":null,\"stop\":null,\"tools\":null,"
        "\"max_tokens\":null,\"seed\":null,\"n\":null,\"response_format\":null,\"audio\":null}");
    assert_false(h.query.has_temperature || h.query.has_seed || h.query.has_max_tokens);
    assert_true(h.query.keepable);
    help_free(&h);
}

static void
what_a_kept_answer_cannot_hold(void **state)
{
    static const char *const fields[] = {"\"n\":2",
                                         "\"logprobs\":true",
                                         "\"top_logprobs\":3",
                                         "\"store\":true",
                                         "\"audio\":{}",
                                         "\"modalities\":[\"text\",\"audio\"]",
                                         "\"web_search_options\":{}",
                                         "\"functions\":[]"};

    (void)state;
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        char body[256];
        struct help_query h;
        snprintf(body, sizeof(body), "{\"model\":\"m\",%s,\"seed\":1," MESSAGES "}", fields[i]);
        help_must_parse(&h, OPENAI, body);
        assert_false(h.query.keepable);
        assert_true(h.query.deterministic);
        help_free(&h);
    }
    struct help_query h;
    help_must_parse(
        &h, OPENAI,
        "{\"model\":\"m\",\"store\":false,\"tools\":[{}],\"tool_choice\":\"none\"," MESSAGES "}");
    assert_true(h.query.keepable);
    assert_false(h.query.wants_tools);
    help_free(&h);
}

static void
mistakes_are_named(void **state)
{
    static const struct {
        const char *body, *message;
    } table[] = {
        {"[]", "the body must be a JSON object, got an array"},
        {"3", "the body must be a JSON object, got 3"},
        {"{}", "model is missing: name one, or \"auto\" to let the policy choose"},
        {"{\"model\":\"m\"}", "messages is missing"},
        {"{" MESSAGES "}", "model is missing: name one, or \"auto\" to let the policy choose"},
        {"{\"model\":5," MESSAGES "}", "model must be a string, got 5"},
        {"{\"model\":\"\"," MESSAGES "}", "model must have 1 to 256 bytes, got 0"},
        {"{\"model\":\"a\\u0000b\"," MESSAGES "}", "model: must not contain \\u0000"},
        {"{\"model\":\"m\",\"model\":\"m\"," MESSAGES "}", "model is given twice"},
        {"{\"model\":\"m\"," MESSAGES "," MESSAGES "}", "messages is given twice"},
        {"{\"model\":\"m\",\"stream\":true,\"str\\u0065am\":false," MESSAGES "}",
         "stream is given twice"},
        {"{\"model\":\"m\",\"messages\":{}}", "messages must be an array, got an object"},
        {"{\"model\":\"m\",\"messages\":null}", "messages is missing"},
        {"{\"model\":\"m\",\"messages\":[]}", "messages must not be empty"},
        {"{\"model\":\"m\",\"messages\":[\"hi\"]}", "messages[0] must be an object, got a string"},
        {"{\"model\":\"m\",\"messages\":[{\"content\":\"x\"}]}", "messages[0].role is missing"},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"king\",\"content\":\"x\"}]}",
         "messages[0].role must be system, developer, user, assistant or tool, got \"king\""},
        {"{\"model\":\"m\",\"messages\":[{\"role\":7,\"content\":\"x\"}]}",
         "messages[0].role must be system, developer, user, assistant or tool, got 7"},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\"}]}",
         "messages[0].content must be a string or an array of parts"},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"user\","
         "\"content\":true}]}",
         "messages[1].content must be a string or an array of parts, got a boolean"},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\",\"content\":\"b\"}]}",
         "messages[0].content is given twice"},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\\u0000\"}]}",
         "messages[0].content: must not contain \\u0000"},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[1]}]}",
         "messages[0].content[0]: must be an object with a type, got a number"},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]}",
         "messages[0].content[0]: text is missing"},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"smell\"}]}]}",
         "messages[0].content[0]: type must be text, image_url, input_audio, file or refusal"},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\","
         "\"image_url\":1}]}]}",
         "messages[0].content[0]: image_url must be an object with a url"},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{}]}]}",
         "messages[0].tool_calls[0]: must be an object with a function"},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{"
         "\"name\":\"f\","
         "\"arguments\":{}}}]}]}",
         "messages[0].tool_calls[0]: function.arguments must be a string of JSON, got an object"},
        {"{\"model\":\"m\",\"temperature\":2.5," MESSAGES "}",
         "temperature must be a number from 0 to 2, got 2.5"},
        {"{\"model\":\"m\",\"temperature\":\"1\"," MESSAGES "}",
         "temperature must be a number from 0 to 2, got a string"},
        {"{\"model\":\"m\",\"temperature\":1e400," MESSAGES "}",
         "temperature must be a number from 0 to 2, got 1e400"},
        {"{\"model\":\"m\",\"top_p\":0," MESSAGES "}",
         "top_p must be a number above 0 and at most 1, got 0"},
        {"{\"model\":\"m\",\"max_tokens\":0," MESSAGES "}",
         "max_tokens must be a whole number from 1 to 4294967295, got 0"},
        {"{\"model\":\"m\",\"max_tokens\":1.5," MESSAGES "}",
         "max_tokens must be a whole number from 1 to 4294967295, got 1.5"},
        {"{\"model\":\"m\",\"n\":0," MESSAGES "}", "n must be a whole number from 1 to 128, got 0"},
        {"{\"model\":\"m\",\"seed\":1.5," MESSAGES "}",
         "seed must be a whole number of 64 bits, got 1.5"},
        {"{\"model\":\"m\",\"stop\":[\"a\",\"b\",\"c\",\"d\",\"e\"]," MESSAGES "}",
         "stop must hold at most 4 strings"},
        {"{\"model\":\"m\",\"stop\":[\"a\",1]," MESSAGES "}", "stop[1] must be a string, got 1"},
        {"{\"model\":\"m\",\"stop\":\"\"," MESSAGES "}", "stop must not be empty"},
        {"{\"model\":\"m\",\"stream\":\"yes\"," MESSAGES "}",
         "stream must be true or false, got a string"},
        {"{\"model\":\"m\",\"stream_options\":{\"include_usage\":1}," MESSAGES "}",
         "stream_options.include_usage must be true or false, got 1"},
        {"{\"model\":\"m\",\"tools\":[5]," MESSAGES "}",
         "tools[0] must be an object, got a number"},
        {"{\"model\":\"m\",\"tool_choice\":true," MESSAGES "}",
         "tool_choice must be a string or an object, got a boolean"},
        {"{\"model\":\"m\",\"response_format\":\"json\"," MESSAGES "}",
         "response_format must be an object, got a string"},
        {"{\"model\":\"m\",\"response_format\":{\"type\":\"json_schema\"}," MESSAGES "}",
         "response_format.json_schema must be an object with the schema"},
        {"{\"model\":\"m\",\"presence_penalty\":3," MESSAGES "}",
         "presence_penalty must be a number from -2 to 2, got 3"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct help_query h;
        help_parse(&h, OPENAI, table[i].body);
        if (h.rc != HW_EINVAL || strcmp(h.err.msg, table[i].message) != 0)
            fail_msg("%s: %d %s", table[i].body, h.rc, h.err.msg);
        help_free(&h);
    }
}

static void
a_body_cut_at_every_byte(void **state)
{
    static const char body[] =
        "{\"model\":\"m\",\"temperature\":0,\"stop\":[\"x\"],\"messages\":[{\"role\":\"user\","
        "\"content\":[{\"type\":"
        "\"text\",\"text\":\"\\u00e9\xc3\xa9\"}]},{\"role\":\"assistant\",\"content\":\"y\"}]}";

    (void)state;
    for (size_t cut = 0; cut < sizeof(body) - 1; cut++) {
        struct help_query h;
        help_parse_bytes(&h, OPENAI, body, cut);
        assert_int_equal(h.rc, HW_EINVAL);
        assert_true(strlen(h.err.msg) > 0);
        help_free(&h);
    }
    struct help_query h;
    help_must_parse(&h, OPENAI, body);
    help_free(&h);
}

static void
limits_are_told_apart(void **state)
{
    static const char body[] =
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"0123456789\"}]}";
    static const struct hw_json_limits shallow = {.depth = 2, .nodes = 100};
    struct help_query h = {.body = help_body(body, sizeof(body) - 1)};

    (void)state;
    hw_arena_init(&h.arena, 4096);
    assert_int_equal(hw_dialect_openai.parse(h.body, &shallow, &h.arena, &h.query, &h.err),
                     HW_ELIMIT);
    hw_arena_free(&h.arena);
    hw_arena_init(&h.arena, 64);
    assert_int_equal(hw_dialect_openai.parse(h.body, &help_limits, &h.arena, &h.query, &h.err),
                     HW_ELIMIT);
    help_free(&h);
}

/* ---- writing ---- */

static void
whole_answers(void **state)
{
    struct hw_query query = {0};
    struct hw_reply reply = {
        .query = &query, .id = "r\"1", .model = "m", .device = "cpu", .created_s = 17};
    struct hw_event finish = {.type = HW_EVENT_FINISH, .usage = {true, 3, 4}};
    struct hw_event text = {.type = HW_EVENT_TEXT, .text = "a\"b", .len = 3};
    struct hw_event call = {
        .type = HW_EVENT_TOOL_CALL, .id = "c", .name = "f", .text = "{\"x\":", .len = 5};
    struct hw_event more = {.type = HW_EVENT_TOOL_CALL, .text = "1}", .len = 2};
    struct hw_answer answer;
    struct hw_buf out;

    (void)state;
    hw_buf_init(&out, 4096);
    hw_answer_init(&answer, 4096);
    hw_answer_add(&answer, &text);
    hw_answer_add(&answer, &finish);
    hw_dialect_openai.write_whole(&reply, &answer, &out);
    assert_string_equal(
        out.data,
        "{\"id\":\"chatcmpl-r\\\"1\",\"object\":\"chat.completion\",\"created\":17,\"model\":\"m\","
        "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"a\\\"b\","
        "\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}],"
        "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7}}");
    hw_answer_free(&answer);
    hw_buf_clear(&out);
    hw_answer_init(&answer, 4096);
    hw_answer_add(&answer, &call);
    hw_answer_add(&answer, &more);
    finish.usage.known = false;
    hw_answer_add(&answer, &finish);
    hw_dialect_openai.write_whole(&reply, &answer, &out);
    assert_string_equal(
        out.data,
        "{\"id\":\"chatcmpl-r\\\"1\",\"object\":\"chat.completion\",\"created\":17,\"model\":\"m\","
        "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":null,\"tool_"
        "calls\":["
        "{\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{"
        "\\\"x\\\":1}\"}"
        "}],\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"tool_calls\"}]}");
    hw_answer_free(&answer);
    hw_buf_free(&out);
}

#define CHUNK                                                                                      \
    "data: "                                                                                       \
    "{\"id\":\"chatcmpl-r\",\"object\":\"chat.completion.chunk\",\"created\":17,\"model\":\"m\","  \
    "\"choices\":["
#define DELTA CHUNK "{\"index\":0,\"delta\":{"
#define NO_FINISH "},\"logprobs\":null,\"finish_reason\":null}]"

static void
write_events(bool include_usage, const struct hw_event *events, size_t count, struct hw_buf *out)
{
    struct hw_query query = {.include_usage = include_usage};
    struct hw_reply reply = {.query = &query, .id = "r", .model = "m", .created_s = 17};

    hw_buf_init(out, 16384);
    for (size_t i = 0; i < count; i++)
        hw_dialect_openai.write_event(&reply, &events[i], out);
    assert_false(out->failed);
}

static void
streamed_answers(void **state)
{
    const struct hw_event events[] = {
        {.type = HW_EVENT_REASONING, .text = "hm", .len = 2},
        {.type = HW_EVENT_TEXT, .text = "Hel", .len = 3},
        {.type = HW_EVENT_TEXT, .text = "lo\n", .len = 3},
        {.type = HW_EVENT_FINISH, .finish = HW_FINISH_LENGTH, .usage = {true, 5, 2}},
    };
    struct hw_buf out;

    (void)state;
    write_events(true, events, 4, &out);
    assert_string_equal(
        out.data, DELTA
        "\"role\":\"assistant\",\"reasoning_content\":\"hm\"" NO_FINISH ",\"usage\":null}\n\n" DELTA
        "\"content\":\"Hel\"" NO_FINISH ",\"usage\":null}\n\n" DELTA
        "\"content\":\"lo\\n\"" NO_FINISH ",\"usage\":null}\n\n" DELTA
        "},\"logprobs\":null,\"finish_reason\":\"length\"}],\"usage\":null}\n\n" CHUNK
        "],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2,\"total_tokens\":7}}\n\n"
        "data: [DONE]\n\n");
    hw_buf_free(&out);
    write_events(false, events + 3, 1, &out); /* not a word */
    assert_string_equal(out.data,
                        DELTA "\"role\":\"assistant\",\"content\":\"\"" NO_FINISH "}\n\n" DELTA
                              "},\"logprobs\":null,\"finish_reason\":\"length\"}]}\n\n"
                              "data: [DONE]\n\n");
    hw_buf_free(&out);
}

static void
streamed_tool_calls(void **state)
{
    const struct hw_event events[] = {
        {.type = HW_EVENT_TOOL_CALL, .id = "c1", .name = "f", .text = "", .len = 0},
        {.type = HW_EVENT_TOOL_CALL, .text = "{}", .len = 2},
        {.type = HW_EVENT_FINISH, .finish = HW_FINISH_STOP},
    };
    struct hw_buf out;

    (void)state;
    write_events(false, events, 3, &out);
    assert_string_equal(
        out.data, DELTA
        "\"role\":\"assistant\",\"tool_calls\":[{\"index\":0,\"id\":\"c1\",\"type\":\"function\","
        "\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]" NO_FINISH "}\n\n" DELTA
        "\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{}\"}}]" NO_FINISH "}\n\n" DELTA
        "},\"logprobs\":null,\"finish_reason\":\"tool_calls\"}]}\n\n"
        "data: [DONE]\n\n");
    hw_buf_free(&out);
}

static void
an_error_ends_a_stream(void **state)
{
    const struct hw_event events[] = {
        {.type = HW_EVENT_TEXT, .text = "x", .len = 1},
        {.type = HW_EVENT_ERROR, .text = "it \"broke\"", .len = 10},
    };
    struct hw_buf out;

    (void)state;
    write_events(true, events, 2, &out);
    assert_string_equal(
        out.data,
        DELTA "\"role\":\"assistant\",\"content\":\"x\"" NO_FINISH ",\"usage\":null}\n\n"
              "data: {\"error\":{\"message\":\"it \\\"broke\\\"\",\"type\":\"server_error\","
              "\"param\":null,\"code\":null}}\n\n");
    hw_buf_free(&out);
}

static void
errors_by_status(void **state)
{
    static const struct {
        int status;
        const char *param, *tail;
    } table[] = {
        {400, NULL, "\"type\":\"invalid_request_error\",\"param\":null,\"code\":null}}"},
        {401, NULL,
         "\"type\":\"authentication_error\",\"param\":null,\"code\":\"invalid_api_key\"}}"},
        {403, NULL, "\"type\":\"permission_error\",\"param\":null,\"code\":null}}"},
        {404, "model",
         "\"type\":\"invalid_request_error\",\"param\":\"model\",\"code\":\"model_not_found\"}}"},
        {404, NULL, "\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"not_found\"}}"},
        {413, NULL,
         "\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"request_too_large\"}}"},
        {429, NULL,
         "\"type\":\"rate_limit_error\",\"param\":null,\"code\":\"rate_limit_exceeded\"}}"},
        {503, NULL, "\"type\":\"server_error\",\"param\":null,\"code\":null}}"},
    };
    struct hw_buf out;

    (void)state;
    hw_buf_init(&out, 4096);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char wanted[512];
        snprintf(wanted, sizeof(wanted), "{\"error\":{\"message\":\"no\",%s", table[i].tail);
        hw_buf_clear(&out);
        hw_dialect_openai.write_error(table[i].status, "no", table[i].param, &out);
        assert_string_equal(out.data, wanted);
    }
    hw_buf_free(&out);
}

static void
paths_have_dialects(void **state)
{
    (void)state;
    assert_ptr_equal(hw_dialect_of_path("/v1/chat/completions", 20), &hw_dialect_openai);
    assert_ptr_equal(hw_dialect_of_path("/api/bdh/ask", 12), &hw_dialect_bdh);
    assert_ptr_equal(hw_dialect_of_path("/api/chat", 9), &hw_dialect_ollama);
    assert_ptr_equal(hw_dialect_of_path("/api/bdh", 8), &hw_dialect_ollama);
    assert_ptr_equal(hw_dialect_of_path("", 0), &hw_dialect_openai);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_query),          cmocka_unit_test(every_field),
        cmocka_unit_test(null_is_absent),         cmocka_unit_test(what_a_kept_answer_cannot_hold),
        cmocka_unit_test(mistakes_are_named),     cmocka_unit_test(a_body_cut_at_every_byte),
        cmocka_unit_test(limits_are_told_apart),  cmocka_unit_test(whole_answers),
        cmocka_unit_test(streamed_answers),       cmocka_unit_test(streamed_tool_calls),
        cmocka_unit_test(an_error_ends_a_stream), cmocka_unit_test(errors_by_status),
        cmocka_unit_test(paths_have_dialects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
