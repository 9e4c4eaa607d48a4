/* router/command_route.c - `hatchway route`: explains a decision and sends nothing.
 *
 * Without a running gateway there are no measurements: every backend counts as up, with the priors
 * of its kind and device. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hatchway/assert.h"
#include "policies/route.h"
#include "router/commands.h"
#include "router/explain.h"

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
    "      --dialect NAME   openai (default), ollama, anthropic or bdh\n"
    "      --path PATH      of the request, e.g. /v1/chat/completions\n"
    "      --tokens N       prompt size, instead of an estimate from the text\n"
    "      --at TIME        as if it were then, e.g. 03:00 or \"sat 14:30\" (the policy's zone)\n"
    "      --json           machine-readable\n"
    "  -h, --help           this text\n";

struct options {
    const char *config, *model, *agent, *lane, *dialect, *path, *at, *text;
    long tokens;
    bool json;
};

/* 0: go on; otherwise an exit status + 1. */
static int
read_options(int argc, char **argv, struct options *out)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"model", required_argument, NULL, 'm'},
                                            {"agent", required_argument, NULL, 'a'},
                                            {"lane", required_argument, NULL, 'l'},
                                            {"dialect", required_argument, NULL, 'd'},
                                            {"path", required_argument, NULL, 'p'},
                                            {"tokens", required_argument, NULL, 't'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"at", required_argument, NULL, 'T'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int option;
    char *end;

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
        case 'p':
            out->path = optarg;
            break;
        case 't':
            errno = 0;
            out->tokens = strtol(optarg, &end, 10);
            if (end == optarg || *end != '\0' || out->tokens < 0 || errno != 0) {
                fprintf(stderr, "hatchway: --tokens must be a whole number, got \"%s\"\n", optarg);
                return 3;
            }
            break;
        case 'T':
            out->at = optarg;
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

static const char *
role_name(const struct hw_decision *decision)
{
    int role = decision->traits.role;
    return role >= 0 ? decision->snapshot->roles[role].name : "none";
}

static void
print_text(const struct hw_decision *decision)
{
    const struct hw_snapshot *snapshot = decision->snapshot;
    const struct hw_traits *traits = &decision->traits;
    char why[256];

    printf("role     %s", role_name(decision));
    if (traits->role >= 0)
        printf(" (by %s%s%s%s, confidence %.2f)", hw_role_source_names[traits->role_source],
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
                   candidate->fallback   ? " (fallback)"
                   : candidate->overflow ? " (overflow)"
                                         : "",
                   candidate->expected_ms);
        else {
            hw_rank_why(snapshot, traits, candidate, why, sizeof(why));
            printf("not      %s: %s\n", name, why);
        }
    }
    if (decision->candidate_count == 0)
        printf("backend  none can answer: the query would get 503\n");
}

static void
print_json(const struct hw_decision *decision)
{
    cJSON *root = hw_decision_json(decision);
    char *text = cJSON_Print(root);

    puts(text != NULL ? text : "{}");
    free(text);
    cJSON_Delete(root);
}

/* Without a running gateway nothing is measured: priors, and everybody well. */
static void
decide_and_print(const struct options *options, const struct hw_classifier *classifier,
                 struct hw_decision *decision)
{
    const struct hw_snapshot *snapshot = decision->snapshot;
    struct hw_backend_view *views = hw_xcalloc(snapshot->backend_count + 1, sizeof(*views));

    for (size_t i = 0; i < snapshot->backend_count; i++) {
        hw_rank_prior(&snapshot->backends[i], &views[i]);
        views[i].up = true;
    }
    decision->views = views;
    hw_decide(classifier, decision);
    if (options->json)
        print_json(decision);
    else
        print_text(decision);
    hw_decision_free(decision);
    free(views);
}

int
hw_command_route(int argc, char **argv)
{
    struct options options;
    struct hw_decision decision = {0};
    struct hw_snapshot *snapshot = NULL;
    struct hw_classifier *classifier = NULL;
    struct hw_err err = {{0}};

    int status = read_options(argc, argv, &options);
    if (status != 0)
        return status - 1;
    if (hw_command_load(options.config, &snapshot) != 0)
        return 1;
    struct hw_question question = {.text = options.text,
                                   .model = options.model,
                                   .agent = options.agent,
                                   .lane = options.lane,
                                   .dialect = options.dialect,
                                   .path = options.path,
                                   .at = options.at,
                                   .tokens = options.tokens,
                                   .now_s = (int64_t)time(NULL)};
    decision.snapshot = snapshot;
    if (hw_question_traits(snapshot, &question, &decision.traits, &err) != 0 ||
        hw_classifier_create(snapshot, &classifier, &err) != 0) {
        fprintf(stderr, "hatchway: %s: %s\n", options.config, err.msg);
        status = 1;
    } else {
        decide_and_print(&options, classifier, &decision);
    }
    hw_classifier_destroy(&classifier);
    hw_snapshot_unref(snapshot);
    return status;
}
