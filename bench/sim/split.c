/* bench/sim/split.c - the fleet's claim: small specialists beside each other serve more than one
 * big model that takes all their GPUs.
 *
 * A specialist answers in 100 to 150 ms, the 14B model in 200 to 300, each one query at a time. The
 * big model does not care for roles; a specialist is only for its own, unless the policy lets those
 * that are idle help out. What that costs in quality no simulation tells. */
#include "bench/sim/split.h"

#include <stdio.h>
#include <stdlib.h>

#include "bench/sim/sim.h"
#include "hatchway/assert.h"

#define SPECIALIST(words, of)                                                                      \
    {                                                                                              \
        .name = words, .kind = HW_KIND_OLLAMA, .device = HW_DEVICE_CUDA, .slots = 1,               \
        .model = "llama3.1:8b", .role = of, .ttft_ms = 125, .prefill_bytes_s = 1e9,                \
        .decode_bytes_s = 1e9                                                                      \
    }

static const struct sim_place specialists[] = {SPECIALIST("redfin-0", "trading"),
                                               SPECIALIST("redfin-1", "legal"),
                                               SPECIALIST("bluefin", "code")};
static const struct sim_place big[] = {{.name = "big",
                                        .kind = HW_KIND_OLLAMA,
                                        .device = HW_DEVICE_CUDA,
                                        .slots = 1,
                                        .model = "qwen2.5:14b",
                                        .ttft_ms = 250,
                                        .prefill_bytes_s = 1e9,
                                        .decode_bytes_s = 1e9}};

#define ROLES "roles: { trading: , legal: , code: }\n"
static const char own[] =
    ROLES "routes:\n- { name: own, to: { role: same, by: latency }, overflow: wait }\n";
static const char helping[] =
    ROLES "routes:\n- { name: own, to: { role: same, by: latency }, overflow: { device: cuda } }\n";
static const char any[] = ROLES "routes:\n- { name: any, to: { by: latency } }\n";

static const struct {
    const char *name;
    const struct sim_place *places;
    size_t place_count;
    const char *policy;
    double shares[3];
} columns[] = {
    {"one 14B", big, 1, any, {1. / 3, 1. / 3, 1. / 3}},
    {"own role, even", specialists, 3, own, {1. / 3, 1. / 3, 1. / 3}},
    {"own role, 60/25/15", specialists, 3, own, {0.6, 0.25, 0.15}},
    {"own role, 80/10/10", specialists, 3, own, {0.8, 0.1, 0.1}},
    {"helping, any mix", specialists, 3, helping, {0.8, 0.1, 0.1}},
};
#define COLUMNS (sizeof(columns) / sizeof(columns[0]))

static const double rates_s[] = {1, 2, 3, 3.5, 4, 6, 8, 9, 10, 12, 14, 16, 18, 20, 22, 23};

void
sim_split_print(size_t query_count, uint64_t seed)
{
    struct sim_query *queries = hw_xcalloc(query_count, sizeof(*queries));

    printf("| queries/s |");
    for (size_t c = 0; c < COLUMNS; c++)
        printf(" %s |", columns[c].name);
    printf("\n| --- |");
    for (size_t c = 0; c < COLUMNS; c++)
        printf(" --- |");
    for (size_t r = 0; r < sizeof(rates_s) / sizeof(rates_s[0]); r++) {
        printf("\n| %g |", rates_s[r]);
        for (size_t c = 0; c < COLUMNS; c++) {
            struct sim_load load = {.rate_s = rates_s[r], .even_service = true};
            struct sim_result result;
            for (int i = 0; i < 3; i++)
                load.role_share[i] = columns[c].shares[i];
            sim_load_generate(&load, seed, queries, query_count);
            struct sim sim = {.places = columns[c].places,
                              .place_count = columns[c].place_count,
                              .policy = columns[c].policy,
                              .chooser = &sim_hatchway,
                              .queries = queries,
                              .query_count = query_count};
            sim_run(&sim, seed);
            sim_result_of(&sim, &result);
            if (result.mean_ms > 5000) /* the queue grows without end */
                printf(" %.1f/s |", result.throughput_s);
            else
                printf(" %.0f / %.0f |", result.mean_ms, result.p99_ms);
        }
    }
    printf("\n");
    free(queries);
}
