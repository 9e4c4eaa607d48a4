#include "policies/snapshot_builder.h"

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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
