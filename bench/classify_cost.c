/* bench/classify_cost.c - what it costs to read a query's role, by its length.
 *
 * Hot: sixteen different texts in turn, again and again. The cold figures are one text after every
 * line of a buffer of 96 MiB has been read (a memset may pass the caches by). "All cold" is that:
 * weights, code, stack and page tables are in memory only. "Weights cold" reads the same text with
 * a twin of the model in between, which has its own weights: the code is there again, as in a
 * gateway that does other work between two queries. A round is timed by its wall clock, for the CPU
 * clock costs as much as a short text; the least and the median leave out what else ran. */
#include <getopt.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/measure.h"
#include "bench/policy_yaml.h"
#include "config/jsonl.h"
#include "hatchway/assert.h"
#include "policies/classify.h"
#include "policies/learn.h"

#define SPOILER_BYTES (96u * 1024 * 1024)
#define LINE_BYTES 64
#define TEXTS 16
#define TEXT_MAX (100u * 1024)
#define CORPUS_BYTES (2 * TEXT_MAX)
#define ROUNDS_MAX 2000
#define REPEAT 4 /* a round is all texts as often */

static const char help[] =
    "usage: classify_cost [--data DIR] [--quick] [--within FACTOR]\n"
    "\n"
    "Prints what reading a query's role costs, hot and cold, as a Markdown table.\n"
    "\n"
    "      --data DIR        of the hwu64_* files (bench/data/classify)\n"
    "      --quick           fewer rounds\n"
    "      --within FACTOR   exit 1 when a median is above FACTOR times its bound\n"
    "  -h, --help            this text\n";

struct bench {
    const char *data;
    unsigned rounds, cold_rounds;
    double within;
    bool missed;
    char *spoiler;
    char corpus[CORPUS_BYTES + 1]; /* real sentences, one behind the other */
};

/* What is measured, the roles of a policy or a model by itself, and its twin. */
struct subject {
    struct hw_snapshot *snapshot;
    struct hw_classifier *classifiers[2];
    struct hw_learned *learned[2];
};

/* --- measuring --- */

static void
classify(const struct subject *subject, int twin, const char *text, size_t len)
{
    struct hw_traits traits = {.text = text, .text_len = len, .asked_role = -1};
    struct hw_learned_answer answer;

    if (subject->snapshot != NULL)
        hw_classify(subject->classifiers[twin], &traits);
    else
        hw_learned_answer(subject->learned[twin], text, len, &answer);
}

static const char *
text_at(const struct bench *bench, unsigned i)
{
    return bench->corpus + (i % TEXTS) * (CORPUS_BYTES - TEXT_MAX) / TEXTS;
}

static struct hw_bench_figure
measure_hot(const struct bench *bench, const struct subject *subject, size_t len)
{
    static double values[ROUNDS_MAX];

    for (unsigned round = 0; round < bench->rounds; round++) {
        double start = hw_bench_wall_us();
        for (unsigned i = 0; i < REPEAT * TEXTS; i++)
            classify(subject, 0, text_at(bench, i), len);
        values[round] = (hw_bench_wall_us() - start) / (REPEAT * TEXTS);
    }
    return hw_bench_figure_of(values, bench->rounds);
}

static void
sweep(const char *spoiler)
{
    for (size_t i = 0; i < SPOILER_BYTES; i += LINE_BYTES)
        (void)((const volatile char *)spoiler)[i];
}

static struct hw_bench_figure
measure_cold(const struct bench *bench, const struct subject *subject, size_t len, bool twin)
{
    static double values[ROUNDS_MAX];

    for (unsigned round = 0; round < bench->cold_rounds; round++) {
        sweep(bench->spoiler);
        if (twin)
            classify(subject, 1, text_at(bench, round), len);
        double start = hw_bench_wall_us();
        classify(subject, 0, text_at(bench, round), len);
        values[round] = hw_bench_wall_us() - start;
    }
    return hw_bench_figure_of(values, bench->cold_rounds);
}

/* bound NAN: nobody has set one. */
static void
print_figure(struct bench *bench, struct hw_bench_figure figure, double bound)
{
    bool missed = !isnan(bound) && figure.median > bound * bench->within;

    bench->missed |= missed;
    printf(" %.2f | %.2f |", figure.least, figure.median);
    if (!isnan(bound))
        printf(" %g%s |", bound, missed ? " missed" : "");
}

