/* router/explain.c - see explain.h. */
#include "router/explain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"
#include "policies/route.h"
#include "policies/shadow.h"
#include "router/log_private.h"

const char *const hw_role_source_names[] = {"none", "model", "header", "keyword", "learned"};

void
hw_decide(const struct hw_classifier *classifier, struct hw_decision *decision)
{
    const struct hw_snapshot *snapshot = decision->snapshot;

    decision->candidates = hw_xcalloc(snapshot->backend_count + 1, sizeof(*decision->candidates));
    decision->scores = hw_xcalloc(snapshot->role_count + 1, sizeof(*decision->scores));
    decision->asked_lane = decision->traits.lane;
    hw_classify(classifier, &decision->traits);
    hw_classify_explain(classifier, &decision->traits, decision->words, sizeof(decision->words));
    hw_classify_scores(classifier, &decision->traits, decision->scores);
    decision->route = hw_route_match(snapshot, &decision->traits);
    if (decision->route < 0)
        return;
    const struct hw_conf_route *route = &snapshot->routes[decision->route];
    if (route->has_lane)
        decision->traits.lane = route->lane;
    struct hw_rank_input input = {.snapshot = snapshot,
                                  .route = route,
                                  .traits = &decision->traits,
                                  .views = decision->views,
                                  .devices = decision->devices,
                                  .tokens = decision->tokens,
                                  .conversation = decision->conversation};
    decision->candidate_count = hw_rank(&input, decision->candidates);
    if (!route->shadow.to.present || decision->candidate_count == 0)
        return;
    decision->copies = hw_xcalloc(snapshot->backend_count + 1, sizeof(*decision->copies));
    decision->copy_count =
        hw_shadow_rank(&input, decision->candidates[0].backend, decision->copies);
}

void
hw_decision_free(struct hw_decision *decision)
{
    free(decision->candidates);
    free(decision->copies);
    free(decision->scores);
    decision->candidates = NULL;
    decision->copies = NULL;
    decision->scores = NULL;
}

struct hw_traits
hw_decision_asked(const struct hw_decision *decision)
{
    struct hw_traits traits = decision->traits;

    traits.lane = decision->asked_lane;
    return traits;
}

/* What conditions look at, beside what stands at the top. */
static void
add_asked(const struct hw_decision *decision, cJSON *root)
{
    const struct hw_traits *traits = &decision->traits;
    cJSON *json = cJSON_AddObjectToObject(root, "traits");
    char time_text[HW_LOG_TIME_BYTES];

    hw_log_time_at((uint64_t)(traits->now_s > 0 ? traits->now_s : 0) * 1000, time_text);
    cJSON_AddStringToObject(json, "time", time_text);
    if (traits->agent != NULL)
        cJSON_AddStringToObject(json, "agent", traits->agent);
    cJSON_AddStringToObject(json, "dialect", traits->dialect);
    if (traits->path != NULL)
        cJSON_AddStringToObject(json, "path", traits->path);
    cJSON_AddStringToObject(json, "model", traits->model != NULL ? traits->model : "auto");
    cJSON_AddStringToObject(json, "lane", hw_lane_names[decision->asked_lane]);
    cJSON_AddNumberToObject(json, "prompt_bytes", (double)traits->prompt_bytes);
    cJSON_AddNumberToObject(json, "prompt_tokens", traits->prompt_tokens);
    cJSON_AddNumberToObject(json, "max_tokens", traits->max_tokens);
    cJSON_AddBoolToObject(json, "tools", traits->wants_tools);
    cJSON_AddBoolToObject(json, "images", traits->wants_images);
    cJSON_AddBoolToObject(json, "json", traits->wants_json);
    cJSON_AddBoolToObject(json, "stream", traits->stream);
}

static void
add_scores(const struct hw_decision *decision, cJSON *root)
{
    cJSON *list = cJSON_AddArrayToObject(root, "scores");

    for (size_t i = 0; i < decision->snapshot->role_count; i++) {
        const struct hw_role_score *score = &decision->scores[i];
        if (score->keywords <= 0 && !score->learned)
            continue;
        cJSON *json = cJSON_CreateObject();
        cJSON_AddStringToObject(json, "role", decision->snapshot->roles[score->role].name);
        cJSON_AddNumberToObject(json, "keywords", (double)score->keywords);
        if (score->learned)
            cJSON_AddNumberToObject(json, "learned", (double)score->score);
        cJSON_AddItemToArray(list, json);
    }
}

static void
add_traits(const struct hw_decision *decision, cJSON *root)
{
    const struct hw_traits *traits = &decision->traits;
    const char *role = traits->role >= 0 ? decision->snapshot->roles[traits->role].name : "none";

    cJSON_AddStringToObject(root, "role", role);
    cJSON_AddStringToObject(root, "role_source", hw_role_source_names[traits->role_source]);
    cJSON_AddStringToObject(root, "matched_keyword", traits->matched_keyword);
    cJSON_AddStringToObject(root, "words", decision->words);
    cJSON_AddNumberToObject(root, "confidence", (double)traits->confidence);
    if (traits->difficulty >= 0.0f) {
        cJSON_AddNumberToObject(root, "difficulty", (double)traits->difficulty);
        cJSON_AddBoolToObject(root, "difficult", traits->difficult);
    }
    cJSON_AddStringToObject(root, "lane", hw_lane_names[traits->lane]);
    cJSON_AddNumberToObject(root, "prompt_tokens", traits->prompt_tokens);
}

