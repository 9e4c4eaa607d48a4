/* policies/stats.c - speeds learned from answers, and the retry budget.
 *
 * Averages are kept of times (milliseconds, seconds a byte), not of rates: what ranking needs is
 * the expected time, and the mean of rates overstates it. The first samples weigh more than later
 * ones, so that a wrong prior is soon forgotten; the bounded step keeps one stall from exiling a
 * backend that nobody would then try again. */
#include "policies/stats.h"

#include <stdbool.h>

#define ALPHA 0.2
#define ALPHA_QUERIES 0.05      /* of what differs from query to query more than with time */
#define SMALL_PROMPT_BYTES 1024 /* its prefill is part of ttft_ms */
#define MIN_DECODE_BYTES 64     /* shorter answers say nothing about a rate */
#define MIN_RATE 0.1
#define MAX_RATE 1e8

#define RETRY_FLOOR 10.0         /* retries that quiet times save up */
#define RETRY_FLOOR_PER_MS 0.005 /* five a second */
#define RETRY_MAX 100.0

static double
clamp(double value, double low, double high)
{
    return value < low ? low : value > high ? high : value;
}

/* `samples` counts this one. */
static double
learn_slowly(double old, double seen, uint64_t samples, double least)
{
    double alpha = 1.0 / (double)(samples + 1);
    if (alpha < least)
        alpha = least;
    return clamp(old + alpha * (seen - old), old / 2, old * 2);
}

static double
learn_time(double old, double seen, uint64_t samples)
{
    return learn_slowly(old, seen, samples, ALPHA);
}

static double
learn_rate(double old, double bytes, double seconds, uint64_t samples)
{
    double seen = clamp(bytes / (seconds > 0 ? seconds : 1e-9), MIN_RATE, MAX_RATE);
    return clamp(1.0 / learn_time(1.0 / old, 1.0 / seen, samples), MIN_RATE, MAX_RATE);
}

void
hw_speed_init(struct hw_speed *speed, const struct hw_backend_view *prior)
{
    *speed = (struct hw_speed){
        .ttft_ms = clamp(prior->ttft_ms, 0.01, 1e7),
        .prefill_bytes_s = clamp(prior->prefill_bytes_s, MIN_RATE, MAX_RATE),
        .decode_bytes_s = clamp(prior->decode_bytes_s, MIN_RATE, MAX_RATE),
    };
}

/* first_ms: time to the first token alone, prefill included. */
static void
learn_first(struct hw_speed *speed, double first_ms, double prompt_bytes)
{
    if (prompt_bytes <= SMALL_PROMPT_BYTES || first_ms <= speed->ttft_ms) {
        speed->ttft_ms = clamp(learn_time(speed->ttft_ms, first_ms, speed->samples), 0.01, 1e7);
        return;
    }
    speed->prefill_bytes_s = learn_rate(speed->prefill_bytes_s, prompt_bytes,
                                        (first_ms - speed->ttft_ms) / 1000, speed->samples);
}

/* The first one stands for itself: there is no prior that would be better. */
static void
learn_whole(struct hw_speed *speed, double total_ms, double output_bytes)
{
    bool first = speed->samples == 1;

    total_ms = clamp(total_ms, 0.01, 1e7);
    output_bytes = clamp(output_bytes, 1, 1e9);
    speed->service_ms =
        first ? total_ms : learn_slowly(speed->service_ms, total_ms, speed->samples, ALPHA_QUERIES);
    speed->answer_bytes =
        first ? output_bytes
              : learn_slowly(speed->answer_bytes, output_bytes, speed->samples, ALPHA_QUERIES);
}

void
hw_speed_learn(struct hw_speed *speed, const struct hw_speed_sample *sample)
{
    double first_ms = (double)sample->ttft_us / 1000;
    double prompt = (double)sample->prompt_bytes, output = (double)sample->output_bytes;

    speed->samples++;
    learn_whole(speed, first_ms + (double)sample->decode_us / 1000, output);
    if (sample->decode_us > 0) {
        learn_first(speed, first_ms, prompt);
        if (sample->output_bytes >= MIN_DECODE_BYTES)
            speed->decode_bytes_s = learn_rate(speed->decode_bytes_s, output,
                                               (double)sample->decode_us / 1e6, speed->samples);
        return;
    }
    if (sample->output_bytes < MIN_DECODE_BYTES) {
        learn_first(speed, first_ms, prompt);
        return;
    }
    /* The whole answer came at once: what its start does not explain, its writing took. */
    double start_ms = speed->ttft_ms;
    if (prompt > SMALL_PROMPT_BYTES)
        start_ms += prompt / speed->prefill_bytes_s * 1000;
    if (first_ms > start_ms)
        speed->decode_bytes_s =
            learn_rate(speed->decode_bytes_s, output, (first_ms - start_ms) / 1000, speed->samples);
    else
        learn_first(speed, first_ms, prompt);
}

void
hw_retry_budget_init(struct hw_retry_budget *budget)
{
    *budget = (struct hw_retry_budget){.tokens = RETRY_FLOOR};
}

void
hw_retry_budget_query(struct hw_retry_budget *budget, uint32_t percent)
{
    budget->tokens = clamp(budget->tokens + percent / 100.0, 0, RETRY_MAX);
}

int
hw_retry_budget_take(struct hw_retry_budget *budget, uint64_t now_ms)
{
    if (now_ms > budget->last_ms) {
        double saved = budget->tokens + (double)(now_ms - budget->last_ms) * RETRY_FLOOR_PER_MS;
        if (saved > RETRY_FLOOR)
            saved = RETRY_FLOOR;
        if (saved > budget->tokens)
            budget->tokens = saved;
        budget->last_ms = now_ms;
    }
    if (budget->tokens < 1.0)
        return 0;
    budget->tokens -= 1.0;
    return 1;
}
