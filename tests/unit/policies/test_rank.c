#include "policies/snapshot_builder.h"

#include <stdio.h>

static struct built built;
static struct hw_backend_view views[MAX_BUILT];
static struct hw_candidate out[MAX_BUILT];
static struct hw_conf_route *route;
static uint64_t dice, conversation;
static struct hw_token_ratios *tokens;

enum { HATCHLING, REDFIN, BLUEFIN, SASASS2, CLOUD };
enum { TRADING, LEGAL, ARCHIVE };

static int
setup(void **state)
{
    (void)state;
    dice = conversation = 0;
    built_init(&built);
    built_role(&built, "trading", "");
    built_role(&built, "legal", "");
    built_role(&built, "archive", "");
    struct hw_conf_backend *hatchling =
        built_backend(&built, "hatchling", HW_KIND_BDH, HW_DEVICE_CPU, NULL, NULL);
    hatchling->model = built_text(&built, "/srv/m/hatchling.safetensors", 28);
    built_backend(&built, "redfin", HW_KIND_OLLAMA, HW_DEVICE_CUDA, "llama3.1:8b, mistral",
                  "trading");
    built_backend(&built, "bluefin", HW_KIND_OLLAMA, HW_DEVICE_CUDA, "llama3.1:8b, qwen2.5:14b",
                  "trading, legal");
    struct hw_conf_backend *node =
        built_backend(&built, "sasass2", HW_KIND_BDH, HW_DEVICE_MPS, NULL, "archive");
    node->url = built_text(&built, "http://10.0.0.3:8010", 20);
    built_backend(&built, "cloud", HW_KIND_OPENAI, HW_DEVICE_CUDA, "big-70b", "archive");
    route = built_route(&built, "only");
    memset(views, 0, sizeof(views));
    for (size_t i = 0; i < built.snapshot.backend_count; i++) {
        views[i].up = true;
        hw_rank_prior(&built.backends[i], &views[i]);
    }
    return 0;
}

/* The candidates in order: + by the overflow, * by the fallback, ~ saturated, ! full. */
static void
expect_rank(const struct hw_traits *traits, const char *expected)
{
    struct hw_rank_input input = {.snapshot = &built.snapshot,
                                  .route = route,
                                  .traits = traits,
                                  .views = views,
                                  .dice = dice,
                                  .conversation = conversation,
                                  .tokens = tokens};
    size_t count = hw_rank(&input, out), len = 0;
    char text[512] = "";

    for (size_t i = 0; i < built.snapshot.backend_count; i++) {
        assert_int_equal(out[i].out == HW_CANDIDATE, i < count);
        if (i < count)
            len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s%s%s%s%s",
                                    i > 0 ? " " : "", built.backends[out[i].backend].name,
                                    out[i].overflow ? "+" : "", out[i].fallback ? "*" : "",
                                    out[i].saturated ? "~" : "", out[i].full ? "!" : "");
    }
    assert_string_equal(text, expected);
}

/* Why a backend is out, in the last ranking. */
static const char *
why_out(uint32_t backend)
{
    for (size_t i = 0; i < built.snapshot.backend_count; i++) {
        if (out[i].backend == backend)
            return hw_exclusion_names[out[i].out];
    }
    return "missing";
}

static struct hw_traits
query(int role)
{
    struct hw_traits traits = traits_of("hello there");

    traits.role = role;
    return traits;
}

static void
eligible_then_fast(void **state)
{
    (void)state;
    struct hw_traits traits = query(TRADING);
    views[REDFIN].decode_bytes_s = 700;
    views[BLUEFIN].decode_bytes_s = 900;
    views[HATCHLING].decode_bytes_s = 100;
    expect_rank(&traits, "bluefin redfin hatchling");
    traits.role = LEGAL;
    expect_rank(&traits, "bluefin hatchling");
    traits.role = -1;
    expect_rank(&traits, "hatchling");
    assert_string_equal(why_out(REDFIN), "not named");
}

static void
quality_before_speed(void **state)
{
    (void)state;
    struct hw_traits traits = query(TRADING);
    views[HATCHLING].decode_bytes_s = 100000;
    built.backends[REDFIN].quality = 1;
    built.backends[BLUEFIN].quality = 1;
    views[BLUEFIN].decode_bytes_s = 100;
    expect_rank(&traits, "redfin bluefin hatchling");
    views[REDFIN].breaker = HW_BREAKER_HALF_OPEN; /* it gets its trial */
    expect_rank(&traits, "redfin bluefin hatchling");
}

