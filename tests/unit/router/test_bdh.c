/* The ask dialect: one question in, one answer out. */
#include "api_help.h"

#define BDH &hw_dialect_bdh

static void
a_question(void **state)
{
    struct help_query h;

    (void)state;
    help_must_parse(&h, BDH, "{\"question\":\"who are \\u00fc?\"}");
    assert_ptr_equal(h.query.dialect, BDH);
    assert_null(h.query.model);
    assert_int_equal(h.query.model_len, 0);
    assert_int_equal(h.query.message_count, 1);
    assert_ptr_equal(h.query.last_user, h.query.messages);
    assert_string_equal(help_text(&h, h.query.last_user), "who are \xc3\xbc?");
    assert_true(h.query.has_max_tokens);
    assert_int_equal(h.query.max_tokens, 200);
    assert_true(h.query.has_temperature && h.query.temperature == 0.0);
    assert_true(h.query.deterministic && h.query.keepable);
    assert_false(h.query.stream);
    assert_null(hw_dialect_bdh.stream_content_type);
    help_free(&h);
}

static void
sampling(void **state)
{
    struct help_query h;

    (void)state;
    help_must_parse(
        &h, BDH,
        "{\"max_tokens\":9,\"temperature\":0.7,\"top_k\":10,\"top_p\":0.9,\"model\":\"helper\","
        "\"question\":\"q\",\"extra\":[]}");
    assert_int_equal(h.query.max_tokens, 9);
    assert_true(h.query.temperature == 0.7);
    assert_int_equal(h.query.top_k, 10);
    assert_string_equal(h.query.model, "helper");
    assert_false(h.query.deterministic);
    help_free(&h);
    help_must_parse(&h, BDH, "{\"temperature\":1,\"seed\":4,\"question\":\"q\"}");
    assert_true(h.query.deterministic);
    help_free(&h);
}

static void
mistakes_are_named(void **state)
{
    static const struct {
        const char *body, *message;
    } table[] = {
        {"\"question\"", "the body must be a JSON object, got a string"},
        {"{}", "question is missing"},
        {"{\"question\":null}", "question is missing"},
        {"{\"question\":\"\"}", "question must not be empty"},
        {"{\"question\":[\"a\"]}", "question must be a string, got an array"},
        {"{\"question\":\"a\\u0000\"}", "question: must not contain \\u0000"},
        {"{\"question\":\"a\",\"question\":\"b\"}", "question is given twice"},
        {"{\"question\":\"a\",\"max_tokens\":\"9\"}",
         "max_tokens must be a whole number from 1 to 4294967295, got a string"},
        {"{\"question\":\"a\",\"temperature\":3}",
         "temperature must be a number from 0 to 2, got 3"},
    };
    static const char whole[] = "{\"question\":\"a\xc3\xa9\",\"seed\":12}";
    struct help_query h;

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        help_parse(&h, BDH, table[i].body);
        if (h.rc != HW_EINVAL || strcmp(h.err.msg, table[i].message) != 0)
            fail_msg("%s: %d %s", table[i].body, h.rc, h.err.msg);
        help_free(&h);
    }
    for (size_t cut = 0; cut < sizeof(whole) - 1; cut++) {
        help_parse_bytes(&h, BDH, whole, cut);
        assert_int_equal(h.rc, HW_EINVAL);
        help_free(&h);
    }
}

static void
answers_and_errors(void **state)
{
    struct hw_query query = {0};
    struct hw_reply reply = {.query = &query, .id = "r", .model = "hatchling", .device = "cpu"};
    struct hw_event text = {.type = HW_EVENT_TEXT, .text = "a \"b\" \xff", .len = 7};
    struct hw_answer answer;
    struct hw_buf out;

    (void)state;
    hw_buf_init(&out, 4096);
    hw_answer_init(&answer, 100);
    hw_answer_add(&answer, &text);
    hw_dialect_bdh.write_whole(&reply, &answer, &out);
    assert_string_equal(out.data,
                        "{\"answer\":\"a \\\"b\\\" \xef\xbf\xbd\",\"model\":\"hatchling\","
                        "\"device\":\"cpu\",\"source\":\"dragon_hatchling\"}");
    hw_answer_free(&answer);
    hw_buf_clear(&out);
    hw_dialect_bdh.write_error(400, "question is missing", NULL, &out);
    assert_string_equal(out.data,
                        "{\"error\":\"question is missing\",\"detail\":\"question is missing\"}");
    hw_buf_free(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_question),
        cmocka_unit_test(sampling),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(answers_and_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
