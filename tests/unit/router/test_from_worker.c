/* What a local worker tells of its tokens, in the dialects' words. */
#include "api_help.h"
#include "router/api/to_worker.h"

static void
entries_as_openai_has_them(void **state)
{
    static const struct hw_frame_logprob first[] = {{'"', -0.25f}},
                                         second[] = {{0xc3, -1.0f}, {0xc3, -1.0f}, {'a', -1e-5f}},
                                         third[] = {{300, -9999.0f}};
    struct hw_buf payload, entries;

    (void)state;
    hw_buf_init(&payload, 1000);
    hw_buf_init(&entries, 10000);
    hw_frame_add_logprobs(&payload, first, 1);
    hw_frame_add_logprobs(&payload, second, 3);
    hw_frame_add_logprobs(&payload, third, 1);
    hw_from_worker_logprobs((const uint8_t *)payload.data, payload.len, &entries);
    assert_string_equal(
        entries.data,
        "{\"token\":\"\\\"\",\"logprob\":-0.25,\"bytes\":[34],\"top_logprobs\":[]},"
        "{\"token\":\"\\\\xc3\",\"logprob\":-1,\"bytes\":[195],\"top_logprobs\":["
        "{\"token\":\"\\\\xc3\",\"logprob\":-1,\"bytes\":[195]},"
        "{\"token\":\"a\",\"logprob\":-1e-05,\"bytes\":[97]}]},"
        "{\"token\":\"\\ufffd\",\"logprob\":-9999,\"bytes\":null,\"top_logprobs\":[]}");
    hw_buf_free(&payload);
    hw_buf_free(&entries);
}

static void
queries_that_ask_for_them(void **state)
{
    static const struct {
        const char *more;
        unsigned logprobs;
    } cases[] = {{"", 0},
                 {",\"logprobs\":false", 0},
                 {",\"logprobs\":true", 1},
                 {",\"logprobs\":true,\"top_logprobs\":20", 21}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct hw_worker_prompt_turn turns[1];
        struct hw_frame_open open;
        struct help_query h;
        struct hw_buf dropped;
        char body[256];
        snprintf(body, sizeof(body),
                 "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]%s}",
                 cases[i].more);
        hw_buf_init(&dropped, 1000);
        help_must_parse(&h, &hw_dialect_openai, body);
        assert_int_equal(hw_to_worker(&h.query, &open, turns, &dropped), 1);
        assert_int_equal(open.logprobs, cases[i].logprobs);
        assert_int_equal(dropped.len, 0);
        hw_buf_free(&dropped);
        help_free(&h);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_as_openai_has_them),
        cmocka_unit_test(queries_that_ask_for_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
