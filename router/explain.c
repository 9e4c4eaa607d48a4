/* router/explain.c - see explain.h. */
#include "router/explain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"
#include "policies/hours.h"
#include "policies/route.h"
#include "router/api/dialect.h"

const char *const hw_role_source_names[] = {"none", "model", "header", "keyword", "learned"};

static const char *const dialects[] = {"openai", "ollama", "anthropic", "bdh", NULL};

static int
word_index(const char *word, const char *const *words)
{
    for (int i = 0; words[i] != NULL; i++)
        if (strcmp(words[i], word) == 0)
            return i;
    return -1;
}

static bool
path_embeds(const char *path)
{
    return path != NULL && (strcmp(path, hw_dialect_embeddings.path) == 0 ||
                            strcmp(path, hw_dialect_ollama_embed.path) == 0 ||
                            strcmp(path, hw_dialect_ollama_embeddings.path) == 0);
}

/* "03:00" or "sat 14:30": when the clock of the policy's zone shows it next. */
static bool
find_time(const struct hw_snapshot *snapshot, const char *text, int64_t now_s, int64_t *at_s)
{
    char day[4] = "";
    unsigned hour, minute;
    int weekday = -1, end = 0;

    if (sscanf(text, "%2u:%2u%n", &hour, &minute, &end) != 2) {
        if (sscanf(text, "%3[a-z] %2u:%2u%n", day, &hour, &minute, &end) != 3)
            return false;
        weekday = word_index(day, hw_day_names);
        if (weekday < 0)
            return false;
    }
    if (text[end] != '\0' || hour > 23 || minute > 59)
        return false;
    int64_t seconds = hw_clock_shows_in(snapshot->zone, now_s, weekday, hour * 60 + minute);
    *at_s = now_s + (seconds >= 0 ? seconds : 0);
    return seconds >= 0;
}

int
hw_question_traits(const struct hw_snapshot *snapshot, const struct hw_question *question,
                   struct hw_traits *traits, struct hw_err *err)
{
    const char *resolved = NULL;
    size_t len = strlen(question->text);

    *traits =
        (struct hw_traits){.dialect = question->dialect != NULL ? question->dialect : "openai",
                           .model = question->model,
                           .agent = question->agent,
                           .path = question->path,
                           .text = question->text,
                           .text_len = len,
                           .prompt_bytes = len,
                           .now_s = question->now_s,
                           .lane = HW_LANE_INTERACTIVE,
                           .asked_role = -1,
                           .role = -1};
    traits->prompt_tokens = hw_estimate_tokens(len);
    traits->embeds = path_embeds(question->path);
    if (question->tokens >= 0) {
        traits->prompt_tokens =
            question->tokens < UINT32_MAX ? (uint32_t)question->tokens : UINT32_MAX;
        traits->prompt_bytes = (uint64_t)traits->prompt_tokens * 4;
    }
    if (word_index(traits->dialect, dialects) < 0)
        return hw_err_set(err, HW_EINVAL,
                          "there is no dialect '%.64s'; use openai, ollama, anthropic or bdh",
                          question->dialect);
    if (question->at != NULL && !find_time(snapshot, question->at, question->now_s, &traits->now_s))
        return hw_err_set(err, HW_EINVAL,
                          "'%.64s' is no time; write 03:00, or a day too: sat 14:30", question->at);
    if (question->lane != NULL) {
        int lane = word_index(question->lane, hw_lane_names);
        if (lane < 0)
            return hw_err_set(err, HW_EINVAL,
                              "there is no lane '%.64s'; use realtime, interactive or background",
                              question->lane);
        traits->lane = (enum hw_lane)lane;
        traits->has_lane = true;
    }
    if (hw_resolve_model(snapshot, question->model, &traits->asked_role, &resolved) ==
        HW_MODEL_UNKNOWN)
        return hw_err_set(err, HW_EINVAL, "there is no model, role, alias or backend '%.128s'",
                          question->model);
    if (question->role != NULL) {
        traits->asked_role = hw_snapshot_role(snapshot, question->role, strlen(question->role));
        if (traits->asked_role < 0)
            return hw_err_set(err, HW_EINVAL, "there is no role '%.64s'", question->role);
    }
    return 0;
}

void
hw_decide(const struct hw_classifier *classifier, struct hw_decision *decision)
{
    const struct hw_snapshot *snapshot = decision->snapshot;

    decision->candidates = hw_xcalloc(snapshot->backend_count + 1, sizeof(*decision->candidates));
    hw_classify(classifier, &decision->traits);
    hw_classify_explain(classifier, &decision->traits, decision->words, sizeof(decision->words));
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
                                  .devices = decision->devices};
    decision->candidate_count = hw_rank(&input, decision->candidates);
}

void
hw_decision_free(struct hw_decision *decision)
{
    free(decision->candidates);
    decision->candidates = NULL;
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
    char why[256];

    cJSON_AddItemToObject(root, "route",
                          route != NULL ? cJSON_CreateString(route->name) : cJSON_CreateNull());
    if (route != NULL)
        cJSON_AddStringToObject(root, "by", hw_by_names[route->to.by]);
    cJSON *passed = cJSON_AddArrayToObject(root, "routes_passed_over");
    for (size_t i = 0; i < shown; i++) {
        if (hw_route_explain(snapshot, i, &decision->traits, why, sizeof(why)))
            continue; /* the route has since put the query into its own lane */
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
    cJSON_AddNumberToObject(item, "queue_ms", parts.queue_ms);
    cJSON_AddNumberToObject(item, "start_ms", parts.start_ms);
    cJSON_AddNumberToObject(item, "prefill_ms", parts.prefill_ms);
    cJSON_AddNumberToObject(item, "decode_ms", parts.decode_ms);
    return item;
}

cJSON *
hw_decision_json(const struct hw_decision *decision)
{
    const struct hw_snapshot *snapshot = decision->snapshot;
    cJSON *root = cJSON_CreateObject();
    char why[256];

    add_traits(decision, root);
    add_routes(decision, root);
    cJSON *list = cJSON_AddArrayToObject(root, "candidates");
    cJSON *excluded = cJSON_AddArrayToObject(root, "excluded");
    for (size_t i = 0; decision->route >= 0 && i < snapshot->backend_count; i++) {
        const struct hw_candidate *candidate = &decision->candidates[i];
        if (i < decision->candidate_count) {
            cJSON_AddItemToArray(list, candidate_json(decision, candidate));
            continue;
        }
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "backend", snapshot->backends[candidate->backend].name);
        cJSON_AddStringToObject(item, "why", hw_exclusion_names[candidate->out]);
        hw_rank_why(snapshot, &decision->traits, candidate, why, sizeof(why));
        if (strcmp(why, hw_exclusion_names[candidate->out]) != 0)
            cJSON_AddStringToObject(item, "detail", why);
        cJSON_AddItemToArray(excluded, item);
    }
    return root;
}
