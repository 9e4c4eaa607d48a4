/* A backend's bytes as events: the same at every split, and always exactly one end. */
#include "api_help.h"

#define SSE "text/event-stream; charset=utf-8"
#define NDJSON "application/x-ndjson"
#define JSON "application/json"

static struct help_query asked; /* streams */

static int
set_up(void **state)
{
    (void)state;
    help_must_parse(
        &asked, &hw_dialect_openai,
        "{\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"q\"}]}");
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    help_free(&asked);
    return 0;
}

static void
expect_bytes(const struct hw_protocol *protocol, int status, const char *type, const char *bytes,
             size_t len, const char *events)
{
    for (size_t split = 0; split <= len; split++) {
        struct hw_buf out;
        hw_buf_init(&out, 1 << 16);
        help_read_split(protocol, &asked.query, status, type, bytes, len, split, 4096, &out);
        if (strcmp(out.data != NULL ? out.data : "", events) != 0)
            fail_msg("split at %zu of\n%s\ngave   %s\nwanted %s", split, bytes, out.data, events);
        hw_buf_free(&out);
    }
    /* And a byte at a time. */
    struct hw_buf out;
    hw_buf_init(&out, 1 << 16);
    struct hw_reader *reader =
        hw_reader_create(protocol, &asked.query, status, type, strlen(type), 4096);
    for (size_t i = 0; i < len; i++)
        hw_reader_feed(reader, bytes + i, 1, help_record, &out);
    hw_reader_end(reader, help_record, &out);
    assert_string_equal(out.data, events);
    hw_reader_destroy(&reader);
    hw_buf_free(&out);
}

static void
expect(const struct hw_protocol *protocol, int status, const char *type, const char *bytes,
       const char *events)
{
    expect_bytes(protocol, status, type, bytes, strlen(bytes), events);
}

#define DELTA(delta)                                                                               \
    "data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":" delta                               \
    ",\"finish_reason\":null}]}\n\n"
#define FINISH(reason)                                                                             \
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"" reason "\"}]}\n\n"
#define DONE "data: [DONE]\n\n"

static void
openai_streams(void **state)
{
    const struct hw_protocol *p = &hw_protocol_openai;

    (void)state;
    expect(p, 200, SSE,
           DELTA("{\"role\":\"assistant\",\"content\":\"\"}") DELTA("{\"content\":\"H\xc3\xa9\"}")
               DELTA("{\"content\":\"l\\\"\\u00e9\\ud83d\\ude00\"}") FINISH("stop") DONE
           "data: {}\n\n",
           "T(H\xc3\xa9)T(l\"\xc3\xa9\xf0\x9f\x98\x80)F(stop)");
    /* Usage in a late chunk without choices; reasoning in either spelling. */
    expect(p, 200, SSE,
           DELTA("{\"reasoning\":\"hm\"}") DELTA("{\"reasoning_content\":\"so\"}")
               DELTA("{\"content\":\"x\"}")
                   FINISH("length") "data: "
                                    "{\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_"
                                    "tokens\":9}}\n\n" DONE,
           "R(hm)R(so)T(x)F(length 3 9)");
    /* Usage null in between, no [DONE], and a last event without its blank line. */
    expect(p, 200, SSE,
           DELTA("{\"content\":\"x\"}") "data: "
                                        "{\"choices\":[{\"delta\":{},\"finish_reason\":\"content_"
                                        "filter\"}],\"usage\":null}",
           "T(x)F(filter)");
    expect(p, 200, SSE, DELTA("{\"content\":\"x\"}") "data: [DONE]", "T(x)F(stop)");
    /* CRLF, CR, a byte order mark, comments, names, data over many lines, no space behind the
     * colon. */
    expect(p, 200, SSE,
           "\xef\xbb\xbf: hello\r\n\r\nevent: message\r\ndata:{\"choices\":[{\"delta\":\r\ndata: "
           "{\"content\":\"a\"}}]}\r\n\r\n"
           "id: 5\rdata: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\r\rdata\n\n:\n\n" FINISH(
               "stop") "data:[DONE]\r\n\r\n",
           "T(a)T(b)F(stop)");
    /* Other choices are not ours. */
    expect(p, 200, SSE,
           "data: "
           "{\"choices\":[{\"index\":1,\"delta\":{\"content\":\"no\"}},{\"index\":0,\"delta\":{"
           "\"content\":\"yes\"}}]}\n\n" FINISH("stop") DONE,
           "T(yes)F(stop)");
}

