/* engine/told.c - a queue of tokens, never longer than what textout may hold back: taken from its
 * front, and moved there when the next one comes. */
#include "engine/told.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NEVER (-9999.0f) /* what cannot be said in JSON, as OpenAI writes it */

struct hw_told {
    uint32_t top;
    size_t first, count; /* of tokens that were not taken */
    size_t ready;        /* of those */
    uint32_t filled[HW_TOLD_MAX_WAITING];
    struct hw_logprob logprobs[]; /* [HW_TOLD_MAX_WAITING, 1 + top] */
};

struct hw_told *
hw_told_create(uint32_t top)
{
    struct hw_told *told;

    if (top > HW_TOLD_MAX_TOP)
        top = HW_TOLD_MAX_TOP;
    told = calloc(1, sizeof(*told) + HW_TOLD_MAX_WAITING * (1 + top) * sizeof(told->logprobs[0]));
    if (told != NULL)
        told->top = top;
    return told;
}

void
hw_told_destroy(struct hw_told **told)
{
    free(*told);
    *told = NULL;
}

static struct hw_logprob *
slot(struct hw_told *told, size_t i)
{
    return told->logprobs + i * (1 + told->top);
}

static void
move_to_front(struct hw_told *told)
{
    memmove(told->filled, told->filled + told->first, told->count * sizeof(told->filled[0]));
    memmove(slot(told, 0), slot(told, told->first),
            told->count * (1 + told->top) * sizeof(told->logprobs[0]));
    told->first = 0;
}

void
hw_told_note(struct hw_told *told, const float *logits, uint32_t vocab, uint32_t token)
{
    if (told->first > 0)
        move_to_front(told);
    if (told->count == HW_TOLD_MAX_WAITING)
        return; /* nobody took what was ready */
    struct hw_logprob *out = slot(told, told->count);
    uint32_t filled = hw_logprobs(logits, vocab, token, told->top, out);
    for (uint32_t i = 0; i < filled; i++)
        if (!isfinite(out[i].logprob))
            out[i].logprob = NEVER;
    told->filled[told->count++] = filled;
}

void
hw_told_settle(struct hw_told *told, const struct hw_textout *out)
{
    size_t waiting = hw_textout_waiting_tokens(out);

    told->ready = told->count > waiting ? told->count - waiting : 0;
}

void
hw_told_finish(struct hw_told *told, const struct hw_textout *out)
{
    size_t swallowed = out->stopped_tokens;

    told->count -= swallowed < told->count ? swallowed : told->count;
    told->ready = told->count;
}

uint32_t
hw_told_take(struct hw_told *told, const struct hw_logprob **out)
{
    if (told->ready == 0)
        return 0;
    size_t at = told->first++;
    told->ready--;
    told->count--;
    *out = slot(told, at);
    return told->filled[at];
}
