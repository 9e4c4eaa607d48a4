/* Which routes are written for long prompts, and where they may lead. */
#include "help.h"

#include "config/reach.h"

static void
long_routes_by_their_conditions(void **state)
{
    static const struct {
        const char *when;
        uint64_t min, max; /* min 0: it is none */
    } cases[] = {
        {"{ prompt_tokens: \">8192\" }", 8193, UINT64_MAX},
        {"{ prompt_tokens: \"100..200\", role: red }", 100, 200},
        {"{ prompt_tokens: \"<=100\" }", 0, 0},
        {"{ role: red }", 0, 0},
        {"{ all: [ { role: red }, { prompt_tokens: \">=50\" }, { prompt_tokens: \"<90\" } ] }", 50,
         89},
        {"{ any: [ { keyword: book }, { prompt_tokens: \">50\" }, { prompt_tokens: \">20\" } ] }",
         21, UINT64_MAX},
        {"{ any: [ { prompt_tokens: \"30..40\" }, { prompt_tokens: \"60..70\" } ] }", 30, 70},
        {"{ prompt_tokens: \">10\", any: [ { prompt_tokens: \">20\" }, { role: red } ] }", 21,
         UINT64_MAX},
        {"{ not: [ { prompt_tokens: \">10\" } ] }", 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct hw_conf_range range;
        char yaml[2048];
        snprintf(yaml, sizeof(yaml), "%sroutes: [ { name: r, when: %s }, { name: rest } ]\n", BASE,
                 cases[i].when);
        struct hw_snapshot *snapshot = load(yaml);
        if (snapshot == NULL)
            fail_msg("%s", messages);
        bool is_long = hw_route_is_long(&snapshot->routes[0], &range);
        if (is_long != (cases[i].min > 0) ||
            (is_long && (range.min != cases[i].min || range.max != cases[i].max)))
            fail_msg("%s: %d, %ju to %ju", cases[i].when, is_long, (uintmax_t)range.min,
                     (uintmax_t)range.max);
        assert_false(hw_route_is_long(&snapshot->routes[1], &range));
        hw_snapshot_unref(snapshot);
    }
}

static void
where_a_route_may_lead(void **state)
{
    (void)state;
    struct hw_snapshot *snapshot =
        load(BASE "routes: [ { name: r, to: { kind: bdh } }, "
                  "{ name: s, to: { backend: a }, fallback: { backend: b } }, "
                  "{ name: t, to: { backend: a } }, { name: rest } ]\n");
    assert_non_null(snapshot);
    static const bool leads[][2] = {{false, true}, {true, true}, {true, false}, {true, true}};
    for (size_t r = 0; r < 4; r++)
        for (size_t i = 0; i < 2; i++)
            assert_int_equal(hw_route_leads_to(snapshot, &snapshot->routes[r], i), leads[r][i]);
    hw_snapshot_unref(snapshot);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_routes_by_their_conditions),
        cmocka_unit_test(where_a_route_may_lead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
