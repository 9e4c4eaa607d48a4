/* router/command_diff.c - `hatchway policy diff`: recorded queries through two policies. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/load.h"
#include "router/commands.h"
#include "router/diff.h"
#include "router/record_file.h"

#define LOGS_MAX 64

static const char help[] =
    "usage: hatchway policy diff OLD NEW --log FILE [--log FILE ...] [--json]\n"
    "\n"
    "Replays a decision log through two configurations, with the gateway's own policy code: which\n"
    "queries move, from where to where, and what that does to each backend's load and to the time\n"
    "that answers are expected to take. Backends count as well, and as fast as the log measured\n"
    "them. What the log does not tell enough of is counted, never guessed.\n"
    "\n"
    "      --log FILE    a decision log (docs/decision-log.md); several in the order of their "
    "time\n"
    "      --json        machine-readable\n"
    "  -h, --help        this text\n"
    "\n"
    "Exit status: 0 replayed, 1 a file cannot be used, 2 usage.\n";

struct options {
    const char *policies[2];
    const char *logs[LOGS_MAX];
    size_t log_count;
    bool json;
};

/* 0: go on; otherwise an exit status + 1. */
static int
read_options(int argc, char **argv, struct options *out)
{
    static const struct option options[] = {{"log", required_argument, NULL, 'l'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int option;

    *out = (struct options){.json = false};
    optind = 1;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(help, stdout);
            return 1;
        }
        if (option == 'j')
            out->json = true;
        else if (option == 'l' && out->log_count < LOGS_MAX)
            out->logs[out->log_count++] = optarg;
        else
            return 3;
    }
    if (optind + 2 != argc || out->log_count == 0) {
        fprintf(stderr, "hatchway: policy diff wants two configurations and --log FILE; see "
                        "hatchway policy diff --help\n");
        return 3;
    }
    out->policies[0] = argv[optind];
    out->policies[1] = argv[optind + 1];
    return 0;
}

/* One pass over all logs. Lines that are no records are counted where diff is not NULL. */
typedef void on_record(void *ctx, const struct hw_record *record);

static int
read_logs(const struct options *options, struct hw_diff *diff, on_record *on_one, void *ctx,
          struct hw_err *err)
{
    struct hw_record record;
    int rc = 0;

    for (size_t i = 0; i < options->log_count && rc == 0; i++) {
        struct hw_record_file *file = NULL;
        rc = hw_record_file_open(options->logs[i], &file, err);
        while (rc == 0 && (rc = hw_record_file_next(file, &record, err)) != 0) {
            if (rc == 1) {
                on_one(ctx, &record);
            } else if (rc != HW_EINVAL) {
                break;
            } else if (diff != NULL && diff->unreadable++ == 0) {
                snprintf(diff->first_unreadable, sizeof(diff->first_unreadable), "%s", err->msg);
            }
            rc = 0;
        }
        hw_record_file_close(&file);
    }
    return rc;
}

struct first_pass {
    struct hw_figures *figures;
    const struct hw_snapshot *const *snapshots;
};

static void
learn_record(void *ctx, const struct hw_record *record)
{
    struct first_pass *pass = ctx;
    hw_figures_learn(pass->figures, record, pass->snapshots, 2);
}

struct second_pass {
    struct hw_diff *diff;
    struct hw_player *players[2];
};

static void
replay_record(void *ctx, const struct hw_record *record)
{
    struct second_pass *pass = ctx;
    struct hw_replayed replayed[2];

    for (int i = 0; i < 2; i++)
        hw_player_decide(pass->players[i], record, &replayed[i]);
    if (!hw_diff_add(pass->diff, record, &replayed[0], &replayed[1]))
        return;
    for (int i = 0; i < 2; i++)
        hw_player_send(pass->players[i], record, &replayed[i]);
}

static int
nothing_there(const struct hw_diff *diff, struct hw_err *err)
{
    if (diff->unreadable > 0)
        return hw_err_set(err, HW_EINVAL, "%s", diff->first_unreadable);
    return hw_err_set(err, HW_EINVAL, "the log has no queries: is `decisions` on?");
}

static int
replay(const struct options *options, const struct hw_snapshot *const *snapshots,
       struct hw_err *err)
{
    struct hw_figures figures = {0};
    struct hw_diff diff;
    struct first_pass first = {&figures, snapshots};
    struct second_pass second = {&diff, {NULL, NULL}};

    hw_diff_init(&diff, snapshots[0], snapshots[1]);
    diff.figures = &figures;
    int rc = read_logs(options, NULL, learn_record, &first, err);
    for (int i = 0; i < 2 && rc == 0; i++)
        rc = hw_player_create(snapshots[i], &figures, &second.players[i], err);
    if (rc == 0)
        rc = read_logs(options, &diff, replay_record, &second, err);
    if (rc == 0 && diff.queries == 0)
        rc = nothing_there(&diff, err);
    if (rc == 0) {
        diff.old_loads = hw_player_finish(second.players[0], &diff.old_all);
        diff.new_loads = hw_player_finish(second.players[1], &diff.new_all);
        hw_diff_sort(&diff);
        (options->json ? hw_diff_print_json : hw_diff_print)(&diff, stdout);
        if (fflush(stdout) != 0)
            rc = hw_err_set(err, HW_EIO, "standard output: %s", strerror(errno));
    }
    for (int i = 0; i < 2; i++)
        hw_player_destroy(&second.players[i]);
    hw_diff_free(&diff);
    hw_figures_free(&figures);
    return rc;
}

int
hw_command_policy_diff(int argc, char **argv)
{
    struct hw_snapshot *snapshots[2] = {NULL, NULL};
    struct options options;
    struct hw_err err = {{0}};
    int status = read_options(argc, argv, &options);

    if (status != 0)
        return status - 1;
    for (int i = 0; i < 2; i++)
        if (hw_command_load(options.policies[i], &snapshots[i]) != 0)
            status = 1;
    if (status == 0 && replay(&options, (const struct hw_snapshot *const *)snapshots, &err) != 0) {
        fprintf(stderr, "hatchway: %s\n", err.msg);
        status = 1;
    }
    for (int i = 0; i < 2; i++)
        hw_snapshot_unref(snapshots[i]);
    return status;
}
