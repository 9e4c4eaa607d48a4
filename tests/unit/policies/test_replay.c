/* What is known of a query that a log tells of without its text, and what must not be guessed. */
#include "policies/snapshot_builder.h"

#include <stdio.h>
#include <stdlib.h>

#include "policies/digest.h"
#include "policies/features.h"
#include "policies/replay.h"
#include "policies/route.h"

static struct built built;
static char *trading_examples[] = {"is the spread on gold widening", "sell the oil futures now",
                                   "what did bonds do overnight", "shares fell after earnings",
                                   "how risky is our position"};
static char *garden_examples[] = {"when do I prune the roses", "which soil do tomatoes like",
                                  "water the lawn in the evening", "plant tulips before frost",
                                  "snails eat my lettuce"};

static int
setup(void **state)
{
    (void)state;
    built_init(&built);
    built_role(&built, "trading", "market, hedge");
    built_role(&built, "garden", "");
    built.roles[0].examples = (struct hw_conf_list){trading_examples, 5};
    built.roles[1].examples = (struct hw_conf_list){garden_examples, 5};
    built.snapshot.classifier.learned = true;
    built.snapshot.classifier.abstain = 0.02;
    built_route(&built, "first");
    built_route(&built, "default");
    return 0;
}

static void
test_digests_tell_what_decides_roles(void **state)
{
    (void)state;
    uint64_t keywords = hw_keywords_digest(&built.snapshot);
    uint64_t learned = hw_learned_digest(&built.snapshot);

    assert_true(keywords != 0 && learned != 0);
    assert_true(keywords == hw_keywords_digest(&built.snapshot));
    built.snapshot.route_count = 1; /* routes decide no role */
    assert_true(learned == hw_learned_digest(&built.snapshot));
    built.roles[1].description = (char *)(uintptr_t) "plants";
    assert_true(keywords == hw_keywords_digest(&built.snapshot));
    assert_true(learned != hw_learned_digest(&built.snapshot));
    built.roles[1].keywords = built_list(&built, "rose");
    assert_true(keywords != hw_keywords_digest(&built.snapshot));
    built.snapshot.classifier.learned = false;
    assert_true(hw_learned_digest(&built.snapshot) == 0);
    built.roles[0].keywords.count = built.roles[1].keywords.count = 0;
    assert_true(hw_keywords_digest(&built.snapshot) == 0);
}

/* --- roles --- */

static struct hw_traits
classified(const struct hw_told *told, int asked_role)
{
    struct hw_classifier *classifier = NULL;
    struct hw_replay_policy policy;
    struct hw_traits traits = traits_of("");

    assert_int_equal(hw_classifier_create(&built.snapshot, &classifier, NULL), 0);
    hw_replay_policy_init(&policy, &built.snapshot, classifier);
    traits.text = NULL;
    traits.unknown = HW_UNKNOWN_TEXT;
    traits.asked_role = asked_role;
    hw_replay_classify(&policy, told, &traits);
    hw_classifier_destroy(&classifier);
    return traits;
}

static struct hw_told
told_by(enum hw_role_source source, const char *role)
{
    return (struct hw_told){.role = role,
                            .source = source,
                            .confidence = 0.7f,
                            .keywords_digest = hw_keywords_digest(&built.snapshot),
                            .learned_digest = hw_learned_digest(&built.snapshot)};
}

static void
test_a_role_is_kept_while_what_found_it_is_the_same(void **state)
{
    (void)state;
    struct hw_told told = told_by(HW_ROLE_BY_KEYWORD, "trading");
    struct hw_traits traits = classified(&told, -1);
    assert_int_equal(traits.role, 0);
    assert_int_equal(traits.role_source, HW_ROLE_BY_KEYWORD);
    assert_int_equal(traits.unknown, HW_UNKNOWN_TEXT);

    told.learned_digest++; /* a keyword decides before anything that was learned */
    assert_int_equal(classified(&told, -1).role, 0);
    told.keywords_digest++;
    assert_int_equal(classified(&told, -1).unknown, HW_UNKNOWN_TEXT | HW_UNKNOWN_ROLE);
    assert_int_equal(classified(&told, 1).role, 1); /* asked for: no text is needed */
    assert_int_equal(classified(&told, 1).unknown, HW_UNKNOWN_TEXT);

    told = told_by(HW_ROLE_BY_LEARNED, "garden");
    assert_int_equal(classified(&told, -1).role, 1);
    told.learned_digest++;
    assert_int_equal(classified(&told, -1).unknown, HW_UNKNOWN_TEXT | HW_UNKNOWN_ROLE);

    told = told_by(HW_ROLE_NONE, NULL);
    traits = classified(&told, -1);
    assert_int_equal(traits.role, -1);
    assert_int_equal(traits.unknown, HW_UNKNOWN_TEXT);

    told = told_by(HW_ROLE_BY_HEADER, "garden"); /* nobody looked at its words */
    assert_int_equal(classified(&told, -1).unknown, HW_UNKNOWN_TEXT | HW_UNKNOWN_ROLE);

    told = told_by(HW_ROLE_NONE, NULL); /* a policy without roles knows: none */
    told.keywords_digest = told.learned_digest = 77;
    built.snapshot.role_count = 0;
    traits = classified(&told, -1);
    assert_int_equal(traits.role, -1);
    assert_int_equal(traits.unknown, HW_UNKNOWN_TEXT);
}

static int
compare_buckets(const void *a, const void *b)
{
    return (int)*(const uint16_t *)a - (int)*(const uint16_t *)b;
}

