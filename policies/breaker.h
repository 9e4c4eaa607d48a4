/* policies/breaker.h - a circuit breaker per backend. Pure: now_ms is handed in.
 *
 *            5 failures in a row, or half of the last 20
 *     CLOSED ---------------------------------------------> OPEN
 *       ^                                                    | after open_ms (1 s, doubling to
 *       |  trial succeeds                                    v 30 s)
 *       +------------------------------------------------ HALF_OPEN (one trial at a time)
 *                                     trial fails: back to OPEN
 *
 * Answers that come far later than usual are failures too. But when such a one has opened the
 * breaker, queries that have nobody else may still be sent: late is better than never.
 *
 * Not thread-safe: whoever shares it holds a lock (the router's backend table does). */
#ifndef HW_POLICIES_BREAKER_H
#define HW_POLICIES_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

enum hw_breaker_state { HW_BREAKER_CLOSED, HW_BREAKER_HALF_OPEN, HW_BREAKER_OPEN };
extern const char *const hw_breaker_names[];

struct hw_breaker {
    enum hw_breaker_state state;
    uint32_t failures_in_row;
    uint32_t window;       /* last results, a bit each, 1 = failed */
    uint32_t window_count; /* up to 20 */
    uint64_t open_until_ms;
    uint32_t open_ms; /* the next opening lasts this long */
    bool trial_running;
    bool late;          /* open: by an answer that came late, not by one that did not */
    uint64_t closed_ms; /* when a trial last closed it; 0: never */
};

void hw_breaker_init(struct hw_breaker *breaker);
/* May a query be sent now? Moves OPEN to HALF_OPEN when its time has come; does not take the trial.
 */
enum hw_breaker_state hw_breaker_state(struct hw_breaker *breaker, uint64_t now_ms);
/* Call when an attempt is really sent: false: not allowed (open, or the trial is taken). */
bool hw_breaker_take(struct hw_breaker *breaker, uint64_t now_ms);
void hw_breaker_result(struct hw_breaker *breaker, bool ok, uint64_t now_ms);
/* An answer came, far later than usual. A trial passes by it all the same. */
void hw_breaker_late(struct hw_breaker *breaker, uint64_t now_ms);
/* News from elsewhere that the backend is well again: an open breaker takes its trial now. */
void hw_breaker_hurry(struct hw_breaker *breaker, uint64_t now_ms);
/* The attempt ended without news of the backend's health (the agent left): gives a trial back. */
void hw_breaker_forget(struct hw_breaker *breaker);

#endif
