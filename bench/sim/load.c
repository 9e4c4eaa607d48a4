/* bench/sim/load.c - dice, and queries as they arrive. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/sim/sim.h"

uint64_t
sim_dice_next(struct sim_dice *dice) /* splitmix64 */
{
    uint64_t z = dice->state += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

double
sim_dice_uniform(struct sim_dice *dice)
{
    return ((double)(sim_dice_next(dice) >> 11) + 0.5) * 0x1p-53;
}

double
sim_dice_exponential(struct sim_dice *dice, double mean)
{
    return -mean * log(sim_dice_uniform(dice));
}

double
sim_dice_normal(struct sim_dice *dice)
{
    double radius = sqrt(-2 * log(sim_dice_uniform(dice)));

    return radius * cos(2 * M_PI * sim_dice_uniform(dice));
}

static uint32_t
bytes(struct sim_dice *dice, double median, double sigma)
{
    double value = median * exp(sigma * sim_dice_normal(dice));

    return value < 1 ? 1 : value > 1e9 ? 1000000000 : (uint32_t)value;
}

static int
role(struct sim_dice *dice, const double shares[static 3])
{
    double u = sim_dice_uniform(dice), sum = 0;

    for (int i = 0; i < 3; i++) {
        sum += shares[i];
        if (u < sum)
            return i;
    }
    return -1;
}

/* Bursts are a Markov-modulated Poisson process: calm and storm by turns, each exponentially long;
 * their rates are such that the mean stays. */
void
sim_load_generate(const struct sim_load *load, uint64_t seed, struct sim_query *queries,
                  size_t count)
{
    struct sim_dice dice = {seed};
    double factor = load->burst_factor > 1 ? load->burst_factor : 1;
    double share = factor > 1 ? load->burst_share : 0;
    double calm_rate = load->rate_s / (1 - share + share * factor) / 1000; /* a millisecond */
    double storm_ms = load->burst_ms, calm_ms = share > 0 ? storm_ms * (1 - share) / share : 0;
    double now_ms = 0, turns_ms = share > 0 ? sim_dice_exponential(&dice, calm_ms) : INFINITY;
    bool storm = false;

    for (size_t i = 0; i < count; i++) {
        for (;;) {
            double gap = sim_dice_exponential(&dice, 1 / (storm ? calm_rate * factor : calm_rate));
            if (now_ms + gap < turns_ms) {
                now_ms += gap;
                break;
            }
            now_ms = turns_ms; /* exponential gaps have no memory */
            storm = !storm;
            turns_ms += sim_dice_exponential(&dice, storm ? storm_ms : calm_ms);
        }
        queries[i] = (struct sim_query){
            .arrive_ms = now_ms,
            .prompt_bytes = bytes(&dice, load->prompt_bytes, load->prompt_sigma),
            .output_bytes = bytes(&dice, load->output_bytes, load->output_sigma),
            .noise = exp(load->noise_sigma * sim_dice_normal(&dice)),
            .role = role(&dice, load->role_share),
        };
        if (load->even_service) {
            queries[i].prompt_bytes = queries[i].output_bytes = 0;
            queries[i].noise = 0.8 + 0.4 * sim_dice_uniform(&dice);
        }
    }
}

static int
read_rows(FILE *file, const char *path, struct sim_query **queries, size_t *count,
          struct hw_err *err)
{
    size_t room = 0, n = 0;
    double last_ms = 0;
    char line[256];

    *queries = NULL;
    while (fgets(line, sizeof(line), file) != NULL) {
        struct sim_query query = {.noise = 1, .role = -1};
        if (sscanf(line, "%lf %u %u", &query.arrive_ms, &query.prompt_bytes, &query.output_bytes) !=
                3 ||
            !(query.arrive_ms >= last_ms) || query.arrive_ms > 1e12)
            return hw_err_set(err, HW_EINVAL,
                              "%s:%zu: expected milliseconds (not before the line above), prompt "
                              "bytes and answer bytes",
                              path, n + 1);
        last_ms = query.arrive_ms;
        if (n == room) {
            room = room > 0 ? 2 * room : 1024;
            void *more = realloc(*queries, room * sizeof(query));
            if (more == NULL)
                return hw_err_set(err, HW_ENOMEM, "%s: no memory for %zu queries", path, room);
            *queries = more;
        }
        (*queries)[n++] = query;
    }
    if (n < 100)
        return hw_err_set(err, HW_EINVAL, "%s: at least 100 queries are needed, it has %zu", path,
                          n);
    *count = n;
    return 0;
}

int
sim_load_read(const char *path, struct sim_query **queries, size_t *count, struct hw_err *err)
{
    FILE *file = fopen(path, "r");

    if (file == NULL)
        return hw_err_set(err, HW_EIO, "%s: cannot be read: %s", path, strerror(errno));
    int rc = read_rows(file, path, queries, count, err);
    fclose(file);
    if (rc != 0)
        free(*queries);
    return rc;
}
