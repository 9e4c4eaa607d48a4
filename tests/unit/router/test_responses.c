/* OpenAI's Responses dialect: items as messages, answers as items, streams as typed events. */
#include "protocol_help.h"

#define DIALECT &hw_dialect_responses
#define TAIL ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}"

static void
to_openai(const char *query, const char *body, const char *dropped)
{
    help_expect(DIALECT, query, &hw_protocol_openai, "m", "/v1/chat/completions", body, dropped);
}

static void
refused(const char *body, const char *why)
{
    struct help_query h;

    help_parse(&h, DIALECT, body);
    assert_int_equal(h.rc, HW_EINVAL);
    if (strstr(h.err.msg, why) == NULL)
        fail_msg("%s: %s", body, h.err.msg);
    help_free(&h);
}

static void
a_plain_question(void **state)
{
    (void)state;
    to_openai("{\"model\":\"a\",\"input\":\"h\\u0069\",\"instructions\":\"be kind\","
              "\"max_output_tokens\":5,\"temperature\":0.10,\"top_p\":0.5,\"user\":\"u\"}",
              "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"be kind\"},"
              "{\"role\":\"user\",\"content\":\"h\\u0069\"}],\"max_tokens\":5,"
              "\"temperature\":0.10,\"top_p\":0.5" TAIL,
              "");
}

