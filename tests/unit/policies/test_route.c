#include "policies/snapshot_builder.h"

#include <stdio.h>

#include "config/load.h"
#include "policies/route.h"

static struct built built;

static void
expect_reason(const struct hw_conf_when *when, const struct hw_traits *traits, const char *reason)
{
    char why[256] = "untouched";

    built.routes[0].when = *when;
    built.routes[0].when.present = true;
    bool holds = hw_route_explain(&built.snapshot, 0, traits, why, sizeof(why));
    assert_string_equal(why, reason == NULL ? "untouched" : reason);
    assert_int_equal(holds, reason == NULL);
    assert_int_equal(hw_route_match(&built.snapshot, traits), reason == NULL ? 0 : 1);
}

static int
setup(void **state)
{
    (void)state;
    built_init(&built);
    built_role(&built, "trading", "");
    built_role(&built, "legal", "");
    built_role(&built, "email", "");
    built_route(&built, "first");
    built_route(&built, "default");
    return 0;
}

static void
role_and_lane(void **state)
{
    (void)state;
    struct hw_conf_when when = {.role_mask = 3};
    struct hw_traits traits = traits_of("hello");
    expect_reason(&when, &traits, "role is none, wants trading or legal");
    traits.role = 2;
    expect_reason(&when, &traits, "role is email, wants trading or legal");
    traits.role = 1;
    expect_reason(&when, &traits, NULL);
    when = (struct hw_conf_when){.lane_mask = 1u << HW_LANE_BACKGROUND};
    expect_reason(&when, &traits, "lane is interactive, wants background");
    traits.has_lane = true;
    traits.lane = HW_LANE_REALTIME;
    expect_reason(&when, &traits, "lane is realtime, wants background");
    traits.lane = HW_LANE_BACKGROUND;
    expect_reason(&when, &traits, NULL);
}

static void
words(void **state)
{
    (void)state;
    struct hw_traits traits = traits_of("When does the Stop-Loss trigger?");
    struct hw_conf_when when = {.agent = built_list(&built, "bot, crawler, night")};
    expect_reason(&when, &traits, "agent is none, wants bot, crawler or night");
    traits.agent = "crawler";
    expect_reason(&when, &traits, NULL);
    when = (struct hw_conf_when){.model = built_list(&built, "auto")};
    expect_reason(&when, &traits, NULL);
    traits.model = "llama3.1:8b";
    expect_reason(&when, &traits, "model is llama3.1:8b, wants auto");
    when = (struct hw_conf_when){.dialect = built_list(&built, "ollama, bdh")};
    expect_reason(&when, &traits, "dialect is openai, wants ollama or bdh");
    when = (struct hw_conf_when){.keyword = built_list(&built, "court, stop loss")};
    expect_reason(&when, &traits, NULL);
    traits.text = "nothing";
    traits.text_len = 7;
    expect_reason(&when, &traits, "the message has no keyword court or stop loss");
    when = (struct hw_conf_when){.agent = built_list(&built, "a, b, c, d, e, f, g, h, i")};
    expect_reason(&when, &traits, "agent is crawler, wants a, b, c, d, e, f or 3 others");
}

static void
prompt_tokens(void **state)
{
    (void)state;
    struct hw_traits traits = traits_of("");
    struct hw_conf_when when = {.prompt_tokens = {.present = true, .min = 8193, .max = UINT64_MAX}};
    traits.prompt_tokens = 8192;
    expect_reason(&when, &traits, "prompt_tokens is about 8192, wants at least 8193");
    traits.prompt_tokens = 8193;
    expect_reason(&when, &traits, NULL);
    when.prompt_tokens = (struct hw_conf_range){.present = true, .min = 0, .max = 100};
    expect_reason(&when, &traits, "prompt_tokens is about 8193, wants at most 100");
    when.prompt_tokens = (struct hw_conf_range){.present = true, .min = 10, .max = 20};
    expect_reason(&when, &traits, "prompt_tokens is about 8193, wants 10 to 20");
}

static void
all_conditions_must_hold(void **state)
{
    (void)state;
    struct hw_traits traits = traits_of("market");
    struct hw_conf_when when = {.role_mask = 1, .keyword = built_list(&built, "market")};
    traits.role = 1;
    expect_reason(&when, &traits, "role is legal, wants trading");
    traits.role = 0;
    expect_reason(&when, &traits, NULL);
}

static void
none_matches(void **state)
{
    (void)state;
    struct hw_traits traits = traits_of("hello");
    built.snapshot.route_count = 1;
    built.routes[0].when = (struct hw_conf_when){.present = true, .role_mask = 1};
    assert_int_equal(hw_route_match(&built.snapshot, &traits), -1);
}