static void
selectors_filter_and_name(void **state)
{
    (void)state;
    struct hw_traits traits = query(-1);
    route->to.has_kind = true;
    route->to.kind = HW_KIND_OLLAMA;
    views[REDFIN].decode_bytes_s = 900;
    expect_rank(&traits, "redfin bluefin");
    assert_string_equal(why_out(HATCHLING), "kind");
    route->to = (struct hw_conf_selector){.present = true, .device_mask = 1u << HW_DEVICE_MPS};
    expect_rank(&traits, "sasass2");
    assert_string_equal(why_out(CLOUD), "device");
    route->to = (struct hw_conf_selector){.present = true, .role_mask = 1u << ARCHIVE};
    expect_rank(&traits, "cloud sasass2");
    uint64_t mask = 1u << CLOUD | 1u << HATCHLING;
    route->to = (struct hw_conf_selector){.present = true, .backend_mask = &mask};
    views[HATCHLING].decode_bytes_s = 1;
    expect_rank(&traits, "cloud hatchling");
    route->to =
        (struct hw_conf_selector){.present = true, .model = built_text(&built, "qwen2.5:14b", 11)};
    expect_rank(&traits, "bluefin");
    assert_string_equal(out[0].model, "qwen2.5:14b");
}

static void
role_same(void **state)
{
    (void)state;
    struct hw_traits traits = query(LEGAL);
    route->to.role_same = true;
    expect_rank(&traits, "bluefin");
    traits.role = -1;
    expect_rank(&traits, "hatchling");
}

static void
a_model_asked_for_is_had_or_not(void **state)
{
    (void)state;
    struct hw_traits traits = query(-1);
    traits.model = "llama3.1:8b";
    views[REDFIN].decode_bytes_s = 900;
    expect_rank(&traits, "redfin bluefin");
    assert_string_equal(out[0].model, "llama3.1:8b");
    traits.model = "mistral:latest";
    expect_rank(&traits, "redfin");
    assert_string_equal(out[0].model, "mistral");
    views[REDFIN].up = false; /* the general hatchling does not step in */
    expect_rank(&traits, "");
    route->fallback =
        (struct hw_conf_selector){.present = true, .device_mask = 1u << HW_DEVICE_CPU};
    expect_rank(&traits, "hatchling*");
    assert_null(out[0].model);
    traits.model = "cloud";
    route->fallback.present = false;
    expect_rank(&traits, "cloud");
    traits.model = "nobody";
    expect_rank(&traits, "");
}

static void
fallback_comes_behind(void **state)
{
    (void)state;
    struct hw_traits traits = query(TRADING);
    route->to.role_same = true;
    views[REDFIN].decode_bytes_s = 900;
    route->fallback = (struct hw_conf_selector){
        .present = true, .device_mask = 1u << HW_DEVICE_CPU | 1u << HW_DEVICE_CUDA};
    views[HATCHLING].decode_bytes_s = 1e6;
    expect_rank(&traits, "redfin bluefin hatchling* cloud*");
    views[REDFIN].breaker = HW_BREAKER_OPEN;
    views[BLUEFIN].up = false;
    expect_rank(&traits, "hatchling* cloud*");
    assert_string_equal(why_out(REDFIN), "breaker open");
    assert_string_equal(why_out(BLUEFIN), "down");
    assert_string_equal(why_out(SASASS2), "not named");
}

static void
the_full_come_last(void **state)
{
    (void)state;
    struct hw_traits traits = query(TRADING);
    views[REDFIN].decode_bytes_s = 900;
    views[HATCHLING].decode_bytes_s = 1;
    built.backends[REDFIN].max_inflight = 4;
    views[REDFIN].inflight = 4;
    expect_rank(&traits, "bluefin hatchling redfin!");
    built.backends[BLUEFIN].max_inflight = 1;
    views[BLUEFIN].inflight = 1;
    views[HATCHLING].up = false;
    expect_rank(&traits, "redfin! bluefin!");
}

/* To redfin; what it has no room for to bluefin; and the hatchling when both are out. */
static void
overflowing_route(void)
{
    static uint64_t first = 1u << REDFIN, second = 1u << BLUEFIN, third = 1u << HATCHLING;

    route->to = (struct hw_conf_selector){.present = true, .backend_mask = &first};
    route->overflow = (struct hw_conf_selector){.present = true, .backend_mask = &second};
    route->fallback = (struct hw_conf_selector){.present = true, .backend_mask = &third};
}

