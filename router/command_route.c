/* router/command_route.c - `hatchway route`: explains a decision and sends nothing.
 *
 * Without a running gateway there are no measurements: every backend counts as up, with the priors
 * of its kind and device. */
#include <cjson/cJSON.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "config/load.h"
#include "hatchway/assert.h"
#include "policies/rank.h"
#include "policies/route.h"
#include "router/commands.h"

static const char help[] =
    "usage: hatchway route -c FILE [options] \"query\"\n"
    "\n"
    "Says where the policy in FILE would send a query, and why. Sends nothing; speeds are the "
    "priors\n"
    "of each backend's kind and device.\n"
    "\n"
    "  -c, --config FILE    the YAML (default: config/hatchway.yaml)\n"
    "      --model NAME     as the agent would ask for it (default: auto)\n"
    "      --agent NAME     who asks\n"
    "      --lane LANE      realtime, interactive or background\n"
    "      --dialect NAME   openai (default) or bdh\n"
    "      --tokens N       prompt size, instead of an estimate from the text\n"
    "      --json           machine-readable\n"
    "  -h, --help           this text\n";

struct options {
    const char *config, *model, *agent, *lane, *dialect, *text;
    long tokens;
    bool json;
};

static const char *const source_names[] = {"none", "model", "header", "keyword", "learned"};

/* 0: go on; otherwise an exit status + 1. */
static int
read_options(int argc, char **argv, struct options *out)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"model", required_argument, NULL, 'm'},
                                            {"agent", required_argument, NULL, 'a'},
                                            {"lane", required_argument, NULL, 'l'},
                                            {"dialect", required_argument, NULL, 'd'},
                                            {"tokens", required_argument, NULL, 't'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int option;

    *out = (struct options){.config = "config/hatchway.yaml", .dialect = "openai", .tokens = -1};
    optind = 1;
    while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            out->config = optarg;
            break;
        case 'm':
            out->model = optarg;
            break;
        case 'a':
            out->agent = optarg;
            break;
        case 'l':
            out->lane = optarg;
            break;
        case 'd':
            out->dialect = optarg;
            break;
        case 't':
            out->tokens = strtol(optarg, NULL, 10);
            break;
        case 'j':
            out->json = true;
            break;
        case 'h':
            fputs(help, stdout);
            return 1;
        default:
            fputs(help, stderr);
            return 3;
        }
    }
    if (optind + 1 != argc) {
        fputs(help, stderr);
        return 3;
    }
    out->text = argv[optind];
    return 0;
}

static int
fill_traits(const struct options *options, const struct hw_snapshot *snapshot,
            struct hw_traits *traits)
{
    const char *resolved = NULL;

    *traits = (struct hw_traits){.dialect = options->dialect,
                                 .agent = options->agent,
                                 .text = options->text,
                                 .text_len = strlen(options->text),
                                 .prompt_bytes = strlen(options->text),
                                 .lane = HW_LANE_INTERACTIVE,
                                 .now_s = (int64_t)time(NULL),
                                 .asked_role = -1,
                                 .role = -1};
    traits->prompt_tokens =
        options->tokens >= 0 ? (uint32_t)options->tokens : hw_estimate_tokens(traits->prompt_bytes);
    if (options->lane != NULL) {
        int lane = 0;
        while (lane < HW_LANE_COUNT && strcmp(hw_lane_names[lane], options->lane) != 0)
            lane++;
        if (lane == HW_LANE_COUNT) {
            fprintf(stderr,
                    "hatchway: there is no lane '%s'; use realtime, interactive or "
                    "background\n",
                    options->lane);
            return 2;
        }
        traits->lane = (enum hw_lane)lane;
        traits->has_lane = true;
    }
    if (hw_resolve_model(snapshot, options->model, &traits->asked_role, &resolved) ==
        HW_MODEL_UNKNOWN) {
        fprintf(stderr, "hatchway: there is no model, role, alias or backend '%s' in %s\n",
                options->model, options->config);
        return 1;
    }
    traits->model = options->model;
    return 0;
}

struct decision {
    const struct hw_snapshot *snapshot;
    struct hw_traits traits;
    char words[256]; /* that a learned role was told by */
    int route;
    struct hw_candidate *candidates;
    size_t candidate_count;
};

static void
decide(struct decision *decision)
{
    const struct hw_snapshot *snapshot = decision->snapshot;
    size_t count = snapshot->backend_count;
    struct hw_backend_view *views = hw_xcalloc(count + 1, sizeof(*views));

    decision->candidates = hw_xcalloc(count + 1, sizeof(*decision->candidates));
    decision->route = hw_route_match(snapshot, &decision->traits);
    if (decision->route >= 0) {
        const struct hw_conf_route *route = &snapshot->routes[decision->route];
        if (route->has_lane)
            decision->traits.lane = route->lane;
        for (size_t i = 0; i < count; i++) {
            hw_rank_prior(&snapshot->backends[i], &views[i]);
            views[i].up = true;
        }
        struct hw_rank_input input = {
            .snapshot = snapshot, .route = route, .traits = &decision->traits, .views = views};
        decision->candidate_count = hw_rank(&input, decision->candidates);
    }
    free(views);
}

static const char *
role_name(const struct decision *decision)
{
    int role = decision->traits.role;
    return role >= 0 ? decision->snapshot->roles[role].name : "none";
}

