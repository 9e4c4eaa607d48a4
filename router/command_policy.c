/* router/command_policy.c - `hatchway policy train` and `classify`: the learned classifier by hand,
 * on files. */
#include <errno.h>
#include <getopt.h>
#include <math.h>
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
    "usage: hatchway policy train --data JSONL --out MODEL [options]\n"
    "       hatchway policy classify --model MODEL --data JSONL [--timing]\n"
    "       hatchway policy diff OLD NEW --log FILE   (see hatchway policy diff --help)\n"
    "\n"
    "train learns to tell labels apart from rows {\"text\": \"...\", \"label\": \"...\"}; rows\n"
    "labelled \"-\" are examples of none of them.\n"
    "\n"
    "      --data FILE           the rows\n"
    "      --out FILE            where the model goes\n"
    "      --cross-validate K    first learn K times from all but a K-th part, and try that part\n"
    "      --abstain P%          share of texts like the rows that may be called none (2%)\n"
    "      --seed N              of the dice; the same seed gives the same model\n"
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
    const char *data, *out, *model;
    unsigned folds;
    bool timing;
    struct hw_learn_conf conf;
};

static int
refuse(const char *what, const char *value)
{
    fprintf(stderr, "hatchway: policy: %s, got '%s'; see hatchway policy --help\n", what, value);
    return 3;
}

static int
read_number_option(int option, const char *text, struct options *out)
{
    char *end;
    errno = 0;
    double number = strtod(text, &end);
    bool whole = errno == 0 && end != text && *end == '\0' && number >= 0 && number < 0x1p53 &&
                 floor(number) == number;

    if (option == 'a') {
        if (errno != 0 || end == text || strcmp(end, "%") != 0 || !(number >= 0 && number <= 50))
            return refuse("--abstain wants 0% to 50%", text);
        out->conf.abstain = (float)(number / 100);
    } else if (!whole) {
        return refuse("a whole number is wanted", text);
    } else if (option == 's') {
        out->conf.seed = (uint64_t)number;
    } else if (number < 2 || number > 20) {
        return refuse("--cross-validate wants 2 to 20", text);
    } else {
        out->folds = (unsigned)number;
    }
    return 0;
}

