/* policies/usual.h - is an answer far later than a backend's usual? Pure.
 *
 * Ranking follows a backend's speed within a few answers (stats.h); this remembers for longer, so
 * that one which has just become slow is told apart from one that always is. */
#ifndef HW_POLICIES_USUAL_H
#define HW_POLICIES_USUAL_H

#include <stdbool.h>
#include <stdint.h>

struct hw_usual {
    double start_ms; /* to the first token, beyond what the queue and the prompt explain */
    uint64_t samples;
};

/* first_ms: from sending to the first token of a streamed answer; ahead_ms: what queue and prompt
 * were expected to take of that. True: it came more than `times` later than usual (0: never), and
 * by more than a second. Learns from it either way. */
bool hw_usual_late(struct hw_usual *usual, double first_ms, double ahead_ms, uint32_t times);

#endif
