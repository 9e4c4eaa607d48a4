/* bench/policy.c - what a decision costs: classify, match a route, rank the candidates.
 * (bench/classify_cost.c has more on the first.)
 *
 * Each figure is the CPU time of this thread, the least and the median of many rounds; "cold" is
 * one decision after everything has been swept from the caches. The queries are real sentences,
 * one behind the other up to the length wanted; none of the routes fits them but the last, so that
 * all conditions of all routes are tried. */
#include <getopt.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/measure.h"
#include "bench/policy_yaml.h"
#include "hatchway/assert.h"
#include "policies/classify.h"
#include "policies/rank.h"
#include "policies/route.h"

#define SPOILER_BYTES (96u * 1024 * 1024)
#define ROUNDS_MAX 2000
#define TEXT_MAX (100u * 1024)
#define BACKENDS_MAX 256

static const char help[] =
    "usage: policy [--data DIR] [--quick] [--within FACTOR]\n"
    "\n"
    "Prints what a decision costs, as a Markdown table.\n"
    "\n"
    "      --data DIR        of hwu64_role.train.jsonl and hwu64_role.test.jsonl\n"
    "                        (bench/data/classify)\n"
    "      --quick           fewer rounds\n"
    "      --within FACTOR   exit 1 when a median is above FACTOR times its bound\n"
    "  -h, --help            this text\n";

struct bench {
    char data[512];
    unsigned rounds, cold_rounds;
    double within;
    unsigned missed;
    char *spoiler;
    char text[TEXT_MAX + 1]; /* real sentences */
};

/* One policy, made ready, and the query it decides on. */
struct subject {
    struct hw_snapshot *snapshot;
    struct hw_classifier *classifier;
    struct hw_backend_view views[BACKENDS_MAX];
    struct hw_candidate candidates[BACKENDS_MAX];
    struct hw_traits traits;
};

typedef void step(struct subject *subject);

static double
cpu_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec * 1e-3;
}

/* --- the query --- */

static const char *
find_header(void *ctx, const char *name, size_t *len)
{
    static const struct {
        const char *name, *value;
    } headers[] = {
        {"host", "127.0.0.1:8080"},           {"user-agent", "agent/1.0"}, {"accept", "*/*"},
        {"content-type", "application/json"}, {"content-length", "300"},   {"x-request-id", "1"},
    };

    (void)ctx;
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        if (strcmp(headers[i].name, name) == 0) {
            *len = strlen(headers[i].value);
            return headers[i].value;
        }
    }
    return NULL;
}

static void
ask(struct subject *subject, struct bench *bench, size_t len)
{
    static char text[TEXT_MAX + 1];

    memcpy(text, bench->text, len);
    text[len] = '\0';
    subject->traits = (struct hw_traits){
        .dialect = "openai",
        .model = "auto",
        .text = text,
        .text_len = len,
        .prompt_bytes = len,
        .prompt_tokens = hw_estimate_tokens(len) < 8192 ? hw_estimate_tokens(len) : 8192,
        .path = "/v1/chat/completions",
        .header = find_header,
        .now_s = 1785585600, /* a Saturday, noon */
        .asked_role = -1,
    };
}

/* --- what is measured --- */

static void
step_classify(struct subject *subject)
{
    hw_classify(subject->classifier, &subject->traits);
}

static void
step_match(struct subject *subject)
{
    if (hw_route_match(subject->snapshot, &subject->traits) !=
        (int)subject->snapshot->route_count - 1)
        HW_ASSERT(!"only the last route fits");
}

static void
step_rank(struct subject *subject)
{
    struct hw_rank_input input = {
        .snapshot = subject->snapshot,
        .route = &subject->snapshot->routes[subject->snapshot->route_count - 1],
        .traits = &subject->traits,
        .views = subject->views,
        .dice = 12345,
    };

    if (hw_rank(&input, subject->candidates) == 0)
        HW_ASSERT(!"there are candidates");
}

static void
step_decide(struct subject *subject)
{
    step_classify(subject);
    step_match(subject);
    step_rank(subject);
}

static struct hw_bench_figure
measure(struct bench *bench, struct subject *subject, step *run)
{
    static double values[ROUNDS_MAX];
    const int repeat = 16; /* the clock itself costs a third of a microsecond */

    for (unsigned round = 0; round < bench->rounds; round++) {
        double start = cpu_us();
        for (int i = 0; i < repeat; i++)
            run(subject);
        values[round] = (cpu_us() - start) / repeat;
    }
    return hw_bench_figure_of(values, bench->rounds);
}

static struct hw_bench_figure
measure_cold(struct bench *bench, struct subject *subject, step *run)
{
    static double values[ROUNDS_MAX];

    for (unsigned round = 0; round < bench->cold_rounds; round++) {
        memset(bench->spoiler, (int)round, SPOILER_BYTES);
        double start = hw_bench_wall_us();
        run(subject);
        values[round] = hw_bench_wall_us() - start;
    }
    return hw_bench_figure_of(values, bench->cold_rounds);
}