static void
reasons_are_cut_not_overrun(void **state)
{
    (void)state;
    struct hw_traits traits = traits_of("hello");
    char why[12], all[64] = "";

    built.routes[0].when = (struct hw_conf_when){.present = true, .role_mask = 7};
    assert_false(hw_route_explain(&built.snapshot, 0, &traits, why, sizeof(why)));
    assert_string_equal(why, "role is non");
    for (size_t size = 0; size < sizeof(all); size++)
        assert_false(hw_route_explain(&built.snapshot, 0, &traits, all, size));
}

/* --- from YAML: what nests, what is compiled, what the clock says --- */

/* One route with this `when`, in Berlin. */
static struct hw_snapshot *
when_of(const char *when)
{
    static const char format[] =
        "backends: [{ name: a, kind: ollama, url: \"http://127.0.0.1\", models: [m], general: true "
        "}]\n"
        "roles: { trading: { keywords: [market] }, legal: }\n"
        "timezone: Europe/Berlin\n"
        "routes:\n  - { name: first, when: %s }\n";
    char yaml[2048];
    struct hw_snapshot *snapshot = NULL;
    struct hw_diags diags = {0};

    snprintf(yaml, sizeof(yaml), format, when);
    if (hw_config_parse("/tmp/t.yaml", yaml, strlen(yaml), &snapshot, &diags) != 0)
        fail_msg("%s: %s", when, diags.items[0].msg);
    hw_diags_free(&diags);
    return snapshot;
}

/* reason NULL: it matches. */
static void
expect_when(const char *when, const struct hw_traits *traits, const char *reason)
{
    struct hw_snapshot *snapshot = when_of(when);
    char why[256] = "untouched";

    assert_int_equal(hw_route_explain(snapshot, 0, traits, why, sizeof(why)), reason == NULL);
    assert_string_equal(why, reason == NULL ? "untouched" : reason);
    assert_int_equal(hw_route_match(snapshot, traits), reason == NULL ? 0 : -1);
    hw_snapshot_unref(snapshot);
}

static void
any_all_not(void **state)
{
    (void)state;
    struct hw_traits traits = traits_of("is the market open?");
    const char *either = "{ any: [ { role: trading }, { lane: background, keyword: night } ] }";

    expect_when(either, &traits,
                "none of any holds (role is none, wants trading; lane is interactive, wants "
                "background)");
    traits.role = 0;
    expect_when(either, &traits, NULL);
    expect_when("{ not: { role: trading } }", &traits, "what not excludes holds");
    expect_when("{ not: [ { role: legal }, { role: trading } ] }", &traits,
                "what not excludes holds (its condition 2)");
    expect_when("{ not: { role: legal } }", &traits, NULL);
    expect_when("{ all: [ { keyword: market }, { not: { all: [ { keyword: open }, { role: legal } "
                "] } } ] }",
                &traits, NULL);
    expect_when("{ role: trading, all: [ { keyword: market }, { keyword: closed } ] }", &traits,
                "the message has no keyword closed");
    expect_when("{ any: [] }", &traits, NULL);
}

static void
patterns(void **state)
{
    (void)state;
    struct hw_traits traits = traits_of("ticket ABC-1234, please");

    expect_when("{ regex: '\\b[A-Z]{3}-\\d+\\b' }", &traits, NULL);
    expect_when("{ regex: ['^x', '(?i)TICKET'] }", &traits, NULL);
    expect_when("{ regex: '^please' }", &traits, "the message does not match ^please");
    /* Catastrophic backtracking ends, and does not match. */
    char bomb[64];
    memset(bomb, 'a', sizeof(bomb) - 2);
    memcpy(bomb + sizeof(bomb) - 2, "!", 2);
    traits = traits_of(bomb);
    expect_when("{ regex: '^(?:(a+)+)+$' }", &traits,
                "the search for ^(?:(a+)+)+$ backtracked too much and was given up");
    traits = traits_of("\xff\xfe not UTF-8 ABC");
    expect_when("{ regex: 'ABC$' }", &traits, NULL);
    traits.text = NULL;
    traits.text_len = 0;
    expect_when("{ regex: 'ABC$' }", &traits, "the message does not match ABC$");
}

static const char *
one_header(void *ctx, const char *name, size_t *len)
{
    const char *value = ctx;

    if (strcmp(name, "x-team") != 0)
        return NULL;
    *len = strlen(value);
    return value;
}

