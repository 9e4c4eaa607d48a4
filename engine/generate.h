/* engine/generate.h - one answer: prompt in, sampled text out, a token at a time.
 *
 * The caller decides when to take steps, so that one thread can interleave many answers. */
#ifndef HW_ENGINE_GENERATE_H
#define HW_ENGINE_GENERATE_H

#include "engine/forward.h"
#include "engine/sample.h"
#include "engine/textout.h"
#include "hatchway/buf.h"

#define HW_GENERATION_DEFAULT_TOKENS 512u

struct hw_generation_conf {
    uint32_t max_tokens; /* 0: HW_GENERATION_DEFAULT_TOKENS */
    struct hw_sampler_conf sampler;
    size_t taken; /* the prompt's first bytes that the session holds already; below its length */
    /* An answer that goes on where one was set aside (hw_generation_leave): its generator, and the
     * logits [vocab] of what follows, with which the prompt may be empty. NULL: neither. */
    const struct hw_sampler_state *generator;
    const float *logits;
    /* And, where no prompt comes between, its text that was not out yet. NULL: none. */
    const struct hw_textout_waiting *waiting;
    /* It may go on: at max_tokens an unfinished character and what may begin a stop string stay
     * for hw_generation_leave, instead of becoming text. */
    bool goes_on;
    uint32_t logprobs; /* 0: none, else 1 + how many of the likeliest beside each token (told.h) */
    size_t stop_count; /* as hw_textout takes them */
    const char *stops[5];
};

enum hw_generation_state {
    HW_GENERATION_PREFILL, /* prompt tokens are left */
    HW_GENERATION_DECODE,  /* hw_generation_decode yields the next token */
    HW_GENERATION_STOPPED, /* a stop string came */
    HW_GENERATION_LENGTH,  /* max_tokens are out */
};

struct hw_generation; /* opaque; layout in generate.c */

/* Borrows a session until destroyed; copies the rest. The prompt is bytes, and goes on where the
 * session is: refused (HW_EINVAL) when empty or when a byte is outside the vocabulary. On 0 the
 * caller owns *out. */
int hw_generation_create(struct hw_bdh_session *session, const struct hw_bdh_config *model,
                         const struct hw_generation_conf *conf, const void *prompt, size_t len,
                         struct hw_generation **out, struct hw_err *err);
void hw_generation_destroy(struct hw_generation **generation); /* NULL-safe, nulls it */
enum hw_generation_state hw_generation_state(const struct hw_generation *generation);
/* Takes up to max_tokens of the prompt. */
void hw_generation_prefill(struct hw_generation *generation, size_t max_tokens);
/* In DECODE: one token; appends what text has become fit to send, all of it at the end. */
void hw_generation_decode(struct hw_generation *generation, struct hw_buf *text);
/* The same for several of one engine, none of them twice: those that go on step together, each to
 * the bits that it would have alone. */
void hw_generations_decode(struct hw_generation *const *generations, struct hw_buf *const *texts,
                           size_t count);
/* After a decode, where conf.logprobs asked for them: those of the next token whose text is out,
 * good until the next decode: its own, then the likeliest. How many they are; 0: no more. All are
 * to be taken. */
uint32_t hw_generation_logprobs(struct hw_generation *generation, const struct hw_logprob **out);
/* Sets it aside at its end: the session takes the last token too, and what another one, on this
 * session or a snapshot of it, goes on with is filled: to the same tokens as if this one had
 * been longer, and the same text where conf.goes_on was said. In STOPPED, LENGTH, and DECODE.
 * logits has room for the vocabulary. */
void hw_generation_leave(struct hw_generation *generation, struct hw_sampler_state *generator,
                         float *logits, struct hw_textout_waiting *waiting);
/* Taken so far, with those that the session held. */
uint32_t hw_generation_prompt_tokens(const struct hw_generation *generation);
uint32_t hw_generation_output_tokens(const struct hw_generation *generation);

#endif
