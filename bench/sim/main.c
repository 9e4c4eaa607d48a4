/* bench/sim/main.c - scenarios, and the table. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/sim/scenarios.h"
#include "bench/sim/split.h"
#include "hatchway/assert.h"

static const char help[] =
    "usage: simulate [--queries N] [--runs N] [--seed N] [--check | --split | --load FILE]\n"
    "\n"
    "Simulates the fleet and prints Markdown tables: mean and 99th percentile of the time to the\n"
    "complete answer, chosen by the gateway's policy code, by what others do, and by an oracle.\n"
    "The same seed gives the same tables.\n"
    "\n"
    "      --queries N   of each run (20000)\n"
    "      --runs N      of each scenario, with seeds N, N+1, ... (20)\n"
    "      --seed N      (1)\n"
    "      --split       the other table: three specialists on three GPUs, each for its own role "
    "or\n"
    "                    helping each other out, against one big model split over them\n"
    "      --load FILE   the fleet under a recorded load: bench/load_of_log.py makes FILE of a\n"
    "                    decision log\n"
    "      --check       exit 1 unless the policy is ahead of all others in every scenario\n"
    "  -h, --help        this text\n";

static const struct sim_chooser *const choosers[] = {
    &sim_round_robin,      &sim_least_connections, &sim_two_choices,
    &sim_smallest_latency, &sim_hatchway,          &sim_oracle,
};
#define CHOOSERS (sizeof(choosers) / sizeof(choosers[0]))
#define HATCHWAY 4
#define GROWS_MS 5000 /* a queue that only ends with the load */
#define ORACLE 5

struct options {
    size_t queries, runs;
    uint64_t seed;
    bool check, split;
    const char *load;
    struct sim_query *recorded; /* what is in it; NULL: generated */
    size_t recorded_count;
};

static struct sim_result
run_one(const struct sim_scenario *scenario, const struct sim_chooser *chooser,
        struct sim_query *queries, size_t count, uint64_t seed)
{
    struct sim_place places[SIM_PLACES_MAX];
    struct sim_result result;

    sim_scenario_places(scenario, queries[count - 1].arrive_ms, places);
    struct sim sim = {.places = places,
                      .place_count = scenario->place_count,
                      .chooser = chooser,
                      .queries = queries,
                      .query_count = count};
    sim_run(&sim, seed ^ 0x5eed);
    sim_result_of(&sim, &result);
    return result;
}

/* Mean over the runs of each run's figure; a recorded load is run once. */
static struct sim_result
run_all(const struct sim_scenario *scenario, const struct sim_chooser *chooser,
        const struct options *options)
{
    struct sim_result sum = {0};
    double runs = (double)options->runs;

    if (options->recorded != NULL)
        return run_one(scenario, chooser, options->recorded, options->recorded_count,
                       options->seed);
    struct sim_query *queries = hw_xcalloc(options->queries, sizeof(*queries));
    for (size_t run = 0; run < options->runs; run++) {
        uint64_t seed = options->seed + run;
        sim_load_generate(&scenario->load, seed, queries, options->queries);
        struct sim_result one = run_one(scenario, chooser, queries, options->queries, seed);
        sum.mean_ms += one.mean_ms / runs;
        sum.p50_ms += one.p50_ms / runs;
        sum.p99_ms += one.p99_ms / runs;
        sum.throughput_s += one.throughput_s / runs;
    }
    free(queries);
    return sum;
}

/* False: somebody else is ahead of the policy. */
static bool
compare(const struct sim_scenario *scenario, const struct options *options)
{
    struct sim_result results[CHOOSERS];
    bool ahead = true;

    printf("| %s |", scenario->name);
    for (size_t i = 0; i < CHOOSERS; i++) {
        results[i] = run_all(scenario, choosers[i], options);
        if (results[i].mean_ms > GROWS_MS)
            printf(" grows |");
        else
            printf(" %.0f / %.0f |", results[i].mean_ms, results[i].p99_ms);
        fflush(stdout);
    }
    const struct sim_result *mine = &results[HATCHWAY], *best = &results[ORACLE];
    printf(" %+.1f %% / %+.1f %% |\n", 100 * (mine->mean_ms / best->mean_ms - 1),
           100 * (mine->p99_ms / best->p99_ms - 1));
    for (size_t i = 0; i < HATCHWAY; i++)
        ahead = ahead && mine->mean_ms <= results[i].mean_ms && mine->p99_ms <= results[i].p99_ms;
    return ahead;
}

static int
read_options(int argc, char **argv, struct options *out)
{
    static const struct option options[] = {
        {"queries", required_argument, NULL, 'q'}, {"runs", required_argument, NULL, 'r'},
        {"seed", required_argument, NULL, 's'},    {"check", no_argument, NULL, 'c'},
        {"split", no_argument, NULL, 'p'},         {"load", required_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0}};
    int option;

    *out = (struct options){.queries = 20000, .runs = 20, .seed = 1};
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        unsigned long number = optarg != NULL ? strtoul(optarg, NULL, 10) : 0;
        if (option == 'q')
            out->queries = number;
        else if (option == 'r')
            out->runs = number;
        else if (option == 's')
            out->seed = number;
        else if (option == 'c')
            out->check = true;
        else if (option == 'l')
            out->load = optarg;
        else if (option == 'p')
            out->split = true;
        else {
            fputs(help, option == 'h' ? stdout : stderr);
            return option == 'h' ? 0 : 2;
        }
    }
    if (optind != argc || out->queries < 100 || out->queries > 10000000 || out->runs == 0) {
        fputs(help, stderr);
        return 2;
    }
    return -1;
}

static void
print_head(void)
{
    printf("| mean / p99, ms |");
    for (size_t i = 0; i < CHOOSERS; i++)
        printf(" %s |", choosers[i]->name);
    printf(" hatchway to oracle |\n| --- |");
    for (size_t i = 0; i <= CHOOSERS; i++)
        printf(" --- |");
    printf("\n");
}

static int
run_recorded(struct options *options)
{
    struct sim_scenario recorded = {.name = "recorded"};
    struct hw_err err;

    if (sim_load_read(options->load, &options->recorded, &options->recorded_count, &err) != 0) {
        fprintf(stderr, "simulate: %s\n", err.msg);
        return 1;
    }
    recorded.places = sim_fleet;
    recorded.place_count = sim_fleet_count;
    print_head();
    compare(&recorded, options);
    free(options->recorded);
    return 0;
}

int
main(int argc, char **argv)
{
    struct options options;
    bool ahead = true;

    int status = read_options(argc, argv, &options);
    if (status >= 0)
        return status;
    if (options.load != NULL)
        return run_recorded(&options);
    if (options.split) {
        sim_split_print(options.queries, options.seed);
        return 0;
    }
    print_head();
    for (size_t i = 0; i < sim_scenario_count; i++)
        ahead = compare(&sim_scenarios[i], &options) && ahead;
    return options.check && !ahead ? 1 : 0;
}
