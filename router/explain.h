/* router/explain.h - a decision told in full, for `hatchway route` and POST /hatchway/explain: the
 * same walk through classify, match and rank that a query takes, with its reasons. */
#ifndef HW_ROUTER_EXPLAIN_H
#define HW_ROUTER_EXPLAIN_H

#include <cjson/cJSON.h>
#include <stdio.h>

#include "policies/classify.h"
#include "policies/rank.h"

struct hw_decision {
    const struct hw_snapshot *snapshot;
    struct hw_traits traits;
    uint64_t conversation;        /* as by: affinity sees it */
    enum hw_lane asked_lane;      /* before the route changed it */
    struct hw_role_score *scores; /* role_count of them, the heaviest first */
    char words[256];              /* that a learned role was told by */
    int route;                    /* -1: none matches */
    const struct hw_backend_view *views;
    const struct hw_device_view *devices; /* may be NULL: nothing runs there */
    const struct hw_token_ratios *tokens; /* the same: nothing is known */
    struct hw_candidate *candidates;      /* backend_count of them; the excluded behind */
    size_t candidate_count;
    struct hw_candidate *copies; /* NULL: the route has no shadow; else the same for a copy */
    size_t copy_count;
};

extern const char *const hw_role_source_names[]; /* by enum hw_role_source */

/* With snapshot, traits, conversation and views filled in: decides. No dice are thrown: by weight
 * the heaviest comes first, and nothing is explored. */
void hw_decide(const struct hw_classifier *classifier, struct hw_decision *decision);
void hw_decision_free(struct hw_decision *decision);
/* The query's traits as conditions see them: the route may have put it into another lane since. */
struct hw_traits hw_decision_asked(const struct hw_decision *decision);
/* explain_print.c: in words, every line begun with indent. */
void hw_decision_print(const struct hw_decision *decision, const char *indent, FILE *out);
cJSON *hw_decision_json(const struct hw_decision *decision);

#endif