static void
openai_tool_calls(void **state)
{
    const struct hw_protocol *p = &hw_protocol_openai;

    (void)state;
    /* "stop" although tools were called; a second call; indices that begin at 1. */
    expect(
        p, 200, SSE,
        DELTA("{\"tool_calls\":[{\"index\":1,\"id\":\"c1\",\"function\":{\"name\":\"f\","
              "\"arguments\":\"\"}}]}")
            DELTA("{\"tool_calls\":[{\"index\":1,\"function\":{\"arguments\":\"{\\\"x\\\":\"}}]}")
                DELTA("{\"tool_calls\":[{\"index\":2,\"id\":\"c2\",\"function\":{\"name\":\"g\","
                      "\"arguments\":\"{}\"}},"
                      "{\"index\":1,\"function\":{\"arguments\":\"1}\"}}]}") FINISH("stop") DONE,
        "C0[c1 f]()C0({\"x\":)C1[c2 g]({})C0(1})F(tool_calls)");
    expect(p, 200, SSE,
           DELTA("{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"function\":{\"name\":\"f\","
                 "\"arguments\":\"{\"}}]}") FINISH("length") DONE,
           "C0[c f]({)F(length)");
    /* No index at all: a new id is a new call. */
    expect(
        p, 200, SSE,
        DELTA("{\"tool_calls\":[{\"id\":\"c\",\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}]}")
            DELTA("{\"tool_calls\":[{\"function\":{\"arguments\":\"}\"}}]}") FINISH("tool_calls")
                DONE,
        "C0[c f]({)C0(})F(tool_calls)");
    /* Said, but not done. */
    expect(p, 200, SSE, DELTA("{\"content\":\"x\"}") FINISH("tool_calls") DONE, "T(x)F(stop)");
}

static void
openai_whole(void **state)
{
    const struct hw_protocol *p = &hw_protocol_openai;
    static const char answer[] =
        "{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"hi\",\"tool_"
        "calls\":[{\"id\":\"c\","
        "\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},{\"function\":{\"name\":\"g\","
        "\"arguments\":\"{}\"}}]},"
        "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n";

    (void)state;
    expect(p, 200, JSON, answer,
           "T(hi)C0[c f]({})C1[call_d53b5e18faf69a4e_1 g]({})F(tool_calls 1 2)");
    expect(p, 200, "", answer,
           "T(hi)C0[c f]({})C1[call_d53b5e18faf69a4e_1 g]({})F(tool_calls 1 2)");
    expect(p, 200, "text/plain", " \n" DELTA("{\"content\":\"x\"}") DONE, "T(x)F(stop)");
    expect(p, 200, JSON, "{\"choices\":[{\"message\":{\"content\":null}}]}", "F(stop)");
    expect(p, 200, JSON, "{\"choices\":[]}", "E(0: the backend ended its answer without a word)");
    expect(p, 200, JSON, "{\"object\":\"x\"}", "E(0: the backend ended its answer without a word)");
    expect(p, 200, JSON, "", "E(0: the backend sent an empty answer)");
    expect(p, 200, "", " \n", "E(0: the backend sent an empty answer)");
    expect(p, 200, JSON, "{\"error\":{\"message\":\"full\"}}", "E(0: full)");
    expect(p, 200, JSON, "{\"choices\":[{\"message\":{\"content\":\"h\xff\"}}]}",
           "E(0: the backend sent invalid JSON at byte 36: a string is not UTF-8)");
}

static void
streams_that_fail(void **state)
{
    const struct hw_protocol *p = &hw_protocol_openai;

    (void)state;
    expect(p, 200, SSE, "", "E(0: the backend ended its stream early)");
    expect(p, 200, SSE, ": ping\n\n", "E(0: the backend ended its stream early)");
    expect(p, 200, SSE, DELTA("{\"content\":\"x\"}"),
           "T(x)E(0: the backend ended its stream early)");
    expect(p, 200, SSE, DELTA("{\"content\":\"x\"}") "data: {\"choi",
           "T(x)E(0: the backend ended its stream early)");
    expect(p, 200, SSE, DONE, "E(0: the backend ended its answer without a word)");
    expect(p, 200, SSE,
           DELTA("{\"content\":\"x\"}") "data: {\"error\":{\"message\":\"out "
                                        "\\u00e9\",\"code\":1}}\n\n" DONE,
           "T(x)E(0: out \xc3\xa9)");
    expect(p, 200, SSE, "event: error\ndata: {\"error\":\"gone\"}\n\n", "E(0: gone)");
    expect(p, 200, SSE, "error: {\"error\":{\"message\":\"slot\"}}\n\n", "E(0: slot)");
    expect(p, 200, SSE, "{\"error\":\"too soon\"}", "E(0: too soon)");
    expect(p, 200, SSE, "data: {\"error\":{\"code\":7}}\n\n", "E(0: {\"code\":7})");
    expect(p, 200, SSE, "data: nonsense\n\n",
           "E(0: the backend sent invalid JSON at byte 0: expected a value)");
    expect(p, 200, SSE, "data: [1]\n\n", "E(0: the backend sent JSON that is no object)");
}