/* bound NAN: a figure that nobody has set a bound for. */
static void
report(struct bench *bench, const char *what, struct hw_bench_figure figure, double bound,
       const char *unit)
{
    char text[32] = "";

    if (!isnan(bound))
        snprintf(text, sizeof(text), "%g", bound);
    bool missed = !isnan(bound) && figure.median > bound * bench->within;
    bench->missed += missed;
    printf("| %s | %.2f | %.2f | %s | %s |%s\n", what, figure.least, figure.median, text, unit,
           missed ? " missed" : "");
    fflush(stdout);
}

/* --- the policies --- */

static void
load(const struct bench *bench, struct hw_bench_policy wanted, struct subject *subject)
{
    struct hw_err err;
    char path[600];

    snprintf(path, sizeof(path), "%s/hwu64_role.train.jsonl", bench->data);
    wanted.data = path;
    *subject = (struct subject){.snapshot = NULL};
    if (hw_bench_policy_load(&wanted, &subject->snapshot, &err) != 0 ||
        hw_classifier_create(subject->snapshot, &subject->classifier, &err) != 0)
        hw_bench_fail(&err);
    for (size_t i = 0; i < wanted.backends; i++) {
        hw_rank_prior(&subject->snapshot->backends[i], &subject->views[i]);
        subject->views[i].up = i % 11 != 3;
        subject->views[i].inflight = (uint32_t)(i * 7 % 5);
    }
}

static void
unload(struct subject *subject)
{
    hw_classifier_destroy(&subject->classifier);
    hw_snapshot_unref(subject->snapshot);
}

static void
bench_decisions(struct bench *bench)
{
    static struct subject subject;

    load(bench, (struct hw_bench_policy){.routes = 20, .backends = 12, .roles = 10, .examples = 20},
         &subject);
    ask(&subject, bench, 200);
    report(bench, "decide: 200 bytes, 20 routes, 12 backends, 10 roles",
           measure(bench, &subject, step_decide), 20, "us");
    report(bench, "... of that: classify", measure(bench, &subject, step_classify), NAN, "us");
    report(bench, "... match", measure(bench, &subject, step_match), NAN, "us");
    report(bench, "... rank", measure(bench, &subject, step_rank), NAN, "us");
    report(bench, "... all of it cold", measure_cold(bench, &subject, step_decide), NAN, "us");
    ask(&subject, bench, TEXT_MAX);
    report(bench, "decide: 100 KB", measure(bench, &subject, step_decide), 300, "us");
    unload(&subject);

    load(bench,
         (struct hw_bench_policy){.routes = 1000, .backends = 100, .roles = 10, .examples = 20},
         &subject);
    ask(&subject, bench, 200);
    report(bench, "decide: 200 bytes, 1,000 routes, 100 backends",
           measure(bench, &subject, step_decide), 60, "us");
    report(bench, "... of that: match", measure(bench, &subject, step_match), NAN, "us");
    report(bench, "... rank", measure(bench, &subject, step_rank), NAN, "us");
    ask(&subject, bench, TEXT_MAX);
    report(bench, "decide: 100 KB, 1,000 routes, 100 backends",
           measure(bench, &subject, step_decide), NAN, "us");
    unload(&subject);
}

static void
bench_training(struct bench *bench)
{
    static struct subject subject;
    struct hw_err err;
    double values[5];

    load(bench, (struct hw_bench_policy){.routes = 1, .backends = 1, .roles = 10, .examples = 100},
         &subject);
    size_t count = bench->rounds < 100 ? 1 : 5;
    for (size_t i = 0; i < count; i++) {
        hw_classifier_destroy(&subject.classifier);
        double start = cpu_us();
        if (hw_classifier_create(subject.snapshot, &subject.classifier, &err) != 0)
            hw_bench_fail(&err);
        values[i] = (cpu_us() - start) / 1e6;
    }
    report(bench, "train: 1,000 examples of 10 roles", hw_bench_figure_of(values, count), 0.5, "s");
    unload(&subject);
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
            snprintf(bench->data, sizeof(bench->data), "%s", optarg);
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
    static struct bench bench = {.data = "bench/data/classify", .rounds = 500, .cold_rounds = 100};

    bench.within = 1;
    int status = read_options(argc, argv, &bench);
    if (status >= 0)
        return status;
    bench.spoiler = hw_xcalloc(SPOILER_BYTES, 1);
    hw_bench_read_text(bench.data, bench.text, sizeof(bench.text));
    printf("| | least | median | bound | |\n| --- | --- | --- | --- | --- |\n");
    bench_decisions(&bench);
    bench_training(&bench);
    free(bench.spoiler);
    return bench.missed > 0 ? 1 : 0;
}
