/* What backends were found to have: names, digests, what is loaded; and what ranking makes of it.
 */
#include "policies/snapshot_builder.h"

#include <stdio.h>

#include "policies/found.h"

static struct hw_found *
found_of(const char *const *names, size_t count)
{
    struct hw_found *found = hw_found_create(count);

    for (size_t i = 0; i < count; i++)
        snprintf(found->models[i].name, sizeof(found->models[i].name), "%s", names[i]);
    return found;
}

static void
names(void **state)
{
    static const struct {
        const char *a, *b;
        bool same;
    } cases[] = {
        {"llama3.1:8b", "llama3.1:8b", true},
        {"llama3.1:8b", "Llama3.1:8B", true},
        {"llama3.1", "llama3.1:latest", true},
        {"LLAMA3.1:LATEST", "llama3.1", true},
        {"llama3.1", "llama3.1:8b", false},
        {"llama3.1:8b", "llama3.1:latest", false},
        {"llama3", "llama3.1", false},
        {":latest", "", false},
        {"", "", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(hw_same_model_name(cases[i].a, cases[i].b), cases[i].same);
        assert_int_equal(hw_same_model_name(cases[i].b, cases[i].a), cases[i].same);
    }
}

static void
the_same_spelling_first(void **state)
{
    static const char *const list[] = {"QWEN:7b", "qwen:7b", "nomic-embed-text:latest"};
    struct hw_found *found = found_of(list, 3);

    (void)state;
    assert_string_equal(hw_found_by_name(found, "qwen:7b")->name, "qwen:7b");
    assert_string_equal(hw_found_by_name(found, "Qwen:7b")->name, "QWEN:7b");
    assert_null(hw_found_by_name(found, "qwen"));
    assert_null(hw_found_by_name(NULL, "qwen"));
    assert_null(hw_found_by_digest(found, "")); /* none is known of any */
    assert_string_equal(hw_found_first(found, false)->name, "QWEN:7b");
    assert_string_equal(hw_found_first(found, true)->name, "nomic-embed-text:latest");
    found->models[1].loaded = true;
    assert_string_equal(hw_found_first(found, false)->name, "qwen:7b");
    assert_null(hw_found_first(NULL, false));
    hw_found_unref(found);
}

static void
loading_takes_time(void **state)
{
    static const char *const list[] = {"m"};
    struct hw_found *found = found_of(list, 1);

    (void)state;
    found->models[0].size = 4000000000u;
    assert_true(hw_found_load_ms(found, &found->models[0]) == 0); /* nobody told what is loaded */
    found->loaded_known = true;
    assert_true(hw_found_load_ms(found, &found->models[0]) == 5000);
    found->models[0].loaded = true;
    assert_true(hw_found_load_ms(found, &found->models[0]) == 0);
    assert_true(hw_found_load_ms(NULL, NULL) == 0);
    hw_found_unref(found);
}

static void
the_identity_is_of_names_and_digests(void **state)
{
    static const char *const list[] = {"a", "b"};
    struct hw_found *one = found_of(list, 2), *other = found_of(list, 2);

    (void)state;
    other->models[0].loaded = true;
    assert_true(hw_found_identity(one) == hw_found_identity(other));
    snprintf(other->models[0].digest, sizeof(other->models[0].digest), "d");
    assert_true(hw_found_identity(one) != hw_found_identity(other));
    hw_found_unref(one);
    hw_found_unref(other);
}

/* ---- ranking ---- */

static struct built built;
static struct hw_backend_view views[MAX_BUILT];
static struct hw_candidate out[MAX_BUILT];

enum { WARM, COLD, LISTED };

static void
set_up_fleet(void)
{
    static const char *const both[] = {"llama3.1:8b", "qwen:7b"};

    built_init(&built);
    built_backend(&built, "warm", HW_KIND_OLLAMA, HW_DEVICE_CPU, NULL, NULL);
    built_backend(&built, "cold", HW_KIND_OLLAMA, HW_DEVICE_CUDA, NULL, NULL);
    built_backend(&built, "listed", HW_KIND_OLLAMA, HW_DEVICE_CUDA, "mistral", NULL);
    built_route(&built, "only");
    memset(views, 0, sizeof(views));
    for (size_t i = 0; i < 3; i++) {
        built.backends[i].general = false;
        views[i].up = true;
        views[i].ttft_ms = 100;
        views[i].prefill_bytes_s = views[i].decode_bytes_s = 1000;
        views[i].found = found_of(both, 2);
        views[i].found->loaded_known = true;
    }
    views[WARM].found->models[0].loaded = true;
    views[COLD].decode_bytes_s = 2000; /* faster, but its model has to be loaded */
}

static void
tear_down_fleet(void)
{
    for (size_t i = 0; i < 3; i++)
        hw_found_unref(views[i].found);
}

static size_t
rank(const char *model)
{
    struct hw_traits traits = {
        .dialect = "openai", .model = model, .text = "", .role = -1, .lane = HW_LANE_INTERACTIVE};
    struct hw_rank_input input = {
        .snapshot = &built.snapshot, .route = &built.routes[0], .traits = &traits, .views = views};
    return hw_rank(&input, out);
}

static void
who_has_it_loaded_goes_first(void **state)
{
    (void)state;
    set_up_fleet();
    assert_int_equal(rank("Llama3.1:8B"), 2); /* not the one whose models are listed */
    assert_int_equal(out[0].backend, WARM);
    assert_string_equal(out[0].model, "llama3.1:8b");
    assert_true(out[0].load_ms == 0 && out[1].load_ms > 1000);
    assert_int_equal(out[2].out, HW_OUT_NOT_NAMED);
    assert_int_equal(rank("qwen:7b"), 2); /* loaded nowhere: the faster one */
    assert_int_equal(out[0].backend, COLD);
    tear_down_fleet();
}

static void
the_same_digest_is_the_same_model(void **state)
{
    (void)state;
    set_up_fleet();
    snprintf(views[WARM].found->models[0].digest, 80, "abc");
    snprintf(views[COLD].found->models[0].name, 80, "llama3.1:latest");
    assert_int_equal(rank("llama3.1:8b"), 1);
    snprintf(views[COLD].found->models[0].digest, 80, "abc");
    assert_int_equal(rank("llama3.1:8b"), 2);
    assert_string_equal(out[1].model, "llama3.1:latest"); /* in its own words */
    tear_down_fleet();
}

static void
who_names_none_gets_one(void **state)
{
    (void)state;
    set_up_fleet();
    built.backends[WARM].general = built.backends[LISTED].general = true;
    views[WARM].found->models[0].loaded = false;
    views[WARM].found->models[1].loaded = true;
    assert_int_equal(rank("auto"), 2);
    assert_string_equal(out[0].model, "qwen:7b");
    assert_null(out[1].model); /* the first that is listed */
    assert_int_equal(rank("nobody"), 0);
    tear_down_fleet();
}

static void
an_alias_may_lead_to_a_found_model(void **state)
{
    (void)state;
    set_up_fleet();
    built.aliases[0] = (struct hw_conf_alias){"fast", "llama3.1:8b"};
    built.snapshot.alias_count = 1;
    assert_int_equal(rank("fast"), 2);
    assert_string_equal(out[0].model, "llama3.1:8b");
    tear_down_fleet();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(the_same_spelling_first),
        cmocka_unit_test(loading_takes_time),
        cmocka_unit_test(the_identity_is_of_names_and_digests),
        cmocka_unit_test(who_has_it_loaded_goes_first),
        cmocka_unit_test(the_same_digest_is_the_same_model),
        cmocka_unit_test(who_names_none_gets_one),
        cmocka_unit_test(an_alias_may_lead_to_a_found_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
