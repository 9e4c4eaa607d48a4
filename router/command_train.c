/* router/command_train.c - `hatchway policy train`: what a policy would learn from files, and what
 * that is worth. */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "config/jsonl.h"
#include "hatchway/assert.h"
#include "policies/difficulty.h"
#include "router/command_train.h"
#include "router/commands.h"

#define NONE_LABEL "-"

static const char help[] =
    "usage: hatchway policy train --data JSONL --out MODEL [options]\n"
    "       hatchway policy train (--data JSONL | -c POLICY) --log FILE [--log FILE ...] "
    "[options]\n"
    "       hatchway policy train --difficulty --data JSONL [--try JSONL]\n"
    "\n"
    "Learns to tell labels apart from rows {\"text\": \"...\", \"label\": \"...\"}; rows labelled\n"
    "\"-\" are examples of none of them.\n"
    "\n"
    "      --data FILE           the rows\n"
    "      --out FILE            where the model goes\n"
    "      --cross-validate K    first learn K times from all but a K-th part, and try that part\n"
    "      --abstain P%          share of texts like the rows that may be called none (2%)\n"
    "      --seed N              of the dice; the same seed gives the same model\n"
    "\n"
    "With --log: learns also from what a decision log has without labels. Queries that a model of\n"
    "the examples is surest of get its label, and it learns from those too, over and over. Prints\n"
    "the share that is right without and with them, measured on examples left out of both, and\n"
    "writes only what is asked for.\n"
    "\n"
    "      --log FILE            a decision log with `text: full` or `features`\n"
    "  -c, --config FILE         the examples are those of this policy's roles\n"
    "      --rows FILE           the queries that were labelled go there, to be looked through "
    "and\n"
    "                            named by a policy's examples_file (wants `text: full`)\n"
    "      --out FILE            the model that was learned from both goes there\n"
    "      --share P%            of the queries at most so many are learned from (60%)\n"
    "      --confidence P%       less sure labels are not (0%)\n"
    "\n"
    "With --difficulty: learns which queries need the strong model, from rows {\"text\": \"...\",\n"
    "\"weak\": 0.0, \"strong\": 1.0} that say how well each model answered, and prints what "
    "sending\n"
    "the most difficult queries to the strong model gains, by cross-validation. It writes "
    "nothing:\n"
    "a policy learns when it is loaded, from difficulty: { examples_file: FILE }.\n"
    "\n"
    "      --try FILE            other rows, to try it on\n"
    "  -h, --help                this text\n";

static int
refuse(const char *what, const char *value)
{
    fprintf(stderr, "hatchway: policy: %s, got '%s'; see hatchway policy train --help\n", what,
            value);
    return 3;
}