#define SAID(content)                                                                              \
    "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":" content                    \
    "},\"done\":false}\n"

static void
ollama_streams(void **state)
{
    const struct hw_protocol *p = &hw_protocol_ollama;

    (void)state;
    expect(p, 200, NDJSON,
           SAID("\"H\xf0\x9f\x98\x80\"") "\r\n\n" SAID("\"\"")
               SAID("\"\\n!\"") "{\"message\":{\"content\":\"\"},\"done\":true,\"done_reason\":"
                                "\"stop\",\"prompt_eval_count\":26,\"eval_count\":2}\n"
                                "{\"error\":\"not read\"}\n",
           "T(H\xf0\x9f\x98\x80)T(\n!)F(stop 26 2)");
    expect(p, 200, "",
           "{\"message\":{\"thinking\":\"hm\",\"content\":\"x\"},\"done\":true,\"done_reason\":"
           "\"length\"}",
           "R(hm)T(x)F(length)");
    expect(p, 200, NDJSON,
           "{\"message\":{\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{\"a\": "
           "[1.0]}}},"
           "{\"id\":\"k\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}]},\"done\":false}\n"
           "{\"message\":{\"tool_calls\":[{\"id\":\"l\",\"function\":{\"name\":\"h\",\"arguments\":"
           "{}}}]},\"done\":true,"
           "\"done_reason\":\"stop\"}\n",
           "C0[call_98a760bd91d52981_0 f]({\"a\": [1.0]})C1[k g]({})C2[l h]({})F(tool_calls)");
    expect(p, 200, JSON, "{\"message\":{\"content\":\"whole\"},\n\"done\":true,\"eval_count\":1}\n",
           "T(whole)F(stop 0 1)");
    expect(p, 200, NDJSON, SAID("\"a\"") "{\"error\":\"llama runner died\"}\n",
           "T(a)E(0: llama runner died)");
    expect(p, 200, NDJSON, SAID("\"a\"") "{\"mess", "T(a)E(0: the backend ended its stream early)");
    expect(p, 200, NDJSON, SAID("\"a\""), "T(a)E(0: the backend ended its stream early)");
    expect(p, 200, JSON, SAID("\"a\""), "T(a)E(0: the backend sent an empty answer)");
    expect(p, 200, NDJSON,
           "{\"message\":{\"content\":\"\"},\"done\":true,\"done_reason\":\"load\"}\n",
           "E(0: the backend loaded or unloaded the model and answered nothing)");
    expect(p, 200, NDJSON, "{\"done\":true}\n",
           "E(0: the backend ended its answer without a word)");
}