static void
overflow_takes_what_is_too_much(void **state)
{
    (void)state;
    struct hw_traits traits = query(TRADING);
    overflowing_route();
    built.backends[REDFIN].max_inflight = 2;
    views[REDFIN].inflight = 1;
    expect_rank(&traits, "redfin bluefin+ hatchling*");
    views[REDFIN].inflight = 2;
    expect_rank(&traits, "bluefin+ hatchling* redfin!");
    route->overflow.present = false; /* the fallback takes it */
    expect_rank(&traits, "hatchling* redfin!");
    route->overflow_waits = true; /* nobody does */
    expect_rank(&traits, "redfin! hatchling*");
    views[REDFIN].up = false;
    expect_rank(&traits, "hatchling*");
}

static void
a_long_queue_is_saturation(void **state)
{
    (void)state;
    struct hw_traits traits = query(TRADING);
    overflowing_route();
    route->max_wait = 1000;
    views[REDFIN].ttft_ms = 100;
    views[REDFIN].decode_bytes_s = 1024.0 / 0.3; /* 400 ms a query */
    views[REDFIN].inflight = 2;
    expect_rank(&traits, "redfin bluefin+ hatchling*");
    views[REDFIN].inflight = 3;
    expect_rank(&traits, "bluefin+ hatchling* redfin~");
    views[BLUEFIN].ttft_ms = 2000;
    views[BLUEFIN].inflight = 1;
    views[HATCHLING].ttft_ms = 2000;
    views[HATCHLING].inflight = 1; /* everywhere too long: where the route says */
    expect_rank(&traits, "redfin~ bluefin+~ hatchling*~");
    route->overflow.present = false;
    views[HATCHLING].inflight = 0;
    route->overflow_waits = true;
    expect_rank(&traits, "redfin~ hatchling*");
}

static void
onto_idle_ones_only(void **state)
{
    (void)state;
    struct hw_traits traits = query(TRADING);
    route->to.role_same = true;
    route->to.idle = true;
    built.backends[BLUEFIN].max_inflight = 8;
    views[REDFIN].decode_bytes_s = 900;
    views[REDFIN].inflight = 1;
    expect_rank(&traits, "bluefin redfin!");
    assert_int_equal(out[0].limit, 1);
    views[BLUEFIN].inflight = 1;
    expect_rank(&traits, "bluefin! redfin!");
    route->to.idle = false;
    expect_rank(&traits, "bluefin redfin");
    assert_int_equal(out[0].limit, 8);
}

static void
last_resort_is_last(void **state)
{
    (void)state;
    struct hw_traits traits = query(TRADING);
    route->to.by = HW_BY_LEAST_INFLIGHT;
    route->to.last_mask = 1u << HW_DEVICE_CPU;
    views[REDFIN].decode_bytes_s = 900;
    views[REDFIN].inflight = views[BLUEFIN].inflight = 3;
    built.backends[HATCHLING].quality = 9;
    expect_rank(&traits, "redfin bluefin hatchling");
    built.backends[REDFIN].max_inflight = built.backends[BLUEFIN].max_inflight = 3;
    expect_rank(&traits, "hatchling redfin! bluefin!");
}

