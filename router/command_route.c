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
#include "router/commands.h"
#include "router/explain.h"
#include "router/question.h"

#define ARENA_MAX ((size_t)256 << 20)
#define BODY_MAX ((size_t)64 << 20)

static const char help[] =
    "usage: hatchway route -c FILE [options] \"query\"\n"
    "       hatchway route -c FILE [options] --body FILE\n"
    "\n"
    "Says where the policy in FILE would send a query, and why. Sends nothing; speeds are the "
    "priors\n"
    "of each backend's kind and device.\n"
    "\n"
    "  -c, --config FILE    the YAML (default: config/hatchway.yaml)\n"
    "      --body FILE      a whole request body as JSON, instead of the text alone; -: stdin\n"
    "      --model NAME     as the agent would ask for it (default: auto, or the body's)\n"
    "      --role NAME      as x-hatchway-role would say it\n"
    "      --agent NAME     who asks\n"
    "      --lane LANE      realtime, interactive or background\n"
    "      --dialect NAME   openai (default), ollama, anthropic or bdh\n"
    "      --path PATH      of the request, e.g. /v1/completions (default: the dialect's chat)\n"
    "      --header H       \"name: value\"; may stand several times\n"
    "      --tokens N       prompt size, instead of an estimate from the text\n"
    "      --at TIME        as if it were then, by the policy's clock: 03:00, \"sat 14:30\" or\n"
    "                       2026-11-21T03:00\n"
    "      --json           machine-readable\n"
    "  -h, --help           this text\n";

struct options {
    const char *config, *body;
    struct hw_question question;
    struct hw_arena arena; /* what the question points into */
    bool json;
};

static int
usage(const char *what, const char *value)
{
    fprintf(stderr, "hatchway: %s, got \"%s\"; see hatchway route --help\n", what, value);
    return 3;
}

static int
read_tokens(const char *text, int64_t *out)
{
    char *end;

    errno = 0;
    *out = strtol(text, &end, 10);
    if (end == text || *end != '\0' || *out < 0 || errno != 0)
        return usage("--tokens must be a whole number", text);
    return 0;
}

/* "name: value" */
static int
read_header(const char *text, struct options *out)
{
    struct hw_err err;
    size_t len = strcspn(text, ":");
    char name[128];

    if (len == 0 || text[len] == '\0' || len >= sizeof(name))
        return usage("--header must be \"name: value\"", text);
    memcpy(name, text, len);
    name[len] = '\0';
    text += len + 1;
    text += strspn(text, " \t");
    if (hw_question_add_header(&out->question, name, text, &out->arena, &err) != 0)
        return usage(err.msg, text);
    return 0;
}

static int
read_option(int option, struct options *out)
{
    struct hw_question *question = &out->question;
    const struct {
        int option;
        const char **text;
    } texts[] = {
        {'c', &out->config},       {'b', &out->body},       {'m', &question->model},
        {'r', &question->role},    {'a', &question->agent}, {'l', &question->lane},
        {'d', &question->dialect}, {'p', &question->path},  {'T', &question->at},
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (texts[i].option == option) {
            *texts[i].text = optarg;
            return 0;
        }
    switch (option) {
    case 't':
        return read_tokens(optarg, &question->tokens);
    case 'H':
        return read_header(optarg, out);
    case 'j':
        out->json = true;
        return 0;
    case 'h':
        fputs(help, stdout);
        return 1;
    default:
        fputs(help, stderr);
        return 3;
    }
}

/* 0: go on; otherwise an exit status + 1. */
static int
read_options(int argc, char **argv, struct options *out)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},  {"body", required_argument, NULL, 'b'},
        {"model", required_argument, NULL, 'm'},   {"role", required_argument, NULL, 'r'},
        {"agent", required_argument, NULL, 'a'},   {"lane", required_argument, NULL, 'l'},
        {"dialect", required_argument, NULL, 'd'}, {"path", required_argument, NULL, 'p'},
        {"header", required_argument, NULL, 'H'},  {"tokens", required_argument, NULL, 't'},
        {"at", required_argument, NULL, 'T'},      {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0}};
    int option;

    out->config = "config/hatchway.yaml";
    out->question = (struct hw_question){.tokens = -1, .now_s = (int64_t)time(NULL)};
    optind = 1;
    while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
        int status = read_option(option, out);
        if (status != 0)
            return status;
    }
    if (optind + (out->body == NULL) != argc) {
        fputs(help, stderr);
        return 3;
    }
    out->question.text = argv[optind]; /* NULL beside a body */
    return 0;
}

/* --- the answer ------------------------------------------------------------------------------ */

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
        hw_decision_print(decision, "", stdout);
    hw_decision_free(decision);
    free(views);
}

static int
read_body(const char *path, struct hw_buf *out, struct hw_err *err)
{
    bool stdin_meant = strcmp(path, "-") == 0;
    FILE *file = stdin_meant ? stdin : fopen(path, "re");
    size_t got = 1;
    int rc = 0;

    if (file == NULL)
        return hw_err_set(err, HW_EIO, "%s: cannot be read: %s", path, strerror(errno));
    while (rc == 0 && got > 0 && (rc = hw_buf_reserve(out, 65536)) == 0) {
        got = fread(out->data + out->len, 1, 65536, file);
        out->len += got;
    }
    if (rc != 0)
        rc = hw_err_set(err, HW_ELIMIT, "%s: it has more than %zu bytes", path, BODY_MAX);
    else if (ferror(file))
        rc = hw_err_set(err, HW_EIO, "%s: cannot be read: %s", path, strerror(errno));
    if (!stdin_meant)
        fclose(file);
    return rc;
}

static int
route(struct options *options, const struct hw_snapshot *snapshot, struct hw_err *err)
{
    struct hw_decision decision = {.snapshot = snapshot};
    struct hw_classifier *classifier = NULL;
    struct hw_asked asked;
    struct hw_buf body;

    hw_buf_init(&body, BODY_MAX);
    int rc = options->body != NULL ? read_body(options->body, &body, err) : 0;
    if (options->body != NULL) {
        options->question.body = body.data;
        options->question.body_len = body.len;
    }
    if (rc == 0)
        rc = hw_question_read(snapshot, &options->question, &options->arena, &asked, err);
    if (rc == 0)
        rc = hw_classifier_create(snapshot, &classifier, err);
    if (rc == 0) {
        decision.traits = asked.traits;
        decision.conversation = asked.conversation;
        decide_and_print(options, classifier, &decision);
    }
    hw_classifier_destroy(&classifier);
    hw_buf_free(&body);
    return rc;
}

int
hw_command_route(int argc, char **argv)
{
    struct hw_snapshot *snapshot = NULL;
    struct options options = {.json = false};
    struct hw_err err = {{0}};

    hw_arena_init(&options.arena, ARENA_MAX);
    int status = read_options(argc, argv, &options);
    if (status != 0) {
        status--;
    } else if (hw_command_load(options.config, &snapshot) != 0) {
        status = 1;
    } else if (route(&options, snapshot, &err) != 0) {
        fprintf(stderr, "hatchway: %s: %s\n", options.config, err.msg);
        status = 1;
    }
    hw_snapshot_unref(snapshot);
    hw_arena_free(&options.arena);
    return status;
}