static void
add_routes(const struct hw_decision *decision, cJSON *root)
{
    const struct hw_snapshot *snapshot = decision->snapshot;
    const struct hw_conf_route *route =
        decision->route >= 0 ? &snapshot->routes[decision->route] : NULL;
    size_t shown = route != NULL ? (size_t)decision->route : snapshot->route_count;
    struct hw_traits asked = hw_decision_asked(decision);
    char why[256];

    cJSON_AddItemToObject(root, "route",
                          route != NULL ? cJSON_CreateString(route->name) : cJSON_CreateNull());
    if (route != NULL)
        cJSON_AddStringToObject(root, "by", hw_by_names[route->to.by]);
    cJSON *passed = cJSON_AddArrayToObject(root, "routes_passed_over");
    for (size_t i = 0; i < shown; i++) {
        if (hw_route_explain(snapshot, i, &asked, why, sizeof(why)))
            continue;
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "route", snapshot->routes[i].name);
        cJSON_AddStringToObject(item, "why", why);
        cJSON_AddItemToArray(passed, item);
    }
}

/* What its place in the order comes from. */
static cJSON *
candidate_json(const struct hw_decision *decision, const struct hw_candidate *candidate)
{
    const struct hw_backend_view *view = &decision->views[candidate->backend];
    const struct hw_conf_backend *conf = &decision->snapshot->backends[candidate->backend];
    struct hw_expected parts;
    cJSON *item = cJSON_CreateObject();

    double answer_bytes =
        hw_expect_answer_bytes(decision->views, decision->snapshot->backend_count);
    hw_expect(view, conf, &decision->traits, answer_bytes, &parts);
    cJSON_AddStringToObject(item, "backend", conf->name);
    cJSON_AddNumberToObject(item, "expected_ms", candidate->expected_ms);
    cJSON_AddBoolToObject(item, "overflow", candidate->overflow);
    cJSON_AddBoolToObject(item, "fallback", candidate->fallback);
    cJSON_AddBoolToObject(item, "full", candidate->full);
    if (candidate->full)
        cJSON_AddStringToObject(item, "full_why", candidate->full_why);
    cJSON_AddBoolToObject(item, "wait", candidate->wait);
    cJSON_AddBoolToObject(item, "saturated", candidate->saturated);
    cJSON_AddNumberToObject(item, "slow_start", hw_slow_start(decision->snapshot, view));
    cJSON_AddNumberToObject(item, "quality", conf->quality);
    cJSON_AddNumberToObject(item, "score", candidate->score);
    cJSON_AddNumberToObject(item, "inflight", view->inflight);
    cJSON_AddNumberToObject(item, "waiting", view->waiting);
    if (candidate->model != NULL)
        cJSON_AddStringToObject(item, "model", candidate->model);
    cJSON_AddNumberToObject(
        item, "prompt_tokens",
        (double)hw_tokens_at(decision->tokens, conf, candidate->model, &decision->traits));
    cJSON_AddNumberToObject(item, "load_ms", candidate->load_ms);
    cJSON_AddNumberToObject(item, "queue_ms", parts.queue_ms);
    cJSON_AddNumberToObject(item, "start_ms", parts.start_ms);
    cJSON_AddNumberToObject(item, "prefill_ms", parts.prefill_ms);
    cJSON_AddNumberToObject(item, "decode_ms", parts.decode_ms);
    return item;
}

static cJSON *
excluded_json(const struct hw_decision *decision, const struct hw_candidate *candidate)
{
    const struct hw_snapshot *snapshot = decision->snapshot;
    cJSON *item = cJSON_CreateObject();
    char why[256];

    cJSON_AddStringToObject(item, "backend", snapshot->backends[candidate->backend].name);
    cJSON_AddStringToObject(item, "why", hw_exclusion_names[candidate->out]);
    hw_rank_why(snapshot, &decision->traits, candidate, why, sizeof(why));
    if (strcmp(why, hw_exclusion_names[candidate->out]) != 0)
        cJSON_AddStringToObject(item, "detail", why);
    return item;
}

/* Whom a copy would go to, for the share of queries that are copied. */
static void
add_shadow(const struct hw_decision *decision, cJSON *root)
{
    const struct hw_snapshot *snapshot = decision->snapshot;

    if (decision->copies == NULL)
        return;
    cJSON *json = cJSON_AddObjectToObject(root, "shadow");
    cJSON_AddNumberToObject(json, "share", snapshot->routes[decision->route].shadow.share);
    cJSON *list = cJSON_AddArrayToObject(json, "candidates");
    cJSON *excluded = cJSON_AddArrayToObject(json, "excluded");
    for (size_t i = 0; i < snapshot->backend_count; i++) {
        const struct hw_candidate *candidate = &decision->copies[i];
        if (i < decision->copy_count)
            cJSON_AddItemToArray(list, candidate_json(decision, candidate));
        else
            cJSON_AddItemToArray(excluded, excluded_json(decision, candidate));
    }
}

cJSON *
hw_decision_json(const struct hw_decision *decision)
{
    const struct hw_snapshot *snapshot = decision->snapshot;
    cJSON *root = cJSON_CreateObject();

    add_traits(decision, root);
    add_asked(decision, root);
    add_scores(decision, root);
    add_routes(decision, root);
    cJSON *list = cJSON_AddArrayToObject(root, "candidates");
    cJSON *excluded = cJSON_AddArrayToObject(root, "excluded");
    for (size_t i = 0; decision->route >= 0 && i < snapshot->backend_count; i++) {
        const struct hw_candidate *candidate = &decision->candidates[i];
        if (i < decision->candidate_count)
            cJSON_AddItemToArray(list, candidate_json(decision, candidate));
        else
            cJSON_AddItemToArray(excluded, excluded_json(decision, candidate));
    }
    add_shadow(decision, root);
    return root;
}
