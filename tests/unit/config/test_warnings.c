/* What `check` warns of beyond mistakes: routes that never match, and what two roles claim. */
#include "help.h"

#define ROLES                                                                                      \
    "agents: [{ name: x, key: \"sha256:"                                                           \
    "22a60ff8c666ee7f81ede927b1adfb38922412b0bbd7162b99525a22607f603b\" }]\n"                      \
    "roles: { a: , b: , c: }\n"                                                                    \
    "backends: [{ name: m, kind: bdh, url: \"http://127.0.0.1\", general: true }, { name: n, "     \
    "kind: bdh, url: \"http://127.0.0.1\", device: cuda, general: true }]\n"                       \
    "timezone: UTC\n"

/* The `when` of two routes, in front of one without conditions. Returns whether the second one is
 * said never to match. */
static bool
second_is_never(const char *first, const char *second)
{
    char yaml[2048];
    snprintf(yaml, sizeof(yaml),
             ROLES
             "routes:\n- { name: one, when: %s }\n- { name: two, when: %s }\n- { name: rest }\n",
             first, second);
    struct hw_snapshot *snapshot = load(yaml);
    if (snapshot == NULL)
        fail_msg("%s", messages);
    hw_snapshot_unref(snapshot);
    return strstr(messages, "route 'two' can never match: 'one' (line 6) comes first and takes all "
                            "that it could match\n") != NULL;
}

