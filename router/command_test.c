/* router/command_test.c - `hatchway policy test`: expectations beside a policy, held against it.
 *
 * Every backend counts as well (but for those that an expectation calls down) and as fast as its
 * kind and device usually are; nothing is random. So a test says the same on every machine. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "config/expectations.h"
#include "hatchway/assert.h"
#include "router/commands.h"
#include "router/explain.h"
#include "router/question.h"

#define ARENA_MAX ((size_t)16 << 20)
#define NONE "none" /* no role, no route, no backend */

static const char help[] =
    "usage: hatchway policy test FILE [-c POLICY] [--verbose]\n"
    "\n"
    "Holds the expectations in FILE (YAML; docs/policy.md) against the configuration it names, or\n"
    "that it stands beside: fleet.test.yaml is for fleet.yaml. Sends nothing. Each failure says\n"
    "where it stands, what happened, and why.\n"
    "\n"
    "  -c, --config FILE    another configuration\n"
    "      --verbose        what happened to the others, too\n"
    "  -h, --help           this text\n"
    "\n"
    "Exit status: 0 all hold, 1 one does not or a file cannot be used, 2 usage.\n";

struct run {
    const char *path; /* of the expectations */
    const struct hw_expectations *expectations;
    const struct hw_snapshot *snapshot;
    const struct hw_classifier *classifier;
    struct hw_backend_view *views;
    bool verbose;
    int64_t now_s;
};

/* One expectation: what happened, and how many of its parts did not hold. */
struct trial {
    const struct run *run;
    const struct hw_expectation *item;
    struct hw_asked asked;
    struct hw_decision decision;
    unsigned failures;
};

static void __attribute__((format(printf, 4, 5)))
complain(struct trial *trial, uint32_t line, uint32_t column, const char *fmt, ...)
{
    va_list ap;

    trial->failures++;
    printf("%s:%u:%u: ", trial->run->path, (unsigned)line, (unsigned)column);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
}

/* --- names ----------------------------------------------------------------------------------- */

enum what { ROUTE, ROLE, BACKEND };
static const char *const what_words[] = {"route", "role", "backend"};

/* Index in the policy; -1: none; -2: the policy has no such thing. */
static int
find_name(const struct hw_snapshot *snapshot, enum what what, const char *name)
{
    int i = -1;

    if (what == ROLE)
        i = hw_snapshot_role(snapshot, name, strlen(name));
    else if (what == BACKEND)
        i = hw_snapshot_backend(snapshot, name, strlen(name));
    else
        for (size_t r = 0; r < snapshot->route_count && i < 0; r++)
            if (strcmp(snapshot->routes[r].name, name) == 0)
                i = (int)r;
    return i >= 0 ? i : strcmp(name, NONE) == 0 ? -1 : -2;
}

static const char *
name_of(const struct hw_snapshot *snapshot, enum what what, int i)
{
    if (i < 0)
        return NONE;
    return what == ROLE    ? snapshot->roles[i].name
           : what == ROUTE ? snapshot->routes[i].name
                           : snapshot->backends[i].name;
}

static void
complain_of_name(struct trial *trial, enum what what, const struct hw_expected_name *name)
{
    const struct hw_snapshot *snapshot = trial->run->snapshot;
    size_t count = what == ROLE    ? snapshot->role_count
                   : what == ROUTE ? snapshot->route_count
                                   : snapshot->backend_count;
    const char **words = hw_xcalloc(count + 1, sizeof(*words));

    for (size_t i = 0; i < count; i++)
        words[i] = name_of(snapshot, what, (int)i);
    const char *near = hw_nearest_word(name->text, words);
    if (near != NULL)
        complain(trial, name->line, name->column,
                 "the policy has no %s '%.64s'; did you mean '%s'?", what_words[what], name->text,
                 near);
    else
        complain(trial, name->line, name->column, "the policy has no %s '%.64s'", what_words[what],
                 name->text);
    free(words);
}

/* --- what is expected ------------------------------------------------------------------------ */

/* "trading or legal" */
static void
join(const struct hw_expected_names *names, char *out, size_t size)
{
    size_t used = 0;

    out[0] = '\0';
    for (size_t i = 0; i < names->count && used + 1 < size; i++) {
        int n = snprintf(out + used, size - used, "%s%s",
                         i == 0                  ? ""
                         : i + 1 == names->count ? " or "
                                                 : ", ",
                         names->items[i].text);
        used += n > 0 ? (size_t)n : 0;
    }
}

