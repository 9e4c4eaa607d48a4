/* policies/digest.c - see digest.h. */
#include "policies/digest.h"

#include "config/digest.h"
#include "policies/features.h"
#include "policies/learn_roles.h"

/* Raised when the same examples come to teach something else. */
#define LEARNING_VERSION 1

static uint64_t
add_list(uint64_t digest, const struct hw_conf_list *list)
{
    digest = hw_conf_digest_number(digest, list->count);
    for (size_t i = 0; i < list->count; i++)
        digest = hw_conf_digest_text(digest, list->items[i]);
    return digest;
}

uint64_t
hw_keywords_digest(const struct hw_snapshot *snapshot)
{
    uint64_t digest = HW_CONF_DIGEST_START;
    size_t count = 0;

    for (size_t i = 0; i < snapshot->role_count; i++) {
        const struct hw_conf_role *role = &snapshot->roles[i];
        count += role->keywords.count;
        digest = add_list(hw_conf_digest_text(digest, role->name), &role->keywords);
    }
    return count > 0 ? digest | 1 : 0;
}

uint64_t
hw_learned_digest(const struct hw_snapshot *snapshot)
{
    const struct hw_conf_classifier *classifier = &snapshot->classifier;
    uint64_t digest = hw_conf_digest_number(HW_CONF_DIGEST_START, LEARNING_VERSION);
    size_t taught = 0;

    digest = hw_conf_digest_number(digest, HW_FEATURES_VERSION);
    digest = hw_conf_digest_bytes(digest, &classifier->abstain, sizeof(classifier->abstain));
    digest = hw_conf_digest_bytes(digest, &classifier->confidence, sizeof(classifier->confidence));
    for (size_t i = 0; i < snapshot->role_count; i++) {
        const struct hw_conf_role *role = &snapshot->roles[i];
        taught += role->examples.count >= HW_LEARN_ROLE_EXAMPLES;
        digest = add_list(hw_conf_digest_text(digest, role->name), &role->examples);
        digest = hw_conf_digest_text(add_list(digest, &role->keywords), role->description);
    }
    return classifier->learned && taught >= 2 ? digest | 1 : 0;
}