/* redfin and bluefin on one GPU, which has two places for the living and one for dreams. */
static void
one_device_for_two(void **state)
{
    static struct hw_conf_share shares[] = {{.lane_mask = 3, .role = -1, .slots = 2},
                                            {.lane_mask = 4, .role = -1, .slots = 1}};
    static struct hw_conf_device gpu = {.max_inflight = 3, .shares = shares, .share_count = 2};
    struct hw_traits traits = query(TRADING);
    struct hw_device_view device = {.inflight = 2, .taken = {2, 0}};
    struct hw_rank_input input = {.snapshot = &built.snapshot,
                                  .route = route,
                                  .traits = &traits,
                                  .views = views,
                                  .devices = &device};

    (void)state;
    built.snapshot.devices = &gpu;
    built.snapshot.device_count = 1;
    built.backends[REDFIN].on = built.backends[BLUEFIN].on = &gpu;
    route->to.role_same = true;
    views[REDFIN].ttft_ms = 200;
    views[REDFIN].decode_bytes_s = 1024; /* 1200 ms a query */
    views[REDFIN].inflight = 2;
    hw_expect_others(&built.snapshot, views);
    assert_float_equal(views[BLUEFIN].others_ms, 800, 1e-6); /* two, three side by side */
    assert_float_equal(views[REDFIN].others_ms, 0, 1e-6);
    assert_float_equal(views[HATCHLING].others_ms, 0, 1e-6);
    double alone = hw_expected_ms(&views[CLOUD], &built.backends[BLUEFIN], &traits, 1024);
    views[CLOUD].others_ms = 800;
    assert_float_equal(hw_expected_ms(&views[CLOUD], &built.backends[BLUEFIN], &traits, 1024),
                       alone + 800, 1e-6);

    traits.lane = HW_LANE_BACKGROUND;
    assert_int_equal(hw_rank(&input, out), 2);
    assert_false(out[0].full || out[1].full);
    traits.lane = HW_LANE_REALTIME;
    assert_int_equal(hw_rank(&input, out), 2);
    assert_true(out[0].full && out[1].full);
    assert_string_equal(out[0].full_why, "device");
    device = (struct hw_device_view){.inflight = 1, .taken = {1, 0}};
    route->to.idle = true;
    hw_rank(&input, out);
    assert_string_equal(out[0].full_why, "idle");
    assert_string_equal(out[1].full_why, "idle");
}

static void
by_priority_and_inflight(void **state)
{
    (void)state;
    struct hw_traits traits = query(TRADING);
    views[REDFIN].decode_bytes_s = 9000;
    built.backends[REDFIN].priority = 2;
    built.backends[BLUEFIN].priority = 1;
    built.backends[HATCHLING].priority = 3;
    route->to.by = HW_BY_PRIORITY;
    expect_rank(&traits, "bluefin redfin hatchling");
    route->to.by = HW_BY_LEAST_INFLIGHT;
    views[REDFIN].inflight = 2;
    views[BLUEFIN].inflight = 1;
    expect_rank(&traits, "hatchling bluefin redfin");
}

static void
context_must_hold_the_prompt(void **state)
{
    (void)state;
    struct hw_traits traits = query(ARCHIVE);
    built.backends[CLOUD].context = 1000;
    views[HATCHLING].up = false;
    traits.prompt_tokens = 900;
    traits.max_tokens = 100;
    expect_rank(&traits, "cloud sasass2");
    traits.max_tokens = 101;
    expect_rank(&traits, "sasass2");
    assert_string_equal(why_out(CLOUD), "context");
    traits.max_tokens = UINT32_MAX;
    traits.prompt_tokens = UINT32_MAX;
    expect_rank(&traits, "sasass2");
}

/* The first way that leads to it decides, with the model that it has there. */
static void
context_by_the_model_that_is_asked_for(void **state)
{
    (void)state;
    struct hw_traits traits = query(TRADING);
    built.backends[REDFIN].context = 1000;
    traits.prompt_bytes = 4 * 600;
    traits.prompt_tokens = 600;
    tokens = hw_tokens_create();
    for (int i = 0; i < 3; i++)
        hw_tokens_learn(tokens, "mistral", 1000, 2000);
    traits.model = "llama3.1:8b";
    expect_rank(&traits, "redfin bluefin");
    traits.model = "mistral";
    expect_rank(&traits, "");
    char why[128];
    for (size_t i = 0; i < built.snapshot.backend_count; i++)
        if (out[i].backend == REDFIN)
            hw_rank_why(&built.snapshot, &traits, &out[i], why, sizeof(why));
    assert_string_equal(why, "the prompt has about 1200 tokens there; its context is 1000");
    hw_tokens_destroy(&tokens);
    expect_rank(&traits, "redfin");
}

static void
many_backends(void **state)
{
    (void)state;
    struct hw_traits traits = query(-1);
    built_init(&built);
    route = built_route(&built, "only");
    for (int i = 0; i < 40; i++) {
        built_backend(&built, "b", HW_KIND_OPENAI, HW_DEVICE_CPU, NULL, NULL);
        views[i] = (struct hw_backend_view){.up = true, .ttft_ms = 100 - i, .decode_bytes_s = 100};
    }
    struct hw_rank_input input = {
        .snapshot = &built.snapshot, .route = route, .traits = &traits, .views = views};
    assert_int_equal(hw_rank(&input, out), 40);
    for (uint32_t i = 0; i < 40; i++)
        assert_int_equal(out[i].backend, 39 - i);
}

