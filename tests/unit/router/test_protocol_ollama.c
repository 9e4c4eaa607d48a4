/* To Ollama's native chat: the mapping field by field, and what it cannot carry. */
#include "protocol_help.h"

#define SAY "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define SAID "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

static void
expect(const char *query, const char *body, const char *dropped)
{
    help_expect(&hw_dialect_openai, query, &hw_protocol_ollama, "m", "/api/chat", body, dropped);
}

static void
a_plain_chat(void **state)
{
    (void)state;
    expect("{\"model\":\"auto\"," SAY "}",
           "{\"model\":\"m\"," SAID ",\"options\":{},\"stream\":true}", "");
    expect("{\"model\":\"auto\",\"stream\":true," SAY "}",
           "{\"model\":\"m\"," SAID ",\"options\":{},\"stream\":true}", "");
    help_expect(&hw_dialect_bdh, "{\"question\":\"hi\"}", &hw_protocol_ollama, "m", "/api/chat",
                "{\"model\":\"m\"," SAID
                ",\"options\":{\"num_predict\":200,\"temperature\":0},\"stream\":true}",
                "");
}

static void
options_keep_their_spelling(void **state)
{
    (void)state;
    expect("{\"model\":\"a\"," SAY
           ",\"max_completion_tokens\":16,\"temperature\":0.10,\"top_p\":0.9,\"top_k\":20,"
           "\"min_p\":0.05,\"seed\":9007199254740993,\"presence_penalty\":1e-1,\"frequency_"
           "penalty\":-1,"
           "\"num_ctx\":8192,\"stop\":\"\\n\"}",
           "{\"model\":\"m\"," SAID
           ",\"options\":{\"num_predict\":16,\"temperature\":0.10,\"top_p\":0.9,\"top_k\":20,"
           "\"min_p\":0.05,\"seed\":9007199254740993,\"presence_penalty\":1e-1,\"frequency_"
           "penalty\":-1,"
           "\"num_ctx\":8192,\"stop\":[\"\\n\"]},\"stream\":true}",
           "");
    expect("{\"model\":\"a\"," SAY ",\"stop\":[\"a\",\"b\"],\"keep_alive\":\"5m\"}",
           "{\"model\":\"m\"," SAID
           ",\"options\":{\"stop\":[\"a\",\"b\"]},\"stream\":true,\"keep_alive\":\"5m\"}",
           "");
}

static void
formats_are_unwrapped(void **state)
{
    (void)state;
    expect("{\"model\":\"a\"," SAY ",\"response_format\":{\"type\":\"json_object\"}}",
           "{\"model\":\"m\"," SAID ",\"format\":\"json\",\"options\":{},\"stream\":true}", "");
    expect("{\"model\":\"a\"," SAY
           ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\","
           "\"schema\":{\"type\":\"object\" }}}}",
           "{\"model\":\"m\"," SAID
           ",\"format\":{\"type\":\"object\" },\"options\":{},\"stream\":true}",
           "");
    expect("{\"model\":\"a\"," SAY ",\"response_format\":{\"type\":\"text\"}}",
           "{\"model\":\"m\"," SAID ",\"options\":{},\"stream\":true}", "");
}

static void
levels_of_thought(void **state)
{
    static const char *const levels[][2] = {{"none", "false"},
                                            {"minimal", "\"low\""},
                                            {"low", "\"low\""},
                                            {"medium", "\"medium\""},
                                            {"high", "\"high\""}};

    (void)state;
    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        char query[256], body[256];
        snprintf(query, sizeof(query), "{\"model\":\"a\"," SAY ",\"reasoning_effort\":\"%s\"}",
                 levels[i][0]);
        snprintf(body, sizeof(body),
                 "{\"model\":\"m\"," SAID ",\"options\":{},\"stream\":true,\"think\":%s}",
                 levels[i][1]);
        expect(query, body, "");
    }
    expect("{\"model\":\"a\"," SAY ",\"reasoning_effort\":\"vast\"}",
           "{\"model\":\"m\"," SAID ",\"options\":{},\"stream\":true}", "reasoning_effort");
}