#define TURNS                                                                                      \
    "{\"model\":\"a\",\"tools\":[{\"type\":\"function\",\"name\":\"f\",\"description\":\"d\","     \
    "\"parameters\":{\"type\":\"object\"},\"strict\":true},{\"type\":\"web_search\"}],"            \
    "\"tool_choice\":{\"type\":\"function\",\"name\":\"f\"},\"parallel_tool_calls\":true,"         \
    "\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"what?\"},"     \
    "{\"type\":\"input_file\",\"file_id\":\"x\"}]},"                                               \
    "{\"type\":\"reasoning\",\"id\":\"rs\",\"summary\":[{\"type\":\"summary_text\",\"text\":"      \
    "\"hm\"}]},{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":"               \
    "\"output_text\",\"text\":\"I look\"}]},{\"type\":\"function_call\",\"call_id\":\"c1\","       \
    "\"name\":\"f\",\"arguments\":\"{}\"},{\"type\":\"function_call\",\"call_id\":\"c2\","         \
    "\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"},{\"type\":\"function_call_output\","          \
    "\"call_id\":\"c1\",\"output\":\"42\"},{\"type\":\"function_call_output\",\"call_id\":"        \
    "\"c2\",\"output\":[{\"type\":\"input_text\",\"text\":\"43\"}]},"                              \
    "{\"type\":\"web_search_call\"}]}"

static void
turns_with_calls(void **state)
{
    (void)state;
    to_openai(TURNS,
              "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"what?\"},"
              "{\"role\":\"assistant\",\"content\":\"I look\",\"reasoning_content\":\"hm\","
              "\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\","
              "\"arguments\":\"{}\"}},{\"id\":\"c2\",\"type\":\"function\",\"function\":{"
              "\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}}]},"
              "{\"role\":\"tool\",\"content\":\"42\",\"tool_call_id\":\"c1\"},"
              "{\"role\":\"tool\",\"content\":\"43\",\"tool_call_id\":\"c2\"}],"
              "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":"
              "\"d\",\"parameters\":{\"type\":\"object\"},\"strict\":true}}],\"tool_choice\":{"
              "\"type\":\"function\",\"function\":{\"name\":\"f\"}},\"parallel_tool_calls\":"
              "true" TAIL,
              "tools[1], input[0].content[1], input[7]");
    help_expect(
        DIALECT, TURNS, &hw_protocol_ollama, "m", "/api/chat",
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"what?\"},"
        "{\"role\":\"assistant\",\"content\":\"I look\",\"thinking\":\"hm\",\"tool_calls\":["
        "{\"id\":\"c1\",\"function\":{\"name\":\"f\",\"arguments\":{}}},{\"id\":\"c2\","
        "\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1}}}]},"
        "{\"role\":\"tool\",\"content\":\"42\",\"tool_call_id\":\"c1\",\"tool_name\":\"f\"},"
        "{\"role\":\"tool\",\"content\":\"43\",\"tool_call_id\":\"c2\",\"tool_name\":\"f\"}],"
        "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\","
        "\"parameters\":{\"type\":\"object\"},\"strict\":true}}],\"options\":{},\"stream\":true}",
        "tool_choice, tools[1], input[0].content[1], input[7], parallel_tool_calls");
}

static void
formats_thoughts_and_images(void **state)
{
    (void)state;
    to_openai("{\"model\":\"a\",\"input\":\"q\",\"text\":{\"format\":{\"type\":\"json_schema\","
              "\"name\":\"n\",\"schema\":{\"type\":\"object\"},\"strict\":true},\"verbosity\":"
              "\"low\"},\"reasoning\":{\"effort\":\"minimal\"},\"include\":["
              "\"message.output_text.logprobs\",\"file_search_call.results\"],"
              "\"top_logprobs\":2}",
              "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],"
              "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\","
              "\"schema\":{\"type\":\"object\"},\"strict\":true}},\"reasoning_effort\":"
              "\"minimal\",\"logprobs\":true,\"top_logprobs\":2" TAIL,
              "text.verbosity, include[1]");
    help_expect(DIALECT,
                "{\"model\":\"a\",\"input\":[{\"role\":\"user\",\"content\":[{\"type\":"
                "\"input_image\",\"image_url\":\"data:image/png;base64,QUJD\"},{\"type\":"
                "\"input_text\",\"text\":\"q\"}]}],\"reasoning\":{\"effort\":\"minimal\"},"
                "\"text\":{\"format\":{\"type\":\"json_object\"}}}",
                &hw_protocol_ollama, "m", "/api/chat",
                "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"q\",\"images\":["
                "\"QUJD\"]}],\"format\":\"json\",\"options\":{},\"stream\":true,\"think\":"
                "\"low\"}",
                "");
}

static void
what_is_not_taken(void **state)
{
    (void)state;
    refused("{\"model\":\"a\"}", "input is missing");
    refused("{\"model\":\"a\",\"input\":[]}", "must not be empty");
    refused("{\"model\":\"a\",\"input\":7}", "input must be a string or an array");
    refused("{\"model\":\"a\",\"input\":\"q\",\"previous_response_id\":\"resp_1\"}",
            "responses are not stored here");
    refused("{\"model\":\"a\",\"input\":\"q\",\"conversation\":\"c\"}", "not stored here");
    refused("{\"model\":\"a\",\"input\":\"q\",\"prompt\":{\"id\":\"p\"}}", "not stored here");
    refused("{\"model\":\"a\",\"input\":\"q\",\"background\":true}", "not stored here");
    refused("{\"model\":\"a\",\"input\":[{\"type\":\"item_reference\",\"id\":\"x\"}]}",
            "input[0] must be the item itself");
    refused("{\"model\":\"a\",\"input\":[{\"role\":\"owl\",\"content\":\"q\"}]}",
            "input[0].role must be user");
    refused("{\"model\":\"a\",\"input\":[{\"role\":\"user\",\"content\":[7]}]}",
            "input[0].content[0] must be an object");
    refused("{\"model\":\"a\",\"input\":[{\"type\":\"function_call\",\"name\":\"f\"}]}",
            "input[0].call_id must be a string");
    refused("{\"model\":\"a\",\"input\":\"q\",\"tools\":[{\"type\":\"function\"}]}",
            "tools[0].name must be a string");
    refused("{\"model\":\"a\",\"input\":\"q\",\"text\":{\"format\":{\"type\":\"x\"}}}",
            "text.format.type");
    refused("{\"model\":\"a\",\"input\":\"a\\u0000b\"}", "input");
    refused("{\"model\":\"a\",\"input\":[{\"role\":\"user\",\"content\":\"\\u0000\"}]}", "\\u0000");
}

/* ---- answers ---- */

static const struct hw_event said[] = {
    {.type = HW_EVENT_REASONING, .text = "hm", .len = 2},
    {.type = HW_EVENT_TEXT, .text = "o", .len = 1, .logprobs = "{\"token\":1}", .logprobs_len = 11},
    {.type = HW_EVENT_TEXT, .text = "k", .len = 1, .logprobs = "{\"token\":2}", .logprobs_len = 11},
    {.type = HW_EVENT_TOOL_CALL, .id = "c0", .name = "f", .text = "{\"a\"", .len = 4},
    {.type = HW_EVENT_TOOL_CALL, .index = 1, .id = "c1", .name = "g", .text = "", .len = 0},
    {.type = HW_EVENT_TOOL_CALL, .text = ":1}", .len = 3},
    {.type = HW_EVENT_TOOL_CALL, .index = 1, .text = "{}", .len = 2},
    {.type = HW_EVENT_FINISH, .finish = HW_FINISH_TOOL_CALLS, .usage = {true, 11, 3}},
};

static void
write_all(const struct hw_event *events, size_t count, bool whole, struct hw_buf *out)
{
    struct hw_query query = {.dialect = DIALECT};
    struct hw_reply reply = {.query = &query, .id = "r1", .model = "m", .created_s = 7};
    struct hw_answer answer;

    hw_buf_init(out, 1 << 16);
    hw_reply_init(&reply);
    hw_answer_init(&answer, 1 << 16);
    for (size_t i = 0; i < count; i++) {
        hw_answer_add(&answer, &events[i]);
        if (!whole)
            hw_dialect_responses.write_event(&reply, &events[i], out);
    }
    if (whole)
        hw_dialect_responses.write_whole(&reply, &answer, out);
    assert_false(out->failed);
    hw_answer_free(&answer);
    hw_reply_free(&reply);
}

#define OUTPUT                                                                                     \
    "\"output\":[{\"id\":\"rs_r1_0\",\"type\":\"reasoning\",\"summary\":[],\"content\":[{"         \
    "\"type\":\"reasoning_text\",\"text\":\"hm\"}],\"status\":\"completed\"},"                     \
    "{\"id\":\"msg_r1_1\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":"     \
    "\"output_text\",\"annotations\":[],\"text\":\"ok\",\"logprobs\":[{\"token\":1},{\"token\":"   \
    "2}]}],\"status\":\"completed\"},"                                                             \
    "{\"id\":\"fc_r1_2\",\"type\":\"function_call\",\"call_id\":\"c0\",\"name\":\"f\","            \
    "\"arguments\":\"{\\\"a\\\":1}\",\"status\":\"completed\"},"                                   \
    "{\"id\":\"fc_r1_3\",\"type\":\"function_call\",\"call_id\":\"c1\",\"name\":\"g\","            \
    "\"arguments\":\"{}\",\"status\":\"completed\"}]"

static void
must_hold(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("%s\nis not in\n%s", part, text);
}

static void
whole_answers(void **state)
{
    static const struct hw_event cut[] = {
        {.type = HW_EVENT_TEXT, .text = "o", .len = 1},
        {.type = HW_EVENT_FINISH, .finish = HW_FINISH_LENGTH},
    };
    struct hw_json root;
    struct hw_buf out;

    (void)state;
    write_all(said, 8, true, &out);
    assert_int_equal(hw_json_validate(out.data, out.len, &help_limits, &root, NULL), 0);
    must_hold(out.data, "{\"id\":\"resp_r1\",\"object\":\"response\",\"created_at\":7,\"model\":"
                        "\"m\",\"status\":\"completed\",\"error\":null,"
                        "\"incomplete_details\":null," OUTPUT);
    must_hold(out.data, "\"usage\":{\"input_tokens\":11,\"input_tokens_details\":{"
                        "\"cached_tokens\":0},\"output_tokens\":3,");
    hw_buf_free(&out);
    write_all(cut, 2, true, &out);
    must_hold(out.data, "\"status\":\"incomplete\",\"error\":null,\"incomplete_details\":{"
                        "\"reason\":\"max_output_tokens\"}");
    must_hold(out.data, "\"usage\":null");
    hw_buf_free(&out);
}

/* The types of a stream's events, one a line; their numbers must be 0, 1, 2... */
static void
types_of(const char *stream, struct hw_buf *types)
{
    unsigned number = 0;

    for (const char *at = stream; *at != '\0'; number++) {
        struct hw_json root, type, sequence;
        const char *data = strstr(at, "\ndata: "), *end = strstr(at, "\n\n");
        char wanted[16];
        assert_memory_equal(at, "event: ", 7);
        assert_non_null(data);
        assert_non_null(end);
        hw_buf_append(types, at + 7, (size_t)(data - at - 7));
        hw_buf_puts(types, "\n");
        data += 7;
        assert_int_equal(hw_json_validate(data, (size_t)(end - data), &help_limits, &root, NULL),
                         0);
        assert_true(hw_json_get(&root, "type", &type));
        assert_memory_equal(type.p + 1, at + 7, type.len - 2);
        assert_true(hw_json_get(&root, "sequence_number", &sequence));
        snprintf(wanted, sizeof(wanted), "%u", number);
        assert_memory_equal(sequence.p, wanted, sequence.len);
        at = end + 2;
    }
}

static void
streams(const struct hw_event *events, size_t count, const char *wanted, const char *last)
{
    struct hw_buf out, types;

    write_all(events, count, false, &out);
    hw_buf_init(&types, 4096);
    types_of(out.data, &types);
    assert_string_equal(types.data, wanted);
    must_hold(out.data, last);
    hw_buf_free(&types);
    hw_buf_free(&out);
}

#define OPENING "response.created\nresponse.in_progress\n"
#define ADDED "response.output_item.added\n"
#define PART "response.content_part.added\n"
#define CLOSED "response.content_part.done\nresponse.output_item.done\n"
#define ARGUMENTS "response.function_call_arguments."

static void
streamed_answers(void **state)
{
    static const struct hw_event broken[] = {
        {.type = HW_EVENT_TEXT, .text = "o", .len = 1},
        {.type = HW_EVENT_ERROR, .text = "gone", .len = 4},
    };
    static const struct hw_event cut[] = {
        {.type = HW_EVENT_TEXT, .text = "o", .len = 1},
        {.type = HW_EVENT_FINISH, .finish = HW_FINISH_LENGTH},
    };

    (void)state;
    streams(said, 8,
            OPENING ADDED PART
            "response.reasoning_text.delta\nresponse.reasoning_text.done\n" CLOSED ADDED PART
            "response.output_text.delta\nresponse.output_text.delta\n"
            "response.output_text.done\n" CLOSED ADDED ARGUMENTS "delta\n" ADDED ARGUMENTS
            "delta\n" ARGUMENTS "done\nresponse.output_item.done\n" ARGUMENTS "delta\n" ARGUMENTS
            "done\nresponse.output_item.done\nresponse.completed\n",
            OUTPUT);
    streams(&said[7], 1,
            OPENING ADDED PART "response.output_text.done\n" CLOSED "response.completed\n",
            "\"text\":\"\"");
    streams(cut, 2,
            OPENING ADDED PART "response.output_text.delta\nresponse.output_text.done\n" CLOSED
                               "response.incomplete\n",
            "\"reason\":\"max_output_tokens\"");
    streams(broken, 2, OPENING ADDED PART "response.output_text.delta\nerror\n",
            "\"message\":\"gone\"");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_question),
        cmocka_unit_test(turns_with_calls),
        cmocka_unit_test(formats_thoughts_and_images),
        cmocka_unit_test(what_is_not_taken),
        cmocka_unit_test(whole_answers),
        cmocka_unit_test(streamed_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
