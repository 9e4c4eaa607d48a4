/* engine/generate.c - a token is picked from the logits that the step before left, and stepped only
 * when another will follow: the first token costs no step after the prompt, the last none at all.
 */
#include "engine/generate.h"

#include <stdlib.h>

#include "engine/told.h"

#define PREFILL_TOKENS 64u
#define STEP_TOKENS 16u

struct hw_generation {
    struct hw_bdh_session *session;
    struct hw_sampler *sampler;
    struct hw_textout out;
    struct hw_textout_waiting waiting; /* of the answer before; into `out` with the first token */
    bool goes_on;
    struct hw_told *told; /* NULL: nobody asked */
    enum hw_generation_state state;
    uint32_t max_tokens;
    uint32_t output_tokens;
    uint32_t last; /* token picked */
    uint32_t vocab;
    size_t prompt_len, prompt_at;
    uint8_t *prompt; /* freed once taken */
    float *logits;
};

static int
check_prompt(const uint8_t *prompt, size_t len, bool may_be_empty, uint32_t vocab,
             struct hw_err *err)
{
    if (len == 0 && !may_be_empty)
        return hw_err_set(err, HW_EINVAL, "the prompt is empty");
    if (len > UINT32_MAX)
        return hw_err_set(err, HW_ELIMIT, "the prompt is over 4 GiB");
    for (size_t i = 0; vocab < 256 && i < len; i++)
        if (prompt[i] >= vocab)
            return hw_err_set(err, HW_EINVAL,
                              "byte %u of the prompt is outside the model's vocabulary of %u",
                              prompt[i], vocab);
    return 0;
}

/* What the prompt says to the sampler; without one the logits are here already. */
static void
begin(struct hw_generation *g, const struct hw_generation_conf *conf, const void *prompt)
{
    size_t len = g->prompt_len, first = 0;

    if (len == 0) {
        memcpy(g->logits, conf->logits, g->vocab * sizeof(float));
        g->state = HW_GENERATION_DECODE;
        return;
    }
    memcpy(g->prompt, prompt, len);
    if (len > HW_SAMPLER_MAX_REPEAT_LAST)
        first = len - HW_SAMPLER_MAX_REPEAT_LAST;
    for (size_t i = first; i < len; i++)
        hw_sampler_note(g->sampler, g->prompt[i]);
}

int
hw_generation_create(struct hw_bdh_session *session, const struct hw_bdh_config *model,
                     const struct hw_generation_conf *conf, const void *prompt, size_t len,
                     struct hw_generation **out, struct hw_err *err)
{
    int rc = check_prompt(prompt, len, conf->logits != NULL, model->vocab, err);
    if (rc != 0)
        return rc;
    struct hw_generation *g = calloc(1, sizeof(*g));
    if (g == NULL)
        return hw_err_set(err, HW_ENOMEM, "no memory for an answer");
    hw_textout_init(&g->out);
    for (size_t i = 0; i < conf->stop_count; i++)
        if (!hw_textout_add_stop(&g->out, conf->stops[i])) {
            rc = hw_err_set(err, HW_EINVAL, "at most %d stop strings of 1 to %d bytes",
                            HW_TEXTOUT_MAX_STOPS, HW_TEXTOUT_MAX_STOP_BYTES);
            goto fail;
        }
    if ((rc = hw_sampler_create(model->vocab, &conf->sampler, &g->sampler, err)) != 0)
        goto fail;
    g->session = session;
    g->max_tokens = conf->max_tokens == 0 ? HW_GENERATION_DEFAULT_TOKENS : conf->max_tokens;
    g->vocab = model->vocab;
    g->prompt = malloc(len > 0 ? len : 1);
    g->prompt_len = len;
    g->prompt_at = conf->taken;
    g->logits = malloc(model->vocab * sizeof(float));
    if (conf->logprobs > 0)
        g->told = hw_told_create(conf->logprobs - 1);
    if (g->prompt == NULL || g->logits == NULL || (conf->logprobs > 0 && g->told == NULL)) {
        rc = hw_err_set(err, HW_ENOMEM, "no memory for a prompt of %zu bytes", len);
        goto fail;
    }
    g->goes_on = conf->goes_on;
    if (conf->waiting != NULL)
        g->waiting = *conf->waiting;
    if (conf->generator != NULL)
        hw_sampler_restore(g->sampler, conf->generator);
    begin(g, conf, prompt);
    *out = g;
    return 0;
fail:
    hw_generation_destroy(&g);
    return rc;
}