static void
names_resolve(void **state)
{
    (void)state;
    const char *resolved;
    int role;
    char name[32];

    assert_int_equal(hw_resolve_model(&built.snapshot, NULL, &role, &resolved), HW_MODEL_AUTO);
    assert_int_equal(hw_resolve_model(&built.snapshot, "", &role, &resolved), HW_MODEL_AUTO);
    assert_int_equal(hw_resolve_model(&built.snapshot, "auto", &role, &resolved), HW_MODEL_AUTO);
    assert_int_equal(hw_resolve_model(&built.snapshot, "legal", &role, &resolved), HW_MODEL_ROLE);
    assert_int_equal(role, LEGAL);
    assert_int_equal(hw_resolve_model(&built.snapshot, "hatchling", &role, &resolved),
                     HW_MODEL_MODEL);
    assert_string_equal(resolved, "hatchling.safetensors");
    assert_int_equal(hw_resolve_model(&built.snapshot, "bdh", &role, &resolved), HW_MODEL_MODEL);
    assert_int_equal(hw_resolve_model(&built.snapshot, "hatch", &role, &resolved),
                     HW_MODEL_UNKNOWN);
    assert_int_equal(hw_resolve_model(&built.snapshot, "sasass2", &role, &resolved),
                     HW_MODEL_BACKEND);
    assert_string_equal(resolved, "sasass2");
    assert_int_equal(hw_resolve_model(&built.snapshot, "gpt-4", &role, &resolved),
                     HW_MODEL_UNKNOWN);
    assert_null(resolved);
    built_alias(&built, "gpt-4", "best");
    built_alias(&built, "best", "qwen2.5:14b");
    built_alias(&built, "any", "auto");
    built_alias(&built, "ring", "gnir");
    built_alias(&built, "gnir", "ring");
    assert_int_equal(hw_resolve_model(&built.snapshot, "gpt-4", &role, &resolved), HW_MODEL_MODEL);
    assert_string_equal(resolved, "qwen2.5:14b");
    assert_int_equal(hw_resolve_model(&built.snapshot, "any", &role, &resolved), HW_MODEL_AUTO);
    assert_int_equal(hw_resolve_model(&built.snapshot, "ring", &role, &resolved), HW_MODEL_UNKNOWN);
    assert_int_equal(hw_backend_model_name(&built.backends[HATCHLING], name, sizeof(name)), 9);
    assert_string_equal(name, "hatchling");
    hw_backend_model_name(&built.backends[SASASS2], name, sizeof(name));
    assert_string_equal(name, "bdh");
    hw_backend_model_name(&built.backends[REDFIN], name, 6);
    assert_string_equal(name, "llama");
}

static void
priors_and_expectation(void **state)
{
    (void)state;
    struct hw_backend_view view = {0};
    struct hw_traits traits = query(-1);
    hw_rank_prior(&built.backends[SASASS2], &view);
    assert_true(view.decode_bytes_s > 56 && view.decode_bytes_s < 58);
    hw_rank_prior(&built.backends[REDFIN], &view);
    assert_true(view.decode_bytes_s > 799 && view.decode_bytes_s < 801);
    hw_rank_prior(&built.backends[CLOUD], &view);
    assert_true(view.decode_bytes_s > 91 && view.decode_bytes_s < 92);
    view =
        (struct hw_backend_view){.ttft_ms = 100, .prefill_bytes_s = 1000, .decode_bytes_s = 1024};
    traits.prompt_bytes = 500;
    double idle = hw_expected_ms(&view, &built.backends[REDFIN], &traits, 1024);
    assert_true(idle > 1599 && idle < 1601);
    traits.max_tokens = 64; /* 256 bytes */
    double brief = hw_expected_ms(&view, &built.backends[REDFIN], &traits, 1024);
    assert_true(brief > 849 && brief < 851);
    view.inflight = 2;
    double queued = hw_expected_ms(&view, &built.backends[REDFIN], &traits, 1024);
    assert_true(queued > 3049 && queued < 3051);
    view = (struct hw_backend_view){0}; /* nothing known: large, not infinite */
    traits.prompt_bytes = UINT64_MAX;
    assert_true(hw_expected_ms(&view, &built.backends[REDFIN], &traits, 1024) < 1e30);
}

