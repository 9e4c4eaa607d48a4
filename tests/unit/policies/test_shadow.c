/* Whether a query is copied, and who may be sent the copy. */
#include "policies/shadow.h"

#include "policies/snapshot_builder.h"

enum { LIVE, NEW, CPU };

static struct built built;
static struct hw_backend_view views[MAX_BUILT];
static struct hw_candidate out[MAX_BUILT];
static struct hw_conf_route *route;

static int
setup(void **state)
{
    (void)state;
    built_init(&built);
    built_role(&built, "trading", "");
    built_backend(&built, "live", HW_KIND_OPENAI, HW_DEVICE_CUDA, "small", NULL);
    built_backend(&built, "new", HW_KIND_OLLAMA, HW_DEVICE_CUDA, "llama", "trading");
    built_backend(&built, "cpu", HW_KIND_BDH, HW_DEVICE_CPU, NULL, "trading");
    built.backends[NEW].quality = 1;
    route = built_route(&built, "only");
    route->shadow.to = (struct hw_conf_selector){.present = true, .role_mask = 1};
    memset(views, 0, sizeof(views));
    for (size_t i = 0; i < built.snapshot.backend_count; i++) {
        views[i].up = true;
        hw_rank_prior(&built.backends[i], &views[i]);
    }
    return 0;
}

static size_t
rank(const char *model, uint32_t asked)
{
    struct hw_traits traits = traits_of("a query");
    struct hw_rank_input input = {
        .snapshot = &built.snapshot, .route = route, .traits = &traits, .views = views};

    traits.model = model;
    return hw_shadow_rank(&input, asked, out);
}

static enum hw_exclusion
why_out(uint32_t backend)
{
    for (size_t i = 0; i < built.snapshot.backend_count; i++)
        if (out[i].backend == backend)
            return out[i].out;
    fail();
    return HW_CANDIDATE;
}

static void
by_the_shadows_own_selector(void **state)
{
    (void)state;
    route->to.backend_mask = &(uint64_t){1};
    assert_int_equal(rank(NULL, LIVE), 2);
    assert_int_equal(out[0].backend, NEW);
    assert_int_equal(out[1].backend, CPU);
    assert_int_equal(why_out(LIVE), HW_OUT_NOT_NAMED);
    route->shadow.to.has_kind = true;
    route->shadow.to.kind = HW_KIND_BDH;
    assert_int_equal(rank(NULL, LIVE), 1);
    assert_int_equal(out[0].backend, CPU);
}

static void
another_model_may_answer(void **state)
{
    (void)state;
    assert_int_equal(rank("small", LIVE), 2);
    assert_null(out[0].model);
    route->shadow.to.model = built_text(&built, "llama", 5);
    assert_int_equal(rank("small", LIVE), 1);
    assert_string_equal(out[0].model, "llama");
}

static void
never_where_the_query_goes_nor_for_a_trial(void **state)
{
    (void)state;
    assert_int_equal(rank(NULL, NEW), 1);
    assert_int_equal(out[0].backend, CPU);
    assert_int_equal(why_out(NEW), HW_OUT_ASKED);
    views[CPU].breaker = HW_BREAKER_HALF_OPEN;
    assert_int_equal(rank(NULL, NEW), 0);
    assert_int_equal(why_out(CPU), HW_OUT_BREAKER);
    views[NEW].up = false;
    assert_int_equal(rank(NULL, LIVE), 0);
    assert_int_equal(why_out(NEW), HW_OUT_DOWN);
}

static void
a_share(void **state)
{
    const struct hw_conf_shadow all = {.share = 1}, none = {.share = 0}, some = {.share = 0.25};
    int chosen = 0;

    (void)state;
    assert_true(hw_shadow_chosen(&all, UINT64_MAX));
    assert_false(hw_shadow_chosen(&none, 0));
    for (uint64_t i = 0; i < 1000; i++)
        chosen += hw_shadow_chosen(&some, i * (UINT64_MAX / 1000));
    assert_in_range(chosen, 249, 251);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(by_the_shadows_own_selector, setup),
        cmocka_unit_test_setup(another_model_may_answer, setup),
        cmocka_unit_test_setup(never_where_the_query_goes_nor_for_a_trial, setup),
        cmocka_unit_test_setup(a_share, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