static void
print_text(const struct decision *decision)
{
    const struct hw_snapshot *snapshot = decision->snapshot;
    const struct hw_traits *traits = &decision->traits;
    char why[256];

    printf("role     %s", role_name(decision));
    if (traits->role >= 0)
        printf(" (by %s%s%s%s, confidence %.2f)", source_names[traits->role_source],
               traits->matched_keyword[0] != '\0' || decision->words[0] != '\0' ? ": " : "",
               traits->matched_keyword, decision->words, (double)traits->confidence);
    printf("\nlane     %s\nsize     about %u tokens\n", hw_lane_names[traits->lane],
           traits->prompt_tokens);
    size_t shown = decision->route >= 0 ? (size_t)decision->route : snapshot->route_count;
    for (size_t i = 0; i < shown; i++)
        if (!hw_route_explain(snapshot, i, traits, why, sizeof(why)))
            printf("route    not %s: %s\n", snapshot->routes[i].name, why);
    if (decision->route < 0) {
        printf("route    none matches: the query would get 404\n");
        return;
    }
    printf("route    %s (by %s)\n", snapshot->routes[decision->route].name,
           hw_by_names[snapshot->routes[decision->route].to.by]);
    for (size_t i = 0; i < snapshot->backend_count; i++) {
        const struct hw_candidate *candidate = &decision->candidates[i];
        const char *name = snapshot->backends[candidate->backend].name;
        if (i < decision->candidate_count)
            printf("%-8s %s%s, expected %.0f ms\n", i == 0 ? "backend" : "then", name,
                   candidate->fallback ? " (fallback)" : "", candidate->expected_ms);
        else
            printf("not      %s: %s\n", name, hw_exclusion_names[candidate->out]);
    }
    if (decision->candidate_count == 0)
        printf("backend  none can answer: the query would get 503\n");
}

static void
print_json(const struct decision *decision)
{
    const struct hw_snapshot *snapshot = decision->snapshot;
    const struct hw_traits *traits = &decision->traits;
    char why[256];
    cJSON *root = cJSON_CreateObject();

    cJSON_AddStringToObject(root, "role", role_name(decision));
    cJSON_AddStringToObject(root, "role_source", source_names[traits->role_source]);
    cJSON_AddStringToObject(root, "matched_keyword", traits->matched_keyword);
    cJSON_AddStringToObject(root, "words", decision->words);
    cJSON_AddNumberToObject(root, "confidence", (double)traits->confidence);
    cJSON_AddStringToObject(root, "lane", hw_lane_names[traits->lane]);
    cJSON_AddNumberToObject(root, "prompt_tokens", traits->prompt_tokens);
    if (decision->route >= 0)
        cJSON_AddStringToObject(root, "route", snapshot->routes[decision->route].name);
    else
        cJSON_AddNullToObject(root, "route");
    cJSON *passed = cJSON_AddArrayToObject(root, "routes_passed_over");
    size_t shown = decision->route >= 0 ? (size_t)decision->route : snapshot->route_count;
    for (size_t i = 0; i < shown; i++) {
        hw_route_explain(snapshot, i, traits, why, sizeof(why));
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "route", snapshot->routes[i].name);
        cJSON_AddStringToObject(item, "why", why);
        cJSON_AddItemToArray(passed, item);
    }
    cJSON *list = cJSON_AddArrayToObject(root, "candidates");
    cJSON *excluded = cJSON_AddArrayToObject(root, "excluded");
    for (size_t i = 0; decision->route >= 0 && i < snapshot->backend_count; i++) {
        const struct hw_candidate *candidate = &decision->candidates[i];
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "backend", snapshot->backends[candidate->backend].name);
        if (i < decision->candidate_count) {
            cJSON_AddNumberToObject(item, "expected_ms", candidate->expected_ms);
            cJSON_AddBoolToObject(item, "fallback", candidate->fallback);
            cJSON_AddItemToArray(list, item);
        } else {
            cJSON_AddStringToObject(item, "why", hw_exclusion_names[candidate->out]);
            cJSON_AddItemToArray(excluded, item);
        }
    }
    char *text = cJSON_Print(root);
    puts(text != NULL ? text : "{}");
    free(text);
    cJSON_Delete(root);
}

int
hw_command_route(int argc, char **argv)
{
    struct options options;
    struct decision decision = {0};
    struct hw_snapshot *snapshot = NULL;
    struct hw_classifier *classifier = NULL;
    struct hw_diags diags = {0};
    struct hw_err err = {{0}};
    char text[640];

    int status = read_options(argc, argv, &options);
    if (status != 0)
        return status - 1;
    int rc = hw_config_load(options.config, &snapshot, &diags);
    for (size_t i = 0; i < diags.count && rc != 0; i++) {
        hw_diag_format(&diags.items[i], options.config, text, sizeof(text));
        fprintf(stderr, "hatchway: %s\n", text);
    }
    hw_diags_free(&diags);
    if (rc != 0)
        return 1;
    status = fill_traits(&options, snapshot, &decision.traits);
    if (status == 0 && hw_classifier_create(snapshot, &classifier, &err) != 0) {
        fprintf(stderr, "hatchway: %s\n", err.msg);
        status = 1;
    }
    if (status == 0) {
        decision.snapshot = snapshot;
        hw_classify(classifier, &decision.traits);
        hw_classify_explain(classifier, &decision.traits, decision.words, sizeof(decision.words));
        decide(&decision);
        if (options.json)
            print_json(&decision);
        else
            print_text(&decision);
        free(decision.candidates);
    }
    hw_classifier_destroy(&classifier);
    hw_snapshot_unref(snapshot);
    return status;
}