/* Four at a time: what is beside it costs a little, what fills it costs turns. */
static void
room_and_turns(void **state)
{
    (void)state;
    struct hw_conf_backend *backend = &built.backends[REDFIN];
    struct hw_backend_view view = {.ttft_ms = 100,
                                   .prefill_bytes_s = 1e9,
                                   .decode_bytes_s = 1000,
                                   .service_ms = 400,
                                   .answer_bytes = 290};
    struct hw_traits traits = query(-1);
    struct hw_expected parts;

    backend->max_inflight = 4;
    view.inflight = 3;
    hw_expect(&view, backend, &traits, 300, &parts);
    assert_in_range(parts.queue_ms, 74, 76);
    assert_in_range(parts.decode_ms, 299, 301); /* as long as everybody's */
    view.inflight = 4;
    hw_expect(&view, backend, &traits, 300, &parts);
    assert_in_range(parts.queue_ms, 99, 101);
    view.waiting = 3;
    view.answer_bytes = 100; /* plainly shorter than everybody's */
    hw_expect(&view, backend, &traits, 300, &parts);
    assert_in_range(parts.queue_ms, 399, 401);
    assert_in_range(parts.decode_ms, 99, 101);
    view.service_ms = 0; /* it has taught nothing yet */
    hw_expect(&view, backend, &traits, 300, &parts);
    assert_in_range(parts.queue_ms, 399, 401);
}

static void
taught(uint32_t backend, double ms, uint32_t max_inflight, uint32_t inflight)
{
    built.backends[backend].general = true;
    built.backends[backend].max_inflight = max_inflight;
    views[backend].ttft_ms = 0;
    views[backend].decode_bytes_s = 1e6 / ms;
    views[backend].service_ms = ms;
    views[backend].answer_bytes = 1000;
    views[backend].inflight = inflight;
}

/* A fast one that will have room soon, beside a slow one that has. */
static void
worth_waiting_for(void **state)
{
    (void)state;
    struct hw_traits traits = query(-1);

    built.snapshot.backend_count = SASASS2 + 1;
    views[HATCHLING].up = false;
    taught(REDFIN, 200, 4, 4);
    taught(BLUEFIN, 200, 4, 4);
    taught(SASASS2, 2000, 1, 0);
    expect_rank(&traits, "redfin! bluefin! sasass2");
    assert_true(out[0].wait && out[1].wait && !out[2].wait);
    views[REDFIN].waiting = views[BLUEFIN].waiting = 40; /* as long as sasass2 takes, or longer */
    expect_rank(&traits, "sasass2 redfin! bluefin!");
    assert_false(out[1].wait || out[2].wait);
    views[REDFIN].waiting = views[BLUEFIN].waiting = 0;
    views[BLUEFIN].inflight = 3; /* as fast, and it has room */
    expect_rank(&traits, "bluefin sasass2 redfin!");
    assert_false(out[2].wait);
    views[BLUEFIN].inflight = 4;
    views[SASASS2].inflight = 1; /* all are full: not for the slow one */
    expect_rank(&traits, "redfin! bluefin! sasass2!");
    assert_true(out[0].wait && out[1].wait && !out[2].wait);
}

static void
the_policy_stands_over_waiting(void **state)
{
    (void)state;
    struct hw_traits traits = query(-1);

    built.snapshot.backend_count = SASASS2 + 1;
    views[HATCHLING].up = false;
    views[BLUEFIN].up = false;
    taught(REDFIN, 200, 4, 4);
    taught(SASASS2, 2000, 1, 0);
    built.backends[REDFIN].quality = -1; /* not for the sake of one that is asked last */
    expect_rank(&traits, "sasass2 redfin!");
    built.backends[REDFIN].quality = 1;
    expect_rank(&traits, "redfin! sasass2");
    route->to.by = HW_BY_LEAST_INFLIGHT;
    expect_rank(&traits, "sasass2 redfin!");
    assert_false(out[1].wait);
}

/* --- by: who of two traders, redfin or bluefin, is first, over many throws of the dice --- */