static void
error_bodies(void **state)
{
    static const struct {
        int status;
        const char *body, *events;
    } table[] = {
        {400, "{\"error\":\"bad options\"}", "E(400: bad options)"},
        {404, "{\"error\":{\"message\":\"model \\\"x\\\" not found\",\"type\":\"t\"}}",
         "E(404: model \"x\" not found)"},
        {422, "{\"detail\":[{\"loc\":[\"body\"],\"msg\":\"field required\"}]}",
         "E(422: field required)"},
        {500, "{\"detail\":\"CUDA out of memory\"}", "E(500: CUDA out of memory)"},
        {503, "{\"message\":\"loading\"}", "E(503: loading)"},
        {503, "plain words\n", "E(503: plain words)"},
        {502, "<html><h1>Bad Gateway</h1></html>", "E(502: the backend answered with status 502)"},
        {500, "", "E(500: the backend answered with status 500)"},
        {500, "\xff\xfe", "E(500: the backend answered with status 500)"},
        {500, "{\"error\":\"\"}", "E(500: the backend answered with status 500)"},
        {500, "{\"error\":null}", "E(500: {\"error\":null})"},
        {429, "{\"error\":\"cut", "E(429: {\"error\":\"cut)"},
        {302, "", "E(302: the backend answered with status 302)"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        expect(&hw_protocol_openai, table[i].status, SSE, table[i].body, table[i].events);
        expect(&hw_protocol_ollama, table[i].status, JSON, table[i].body, table[i].events);
        expect(&hw_protocol_bdh, table[i].status, "", table[i].body, table[i].events);
    }
}

static void
a_long_error_is_cut_between_characters(void **state)
{
    struct hw_buf body, out;

    (void)state;
    hw_buf_init(&body, 1 << 20);
    hw_buf_init(&out, 1 << 20);
    while (body.len < 200000)
        hw_buf_puts(&body, "\xe2\x82\xac");
    help_read_split(&hw_protocol_ollama, &asked.query, 500, "", body.data, body.len, 70000, 1 << 20,
                    &out);
    assert_true(out.len > 300 && out.len < 520);
    assert_int_equal((out.len - strlen("E(500: )")) % 3, 0);
    hw_buf_free(&out);
    hw_buf_free(&body);
}

static void
long_lines_are_refused(void **state)
{
    static const struct {
        const struct hw_protocol *protocol;
        const char *type, *head, *error;
    } table[] = {
        {&hw_protocol_openai, SSE,
         "data: ", "E(0: a line of the backend's answer is longer than 100 bytes)"},
        {&hw_protocol_ollama, NDJSON, "{",
         "E(0: a line of the backend's answer is longer than 100 bytes)"},
        {&hw_protocol_ollama, JSON, "{", "E(0: the backend's answer is longer than 100 bytes)"},
    };
    char bytes[300];

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        for (size_t split = 0; split <= sizeof(bytes); split += 7) {
            struct hw_buf out;
            memset(bytes, 'x', sizeof(bytes));
            memcpy(bytes, table[i].head, strlen(table[i].head));
            hw_buf_init(&out, 4096);
            help_read_split(table[i].protocol, &asked.query, 200, table[i].type, bytes,
                            sizeof(bytes), split, 100, &out);
            assert_string_equal(out.data, table[i].error);
            hw_buf_free(&out);
        }
    /* Many short lines of one SSE event. */
    struct hw_buf out;
    hw_buf_init(&out, 4096);
    for (size_t i = 0; i + 7 <= sizeof(bytes); i += 7)
        memcpy(bytes + i, "data:x\n", 7);
    help_read_split(&hw_protocol_openai, &asked.query, 200, SSE, bytes, 294, 150, 50, &out);
    assert_string_equal(out.data, "E(0: an event of the backend's stream is longer than 50 bytes)");
    hw_buf_free(&out);
}

static void
too_many_tool_calls(void **state)
{
    struct hw_buf body, out;

    (void)state;
    hw_buf_init(&body, 1 << 20);
    hw_buf_init(&out, 1 << 20);
    for (int i = 0; i <= HW_MAX_TOOL_CALLS; i++)
        hw_buf_puts(&body, "{\"message\":{\"tool_calls\":[{\"id\":\"c\",\"function\":{\"name\":"
                           "\"f\"}}]},\"done\":false}\n");
    help_read_split(&hw_protocol_ollama, &asked.query, 200, NDJSON, body.data, body.len, 0, 4096,
                    &out);
    assert_non_null(strstr(out.data, "C63[c f]()E(0: the backend called more than 64 tools)"));
    hw_buf_free(&out);
    hw_buf_free(&body);
}

struct leaving {
    struct hw_reader *reader;
    int events;
};

static void
leave(void *ctx, const struct hw_event *event)
{
    struct leaving *leaving = ctx;

    assert_int_equal(event->type, HW_EVENT_TEXT);
    leaving->events++;
    hw_reader_destroy(&leaving->reader);
}

/* An agent that leaves while its answer is being read. */
static void
destroyed_within_an_event(void **state)
{
    static const char bytes[] = DELTA("{\"content\":\"\\u00e9\"}") DELTA("{\"content\":\"b\"}");
    struct leaving leaving = {0};

    (void)state;
    leaving.reader =
        hw_reader_create(&hw_protocol_openai, &asked.query, 200, SSE, strlen(SSE), 4096);
    hw_reader_feed(leaving.reader, bytes, sizeof(bytes) - 1, leave, &leaving);
    assert_int_equal(leaving.events, 1);
    assert_null(leaving.reader);
    hw_reader_destroy(&leaving.reader);
}

/* Every call of the stream says index 0; only ids and names tell them apart. */
static void
calls_that_share_an_index(void **state)
{
    (void)state;
    expect(&hw_protocol_openai, 200, SSE,
           DELTA("{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\","
                 "\"arguments\":\"\"}}]}")
               DELTA("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{}\"}}]}")
                   DELTA("{\"tool_calls\":[{\"index\":0,\"id\":\"b\",\"function\":{\"name\":\"g\","
                         "\"arguments\":\"{\"}}]}")
                       DELTA("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"}\"}}]}")
                           FINISH("tool_calls") DONE,
           "C0[a f]()C0({})C1[b g]({)C1(})F(tool_calls)");
    /* The same id again is the same call. */
    expect(&hw_protocol_openai, 200, SSE,
           DELTA("{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\","
                 "\"arguments\":\"{\"}}]}")
               DELTA("{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\","
                     "\"arguments\":\"}\"}}]}") FINISH("tool_calls") DONE,
           "C0[a f]({)C0(})F(tool_calls)");
}

