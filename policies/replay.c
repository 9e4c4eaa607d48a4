/* policies/replay.c - see replay.h. */
#include "policies/replay.h"

#include <string.h>

#include "policies/digest.h"

void
hw_replay_policy_init(struct hw_replay_policy *policy, const struct hw_snapshot *snapshot,
                      const struct hw_classifier *classifier)
{
    *policy = (struct hw_replay_policy){.snapshot = snapshot,
                                        .classifier = classifier,
                                        .keywords_digest = hw_keywords_digest(snapshot),
                                        .learned_digest = hw_learned_digest(snapshot)};
}

/* The log's role, which this policy would find as well. */
static void
keep_role(const struct hw_replay_policy *policy, const struct hw_told *told,
          struct hw_traits *traits)
{
    traits->role = told->role != NULL
                       ? hw_snapshot_role(policy->snapshot, told->role, strlen(told->role))
                       : -1;
    traits->role_source = traits->role >= 0 ? told->source : HW_ROLE_NONE;
    traits->confidence = traits->role >= 0 ? told->confidence : 0.0f;
}

/* Nobody asked for a role, and the text is not there. */
static void
classify_told(const struct hw_replay_policy *policy, const struct hw_told *told,
              struct hw_traits *traits)
{
    /* A query that asked for its role was never looked at for keywords. */
    bool looked = told->source != HW_ROLE_BY_MODEL && told->source != HW_ROLE_BY_HEADER;
    bool same_keywords = looked && policy->keywords_digest == told->keywords_digest;
    bool same_learned = looked && policy->learned_digest == told->learned_digest;

    if (same_keywords && told->source == HW_ROLE_BY_KEYWORD)
        keep_role(policy, told, traits);
    else if (!same_keywords && policy->keywords_digest != 0)
        traits->unknown |= HW_UNKNOWN_ROLE;
    else if (policy->learned_digest == 0) /* no keyword, and nothing learned */
        return;
    else if (same_learned && told->source != HW_ROLE_BY_KEYWORD)
        keep_role(policy, told, traits);
    else if (told->features != NULL)
        hw_classify_buckets(policy->classifier, told->features, told->feature_count, traits);
    else
        traits->unknown |= HW_UNKNOWN_ROLE;
}

void
hw_replay_classify(const struct hw_replay_policy *policy, const struct hw_told *told,
                   struct hw_traits *traits)
{
    if ((traits->unknown & HW_UNKNOWN_TEXT) != 0)
        traits->text = NULL;
    hw_classify(policy->classifier, traits);
    if ((traits->unknown & HW_UNKNOWN_TEXT) != 0 && traits->asked_role < 0)
        classify_told(policy, told, traits);
}
