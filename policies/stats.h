/* policies/stats.h - what a backend's answers teach about its speed. Pure.
 *
 * EWMA with a bounded step, so that one outlier moves a figure by at most a factor of two; raw time
 * to first token, never divided by tokens; rates in bytes of text a second. */
#ifndef HW_POLICIES_STATS_H
#define HW_POLICIES_STATS_H

#include <stdint.h>

#include "policies/rank.h"

struct hw_speed {
    double ttft_ms;
    double prefill_bytes_s;
    double decode_bytes_s;
    double service_ms;   /* of a whole query; 0: none has come */
    double answer_bytes; /* the same */
    uint64_t samples;
};

struct hw_speed_sample {
    uint64_t prompt_bytes;
    uint64_t ttft_us;      /* request sent -> first content event */
    uint64_t output_bytes; /* text */
    uint64_t decode_us;    /* first -> last content event; 0: not streamed, unknown */
};

/* Starts from the priors of `view`. */
void hw_speed_init(struct hw_speed *speed, const struct hw_backend_view *prior);
void hw_speed_learn(struct hw_speed *speed, const struct hw_speed_sample *sample);

/* Retry budget: `percent` retries for 100 queries, with a floor for quiet times. */
struct hw_retry_budget {
    double tokens;
    uint64_t last_ms;
};
void hw_retry_budget_init(struct hw_retry_budget *budget);
void hw_retry_budget_query(struct hw_retry_budget *budget, uint32_t percent);
int hw_retry_budget_take(struct hw_retry_budget *budget, uint64_t now_ms); /* 1: go on; 0: spent */

#endif