static void
content_in_parts(void **state)
{
    (void)state;
    expect(&hw_protocol_openai, 200, SSE,
           DELTA("{\"content\":[{\"type\":\"thinking\",\"thinking\":[{\"type\":\"text\",\"text\":"
                 "\"hm\"}]}]}") DELTA("{\"content\":[{\"type\":\"text\",\"text\":\"o\"},{\"type\":"
                                      "\"text\",\"text\":\"k\"},{\"type\":\"reference\"},7]}")
               DELTA("{\"content\":\"!\"}") FINISH("stop") DONE,
           "R(hm)T(o)T(k)T(!)F(stop)");
}

static void
record_logprobs(void *ctx, const struct hw_event *event)
{
    struct hw_buf *out = ctx;

    if (event->type == HW_EVENT_TEXT)
        hw_buf_printf(out, "%.*s<%.*s>", (int)event->len, event->text, (int)event->logprobs_len,
                      event->logprobs != NULL ? event->logprobs : "");
}

static void
logprobs_of(const struct hw_protocol *protocol, const char *query, const char *type,
            const char *bytes, const char *expected)
{
    struct help_query h;
    struct hw_buf out;

    help_must_parse(&h, &hw_dialect_openai, query);
    hw_buf_init(&out, 4096);
    struct hw_reader *reader = hw_reader_create(protocol, &h.query, 200, type, strlen(type), 4096);
    hw_reader_feed(reader, bytes, strlen(bytes), record_logprobs, &out);
    hw_reader_end(reader, record_logprobs, &out);
    hw_reader_destroy(&reader);
    assert_string_equal(out.data, expected);
    hw_buf_free(&out);
    help_free(&h);
}

static void
logprobs_where_asked_for(void **state)
{
    static const char asks[] = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":"
                               "\"q\"}],\"logprobs\":true}";
    static const char asks_not[] =
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"}]}";
    static const char openai[] =
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"logprobs\":{\"content\":"
        "[{\"token\":\"a\",\"logprob\":-0.10,\"bytes\":[97],\"top_logprobs\":[]}]}}]}\n\n"
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    static const char ollama[] =
        "{\"message\":{\"content\":\"\"},\"logprobs\":[{\"token\":\"a\",\"logprob\":-1e-1}],"
        "\"done\":false}\n{\"message\":{\"content\":\"b\"},\"done\":true,\"done_reason\":\"stop\","
        "\"logprobs\":[7,{\"token\":\"b\",\"logprob\":0}]}\n";

    (void)state;
    logprobs_of(&hw_protocol_openai, asks, SSE, openai,
                "a<{\"token\":\"a\",\"logprob\":-0.10,\"bytes\":[97],\"top_logprobs\":[]}>");
    logprobs_of(&hw_protocol_openai, asks_not, SSE, openai, "a<>");
    logprobs_of(&hw_protocol_ollama, asks, NDJSON, ollama,
                "<{\"token\":\"a\",\"logprob\":-1e-1,\"bytes\":null,\"top_logprobs\":[]}>"
                "b<{\"token\":\"b\",\"logprob\":0,\"bytes\":null,\"top_logprobs\":[]}>");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_that_share_an_index),
        cmocka_unit_test(content_in_parts),
        cmocka_unit_test(logprobs_where_asked_for),
        cmocka_unit_test(openai_streams),
        cmocka_unit_test(openai_tool_calls),
        cmocka_unit_test(openai_whole),
        cmocka_unit_test(streams_that_fail),
        cmocka_unit_test(ollama_streams),
        cmocka_unit_test(error_bodies),
        cmocka_unit_test(a_long_error_is_cut_between_characters),
        cmocka_unit_test(long_lines_are_refused),
        cmocka_unit_test(too_many_tool_calls),
        cmocka_unit_test(destroyed_within_an_event),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
