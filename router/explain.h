/* router/explain.h - a decision told in full, for `hatchway route` and POST /hatchway/explain: the
 * same walk through classify, match and rank that a query takes, with its reasons. */
#ifndef HW_ROUTER_EXPLAIN_H
#define HW_ROUTER_EXPLAIN_H

#include <cjson/cJSON.h>

#include "policies/classify.h"
#include "policies/rank.h"

/* What would be asked, as a person says it. NULL: not said. */
struct hw_question {
    const char *text, *model, *role, *agent, *lane, *dialect, *path;
    const char *at; /* as if it were then: "03:00", "sat 14:30" */
    int64_t tokens; /* prompt size instead of an estimate from the text; -1: estimate */
    int64_t now_s;
};

struct hw_decision {
    const struct hw_snapshot *snapshot;
    struct hw_traits traits;
    char words[256]; /* that a learned role was told by */
    int route;       /* -1: none matches */
    const struct hw_backend_view *views;
    const struct hw_device_view *devices; /* may be NULL: nothing runs there */
    struct hw_candidate *candidates;      /* backend_count of them; the excluded behind */
    size_t candidate_count;
};

extern const char *const hw_role_source_names[]; /* by enum hw_role_source */

/* HW_EINVAL: it names what the policy does not have. Traits point into the question. */
int hw_question_traits(const struct hw_snapshot *snapshot, const struct hw_question *question,
                       struct hw_traits *traits, struct hw_err *err);
/* With snapshot, traits and views filled in: decides. No dice are thrown: by weight the heaviest
 * comes first, and nothing is explored. */
void hw_decide(const struct hw_classifier *classifier, struct hw_decision *decision);
void hw_decision_free(struct hw_decision *decision);
cJSON *hw_decision_json(const struct hw_decision *decision);

#endif