static void
expect_one_of(struct trial *trial, enum what what, const struct hw_expected_names *names, int is)
{
    char wanted[400];

    for (size_t i = 0; i < names->count; i++) {
        int index = find_name(trial->run->snapshot, what, names->items[i].text);
        if (index == -2) {
            complain_of_name(trial, what, &names->items[i]);
            return;
        }
        if (index == is)
            return;
    }
    if (names->count == 0)
        return;
    join(names, wanted, sizeof(wanted));
    complain(trial, names->items[0].line, names->items[0].column, "%s is %s, expected %s",
             what_words[what], name_of(trial->run->snapshot, what, is), wanted);
}

static void
expect_not(struct trial *trial, enum what what, const struct hw_expected_names *names, int is)
{
    for (size_t i = 0; i < names->count; i++) {
        const struct hw_expected_name *name = &names->items[i];
        int index = find_name(trial->run->snapshot, what, name->text);
        if (index == -2)
            complain_of_name(trial, what, name);
        else if (index == is)
            complain(trial, name->line, name->column, "%s is %s, which it must not be",
                     what_words[what], name->text);
    }
}

/* Not even when all that come before it have failed. */
static void
expect_never(struct trial *trial, const struct hw_expected_names *names)
{
    const struct hw_decision *decision = &trial->decision;

    for (size_t i = 0; i < names->count; i++) {
        const struct hw_expected_name *name = &names->items[i];
        int index = find_name(trial->run->snapshot, BACKEND, name->text);
        if (index == -2)
            complain_of_name(trial, BACKEND, name);
        for (size_t c = 0; index >= 0 && c < decision->candidate_count; c++)
            if ((int)decision->candidates[c].backend == index)
                complain(trial, name->line, name->column,
                         "backend %s may be tried (it is candidate %zu), which must not be",
                         name->text, c + 1);
    }
}

static bool
would_be_kept(const struct trial *trial)
{
    const struct hw_query *query = &trial->asked.query;
    const struct hw_snapshot *snapshot = trial->run->snapshot;

    if (trial->decision.route < 0 || !query->keepable)
        return false;
    enum hw_keep keep = snapshot->routes[trial->decision.route].cache;
    return keep == HW_KEEP_ALL || (keep == HW_KEEP_DETERMINISTIC && query->deterministic);
}

static void
judge(struct trial *trial)
{
    const struct hw_expectation *item = trial->item;
    const struct hw_decision *decision = &trial->decision;
    int first = decision->candidate_count > 0 ? (int)decision->candidates[0].backend : -1;

    expect_one_of(trial, ROLE, &item->expect.role, decision->traits.role);
    expect_one_of(trial, ROUTE, &item->expect.route, decision->route);
    expect_one_of(trial, BACKEND, &item->expect.backend, first);
    expect_not(trial, ROLE, &item->not_expect.role, decision->traits.role);
    expect_not(trial, ROUTE, &item->not_expect.route, decision->route);
    expect_never(trial, &item->not_expect.backend);
    if (item->cache != HW_EXPECT_CACHE_ANY &&
        (item->cache == HW_EXPECT_CACHE_YES) != would_be_kept(trial))
        complain(trial, item->line, item->column, "its answer would %sbe kept, expected cache: %s",
                 would_be_kept(trial) ? "" : "not ",
                 item->cache == HW_EXPECT_CACHE_YES ? "true" : "false");
}

/* --- running --------------------------------------------------------------------------------- */

static void
print_query(const struct trial *trial)
{
    const char *text = trial->item->query != NULL ? trial->item->query : trial->item->body;
    size_t len = strcspn(text, "\r\n");

    printf("    %.*s%s\n", (int)(len < 100 ? len : 100), text,
           len < 100 && text[len] == '\0' ? "" : "...");
}

static void
set_down(struct trial *trial)
{
    const struct run *run = trial->run;

    for (size_t i = 0; i < run->snapshot->backend_count; i++)
        run->views[i].up = true;
    for (size_t i = 0; i < trial->item->down.count; i++) {
        int index = find_name(run->snapshot, BACKEND, trial->item->down.items[i].text);
        if (index >= 0)
            run->views[index].up = false;
        else
            complain_of_name(trial, BACKEND, &trial->item->down.items[i]);
    }
}

static int
read_question(struct trial *trial, struct hw_question *question, struct hw_arena *arena,
              struct hw_err *err)
{
    const struct hw_expectation *item = trial->item;
    int rc = 0;