void
hw_generation_destroy(struct hw_generation **generation)
{
    struct hw_generation *g = *generation;

    if (g == NULL)
        return;
    hw_sampler_destroy(&g->sampler);
    hw_told_destroy(&g->told);
    free(g->prompt);
    free(g->logits);
    free(g);
    *generation = NULL;
}

enum hw_generation_state
hw_generation_state(const struct hw_generation *generation)
{
    return generation->state;
}

uint32_t
hw_generation_prompt_tokens(const struct hw_generation *generation)
{
    return (uint32_t)generation->prompt_at;
}

uint32_t
hw_generation_output_tokens(const struct hw_generation *generation)
{
    return generation->output_tokens;
}

void
hw_generation_prefill(struct hw_generation *g, size_t max_tokens)
{
    uint32_t tokens[PREFILL_TOKENS];

    while (g->state == HW_GENERATION_PREFILL && max_tokens > 0) {
        size_t left = g->prompt_len - g->prompt_at, n = 0;
        while (n < left && n < max_tokens && n < PREFILL_TOKENS)
            tokens[n++] = g->prompt[g->prompt_at++];
        hw_bdh_session_feed(g->session, tokens, n, n == left ? g->logits : NULL);
        max_tokens -= n;
        if (n == left) {
            g->state = HW_GENERATION_DECODE;
            free(g->prompt);
            g->prompt = NULL;
        }
    }
}

/* Other stop strings than before may be in it: then nothing follows. */
static bool
take_waiting(struct hw_generation *g, struct hw_buf *text)
{
    uint32_t len = g->waiting.len;

    g->waiting.len = 0;
    for (uint32_t i = 0; i < len; i++)
        if (hw_textout_byte(&g->out, g->waiting.bytes[i], text)) {
            g->state = HW_GENERATION_STOPPED;
            return false;
        }
    return true;
}

/* Picks the next token; true when it is to be stepped, for another will follow. */
static bool
pick(struct hw_generation *g, struct hw_buf *text, uint32_t *token)
{
    if (g->state != HW_GENERATION_DECODE || (g->waiting.len > 0 && !take_waiting(g, text)))
        return false;
    *token = hw_sampler_pick(g->sampler, g->logits);
    hw_sampler_note(g->sampler, *token);
    g->last = *token;
    g->output_tokens++;
    if (g->told != NULL)
        hw_told_note(g->told, g->logits, g->vocab, *token);
    bool stopped = *token < 256 ? hw_textout_byte(&g->out, (uint8_t)*token, text)
                                : hw_textout_no_byte(&g->out, text);
    if (stopped) {
        g->state = HW_GENERATION_STOPPED;
    } else if (g->output_tokens >= g->max_tokens) {
        g->state = HW_GENERATION_LENGTH;
        if (!g->goes_on)
            hw_textout_finish(&g->out, text);
    }
    if (g->told != NULL && g->state == HW_GENERATION_DECODE)
        hw_told_settle(g->told, &g->out);
    else if (g->told != NULL)
        hw_told_finish(g->told, &g->out);
    return g->state == HW_GENERATION_DECODE;
}

void
hw_generations_decode(struct hw_generation *const *generations, struct hw_buf *const *texts,
                      size_t count)
{
    for (size_t at = 0; at < count;) {
        struct hw_bdh_session *sessions[STEP_TOKENS];
        float *logits[STEP_TOKENS];
        uint32_t tokens[STEP_TOKENS];
        size_t n = 0;
        for (; at < count && n < STEP_TOKENS; at++)
            if (pick(generations[at], texts[at], &tokens[n])) {
                sessions[n] = generations[at]->session;
                logits[n++] = generations[at]->logits;
            }
        hw_bdh_sessions_step(sessions, tokens, n, logits);
    }
}

uint32_t
hw_generation_logprobs(struct hw_generation *g, const struct hw_logprob **out)
{
    return g->told != NULL ? hw_told_take(g->told, out) : 0;
}

void
hw_generation_decode(struct hw_generation *g, struct hw_buf *text)
{
    hw_generations_decode(&g, &text, 1);
}

void
hw_generation_leave(struct hw_generation *g, struct hw_sampler_state *generator, float *logits,
                    struct hw_textout_waiting *waiting)
{
    if (g->state != HW_GENERATION_DECODE && g->output_tokens > 0)
        hw_bdh_session_step(g->session, g->last, g->logits);
    if (g->waiting.len > 0)
        *waiting = g->waiting;
    else
        hw_textout_set_aside(&g->out, waiting);
    hw_sampler_save(g->sampler, generator);
    memcpy(logits, g->logits, g->vocab * sizeof(float));
}
