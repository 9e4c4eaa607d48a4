/* To a BDH node by url: one question, and an answer that may begin with it. */
#include "protocol_help.h"

#define PATH "/api/bdh/ask"

static void
a_question_goes_out(void **state)
{
    (void)state;
    help_expect(&hw_dialect_bdh,
                "{\"question\":\"a\\u00e9\",\"max_tokens\":5,\"temperature\":null}",
                &hw_protocol_bdh, NULL, PATH, "{\"question\":\"a\\u00e9\"}", "max_tokens");
    help_expect(
        &hw_dialect_openai,
        "{\"model\":\"m\",\"stream\":true,\"temperature\":0,\"messages\":[{\"role\":\"system\","
        "\"content\":\"s\"},"
        "{\"role\":\"user\",\"content\":\"old\"},{\"role\":\"assistant\",\"content\":\"o\"},"
        "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"new\\n\"},{\"type\":"
        "\"text\",\"text\":\"?\"}]}]}",
        &hw_protocol_bdh, "other", PATH, "{\"question\":\"new\\n?\"}",
        "system messages, other messages, temperature");
}

static void
without_a_question_it_cannot_ask(void **state)
{
    struct help_query h;
    struct help_request r;

    (void)state;
    help_must_parse(&h, &hw_dialect_openai,
                    "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"s\"}]}");
    help_write(&r, &hw_protocol_bdh, &h.query, NULL);
    assert_int_equal(r.rc, HW_EINVAL);
    assert_string_equal(r.err.msg, "a bdh node needs a user message with text in it");
    help_request_free(&r);
    help_free(&h);
}

static void
an_echo_is_cut_off(void **state)
{
    static const struct {
        const char *answer, *events;
    } table[] = {
        {"{\"answer\":\"plain\",\"model\":\"x\"}", "T(plain)F(stop)"},
        {"{\"answer\":\"what is \\u00e9?\\n It is.\"}", "T(It is.)F(stop)"},
        {"{\"answer\":\"what is \xc3\xa9?It is.\"}", "T(It is.)F(stop)"},
        {"{\"answer\":\"what is it\"}", "T(what is it)F(stop)"},
        {"{\"answer\":\" what is \xc3\xa9? x\"}", "T( what is \xc3\xa9? x)F(stop)"},
        {"{\"answer\":\"what is \xc3\xa9?\"}", "F(stop)"},
        {"{\"answer\":\"\"}", "F(stop)"},
        {"{\"answer\":\"bytes \\\\xff stay\"}", "T(bytes \\xff stay)F(stop)"},
        {"{\"answer\":5}", "E(0: the backend's answer has no \"answer\" in it)"},
        {"{\"error\":\"no model\"}", "E(0: no model)"},
        {"{\"answer\":\"cut",
         "E(0: the backend sent invalid JSON at byte 14: the text ends within a string)"},
        {"", "E(0: the backend sent an empty answer)"},
        {"[]", "E(0: the backend sent JSON that is no object)"},
    };
    struct help_query h;

    (void)state;
    help_must_parse(&h, &hw_dialect_bdh, "{\"question\":\"what is \\u00e9?\"}");
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        for (size_t split = 0; split <= strlen(table[i].answer); split++) {
            struct hw_buf out;
            hw_buf_init(&out, 4096);
            help_read_split(&hw_protocol_bdh, &h.query, 200, "application/json", table[i].answer,
                            strlen(table[i].answer), split, 65536, &out);
            assert_string_equal(out.data, table[i].events);
            hw_buf_free(&out);
        }
    help_free(&h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_question_goes_out),
        cmocka_unit_test(without_a_question_it_cannot_ask),
        cmocka_unit_test(an_echo_is_cut_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