static void
what_an_earlier_route_takes(void **state)
{
    static const char *const never[][2] = {
        {"{ role: [a, b] }", "{ role: b }"},
        {"{ role: b }", "{ role: b, lane: realtime }"},
        {"{ lane: [realtime, background] }", "{ lane: background, tools: true }"},
        {"{ prompt_tokens: '>100' }", "{ prompt_tokens: '200..300' }"},
        {"{ prompt_tokens: '>=0' }", "{ role: a }"},
        {"{ agent: x }", "{ agent: x, model: m }"},
        {"{ model: [m, n] }", "{ model: n }"},
        {"{ path: '/v1/*' }", "{ path: [/v1/messages, '/v1/chat/*'] }"},
        {"{ keyword: [gold, tin] }", "{ keyword: tin }"},
        {"{ header: { x-team: '*' } }", "{ header: { X-Team: [law, art], x-more: yes } }"},
        {"{ regex: [a, b] }", "{ regex: b, stream: true }"},
        {"{ hours: 20-08 }", "{ hours: 22-06 }"},
        {"{ days: [sat, sun] }", "{ days: sat, hours: 10-12 }"},
        {"{ days: [fri, sat, sun, mon] }", "{ days: [fri, sat], hours: 22-06 }"},
        {"{ hours: [06-14, 14-22] }", "{ hours: 10-18 }"},
        {"{ any: [{ role: a }, { lane: background }] }", "{ lane: background }"},
        {"{ any: [{ role: a }, { lane: background }] }",
         "{ any: [{ lane: background }, { role: a }] }"},
        {"{ all: [{ role: a }, { tools: true }] }", "{ role: a, tools: true }"},
        {"{ role: [a, b] }", "{ any: [{ role: a }, { role: b, tools: true }] }"},
        {"{ not: { role: a } }", "{ role: [b, c] }"},
        {"{ not: { role: a } }", "{ not: [{ role: [a, b] }, { lane: realtime }] }"},
        {"{ not: { prompt_tokens: '>100' } }", "{ prompt_tokens: '<50' }"},
    };
    static const char *const perhaps[][2] = {
        {"{ role: b }", "{ role: [a, b] }"},
        {"{ role: b, lane: realtime }", "{ role: b }"},
        {"{ prompt_tokens: '>100' }", "{ prompt_tokens: '50..300' }"},
        {"{ prompt_tokens: '<=100' }", "{ role: a }"},
        {"{ path: /v1/messages }", "{ path: '/v1/*' }"},
        {"{ path: '/v1/chat/*' }", "{ path: '/v1/*' }"},
        {"{ keyword: tin }", "{ keyword: [gold, tin] }"},
        {"{ header: { x-team: law } }", "{ header: { x-team: '*' } }"},
        {"{ header: { x-team: law, x-more: a } }", "{ header: { x-team: law } }"},
        {"{ hours: 22-06 }", "{ hours: 20-08 }"},
        {"{ days: [fri, sat] }", "{ days: [fri, sat], hours: 22-06 }"},
        {"{ any: [{ role: a }, { lane: background }] }", "{ tools: true }"},
        {"{ all: [{ role: a }, { tools: true }] }", "{ role: a }"},
        {"{ role: a }", "{ any: [{ role: a }, { lane: realtime }] }"},
        {"{ not: { role: [a, b] } }", "{ role: b, tools: true }"},
        {"{ not: { role: a, lane: realtime } }", "{ not: { lane: background } }"},
        {"{ tools: true }", "{ tools: false }"},
        {"{ regex: a }", "{ keyword: a }"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
        if (!second_is_never(never[i][0], never[i][1]))
            fail_msg("%s takes all of %s: %s", never[i][0], never[i][1], messages);
    for (size_t i = 0; i < sizeof(perhaps) / sizeof(perhaps[0]); i++) {
        second_is_never(perhaps[i][0], perhaps[i][1]);
        if (strstr(messages, "never match") != NULL)
            fail_msg("%s leaves some of %s: %s", perhaps[i][0], perhaps[i][1], messages);
    }
}

static void
conditions_that_exclude_each_other(void **state)
{
    static const char *const impossible[] = {
        "{ role: a, all: [{ role: b }] }",
        "{ all: [{ tools: true }, { tools: false }] }",
        "{ prompt_tokens: '>100', all: { prompt_tokens: '<50' } }",
        "{ hours: 08-12, all: { hours: 14-18 } }",
        "{ days: sat, all: { days: [mon, tue] } }",
        "{ role: a, not: { role: [a, b] } }",
        "{ role: a, any: [{ role: b }, { not: { role: a } }] }",
        "{ dialect: openai, all: { path: '/api/*', dialect: [ollama, bdh] } }",
        "{ path: /v1/messages, all: { path: '/api/*' } }",
        "{ header: { x-team: law }, all: { header: { x-team: [art, war] } } }",
        "{ agent: x, not: { agent: x } }",
    };
    static const char *const possible[] = {
        "{ role: a, all: [{ role: [a, b] }] }",
        "{ role: [a, b], not: { role: a } }",
        "{ hours: 22-06, all: { hours: 05-08 } }",
        "{ days: fri, hours: 22-06, all: { days: sat } }",
        "{ keyword: a, all: { keyword: b } }",
        "{ any: [{ role: a }, { role: b }] }",
        "{ header: { x-team: '*' }, all: { header: { x-team: art } } }",
        "{ path: '/v1/*', all: { path: /v1/messages } }",
    };
    char yaml[1024];
    (void)state;
    for (size_t i = 0; i < 19; i++) {
        bool never = i < sizeof(impossible) / sizeof(impossible[0]);
        const char *when = never ? impossible[i] : possible[i - 11];
        snprintf(yaml, sizeof(yaml), ROLES "routes:\n- { name: r, when: %s }\n- { name: s }\n",
                 when);
        hw_snapshot_unref(load(yaml));
        bool said =
            strstr(messages, "t.yaml:6:3: warning: routes[0]: route 'r' can never match: its "
                             "conditions exclude each other\n") != NULL;
        if (said != never)
            fail_msg("%s: %s", when, messages);
    }
}

static void
what_several_routes_take_together(void **state)
{
    static const struct {
        const char *routes, *said; /* NULL: nothing */
    } cases[] = {
        {"[{ name: r, when: { role: a } }, { name: s, when: { role: c } }, { name: t, when: { "
         "role: "
         "[a, c], tools: true } }, { name: u }]",
         "'t' can never match: those before it take all its roles together"},
        {"[{ name: r, when: { lane: [realtime, interactive] } }, { name: s, when: { lane: "
         "background "
         "} }, { name: t }]",
         "'t' can never match: those before it take all its lanes together"},
        {"[{ name: r, when: { prompt_tokens: '<=100' } }, { name: s, when: { prompt_tokens: "
         "'201..300' } }, { name: t, when: { prompt_tokens: '101..200' } }, { name: u, when: { "
         "prompt_tokens: '50..250' } }, { name: v }]",
         "'u' can never match: those before it take all its prompt_tokens together"},
        {"[{ name: r, when: { prompt_tokens: '<100' } }, { name: s, when: { prompt_tokens: '>=100' "
         "} }, { name: t }]",
         "'t' can never match: those before it take all its prompt_tokens together"},
        {"[{ name: r, when: { prompt_tokens: '<100' } }, { name: s, when: { prompt_tokens: '>100' "
         "} "
         "}, { name: t }]",
         NULL},
        {"[{ name: r, when: { role: [a, b, c] } }, { name: s }]", NULL},
    };
    char yaml[2048];
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(yaml, sizeof(yaml), ROLES "routes: %s\n", cases[i].routes);
        hw_snapshot_unref(load(yaml));
        const char *never = strstr(messages, "never match");
        if (cases[i].said == NULL ? never != NULL : strstr(messages, cases[i].said) == NULL)
            fail_msg("%s: %s", cases[i].routes, messages);
    }
}

/* Conditions of a hostile size cost a bounded time, and are only not warned of. */
static void
a_thousand_large_routes(void **state)
{
    char *yaml = calloc(1, 1 << 20), *at = yaml;
    (void)state;
    assert_non_null(yaml);
    at += sprintf(at, ROLES "routes:\n");
    for (int i = 0; i < 700; i++) {
        at += sprintf(at, "- { name: r%d, when: { any: [", i);
        for (int j = 0; j < 20; j++)
            at += sprintf(at, "{ all: { model: [k%d, l%d, m%d] } }, ", i, j, i + j);
        at += sprintf(at, "{ tools: true, images: false }] } }\n");
    }
    struct hw_snapshot *snapshot = load_len(yaml, (size_t)(at - yaml));
    assert_non_null(snapshot);
    hw_snapshot_unref(snapshot);
    free(yaml);
}

static void
where_routes_lead(void **state)
{
    (void)state;
    hw_snapshot_unref(load(ROLES "routes: [{ name: r, to: { device: [cpu, cuda] }, fallback: { "
                                 "backend: [n, m] }, overflow: { kind: bdh } }]\n"));
    assert_non_null(strstr(messages, "the fallback of route 'r' leads back to where it came from: "
                                     "`to` has the same backends\n"));
    assert_non_null(strstr(messages, "the overflow of route 'r' leads back"));
    hw_snapshot_unref(load(ROLES "routes: [{ name: r, to: { device: cuda }, fallback: { device: "
                                 "cpu } }, { name: s, fallback: { device: cuda } }]\n"));
    assert_null(strstr(messages, "leads back"));
}

static void
keywords_of_two_roles(void **state)
{
    (void)state;
    hw_snapshot_unref(load("backends: [{ name: m, kind: bdh, url: \"http://127.0.0.1\", general: "
                           "true }]\nroles:\n  a: { keywords: [gold, tin, tin] }\n"
                           "  b: { keywords: [lead, Gold] }\n"));
    assert_string_equal(messages, "t.yaml:4:6: warning: roles.b: the keyword 'Gold' is also one of "
                                  "'a': a query with no other is for 'a'\n");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_an_earlier_route_takes),
        cmocka_unit_test(conditions_that_exclude_each_other),
        cmocka_unit_test(what_several_routes_take_together),
        cmocka_unit_test(a_thousand_large_routes),
        cmocka_unit_test(where_routes_lead),
        cmocka_unit_test(keywords_of_two_roles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