static void
headers_paths_and_wishes(void **state)
{
    (void)state;
    struct hw_traits traits = traits_of("hello");

    expect_when("{ header: { X-Team: [red, blue] } }", &traits,
                "there is no header x-team, wants red or blue");
    traits.header = one_header;
    traits.header_ctx = (char[]){"green"};
    expect_when("{ header: { x-team: red } }", &traits, "header x-team is green, wants red");
    expect_when("{ header: { x-team: [red, green] } }", &traits, NULL);
    expect_when("{ header: { x-team: '*', x-other: '*' } }", &traits,
                "there is no header x-other, wants *");
    expect_when("{ path: /v1/* }", &traits, "path is none, wants /v1/*");
    traits.path = "/v1/chat/completions";
    expect_when("{ path: [/api/chat, /v1/*] }", &traits, NULL);
    expect_when("{ path: /v1/chat }", &traits, "path is /v1/chat/completions, wants /v1/chat");
    traits.wants_tools = traits.stream = true;
    expect_when("{ tools: true, images: false, json: false, stream: yes }", &traits, NULL);
    expect_when("{ tools: false }", &traits, "tools is true, wants false");
    expect_when("{ json: true }", &traits, "json is false, wants true");
}

/* 2026 in Berlin: winter time +1 until 29 March 01:00 UTC, then +2 until 25 October 01:00 UTC. */
#define AT(day, hour, minute) ((int64_t)(day)*86400 + (hour)*3600 + (minute)*60)
enum { MON_5_JAN = 20458, SUN_29_MAR = 20541, SUN_25_OCT = 20751 };

static void
the_clock(void **state)
{
    (void)state;
    struct hw_traits traits = traits_of("hello");
    const char *night = "{ hours: 22-06 }";

    traits.now_s = AT(MON_5_JAN, 20, 59); /* 21:59 */
    expect_when(night, &traits, "it is mon 21:59, wants 22-06");
    traits.now_s = AT(MON_5_JAN, 21, 0); /* 22:00 */
    expect_when(night, &traits, NULL);
    traits.now_s = AT(MON_5_JAN + 1, 4, 59); /* 05:59 */
    expect_when(night, &traits, NULL);
    traits.now_s = AT(MON_5_JAN + 1, 5, 0); /* 06:00 */
    expect_when(night, &traits, "it is tue 06:00, wants 22-06");
    expect_when("{ hours: [22-06, 05:30-06:30] }", &traits, NULL);
    expect_when("{ hours: 00-24 }", &traits, NULL);
    expect_when("{ hours: 0:00-6 }", &traits, "it is tue 06:00, wants 0:00-6");
    expect_when("{ days: [sat, tue] }", &traits, NULL);
    expect_when("{ days: [mon, wed], hours: 06-08 }", &traits,
                "it is tue 06:00, wants 06-08 on mon or wed");
    /* Monday's night goes on until Tuesday 06:00. */
    traits.now_s = AT(MON_5_JAN + 1, 4, 0);
    expect_when("{ days: mon, hours: 22-06 }", &traits, NULL);
    expect_when("{ days: tue, hours: 22-06 }", &traits, "it is tue 05:00, wants 22-06 on tue");
}

static void
the_clock_is_changed(void **state)
{
    (void)state;
    struct hw_traits traits = traits_of("hello");
    const char *early = "{ hours: 02-03 }";

    traits.now_s = AT(SUN_29_MAR, 0, 59); /* 01:59, and the next minute is 03:00 */
    expect_when(early, &traits, "it is sun 01:59, wants 02-03");
    traits.now_s = AT(SUN_29_MAR, 1, 0);
    expect_when(early, &traits, "it is sun 03:00, wants 02-03");
    traits.now_s = AT(SUN_25_OCT, 0, 30); /* 02:30 for the first time */
    expect_when(early, &traits, NULL);
    traits.now_s = AT(SUN_25_OCT, 1, 30); /* and again */
    expect_when(early, &traits, NULL);
    traits.now_s = AT(SUN_25_OCT, 2, 0);
    expect_when(early, &traits, "it is sun 03:00, wants 02-03");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(role_and_lane, setup),
        cmocka_unit_test_setup(words, setup),
        cmocka_unit_test_setup(prompt_tokens, setup),
        cmocka_unit_test_setup(all_conditions_must_hold, setup),
        cmocka_unit_test_setup(none_matches, setup),
        cmocka_unit_test_setup(reasons_are_cut_not_overrun, setup),
        cmocka_unit_test(any_all_not),
        cmocka_unit_test(patterns),
        cmocka_unit_test(headers_paths_and_wishes),
        cmocka_unit_test(the_clock),
        cmocka_unit_test(the_clock_is_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
