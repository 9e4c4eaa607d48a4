/* bench/sim/sim.h - a fleet, simulated: queries arrive, wait, are answered; nothing is really sent.
 *
 * place: a backend of the fleet as it really is (its true speed, when it is slow, when it is dead).
 * chooser: who decides where a query goes. One of them is the gateway's own policy code, which is
 * told no more than the gateway would be; one is an oracle, which is told everything.
 *
 * A place works on `slots` queries at a time, each at full speed; what comes beyond waits at the
 * place, first come first served. A chooser may also let a query wait at the gateway and give it to
 * whichever of some places has room first. Times are milliseconds since the beginning. */
#ifndef HW_BENCH_SIM_H
#define HW_BENCH_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/snapshot.h"
#include "hatchway/err.h"

#define SIM_PLACES_MAX 16
#define SIM_SLOTS_MAX 8
#define SIM_WAIT (-1)
#define SIM_NONE UINT32_MAX

struct sim_place {
    char name[32];
    enum hw_kind kind;
    enum hw_device device;
    uint32_t slots;
    const char *model, *role; /* role NULL: general */
    bool backup;              /* asked when nobody else is there (peers); quality -1 (the policy) */
    double ttft_ms, prefill_bytes_s, decode_bytes_s;
    double slow_from_ms, slow_to_ms,
        slow_factor;                 /* from..to: everything takes so many times as long */
    double dead_from_ms, dead_to_ms; /* from..to: cuts what it works on, refuses the rest */
};

struct sim_query {
    double arrive_ms, done_ms;
    uint32_t prompt_bytes, output_bytes;
    double noise;      /* its own factor on all times */
    int role;          /* -1: none */
    uint32_t avoid;    /* places that have failed it, a bit each */
    uint32_t wait_for; /* places whose room it waits for at the gateway */
    uint32_t next;     /* in a queue; SIM_NONE: the last */
};

struct sim_dice {
    uint64_t state;
};
uint64_t sim_dice_next(struct sim_dice *dice);
double sim_dice_uniform(struct sim_dice *dice); /* 0 < u < 1 */
double sim_dice_exponential(struct sim_dice *dice, double mean);
double sim_dice_normal(struct sim_dice *dice);

/* --- load (load.c) --- */

struct sim_load {
    double rate_s;       /* queries a second, on average */
    double burst_factor; /* 1: Poisson; else the rate is this many times as high ... */
    double burst_share;  /* ... in this share of the time, by turns of burst_ms on average */
    double burst_ms;
    double prompt_bytes, prompt_sigma; /* log-normal: median, sigma */
    double output_bytes, output_sigma;
    double noise_sigma;
    double role_share[3]; /* roles 0 to 2; all 0: no roles */
    bool even_service;    /* instead of sizes: the place's ttft_ms x uniform 0.8 to 1.2 is all */
};
void sim_load_generate(const struct sim_load *load, uint64_t seed, struct sim_query *queries,
                       size_t count);

/* Recorded: lines of "milliseconds, prompt bytes, answer bytes", in the order of their times. On 0
 * the caller frees *queries. */
int sim_load_read(const char *path, struct sim_query **queries, size_t *count, struct hw_err *err);

/* --- the run (run.c) --- */

struct sim_working {
    uint32_t query; /* SIM_NONE: the slot is free */
    double begin_ms, first_ms;
    uint64_t ticket; /* of its end: a cut query's end is old news */
};

struct sim_state { /* of a place, in the course of a run */
    struct sim_working working[SIM_SLOTS_MAX];
    uint32_t inflight; /* sent there and not ended, waiting ones included */
    uint32_t waiting;  /* at the gateway for room here */
    uint32_t queue_first, queue_last;
};

struct sim;
struct sim_chooser {
    const char *name;
    void *(*create)(struct sim *sim);
    void (*destroy)(void *own);
    /* A place, or SIM_WAIT with query->wait_for set. */
    int (*choose)(struct sim *sim, struct sim_query *query);
    /* A query ended there; ok false: the place failed it. May be NULL. */
    void (*ended)(struct sim *sim, size_t place, const struct sim_query *query, bool ok,
                  double first_ms, double total_ms);
    /* Asked every ten seconds, NULL: the chooser does not probe. */
    void (*probed)(struct sim *sim, size_t place, bool well);
};

struct sim {
    const struct sim_place *places;
    size_t place_count;
    const char *policy; /* YAML of the routes, for the gateway's own code; NULL: by latency */
    const struct sim_chooser *chooser;
    void *own; /* the chooser's */
    struct sim_query *queries;
    size_t query_count;
    double now_ms;
    struct sim_dice dice;
    struct sim_state states[SIM_PLACES_MAX];
    uint32_t waiting_first, waiting_last; /* at the gateway */
    uint32_t waiting;
    struct sim_events *events;
    uint64_t retries;
};

void sim_run(struct sim *sim, uint64_t seed);
bool sim_place_dead(const struct sim_place *place, double at_ms);
/* Milliseconds that the query takes there when it is begun at `start_ms`; *first_ms: to its first
 * token. */
double sim_service_ms(const struct sim_place *place, const struct sim_query *query, double start_ms,
                      double *first_ms);

/* --- the choosers --- */

extern const struct sim_chooser sim_round_robin, sim_least_connections, sim_two_choices,
    sim_smallest_latency, sim_oracle;         /* peers.c */
extern const struct sim_chooser sim_hatchway; /* hatchway.c */

/* --- results --- */

struct sim_result {
    double mean_ms, p50_ms, p99_ms, throughput_s;
};
void sim_result_of(const struct sim *sim, struct sim_result *result);

#endif