static size_t
firsts_of(uint32_t backend, enum hw_by by, size_t throws)
{
    struct hw_traits traits = query(TRADING);
    struct hw_rank_input input = {
        .snapshot = &built.snapshot, .route = route, .traits = &traits, .views = views};
    size_t found = 0;

    route->to = (struct hw_conf_selector){.present = true, .role_same = true, .by = by};
    for (size_t i = 1; i <= throws; i++) {
        input.dice = by == HW_BY_AFFINITY ? 0 : i * 0x9e3779b97f4a7c15u;
        input.conversation = by == HW_BY_AFFINITY ? i : 0;
        hw_rank(&input, out);
        found += out[0].backend == backend;
    }
    return found;
}

static void
weighted(void **state)
{
    (void)state;
    struct hw_traits traits = query(TRADING);
    built.backends[REDFIN].weight = 95;
    built.backends[BLUEFIN].weight = 5;
    size_t canary = firsts_of(BLUEFIN, HW_BY_WEIGHTED, 20000);
    assert_in_range(canary, 900, 1100); /* 5 %, give or take three sigma */
    built.backends[BLUEFIN].weight = 0;
    assert_int_equal(firsts_of(BLUEFIN, HW_BY_WEIGHTED, 1000), 0);
    views[REDFIN].up = false; /* weight 0 is better than nobody */
    assert_int_equal(firsts_of(BLUEFIN, HW_BY_WEIGHTED, 10), 10);
    views[REDFIN].up = true;
    expect_rank(&traits, "redfin bluefin"); /* no dice: the heaviest */
}

static uint32_t
home_of(uint64_t of)
{
    struct hw_traits traits = query(TRADING);
    struct hw_rank_input input = {.snapshot = &built.snapshot,
                                  .route = route,
                                  .traits = &traits,
                                  .views = views,
                                  .conversation = of};

    hw_rank(&input, out);
    return out[0].backend;
}

static void
affinity(void **state)
{
    (void)state;
    size_t moved = 0;
    assert_in_range(firsts_of(REDFIN, HW_BY_AFFINITY, 4000), 1850, 2150);
    for (uint64_t i = 1; i <= 100; i++) {
        views[REDFIN].inflight = views[BLUEFIN].inflight = 0;
        uint32_t home = home_of(i), other = home == REDFIN ? BLUEFIN : REDFIN;
        assert_int_equal(home_of(i), home);
        views[home].inflight = 3; /* of 3 + 3: its share, and room in it for one more */
        views[other].inflight = 3;
        assert_int_equal(home_of(i), home);
        views[home].inflight = 6; /* of 6 + 1: far over its share */
        views[other].inflight = 1;
        moved += home_of(i) == other;
        views[home].inflight = views[other].inflight = 0;
        views[other].up = false; /* the other one's leaving moves nothing */
        assert_int_equal(home_of(i), home);
        views[other].up = true;
    }
    assert_int_equal(moved, 100);
}

static void
cost_and_energy(void **state)
{
    (void)state;
    struct hw_traits traits = query(TRADING);
    route->to = (struct hw_conf_selector){.present = true, .by = HW_BY_COST};
    built.backends[REDFIN].cost = 0.6;
    built.backends[BLUEFIN].cost = 0.15;
    built.backends[HATCHLING].cost = 9;
    views[BLUEFIN].decode_bytes_s = 10;
    expect_rank(&traits, "bluefin redfin hatchling");
    route->to.by = HW_BY_ENERGY;
    built.snapshot.watts[HW_DEVICE_CPU] = 65;
    built.snapshot.watts[HW_DEVICE_CUDA] = 250;
    views[REDFIN].decode_bytes_s = 800;
    views[BLUEFIN].decode_bytes_s = 700;
    views[HATCHLING].decode_bytes_s = 400; /* half as fast at a quarter of the watts */
    expect_rank(&traits, "hatchling redfin bluefin");
    views[HATCHLING].decode_bytes_s = 100;
    expect_rank(&traits, "redfin bluefin hatchling");
}

/* bluefin was slow, and nobody has asked it since. */
static void
exploring(void **state)
{
    (void)state;
    views[REDFIN].decode_bytes_s = 800;
    views[BLUEFIN].decode_bytes_s = 20;
    views[BLUEFIN].silent_ms = 9000;
    assert_int_equal(firsts_of(BLUEFIN, HW_BY_LATENCY, 2000), 0);
    views[BLUEFIN].silent_ms = 20000;
    assert_in_range(firsts_of(BLUEFIN, HW_BY_LATENCY, 1600), 60, 140);
    views[BLUEFIN].inflight = 1; /* one at a time */
    assert_int_equal(firsts_of(BLUEFIN, HW_BY_LATENCY, 1000), 0);
    views[BLUEFIN].inflight = 0;
    built.backends[BLUEFIN].quality = -1; /* out of its tier nobody is explored */
    assert_int_equal(firsts_of(BLUEFIN, HW_BY_LATENCY, 1000), 0);
    built.backends[BLUEFIN].quality = 0;
    built.backends[BLUEFIN].device = HW_DEVICE_CPU; /* slow by nature, not by accident */
    assert_int_equal(firsts_of(BLUEFIN, HW_BY_LATENCY, 1000), 0);
}

