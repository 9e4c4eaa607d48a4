/* policies/classify.c - a query's role: asked for, or by keywords, or learned; and its difficulty.
 *
 * Keywords decide alone where there are any (keywords.c): they are what the policy's author said. A
 * text without them is handed to the learned classifier. */
#include "policies/classify.h"

#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"
#include "policies/classify_private.h"
#include "policies/features.h"
#include "policies/learn_roles.h"
#include "policies/rank.h"

/* Role names and the aliases that end at one, to tell a role asked by `model` from one by header.
 */
static void
compile_names(struct hw_classifier *classifier, const struct hw_snapshot *snapshot)
{
    size_t max = snapshot->role_count + snapshot->alias_count;

    classifier->names = hw_xcalloc(max + 1, sizeof(*classifier->names));
    for (size_t i = 0; i < max; i++) {
        const char *name = i < snapshot->role_count
                               ? snapshot->roles[i].name
                               : snapshot->aliases[i - snapshot->role_count].name;
        int role;
        const char *resolved;
        if (hw_resolve_model(snapshot, name, &role, &resolved) != HW_MODEL_ROLE)
            continue;
        size_t size = strlen(name) + 1;
        struct hw_named_role *named = &classifier->names[classifier->name_count++];
        named->name = hw_xcalloc(size, 1);
        memcpy(named->name, name, size);
        named->role = role;
    }
}

void
hw_classifier_destroy(struct hw_classifier **classifier)
{
    struct hw_classifier *c = *classifier;

    if (c == NULL)
        return;
    for (size_t i = 0; i < c->name_count; i++)
        free(c->names[i].name);
    free(c->names);
    hw_keywords_destroy(&c->keywords);
    hw_learned_destroy(&c->learned);
    hw_difficulty_destroy(&c->difficulty);
    free(c->kinds);
    free(c);
    *classifier = NULL;
}

static enum hw_role_source
asked_source(const struct hw_classifier *classifier, const struct hw_traits *traits)
{
    for (size_t i = 0; traits->model != NULL && i < classifier->name_count; i++) {
        if (classifier->names[i].role == traits->asked_role &&
            strcmp(classifier->names[i].name, traits->model) == 0)
            return HW_ROLE_BY_MODEL;
    }
    return HW_ROLE_BY_HEADER;
}

static void
classify_by_keywords(const struct hw_classifier *classifier, struct hw_traits *traits)
{
    struct hw_keyword_match match;

    if (!hw_keywords_find(classifier->keywords, traits->text, traits->text_len, &match))
        return;
    traits->role = match.role;
    traits->role_source = HW_ROLE_BY_KEYWORD;
    traits->confidence = match.share;
    size_t len = strnlen(match.keyword, sizeof(traits->matched_keyword) - 1);
    while (len > 0 && ((uint8_t)match.keyword[len] & 0xc0) == 0x80)
        len--; /* cut between characters: it is shown as JSON */
    memcpy(traits->matched_keyword, match.keyword, len);
    traits->matched_keyword[len] = '\0';
}

static bool
has_keyword(const void *ctx, const char *text, size_t len)
{
    const struct hw_classifier *classifier = ctx;
    struct hw_keyword_match match;

    return hw_keywords_find(classifier->keywords, text, len, &match);
}

int
hw_classifier_create(const struct hw_snapshot *snapshot, struct hw_classifier **out,
                     struct hw_err *err)
{
    if (snapshot->role_count > HW_MAX_ROLES)
        return hw_err_set(err, HW_ELIMIT, "at most %d roles, got %zu", HW_MAX_ROLES,
                          snapshot->role_count);
    struct hw_classifier *classifier = hw_xcalloc(1, sizeof(*classifier));
    classifier->role_count = snapshot->role_count;
    classifier->kinds = hw_kinds_create();
    HW_ASSERT(classifier->kinds != NULL);
    classifier->least_confidence = (float)snapshot->classifier.confidence;
    int rc = hw_keywords_create(snapshot, &classifier->keywords, err);
    if (rc == 0)
        rc = hw_learn_roles(snapshot, has_keyword, classifier, &classifier->learned,
                            classifier->learned_roles, err);
    if (rc == 0)
        rc = hw_learn_difficulty(snapshot, &classifier->difficulty, err);
    classifier->difficult_from = 1.0f - (float)snapshot->difficulty.strong_share;
    if (rc != 0) {
        hw_classifier_destroy(&classifier);
        return rc;
    }
    compile_names(classifier, snapshot);
    *out = classifier;
    return 0;
}

int
hw_classifier_examples(const struct hw_classifier *classifier, const struct hw_snapshot *snapshot,
                       struct hw_examples **out, struct hw_err *err)
{
    int roles[HW_MAX_ROLES];

    return hw_learn_role_examples(snapshot, has_keyword, classifier, out, roles, err);
}

static void
take_learned(const struct hw_classifier *classifier, const struct hw_learned_answer *answer,
             struct hw_traits *traits)
{
    if (!answer->known || answer->confidence < classifier->least_confidence)
        return;
    traits->confidence = answer->confidence;
    traits->role = classifier->learned_roles[answer->label];
    traits->role_source = HW_ROLE_BY_LEARNED;
}

static void
classify_by_learning(const struct hw_classifier *classifier, struct hw_traits *traits)
{
    struct hw_learned_answer answer;

    hw_learned_answer(classifier->learned, traits->text, traits->text_len, &answer);
    take_learned(classifier, &answer, traits);
}

static void
classify_as_none(struct hw_traits *traits)
{
    traits->role = -1;
    traits->role_source = HW_ROLE_NONE;
    traits->confidence = 0.0f;
    traits->matched_keyword[0] = '\0';
    traits->difficulty = -1.0f;
    traits->difficult = false;
}

void
hw_classify_buckets(const struct hw_classifier *classifier, const uint16_t *buckets, size_t count,
                    struct hw_traits *traits)
{
    struct hw_learned_answer answer;

    classify_as_none(traits);
    if (classifier->learned == NULL)
        return;
    hw_learned_answer_buckets(classifier->learned, buckets, count, &answer);
    take_learned(classifier, &answer, traits);
}

static void
classify_role(const struct hw_classifier *classifier, struct hw_traits *traits)
{
    if (traits->asked_role >= 0 && (size_t)traits->asked_role < classifier->role_count) {
        traits->role = traits->asked_role;
        traits->role_source = asked_source(classifier, traits);
        traits->confidence = 1.0f;
        return;
    }
    if (traits->text == NULL)
        return;
    classify_by_keywords(classifier, traits);
    if (traits->role < 0 && classifier->learned != NULL)
        classify_by_learning(classifier, traits);
}

void
hw_classify(const struct hw_classifier *classifier, struct hw_traits *traits)
{
    classify_as_none(traits);
    classify_role(classifier, traits);
    if (classifier->difficulty == NULL || traits->text == NULL)
        return;
    traits->difficulty = hw_difficulty_rank(classifier->difficulty, traits->text, traits->text_len);
    traits->difficult = traits->difficulty > classifier->difficult_from;
}

size_t
hw_classify_features(const struct hw_classifier *classifier, const char *text, size_t len,
                     uint16_t *out)
{
    return hw_features(classifier->kinds, text, len, HW_FEATURE_BITS_MAX, NULL, 0, out);
}