static void
bench_lengths(struct bench *bench, const struct subject *subject, const char *what)
{
    static const struct {
        const char *name;
        size_t len;
    } lengths[] = {{"60 bytes", 60}, {"200 bytes", 200}, {"500 bytes", 500},
                   {"1 KB", 1000},   {"4 KB", 4000},     {"100 KB", TEXT_MAX}};
    static const double short_bounds[] = {1.5, 8}, bounds[] = {12, 25}; /* hot, cold */

    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        size_t len = lengths[i].len;
        const double *bound = len <= 60 ? short_bounds : bounds;
        printf("| %s, %s |", what, lengths[i].name);
        print_figure(bench, measure_hot(bench, subject, len), bound[0]);
        print_figure(bench, measure_cold(bench, subject, len, true), bound[1]);
        print_figure(bench, measure_cold(bench, subject, len, false), NAN);
        printf("\n");
        fflush(stdout);
    }
}

/* --- what is tried --- */

static void
bench_policy(struct bench *bench)
{
    struct subject subject = {NULL};
    struct hw_err err;
    char path[600];

    snprintf(path, sizeof(path), "%s/hwu64_role.train.jsonl", bench->data);
    struct hw_bench_policy wanted = {
        .routes = 1, .backends = 1, .roles = 10, .examples = 100, .data = path};
    if (hw_bench_policy_load(&wanted, &subject.snapshot, &err) != 0 ||
        hw_classifier_create(subject.snapshot, &subject.classifiers[0], &err) != 0 ||
        hw_classifier_create(subject.snapshot, &subject.classifiers[1], &err) != 0)
        hw_bench_fail(&err);
    bench_lengths(bench, &subject, "10 roles");
    hw_classifier_destroy(&subject.classifiers[0]);
    hw_classifier_destroy(&subject.classifiers[1]);
    hw_snapshot_unref(subject.snapshot);
}

static void
bench_intents(struct bench *bench)
{
    struct subject subject = {NULL};
    struct hw_learn_conf conf;
    struct hw_err err;
    struct hw_jsonl *file;
    struct hw_jsonl_row row;
    char path[600];
    int rc;

    hw_learn_conf_init(&conf);
    struct hw_examples *examples = hw_examples_create(conf.bits);
    HW_ASSERT(examples != NULL);
    snprintf(path, sizeof(path), "%s/hwu64_intent.train10.jsonl", bench->data);
    if (hw_jsonl_open(path, &file, &err) != 0)
        hw_bench_fail(&err);
    while ((rc = hw_jsonl_next(file, &row, &err)) == 1) {
        int class = hw_examples_class(examples, row.label, strlen(row.label), &err);
        if (class < 0 || hw_examples_add(examples, class, row.text, strlen(row.text), &err) != 0)
            hw_bench_fail(&err);
    }
    hw_jsonl_close(&file);
    if (rc < 0 || hw_learn(examples, &conf, &subject.learned[0], &err) != 0 ||
        hw_learn(examples, &conf, &subject.learned[1], &err) != 0)
        hw_bench_fail(&err);
    hw_examples_destroy(&examples);
    bench_lengths(bench, &subject, "64 intents");
    hw_learned_destroy(&subject.learned[0]);
    hw_learned_destroy(&subject.learned[1]);
}

static int
read_options(int argc, char **argv, struct bench *bench)
{
    static const struct option options[] = {{"data", required_argument, NULL, 'd'},
                                            {"quick", no_argument, NULL, 'q'},
                                            {"within", required_argument, NULL, 'w'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int option;

    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'd') {
            bench->data = optarg;
        } else if (option == 'q') {
            bench->rounds = 50;
            bench->cold_rounds = 5;
        } else if (option == 'w') {
            bench->within = strtod(optarg, NULL);
        } else {
            fputs(help, option == 'h' ? stdout : stderr);
            return option == 'h' ? 0 : 2;
        }
    }
    if (optind != argc || !(bench->within > 0)) {
        fputs(help, stderr);
        return 2;
    }
    return -1;
}

int
main(int argc, char **argv)
{
    static struct bench bench = {
        .data = "bench/data/classify", .rounds = 200, .cold_rounds = 100, .within = 1};
    int status = read_options(argc, argv, &bench);

    if (status >= 0)
        return status;
    bench.spoiler = hw_xcalloc(SPOILER_BYTES, 1);
    memset(bench.spoiler, 1, SPOILER_BYTES); /* or all of it is one page of zeros */
    hw_bench_read_text(bench.data, bench.corpus, sizeof(bench.corpus));
    printf("| us | hot, least | median | bound | weights cold, least | median | bound "
           "| all cold, least | median |\n"
           "| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
    bench_policy(&bench);
    bench_intents(&bench);
    free(bench.spoiler);
    return bench.missed ? 1 : 0;
}