/* redfin has just come back: its share of the queries grows with the time. */
static void
slow_start(void **state)
{
    (void)state;
    struct hw_traits traits = query(TRADING);
    views[REDFIN].decode_bytes_s = 900;
    built.snapshot.breaker.slow_start = 30000;
    assert_float_equal(hw_slow_start(&built.snapshot, &views[REDFIN]), 1, 0);
    views[REDFIN].recovered_ms = 1;
    assert_float_equal(hw_slow_start(&built.snapshot, &views[REDFIN]), 0.1, 0);
    assert_in_range(firsts_of(REDFIN, HW_BY_PRIORITY, 4000), 320, 480);
    views[REDFIN].recovered_ms = 15000;
    assert_in_range(firsts_of(REDFIN, HW_BY_PRIORITY, 4000), 1850, 2150);
    views[REDFIN].recovered_ms = 30000;
    assert_int_equal(firsts_of(REDFIN, HW_BY_PRIORITY, 400), 400);
    views[REDFIN].recovered_ms = 1;
    views[BLUEFIN].up = false; /* alone it gets all; the fallback is for the day it cannot */
    route->fallback = (struct hw_conf_selector){.present = true};
    assert_int_equal(firsts_of(REDFIN, HW_BY_PRIORITY, 400), 400);
    views[BLUEFIN].up = true;
    expect_rank(&traits, "redfin bluefin hatchling*"); /* no dice: no chance is taken */
}

static void
late_is_better_than_nobody(void **state)
{
    (void)state;
    struct hw_traits traits = query(TRADING);
    route->to.role_same = true;
    views[REDFIN].breaker = views[BLUEFIN].breaker = HW_BREAKER_OPEN;
    views[REDFIN].late = true;
    expect_rank(&traits, "redfin");
    assert_string_equal(why_out(BLUEFIN), "breaker open");
    route->fallback =
        (struct hw_conf_selector){.present = true, .device_mask = 1u << HW_DEVICE_CPU};
    expect_rank(&traits, "hatchling*");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(eligible_then_fast, setup),
        cmocka_unit_test_setup(quality_before_speed, setup),
        cmocka_unit_test_setup(selectors_filter_and_name, setup),
        cmocka_unit_test_setup(role_same, setup),
        cmocka_unit_test_setup(a_model_asked_for_is_had_or_not, setup),
        cmocka_unit_test_setup(fallback_comes_behind, setup),
        cmocka_unit_test_setup(the_full_come_last, setup),
        cmocka_unit_test_setup(overflow_takes_what_is_too_much, setup),
        cmocka_unit_test_setup(a_long_queue_is_saturation, setup),
        cmocka_unit_test_setup(onto_idle_ones_only, setup),
        cmocka_unit_test_setup(last_resort_is_last, setup),
        cmocka_unit_test_setup(one_device_for_two, setup),
        cmocka_unit_test_setup(by_priority_and_inflight, setup),
        cmocka_unit_test_setup(context_must_hold_the_prompt, setup),
        cmocka_unit_test_setup(context_by_the_model_that_is_asked_for, setup),
        cmocka_unit_test_setup(many_backends, setup),
        cmocka_unit_test_setup(names_resolve, setup),
        cmocka_unit_test_setup(priors_and_expectation, setup),
        cmocka_unit_test_setup(room_and_turns, setup),
        cmocka_unit_test_setup(worth_waiting_for, setup),
        cmocka_unit_test_setup(the_policy_stands_over_waiting, setup),
        cmocka_unit_test_setup(weighted, setup),
        cmocka_unit_test_setup(affinity, setup),
        cmocka_unit_test_setup(cost_and_energy, setup),
        cmocka_unit_test_setup(exploring, setup),
        cmocka_unit_test_setup(slow_start, setup),
        cmocka_unit_test_setup(late_is_better_than_nobody, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