/* 0: go on; otherwise an exit status + 1. */
static int
read_options(int argc, char **argv, struct options *out)
{
    static const struct option options[] = {{"data", required_argument, NULL, 'd'},
                                            {"out", required_argument, NULL, 'o'},
                                            {"model", required_argument, NULL, 'm'},
                                            {"cross-validate", required_argument, NULL, 'k'},
                                            {"abstain", required_argument, NULL, 'a'},
                                            {"seed", required_argument, NULL, 's'},
                                            {"timing", no_argument, NULL, 't'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int option, rc = 0;

    *out = (struct options){.data = NULL};
    hw_learn_conf_init(&out->conf);
    optind = 1;
    while (rc == 0 && (option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (option) {
        case 'd':
            out->data = optarg;
            break;
        case 'o':
            out->out = optarg;
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
        case '?':
            return 3;
        default:
            rc = read_number_option(option, optarg, out);
            break;
        }
    }
    if (rc == 0 && optind != argc)
        rc = refuse("no argument is wanted here", argv[optind]);
    return rc;
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

/* --- train ----------------------------------------------------------------------------------- */

static int
add_row(struct hw_examples *examples, const struct hw_jsonl_row *row, const char *path,
        struct hw_err *err)
{
    int label = HW_LEARN_NONE, rc = 0;

    if (row->label == NULL)
        rc = hw_err_set(err, HW_EINVAL, "this row has no label");
    else if (strcmp(row->label, NONE_LABEL) != 0)
        rc = label = hw_examples_class(examples, row->label, strlen(row->label), err);
    if (rc >= 0)
        rc = hw_examples_add(examples, label, row->text, strlen(row->text), err);
    if (rc < 0)
        hw_err_prefix(err, "%s:%zu", path, row->line);
    return rc < 0 ? rc : 0;
}

static int
read_examples(const char *path, struct hw_examples *examples, struct hw_err *err)
{
    struct hw_jsonl *file = NULL;
    struct hw_jsonl_row row;
    int rc = hw_jsonl_open(path, &file, err);

    while (rc == 0 && (rc = hw_jsonl_next(file, &row, err)) == 1)
        rc = add_row(examples, &row, path, err);
    hw_jsonl_close(&file);
    if (rc == 0 && hw_examples_classes(examples) == 0)
        rc = hw_err_set(err, HW_EINVAL, "%s: no row has a label", path);
    return rc < 0 ? rc : hw_examples_hint_names(examples, err);
}

static int
cross_validate(const struct options *options, const struct hw_examples *examples,
               struct hw_err *err)
{
    size_t classes = hw_examples_classes(examples);
    struct hw_learn_report report = {.class_tried = hw_xcalloc(classes, sizeof(uint32_t)),
                                     .class_right = hw_xcalloc(classes, sizeof(uint32_t))};
    int rc = hw_learn_validate(examples, &options->conf, options->folds, &report, err);

    if (rc == 0) {
        printf("cross-validated in %u parts, %zu rows: accuracy %.1f %%; with the threshold "
               "%.1f %% kept right, %.1f %% called none\n",
               options->folds, report.tried, 100 * report.accuracy, 100 * report.kept,
               100 * report.refused);
        for (size_t c = 0; c < classes; c++)
            printf("  %-32s %5u rows  %5.1f %% right\n", hw_examples_label(examples, (int)c),
                   report.class_tried[c],
                   report.class_tried[c] > 0 ? 100.0 * report.class_right[c] / report.class_tried[c]
                                             : 0.0);
    }
    free(report.class_tried);
    free(report.class_right);
    return rc;
}

/* Beside the file first: a reader never meets half a model. */
static int
write_file(const char *path, const struct hw_buf *bytes, struct hw_err *err)
{
    char beside[4096];
    int len = snprintf(beside, sizeof(beside), "%s.part", path);

    if (len < 0 || (size_t)len >= sizeof(beside))
        return hw_err_set(err, HW_EINVAL, "%s: this path is too long", path);
    FILE *file = fopen(beside, "we");
    bool ok = file != NULL && fwrite(bytes->data, 1, bytes->len, file) == bytes->len;
    if (file != NULL)
        ok = (fclose(file) == 0) && ok;
    if (ok && rename(beside, path) == 0)
        return 0;
    int saved = errno;
    if (file != NULL)
        remove(beside);
    return hw_err_set(err, HW_EIO, "%s: cannot be written: %s", path, strerror(saved));
}

static int
save(const struct hw_learned *learned, const char *path, struct hw_err *err)
{
    struct hw_buf bytes;

    hw_buf_init(&bytes, HW_LEARNED_FILE_MAX);
    int rc = hw_learned_write(learned, &bytes);
    if (rc != 0)
        hw_err_set(err, rc, "no memory for the model's file");
    else
        rc = write_file(path, &bytes, err);
    hw_buf_free(&bytes);
    return rc;
}

static int
train(const struct options *options)
{
    struct hw_examples *examples = hw_examples_create(options->conf.bits);
    struct hw_learned *learned = NULL;
    struct hw_err err = {{0}};
    double start = 0;

    int rc = read_examples(options->data, examples, &err);
    if (rc == 0 && options->folds > 0)
        rc = cross_validate(options, examples, &err);
    if (rc == 0) {
        start = now_s();
        rc = hw_learn(examples, &options->conf, &learned, &err);
    }
    if (rc == 0)
        rc = save(learned, options->out, &err);
    if (rc == 0)
        printf("%s: %zu labels from %zu examples, learned in %.2f s\n", options->out,
               hw_learned_classes(learned),
               hw_examples_count(examples) - hw_examples_classes(examples), now_s() - start);
    hw_learned_destroy(&learned);
    hw_examples_destroy(&examples);
    return rc == 0 ? 0 : fail(&err);
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
    bool trains = strcmp(verb, "train") == 0;
    if (!trains && strcmp(verb, "classify") != 0) {
        if (*verb != '\0')
            fprintf(stderr, "hatchway: policy has no command '%s'\n\n", verb);
        fputs(help, stderr);
        return 2;
    }
    int status = read_options(argc - 1, argv + 1, &options);
    if (status != 0)
        return status - 1;
    if (options.data == NULL || (trains ? options.out : options.model) == NULL) {
        fprintf(stderr, "hatchway: policy %s wants --data and %s; see hatchway policy --help\n",
                verb, trains ? "--out" : "--model");
        return 2;
    }
    return trains ? train(&options) : classify(&options);
}
