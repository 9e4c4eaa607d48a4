/* Embeddings: the input in all its shapes, vectors as text and base64, and what goes where. */
#include "protocol_help.h"
#include "router/api/embeddings.h"

static void
refused(const struct hw_dialect *dialect, const char *body, const char *why)
{
    struct help_query h;

    help_parse(&h, dialect, body);
    assert_int_not_equal(h.rc, 0);
    if (strstr(h.err.msg, why) == NULL)
        fail_msg("%s: %s", body, h.err.msg);
    help_free(&h);
}

static void
inputs(void **state)
{
    static const struct {
        const char *input;
        size_t count;
        bool tokens;
        const char *text;
    } cases[] = {
        {"\"gold\\n\"", 1, false, "gold\n"},
        {"[\"gold\",\"tin\"]", 2, false, "gold\ntin"},
        {"[1,2,3]", 1, true, ""},
        {"[[1,2],[3]]", 2, true, ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct help_query h;
        char body[128];
        snprintf(body, sizeof(body), "{\"model\":\"m\",\"input\":%s}", cases[i].input);
        help_must_parse(&h, &hw_dialect_embeddings, body);
        assert_true(h.query.embeds && h.query.deterministic && h.query.keepable);
        assert_int_equal(h.query.input_count, cases[i].count);
        assert_int_equal(h.query.input_is_tokens, cases[i].tokens);
        assert_string_equal(help_text(&h, h.query.last_user), cases[i].text);
        help_free(&h);
    }
}

static void
bad_inputs(void **state)
{
    (void)state;
    refused(&hw_dialect_embeddings, "{\"model\":\"m\"}", "input is missing");
    refused(&hw_dialect_embeddings, "{\"model\":\"m\",\"input\":\"\"}", "must not be empty");
    refused(&hw_dialect_embeddings, "{\"model\":\"m\",\"input\":[]}", "must not be empty");
    refused(&hw_dialect_embeddings, "{\"model\":\"m\",\"input\":[\"a\",1]}", "strings only");
    refused(&hw_dialect_embeddings, "{\"model\":\"m\",\"input\":[[1],[\"a\"]]}", "mix tokens");
    refused(&hw_dialect_embeddings, "{\"model\":\"m\",\"input\":[[]]}", "mix tokens");
    refused(&hw_dialect_embeddings, "{\"model\":\"m\",\"input\":{}}", "input must be");
    refused(&hw_dialect_embeddings, "{\"model\":\"m\",\"input\":[\"\\u0000\"]}", "\\u0000");
    refused(&hw_dialect_embeddings, "{\"model\":\"m\",\"input\":\"a\",\"input\":\"b\"}", "twice");
    refused(&hw_dialect_embeddings, "{\"model\":\"m\",\"input\":\"a\",\"encoding_format\":\"x\"}",
            "base64");
    refused(&hw_dialect_embeddings, "{\"model\":\"m\",\"input\":\"a\",\"dimensions\":0}",
            "dimensions");
    refused(&hw_dialect_ollama_embed, "{\"model\":\"m\",\"input\":[1]}", "array of strings");
    refused(&hw_dialect_ollama_embeddings, "{\"model\":\"m\",\"prompt\":[\"a\"]}", "prompt must");
}

static void
requests(void **state)
{
    (void)state;
    /* The same dialect: its own bytes. */
    help_expect(&hw_dialect_embeddings, "{ \"model\":\"a\", \"input\":[1, 2], \"x\":1e400 }",
                &hw_protocol_openai, "m", "/v1/embeddings",
                "{ \"model\":\"m\", \"input\":[1, 2], \"x\":1e400 }", "");
    help_expect(&hw_dialect_ollama_embeddings, "{\"model\":\"a\",\"prompt\":\"hi\"}",
                &hw_protocol_ollama, "m", "/api/embeddings", "{\"model\":\"m\",\"prompt\":\"hi\"}",
                "");
    help_expect(&hw_dialect_embeddings,
                "{\"model\":\"a\",\"input\":\"h\\u0069\",\"encoding_format\":\"base64\","
                "\"dimensions\":64,\"user\":\"u\",\"input_type\":\"query\"}",
                &hw_protocol_ollama, "m", "/api/embed",
                "{\"model\":\"m\",\"input\":\"h\\u0069\",\"dimensions\":64}", "input_type");
    help_expect(&hw_dialect_ollama_embed,
                "{\"model\":\"a\",\"input\":[\"x\"],\"truncate\":true,\"options\":{\"num_ctx\":9},"
                "\"keep_alive\":\"5m\"}",
                &hw_protocol_openai, "m", "/v1/embeddings",
                "{\"model\":\"m\",\"input\":[\"x\"],\"encoding_format\":\"float\"}",
                "truncate, options, keep_alive");
    help_expect(&hw_dialect_ollama_embeddings, "{\"model\":\"a\",\"prompt\":\"hi\"}",
                &hw_protocol_openai, "m", "/v1/embeddings",
                "{\"model\":\"m\",\"input\":\"hi\",\"encoding_format\":\"float\"}", "");
}

static void
no_vectors_of_tokens_or_bdh(void **state)
{
    struct help_query h;
    struct help_request r;

    (void)state;
    help_must_parse(&h, &hw_dialect_embeddings, "{\"model\":\"m\",\"input\":[1]}");
    help_write(&r, &hw_protocol_ollama, &h.query, "m");
    assert_int_equal(r.rc, HW_EINVAL);
    help_request_free(&r);
    help_write(&r, &hw_protocol_bdh, &h.query, "m");
    assert_int_equal(r.rc, HW_EINVAL);
    help_request_free(&r);
    help_free(&h);
}

static void
reads(const struct hw_protocol *protocol, const char *input, const char *said, const char *expected)
{
    struct help_query h;
    char body[128];

    snprintf(body, sizeof(body), "{\"model\":\"m\",\"input\":%s}", input);
    help_must_parse(&h, &hw_dialect_embeddings, body);
    for (size_t split = 0; split <= strlen(said); split++) {
        struct hw_buf out;
        hw_buf_init(&out, 4096);
        help_read_split(protocol, &h.query, 200, "application/json", said, strlen(said), split,
                        4096, &out);
        assert_string_equal(out.data, expected);
        hw_buf_free(&out);
    }
    help_free(&h);
}

static void
answers_are_read(void **state)
{
    (void)state;
    reads(&hw_protocol_openai, "[\"a\",\"b\"]",
          "{\"data\":[{\"index\":1,\"embedding\":[0.50, 1e-3]},"
          "{\"index\":0,\"embedding\":\"AACAPwAAAMA=\"}],\"usage\":{\"prompt_tokens\":3}}",
          "T([1,-2])T(\n[0.50,1e-3])F(stop 3 0)");
    reads(&hw_protocol_ollama, "[\"a\",\"b\"]",
          "{\"model\":\"m\",\"embeddings\":[[1],[2]],\"prompt_eval_count\":4}",
          "T([1])T(\n[2])F(stop 4 0)");
    reads(&hw_protocol_ollama, "\"a\"", "{\"embedding\":[1,2]}", "T([1,2])F(stop)");
}

static void
bad_answers(void **state)
{
    (void)state;
    reads(&hw_protocol_openai, "\"a\"", "{\"data\":[]}",
          "E(0: the backend gave 0 embeddings for 1 inputs)");
    reads(&hw_protocol_openai, "\"a\"", "{\"data\":[{\"index\":7,\"embedding\":[1]}]}",
          "E(0: the backend's embedding 0 has no place among 1 inputs)");
    reads(&hw_protocol_openai, "\"a\"", "{\"data\":[{\"embedding\":\"AAA=\"}]}",
          "E(0: the backend's embedding 0 is no list of numbers)");
    reads(&hw_protocol_ollama, "\"a\"", "{\"embeddings\":[[1,null]]}",
          "E(0: the backend's embedding 0 is no list of numbers)");
    reads(&hw_protocol_ollama, "\"a\"", "{\"embeddings\":[[]]}",
          "E(0: the backend's embedding 0 is no list of numbers)");
    reads(&hw_protocol_ollama, "\"a\"", "{}", "E(0: the backend's answer has no embeddings in it)");
    reads(&hw_protocol_ollama, "\"a\"", "{\"error\":\"no\"}", "E(0: no)");
}

static void
writes(const struct hw_dialect *dialect, bool base64, const char *expected)
{
    struct hw_query query = {.dialect = dialect, .wants_base64 = base64};
    struct hw_reply reply = {.query = &query, .id = "i", .model = "m"};
    struct hw_answer answer;
    struct hw_buf out;

    hw_answer_init(&answer, 4096);
    hw_buf_puts(&answer.text, "[1,-2.0]\n[0.1,3]");
    answer.usage = (struct hw_usage){.known = true, .prompt_tokens = 5};
    hw_buf_init(&out, 4096);
    dialect->write_whole(&reply, &answer, &out);
    assert_string_equal(out.data, expected);
    hw_buf_free(&out);
    hw_answer_free(&answer);
}

static void
answers_are_written(void **state)
{
    (void)state;
    writes(&hw_dialect_embeddings, false,
           "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":"
           "[1,-2.0]},{\"object\":\"embedding\",\"index\":1,\"embedding\":[0.1,3]}],"
           "\"model\":\"m\",\"usage\":{\"prompt_tokens\":5,\"total_tokens\":5}}");
    writes(&hw_dialect_embeddings, true,
           "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":"
           "\"AACAPwAAAMA=\"},{\"object\":\"embedding\",\"index\":1,\"embedding\":\"zczMPQAAQEA="
           "\"}],\"model\":\"m\",\"usage\":{\"prompt_tokens\":5,\"total_tokens\":5}}");
    writes(&hw_dialect_ollama_embed, false,
           "{\"model\":\"m\",\"embeddings\":[[1,-2.0],[0.1,3]],\"total_duration\":0,"
           "\"load_duration\":0,\"prompt_eval_count\":5}");
    writes(&hw_dialect_ollama_embeddings, false, "{\"embedding\":[1,-2.0]}");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inputs),
        cmocka_unit_test(bad_inputs),
        cmocka_unit_test(requests),
        cmocka_unit_test(no_vectors_of_tokens_or_bdh),
        cmocka_unit_test(answers_are_read),
        cmocka_unit_test(bad_answers),
        cmocka_unit_test(answers_are_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