static void
test_features_are_enough_to_classify_by_learning(void **state)
{
    static const char *const texts[] = {"is silver falling, and our position risky",
                                        "do roses like soil with lettuce", "zzz", ""};
    uint16_t buckets[HW_FEATURES_MAX];
    (void)state;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct hw_classifier *classifier = NULL;
        struct hw_told told = told_by(HW_ROLE_NONE, NULL);
        struct hw_traits whole = traits_of(texts[i]);
        told.learned_digest++; /* the log's policy knew other examples */
        told.features = buckets;
        assert_int_equal(hw_classifier_create(&built.snapshot, &classifier, NULL), 0);
        told.feature_count = hw_classify_features(classifier, texts[i], strlen(texts[i]), buckets);
        qsort(buckets, told.feature_count, sizeof(buckets[0]), compare_buckets);
        hw_classify(classifier, &whole);
        hw_classifier_destroy(&classifier);

        struct hw_traits traits = classified(&told, -1);
        assert_int_equal(traits.unknown, HW_UNKNOWN_TEXT);
        assert_int_equal(traits.role, whole.role);
        assert_true(traits.confidence == whole.confidence);
    }
}

/* --- routes --- */

static const char *
header_of(void *ctx, const char *name, size_t *len)
{
    (void)ctx;
    *len = 4;
    return strcmp(name, "x-known") == 0 ? "desk" : hw_header_unknown;
}

static int
match(const struct hw_conf_when *when, uint32_t unknown, uint32_t *missing)
{
    struct hw_traits traits = traits_of("a market question");
    traits.unknown = unknown;
    traits.header = header_of;
    built.routes[0].when = *when;
    built.routes[0].when.present = true;
    return hw_route_match_known(&built.snapshot, &traits, missing);
}

static void
expect(const struct hw_conf_when *when, uint32_t unknown, int route, uint32_t wanted)
{
    uint32_t missing = 99;
    assert_int_equal(match(when, unknown, &missing), route);
    assert_int_equal(missing, wanted);
}

static void
test_routes_that_hang_on_what_is_unknown(void **state)
{
    (void)state;
    struct hw_conf_when word = {.present = true, .keyword = built_list(&built, "market")};
    struct hw_conf_when other = {.present = true, .keyword = built_list(&built, "hedge")};
    struct hw_conf_when lane = {.present = true, .lane_mask = 1u << HW_LANE_BACKGROUND};
    struct hw_conf_when short_ones = {.present = true,
                                      .prompt_tokens = {.present = true, .max = 100}};
    struct hw_conf_when role = {.role_mask = 1};
    struct hw_conf_when agent = {.agent = built_list(&built, "ann")};
    struct hw_conf_header known = {(char *)(uintptr_t) "x-known", built_list(&built, "desk")};
    struct hw_conf_header gone = {(char *)(uintptr_t) "x-gone", built_list(&built, "desk")};

    expect(&word, 0, 0, 0);
    expect(&other, 0, 1, 0);
    expect(&word, HW_UNKNOWN_TEXT, HW_ROUTE_UNKNOWN, HW_UNKNOWN_TEXT);
    expect(&role, HW_UNKNOWN_TEXT | HW_UNKNOWN_ROLE, HW_ROUTE_UNKNOWN, HW_UNKNOWN_ROLE);
    expect(&role, HW_UNKNOWN_TEXT, 1, 0);
    expect(&agent, HW_UNKNOWN_AGENT, HW_ROUTE_UNKNOWN, HW_UNKNOWN_AGENT);
    expect(&lane, ~0u, 1, 0);
    expect(&(struct hw_conf_when){.header = &known, .header_count = 1}, 0, 0, 0);
    expect(&(struct hw_conf_when){.header = &gone, .header_count = 1}, 0, HW_ROUTE_UNKNOWN,
           HW_UNKNOWN_HEADER);

    /* What is known may be enough: another condition fails, or an alternative holds. */
    struct hw_conf_when both = word;
    both.lane_mask = lane.lane_mask;
    expect(&both, HW_UNKNOWN_TEXT, 1, 0);
    struct hw_conf_when two[] = {word, short_ones};
    expect(&(struct hw_conf_when){.any = two, .any_count = 2}, HW_UNKNOWN_TEXT, 0, 0);
    expect(&(struct hw_conf_when){.all = two, .all_count = 2}, HW_UNKNOWN_TEXT, HW_ROUTE_UNKNOWN,
           HW_UNKNOWN_TEXT);
    expect(&(struct hw_conf_when){.none = two, .none_count = 2}, HW_UNKNOWN_TEXT, 1, 0);
    struct hw_conf_when never[] = {word, lane};
    expect(&(struct hw_conf_when){.none = never, .none_count = 2}, HW_UNKNOWN_TEXT,
           HW_ROUTE_UNKNOWN, HW_UNKNOWN_TEXT);
    struct hw_conf_when not_word = {.present = true, .none = &word, .none_count = 1};
    expect(&(struct hw_conf_when){.none = &not_word, .none_count = 1}, HW_UNKNOWN_TEXT,
           HW_ROUTE_UNKNOWN, HW_UNKNOWN_TEXT);
    expect(&(struct hw_conf_when){.none = &not_word, .none_count = 1}, 0, 0, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_digests_tell_what_decides_roles, setup),
        cmocka_unit_test_setup(test_a_role_is_kept_while_what_found_it_is_the_same, setup),
        cmocka_unit_test_setup(test_features_are_enough_to_classify_by_learning, setup),
        cmocka_unit_test_setup(test_routes_that_hang_on_what_is_unknown, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
