/* router/command_policy.c - `hatchway policy classify`: the learned classifier by hand, on files.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "config/jsonl.h"
#include "hatchway/assert.h"
#include "policies/learn.h"
#include "router/commands.h"

#define NONE_LABEL "-"
#define COLD_BYTES (64u << 20)

static const char help[] =
    "usage: hatchway policy train --data JSONL --out MODEL   (see hatchway policy train --help)\n"
    "       hatchway policy classify --model MODEL --data JSONL [--timing]\n"
    "       hatchway policy diff OLD NEW --log FILE   (see hatchway policy diff --help)\n"
    "       hatchway policy test FILE                 (see hatchway policy test --help)\n"
    "\n"
    "classify prints a line a row, in order: label, tab, confidence. The label is - for none of\n"
    "those learned; then the nearest one follows in a third column. Rows that have a label are\n"
    "compared with it, and the result goes to stderr.\n"
    "\n"
    "      --model FILE          what train wrote\n"
    "      --data FILE           the rows; a label is not needed\n"
    "      --timing              what a classification costs, to stderr\n"
    "  -h, --help                this text\n";

struct options {
    const char *data, *model;
    bool timing;
};

/* 0: go on; otherwise an exit status + 1. */
static int
read_options(int argc, char **argv, struct options *out)
{
    static const struct option options[] = {{"data", required_argument, NULL, 'd'},
                                            {"model", required_argument, NULL, 'm'},
                                            {"timing", no_argument, NULL, 't'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int option;

    *out = (struct options){.data = NULL};
    optind = 1;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (option) {
        case 'd':
            out->data = optarg;
            break;
        case 'm':
            out->model = optarg;
            break;
        case 't':
            out->timing = true;
            break;
        case 'h':
            fputs(help, stdout);
            return 1;
        default:
            return 3;
        }
    }
    if (optind == argc)
        return 0;
    fprintf(stderr,
            "hatchway: policy: no argument is wanted here, got '%s'; see hatchway policy --help\n",
            argv[optind]);
    return 3;
}

static int
fail(const struct hw_err *err)
{
    fprintf(stderr, "hatchway: %s\n", err->msg);
    return 1;
}

static double
now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* --- classify -------------------------------------------------------------------------------- */

static int
load_model(const char *path, struct hw_learned **out, struct hw_err *err)
{
    struct hw_buf bytes;
    size_t got = 1;
    FILE *file = fopen(path, "re");

    if (file == NULL)
        return hw_err_set(err, HW_EIO, "%s: cannot be read: %s", path, strerror(errno));
    hw_buf_init(&bytes, HW_LEARNED_FILE_MAX + 1);
    int rc = 0;
    while (rc == 0 && got > 0 && (rc = hw_buf_reserve(&bytes, 65536)) == 0) {
        got = fread(bytes.data + bytes.len, 1, 65536, file);
        bytes.len += got;
    }
    fclose(file);
    if (rc != 0)
        hw_err_set(err, rc, "the file is too large for a model");
    else
        rc = hw_learned_read(bytes.data, bytes.len, out, err);
    if (rc != 0)
        hw_err_prefix(err, "%s", path);
    hw_buf_free(&bytes);
    return rc;
}

struct tally {
    size_t rows, labelled, nearest_right, kept_right, refused;
    double hot_us, cold_us, read_bytes;
    char *spoiler; /* COLD_BYTES; NULL: no timing */
};

/* The same text twice more: once after everything has been swept from the caches, once at once. */
static void
time_row(const struct hw_learned *learned, const char *text, struct tally *tally)
{
    struct hw_learned_answer answer;
    size_t len = strlen(text);

    if (tally->rows % 16 == 0) { /* sweeping takes a while */
        memset(tally->spoiler, (int)tally->rows, COLD_BYTES);
        double start = now_s();
        hw_learned_answer(learned, text, len, &answer);
        tally->cold_us += (now_s() - start) * 1e6 * 16;
    }
    double start = now_s();
    for (int i = 0; i < 8; i++)
        hw_learned_answer(learned, text, len, &answer);
    tally->hot_us += (now_s() - start) * 1e6 / 8;
    tally->read_bytes += (double)len;
}

static void
classify_row(const struct hw_learned *learned, const struct hw_jsonl_row *row, struct tally *tally)
{
    struct hw_learned_answer answer;

    hw_learned_answer(learned, row->text, strlen(row->text), &answer);
    const char *nearest = answer.label >= 0 ? hw_learned_label(learned, answer.label) : NONE_LABEL;
    if (answer.known)
        printf("%s\t%.6f\n", nearest, (double)answer.confidence);
    else
        printf("%s\t%.6f\t%s\n", NONE_LABEL, (double)answer.confidence, nearest);
    if (tally->spoiler != NULL)
        time_row(learned, row->text, tally);
    tally->rows++;
    tally->refused += !answer.known;
    if (row->label == NULL)
        return;
    tally->labelled++;
    tally->nearest_right += strcmp(row->label, nearest) == 0;
    tally->kept_right += strcmp(row->label, answer.known ? nearest : NONE_LABEL) == 0;
}

static void
print_tally(const struct tally *tally)
{
    double rows = tally->rows > 0 ? (double)tally->rows : 1;
    double labelled = tally->labelled > 0 ? (double)tally->labelled : 1;

    if (tally->labelled > 0)
        fprintf(stderr,
                "%zu rows: nearest label right in %.1f %%, answer right in %.1f %%, called none: "
                "%.1f %%\n",
                tally->rows, 100 * (double)tally->nearest_right / labelled,
                100 * (double)tally->kept_right / labelled, 100 * (double)tally->refused / rows);
    if (tally->spoiler != NULL)
        fprintf(stderr, "mean of %.0f bytes: %.2f us hot, %.2f us cold\n", tally->read_bytes / rows,
                tally->hot_us / rows, tally->cold_us / rows);
}

static int
classify(const struct options *options)
{
    struct hw_learned *learned = NULL;
    struct hw_jsonl *file = NULL;
    struct hw_jsonl_row row;
    struct hw_err err = {{0}};
    struct tally tally = {.rows = 0};

    int rc = load_model(options->model, &learned, &err);
    if (rc == 0)
        rc = hw_jsonl_open(options->data, &file, &err);
    if (options->timing)
        tally.spoiler = hw_xcalloc(COLD_BYTES, 1);
    while (rc == 0 && (rc = hw_jsonl_next(file, &row, &err)) == 1) {
        classify_row(learned, &row, &tally);
        rc = 0;
    }
    hw_jsonl_close(&file);
    hw_learned_destroy(&learned);
    if (rc == 0)
        print_tally(&tally);
    free(tally.spoiler);
    if (rc == 0 && fflush(stdout) != 0)
        rc = hw_err_set(&err, HW_EIO, "standard output: %s", strerror(errno));
    return rc == 0 ? 0 : fail(&err);
}

int
hw_command_policy(int argc, char **argv)
{
    struct options options;
    const char *verb = argc > 1 ? argv[1] : "";

    if (strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0) {
        fputs(help, stdout);
        return 0;
    }
    if (strcmp(verb, "diff") == 0)
        return hw_command_policy_diff(argc - 1, argv + 1);
    if (strcmp(verb, "test") == 0)
        return hw_command_policy_test(argc - 1, argv + 1);
    if (strcmp(verb, "train") == 0)
        return hw_command_policy_train(argc - 1, argv + 1);
    if (strcmp(verb, "classify") != 0) {
        if (*verb != '\0')
            fprintf(stderr, "hatchway: policy has no command '%s'\n\n", verb);
        fputs(help, stderr);
        return 2;
    }
    int status = read_options(argc - 1, argv + 1, &options);
    if (status != 0)
        return status - 1;
    if (options.data == NULL || options.model == NULL) {
        fprintf(stderr,
                "hatchway: policy classify wants --data and --model; see hatchway policy --help\n");
        return 2;
    }
    return classify(&options);
}