static int
read_number_option(int option, const char *text, struct hw_train_options *out)
{
    char *end;
    errno = 0;
    double number = strtod(text, &end);
    bool whole = errno == 0 && end != text && *end == '\0' && number >= 0 && number < 0x1p53 &&
                 floor(number) == number;

    bool percent = errno == 0 && end != text && strcmp(end, "%") == 0 && number >= 0;

    if (option == 'a') {
        if (!percent || number > 50)
            return refuse("--abstain wants 0% to 50%", text);
        out->conf.abstain = (float)(number / 100);
    } else if (option == 'n') {
        if (!percent || number < 1 || number > 100)
            return refuse("--share wants 1% to 100%", text);
        out->self.share = (float)(number / 100);
    } else if (option == 'f') {
        if (!percent || number > 99)
            return refuse("--confidence wants 0% to 99%", text);
        out->self.confidence = (float)(number / 100);
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
read_options(int argc, char **argv, struct hw_train_options *out)
{
    static const struct option options[] = {{"data", required_argument, NULL, 'd'},
                                            {"out", required_argument, NULL, 'o'},
                                            {"try", required_argument, NULL, 'm'},
                                            {"cross-validate", required_argument, NULL, 'k'},
                                            {"abstain", required_argument, NULL, 'a'},
                                            {"seed", required_argument, NULL, 's'},
                                            {"log", required_argument, NULL, 'l'},
                                            {"config", required_argument, NULL, 'c'},
                                            {"rows", required_argument, NULL, 'r'},
                                            {"share", required_argument, NULL, 'n'},
                                            {"confidence", required_argument, NULL, 'f'},
                                            {"difficulty", no_argument, NULL, 't'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int option, rc = 0;

    *out = (struct hw_train_options){.data = NULL};
    hw_learn_conf_init(&out->conf);
    hw_learn_self_conf_init(&out->self);
    optind = 1;
    while (rc == 0 && (option = getopt_long(argc, argv, "hc:", options, NULL)) != -1) {
        switch (option) {
        case 'd':
            out->data = optarg;
            break;
        case 'o':
            out->out = optarg;
            break;
        case 'c':
            out->policy = optarg;
            break;
        case 'r':
            out->rows = optarg;
            break;
        case 'l':
            if (out->log_count == HW_TRAIN_LOGS_MAX)
                rc = refuse("too many logs", optarg);
            else
                out->logs[out->log_count++] = optarg;
            break;
        case 'm':
            out->try = optarg;
            break;
        case 't':
            out->difficulty = true;
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

int
hw_train_read_examples(const char *path, struct hw_examples *examples, struct hw_err *err)
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
cross_validate(const struct hw_train_options *options, const struct hw_examples *examples,
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

int
hw_train_write_file(const char *path, const struct hw_buf *bytes, struct hw_err *err)
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

int
hw_train_save(const struct hw_learned *learned, const char *path, struct hw_err *err)
{
    struct hw_buf bytes;

    hw_buf_init(&bytes, HW_LEARNED_FILE_MAX);
    int rc = hw_learned_write(learned, &bytes);
    if (rc != 0)
        hw_err_set(err, rc, "no memory for the model's file");
    else
        rc = hw_train_write_file(path, &bytes, err);
    hw_buf_free(&bytes);
    return rc;
}

static int
train(const struct hw_train_options *options)
{
    struct hw_examples *examples = hw_examples_create(options->conf.bits);
    struct hw_learned *learned = NULL;
    struct hw_err err = {{0}};
    double start = 0;

    int rc = hw_train_read_examples(options->data, examples, &err);
    if (rc == 0 && options->folds > 0)
        rc = cross_validate(options, examples, &err);
    if (rc == 0) {
        start = now_s();
        rc = hw_learn(examples, &options->conf, &learned, &err);
    }
    if (rc == 0)
        rc = hw_train_save(learned, options->out, &err);
    if (rc == 0)
        printf("%s: %zu labels from %zu examples, learned in %.2f s\n", options->out,
               hw_learned_classes(learned),
               hw_examples_count(examples) - hw_examples_classes(examples), now_s() - start);
    hw_learned_destroy(&learned);
    hw_examples_destroy(&examples);
    return rc == 0 ? 0 : fail(&err);
}

/* --- difficulty ------------------------------------------------------------------------------ */

static int
read_outcomes(const char *path, struct hw_outcomes *outcomes, struct hw_err *err)
{
    struct hw_jsonl *file = NULL;
    struct hw_jsonl_row row;
    int rc = hw_jsonl_open(path, &file, err);

    while (rc == 0 && (rc = hw_jsonl_next(file, &row, err)) == 1) {
        rc = row.has_outcome
                 ? hw_outcomes_add(outcomes, row.text, strlen(row.text), (float)row.weak,
                                   (float)row.strong, err)
                 : hw_err_set(err, HW_EINVAL, "this row has no \"weak\" and \"strong\"");
        if (rc != 0)
            hw_err_prefix(err, "%s:%zu", path, row.line);
    }
    hw_jsonl_close(&file);
    return rc;
}

static void
print_difficulty(const char *how, const struct hw_difficulty_report *report)
{
    double gain = report->strong - report->weak;

    printf("%s, %zu rows: weak %.1f %% right, strong %.1f %%; gain over all shares %.3f "
           "(dice 0.500)\n",
           how, report->tried, 100 * report->weak, 100 * report->strong, report->area);
    for (size_t i = 0; i < HW_DIFFICULTY_SHARES; i++)
        printf("  %3zu %% to the strong model: %.1f %% right, %3.0f %% of what it can gain\n",
               100 * i / (HW_DIFFICULTY_SHARES - 1), 100 * report->at[i],
               gain > 0 ? 100 * (report->at[i] - report->weak) / gain : 0.0);
}

static int
train_difficulty(const struct hw_train_options *options)
{
    struct hw_outcomes *outcomes = hw_outcomes_create(), *others = hw_outcomes_create();
    struct hw_difficulty *difficulty = NULL;
    struct hw_difficulty_report report;
    struct hw_err err = {{0}};

    int rc = read_outcomes(options->data, outcomes, &err);
    if (rc == 0 && options->try != NULL)
        rc = read_outcomes(options->try, others, &err);
    if (rc == 0) {
        rc = hw_difficulty_learn(outcomes, &difficulty, &report, &err);
        if (rc != 0)
            hw_err_prefix(&err, "%s", options->data);
    }
    if (rc == 0)
        print_difficulty("cross-validated", &report);
    if (rc == 0 && options->try != NULL) {
        rc = hw_difficulty_try(difficulty, others, &report, &err);
        if (rc == 0)
            print_difficulty(options->try, &report);
        else
            hw_err_prefix(&err, "%s", options->try);
    }
    hw_difficulty_destroy(&difficulty);
    hw_outcomes_destroy(&outcomes);
    hw_outcomes_destroy(&others);
    return rc == 0 ? 0 : fail(&err);
}

/* NULL: nothing. */
static const char *
what_is_wrong(const struct hw_train_options *options)
{
    if (options->log_count > 0) {
        if ((options->data == NULL) == (options->policy == NULL))
            return "--log wants the examples to begin with: either --data or -c";
        return options->difficulty ? "learns difficulty from --data, not from --log" : NULL;
    }
    if (options->policy != NULL || options->rows != NULL)
        return "wants --log with -c and --rows";
    if (options->data == NULL || (options->out == NULL) != options->difficulty)
        return "wants --data, and either --out, --log or --difficulty";
    return NULL;
}

int
hw_command_policy_train(int argc, char **argv)
{
    struct hw_train_options options;
    int status = read_options(argc, argv, &options);

    if (status != 0)
        return status - 1;
    const char *wrong = what_is_wrong(&options);
    if (wrong != NULL) {
        fprintf(stderr, "hatchway: policy train %s; see hatchway policy train --help\n", wrong);
        return 2;
    }
    if (options.log_count > 0) {
        struct hw_err err = {{0}};
        return hw_train_from_log(&options, &err) == 0 ? 0 : fail(&err);
    }
    return options.difficulty ? train_difficulty(&options) : train(&options);
}