    *question =
        (struct hw_question){.text = item->query,
                             .body = item->body,
                             .body_len = item->body != NULL ? strlen(item->body) : 0,
                             .model = item->model,
                             .role = item->role,
                             .agent = item->agent,
                             .lane = item->lane,
                             .dialect = item->dialect,
                             .path = item->path,
                             .at = item->at != NULL ? item->at : trial->run->expectations->at,
                             .tokens = item->tokens,
                             .now_s = trial->run->now_s};
    for (size_t i = 0; i < item->header_count && rc == 0; i++)
        rc = hw_question_add_header(question, item->headers[i].name, item->headers[i].value, arena,
                                    err);
    return rc == 0 ? hw_question_read(trial->run->snapshot, question, arena, &trial->asked, err)
                   : rc;
}

/* False: it does not hold. */
static bool
try_item(const struct run *run, const struct hw_expectation *item)
{
    struct trial trial = {.run = run, .item = item};
    struct hw_question question;
    struct hw_err err = {{0}};
    struct hw_arena arena;

    hw_arena_init(&arena, ARENA_MAX);
    set_down(&trial);
    if (read_question(&trial, &question, &arena, &err) != 0) {
        complain(&trial, item->line, item->column, "it cannot be asked: %s", err.msg);
        print_query(&trial);
    } else {
        trial.decision = (struct hw_decision){.snapshot = run->snapshot,
                                              .traits = trial.asked.traits,
                                              .conversation = trial.asked.conversation,
                                              .views = run->views};
        hw_decide(run->classifier, &trial.decision);
        judge(&trial);
        if (run->verbose && trial.failures == 0)
            printf("%s:%u:%u: holds\n", run->path, (unsigned)item->line, (unsigned)item->column);
        if (run->verbose || trial.failures > 0) {
            print_query(&trial);
            hw_decision_print(&trial.decision, "    ", stdout);
        }
        hw_decision_free(&trial.decision);
    }
    hw_arena_free(&arena);
    return trial.failures == 0;
}

static int
run_all(struct run *run, const char *policy)
{
    struct hw_classifier *classifier = NULL;
    struct hw_err err = {{0}};
    size_t count = run->expectations->count, failed = 0;

    if (hw_classifier_create(run->snapshot, &classifier, &err) != 0) {
        fprintf(stderr, "hatchway: %s: %s\n", policy, err.msg);
        return 1;
    }
    run->classifier = classifier;
    run->views = hw_xcalloc(run->snapshot->backend_count + 1, sizeof(*run->views));
    for (size_t i = 0; i < run->snapshot->backend_count; i++)
        hw_rank_prior(&run->snapshot->backends[i], &run->views[i]);
    for (size_t i = 0; i < count; i++)
        failed += !try_item(run, &run->expectations->items[i]);
    if (failed == 0)
        printf("%s: all %zu expectations hold for %s\n", run->path, count, policy);
    else
        printf("%s: %zu of %zu expectations fail for %s\n", run->path, failed, count, policy);
    free(run->views);
    hw_classifier_destroy(&classifier);
    return failed == 0 ? 0 : 1;
}

static int
load(const char *path, struct hw_expectations **out)
{
    struct hw_diags diags = {0};
    char text[640];
    int rc = hw_expectations_load(path, out, &diags);

    for (size_t i = 0; i < diags.count; i++) {
        hw_diag_format(&diags.items[i], path, text, sizeof(text));
        fprintf(stderr, "hatchway: %s\n", text);
    }
    hw_diags_free(&diags);
    return rc;
}

int
hw_command_policy_test(int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"verbose", no_argument, NULL, 'v'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct run run = {.now_s = (int64_t)time(NULL)};
    struct hw_expectations *expectations = NULL;
    struct hw_snapshot *snapshot = NULL;
    const char *policy = NULL;
    int option, status = 1;

    optind = 1;
    while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(help, stdout);
            return 0;
        }
        if (option == 'c')
            policy = optarg;
        else if (option == 'v')
            run.verbose = true;
        else
            return 2;
    }
    if (optind + 1 != argc) {
        fputs(help, stderr);
        return 2;
    }
    run.path = argv[optind];
    if (load(run.path, &expectations) != 0)
        return 1;
    policy = policy != NULL ? policy : expectations->policy;
    if (hw_command_load(policy, &snapshot) == 0) {
        run.expectations = expectations;
        run.snapshot = snapshot;
        status = run_all(&run, policy);
        hw_snapshot_unref(snapshot);
    }
    hw_expectations_free(&expectations);
    if (fflush(stdout) != 0)
        status = 1;
    return status;
}