static void
parts_and_images(void **state)
{
    (void)state;
    expect("{\"model\":\"a\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
           "\"text\":\"a\\n\"},"
           "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,QUJD\"}},"
           "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image\\/webp;base64,\\/9j\\/\"}},"
           "{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x/y.png\"}},"
           "{\"type\":\"text\",\"text\":\"b\"}]}]}",
           "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\\nb\",\"images\":["
           "\"QUJD\",\"\\/9j\\/\"]}],"
           "\"options\":{},\"stream\":true}",
           "messages[0].image_url");
    expect(
        "{\"model\":\"a\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_audio\"},"
        "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/gif;base64,QUJD\"}}]}]}",
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"\"}],\"options\":{},"
        "\"stream\":true}",
        "messages[0].content, messages[0].image_url");
}

static void
tools_and_their_answers(void **state)
{
    (void)state;
    expect(
        "{\"model\":\"a\",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],\"tool_"
        "choice\":\"auto\","
        "\"messages\":[{\"role\":\"user\",\"content\":\"q\"},"
        "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":["
        "{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{"
        "\\\"x\\\": [1.0]}\"}},"
        "{\"id\":\"c2\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{bad\"}}"
        ","
        "{\"id\":\"c3\",\"type\":\"function\",\"function\":{\"name\":\"h\",\"arguments\":\"\"}}]},"
        "{\"role\":\"tool\",\"tool_call_id\":\"c2\",\"content\":\"42\"},"
        "{\"role\":\"tool\",\"tool_call_id\":\"c9\",\"content\":\"43\"}]}",
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"},"
        "{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":["
        "{\"id\":\"c1\",\"function\":{\"name\":\"f\",\"arguments\":{\"x\": [1.0]}}},"
        "{\"id\":\"c2\",\"function\":{\"name\":\"g\",\"arguments\":{}}},"
        "{\"id\":\"c3\",\"function\":{\"name\":\"h\",\"arguments\":{}}}]},"
        "{\"role\":\"tool\",\"content\":\"42\",\"tool_call_id\":\"c2\",\"tool_name\":\"g\"},"
        "{\"role\":\"tool\",\"content\":\"43\",\"tool_call_id\":\"c9\"}],"
        "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],\"options\":{},"
        "\"stream\":true}",
        "messages[1].tool_calls.arguments");
    expect("{\"model\":\"a\",\"tools\":[{}],\"tool_choice\":\"none\"," SAY "}",
           "{\"model\":\"m\"," SAID ",\"options\":{},\"stream\":true}", "");
}

static void
what_is_dropped_is_said(void **state)
{
    (void)state;
    expect("{\"model\":\"a\",\"n\":2,\"logit_bias\":{\"1\":2},\"logprobs\":false,\"parallel_tool_"
           "calls\":true,"
           "\"user\":\"u\",\"tools\":[{}],\"tool_choice\":\"required\",\"x\\r\\ny: z\":1," SAY "}",
           "{\"model\":\"m\"," SAID ",\"tools\":[{}],\"options\":{},\"stream\":true}",
           "tool_choice, n, logit_bias, parallel_tool_calls, ...");
}

static void
a_hostile_list_stays_short(void **state)
{
    struct hw_buf body;
    struct help_query h;
    struct help_request r;

    (void)state;
    hw_buf_init(&body, 1 << 20);
    hw_buf_puts(&body, "{\"model\":\"a\"," SAY);
    for (int i = 0; i < 1000; i++)
        hw_buf_printf(&body, ",\"field%d\":1", i);
    hw_buf_puts(&body, "}");
    help_must_parse(&h, &hw_dialect_openai, body.data);
    help_write(&r, &hw_protocol_ollama, &h.query, "m");
    assert_int_equal(r.rc, 0);
    assert_true(r.dropped.len > 900 && r.dropped.len <= 1024);
    help_request_free(&r);
    help_free(&h);
    hw_buf_free(&body);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_chat),
        cmocka_unit_test(options_keep_their_spelling),
        cmocka_unit_test(formats_are_unwrapped),
        cmocka_unit_test(levels_of_thought),
        cmocka_unit_test(parts_and_images),
        cmocka_unit_test(tools_and_their_answers),
        cmocka_unit_test(what_is_dropped_is_said),
        cmocka_unit_test(a_hostile_list_stays_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
