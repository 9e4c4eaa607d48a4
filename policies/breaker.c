/* policies/breaker.c - the circuit breaker's moves.
 *
 * Results that arrive while the breaker is open, or half open without a trial, are of attempts sent
 * before it opened: they are old news and change nothing. */
#include "policies/breaker.h"

#define FAILURES_IN_ROW 5
#define WINDOW 20u
#define WINDOW_MASK ((UINT32_C(1) << WINDOW) - 1)
#define OPEN_MS_FIRST 1000u
#define OPEN_MS_MAX 30000u

const char *const hw_breaker_names[] = {"closed", "half-open", "open"};

void
hw_breaker_init(struct hw_breaker *breaker)
{
    *breaker = (struct hw_breaker){.state = HW_BREAKER_CLOSED, .open_ms = OPEN_MS_FIRST};
}

static void
trip(struct hw_breaker *breaker, bool late, uint64_t now_ms)
{
    breaker->state = HW_BREAKER_OPEN;
    breaker->late = late;
    breaker->open_until_ms = now_ms + breaker->open_ms;
    breaker->open_ms = breaker->open_ms > OPEN_MS_MAX / 2 ? OPEN_MS_MAX : breaker->open_ms * 2;
    breaker->trial_running = false;
    breaker->failures_in_row = 0;
    breaker->window = 0;
    breaker->window_count = 0;
}

enum hw_breaker_state
hw_breaker_state(struct hw_breaker *breaker, uint64_t now_ms)
{
    if (breaker->state == HW_BREAKER_OPEN && now_ms >= breaker->open_until_ms)
        breaker->state = HW_BREAKER_HALF_OPEN;
    return breaker->state;
}

bool
hw_breaker_take(struct hw_breaker *breaker, uint64_t now_ms)
{
    switch (hw_breaker_state(breaker, now_ms)) {
    case HW_BREAKER_CLOSED:
        return true;
    case HW_BREAKER_HALF_OPEN:
        if (breaker->trial_running)
            return false;
        breaker->trial_running = true;
        return true;
    case HW_BREAKER_OPEN:
        return breaker->late; /* whoever asks has nobody else */
    }
    return false;
}

static void
close_again(struct hw_breaker *breaker, uint64_t now_ms)
{
    hw_breaker_init(breaker);
    breaker->closed_ms = now_ms;
}

static void
count(struct hw_breaker *breaker, bool ok, bool late, uint64_t now_ms)
{
    breaker->failures_in_row = ok ? 0 : breaker->failures_in_row + 1;
    breaker->window = ((breaker->window << 1) | (ok ? 0u : 1u)) & WINDOW_MASK;
    if (breaker->window_count < WINDOW)
        breaker->window_count++;
    bool half_failed = breaker->window_count == WINDOW &&
                       (uint32_t)__builtin_popcount(breaker->window) * 2 >= WINDOW;
    if (breaker->failures_in_row >= FAILURES_IN_ROW || half_failed)
        trip(breaker, late, now_ms);
}

void
hw_breaker_result(struct hw_breaker *breaker, bool ok, uint64_t now_ms)
{
    if (breaker->state == HW_BREAKER_OPEN)
        return;
    if (breaker->state == HW_BREAKER_HALF_OPEN) {
        if (!breaker->trial_running)
            return;
        if (ok)
            close_again(breaker, now_ms);
        else
            trip(breaker, false, now_ms);
        return;
    }
    count(breaker, ok, false, now_ms);
}

void
hw_breaker_late(struct hw_breaker *breaker, uint64_t now_ms)
{
    if (breaker->state == HW_BREAKER_CLOSED)
        count(breaker, false, true, now_ms);
    else
        hw_breaker_result(breaker, true, now_ms);
}

void
hw_breaker_forget(struct hw_breaker *breaker)
{
    breaker->trial_running = false;
}

void
hw_breaker_hurry(struct hw_breaker *breaker, uint64_t now_ms)
{
    if (breaker->state == HW_BREAKER_OPEN && breaker->open_until_ms > now_ms)
        breaker->open_until_ms = now_ms;
}
