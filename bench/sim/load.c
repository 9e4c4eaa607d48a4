/* bench/sim/load.c - dice, and queries as they arrive. */
#include <math.h>

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
