/* engine/told.h - the log-probabilities of an answer's tokens, until their text is sent.
 *
 * A byte may wait in textout: for the rest of its character, or because a stop string may have
 * begun with it. What is told of it waits as long, and is dropped with it if one had. */
#ifndef HW_ENGINE_TOLD_H
#define HW_ENGINE_TOLD_H

#include "engine/sample.h"
#include "engine/textout.h"

#define HW_TOLD_MAX_TOP 20u
#define HW_TOLD_MAX_WAITING (HW_TEXTOUT_MAX_STOP_BYTES + 16u) /* tokens */

struct hw_told; /* opaque; layout in told.c */

/* The `top` likeliest beside each token: at most HW_TOLD_MAX_TOP. NULL: no memory. */
struct hw_told *hw_told_create(uint32_t top);
void hw_told_destroy(struct hw_told **told); /* NULL-safe, nulls it */
/* A token was picked from these logits [vocab]. What was ready must have been taken. */
void hw_told_note(struct hw_told *told, const float *logits, uint32_t vocab, uint32_t token);
/* It went through textout: what is not waiting there is ready. */
void hw_told_settle(struct hw_told *told, const struct hw_textout *out);
/* The answer's end: what does not belong to the stop string that came, is ready. */
void hw_told_finish(struct hw_told *told, const struct hw_textout *out);
/* The next that is ready: the token's own, then the likeliest. How many those are; 0: none is. */
uint32_t hw_told_take(struct hw_told *told, const struct hw_logprob **out);

#endif
