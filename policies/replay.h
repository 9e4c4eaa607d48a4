/* policies/replay.h - the role of a query that a decision log tells of, without its text. Pure.
 *
 * Nothing is guessed: a role is known when the text is, when the policy's keywords or examples are
 * those by which the log's role was found, or when the log has the text's n-grams and no keyword
 * can have matched. Otherwise it is marked HW_UNKNOWN_ROLE. */
#ifndef HW_POLICIES_REPLAY_H
#define HW_POLICIES_REPLAY_H

#include "policies/classify.h"

/* What the log tells of a query's role. */
struct hw_told {
    const char *role; /* NULL: none of the policy's */
    enum hw_role_source source;
    float confidence;
    uint64_t keywords_digest, learned_digest; /* of the policy that found it (policies/digest.h) */
    const uint16_t *features; /* as hw_classify_buckets wants them; NULL: not told */
    size_t feature_count;
};

/* A policy made ready to replay. */
struct hw_replay_policy {
    const struct hw_snapshot *snapshot;
    const struct hw_classifier *classifier;
    uint64_t keywords_digest, learned_digest;
};
void hw_replay_policy_init(struct hw_replay_policy *policy, const struct hw_snapshot *snapshot,
                           const struct hw_classifier *classifier);
/* traits as for hw_classify; without HW_UNKNOWN_TEXT it does the same. */
void hw_replay_classify(const struct hw_replay_policy *policy, const struct hw_told *told,
                        struct hw_traits *traits);

#endif
