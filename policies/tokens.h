/* policies/tokens.h - tokens of a prompt: estimated from its bytes, and corrected by what backends
 * report back.
 *
 * Tokenizers differ from model to model, so the correction is kept by model: the median of the last
 * answers' reported tokens over the estimate. A median, so that no single report moves it much; of
 * the last few, so that old news is forgotten. Pure arithmetic; the table is bounded. */
#ifndef HW_POLICIES_TOKENS_H
#define HW_POLICIES_TOKENS_H

#include <stdint.h>

#include "config/snapshot.h"
#include "policies/classify.h"

#define HW_TOKEN_MODELS_MAX 64 /* models that have a ratio; what comes later has none */
#define HW_TOKEN_REPORTS_MIN 3 /* before a model has one */

struct hw_token_ratios; /* opaque; layout in tokens.c */

struct hw_token_ratios *hw_tokens_create(void);
void hw_tokens_destroy(struct hw_token_ratios **ratios); /* NULL-safe, nulls it */
/* A backend has reported the tokens of a prompt. One caller at a time; readers need no lock.
 * estimated: by hw_estimate_tokens, uncorrected. Reports that say nothing of the tokenizer are
 * passed over: of short prompts (the chat template is most of them), and so few tokens that only
 * what was not in the backend's prompt cache can have been counted. */
void hw_tokens_learn(struct hw_token_ratios *ratios, const char *model, uint32_t estimated,
                     uint64_t reported);
/* Reported tokens for 1,000 estimated ones; 0: unknown. Names that mean the same model ("x",
 * "X:latest") have the same ratio. ratios and model may be NULL. */
uint32_t hw_tokens_per_1000(const struct hw_token_ratios *ratios, const char *model);
/* The estimate, corrected where the model is known. */
uint32_t hw_tokens_corrected(const struct hw_token_ratios *ratios, const char *model,
                             uint32_t estimated);
/* A prompt of so many bytes, by the model that a query asks for (NULL, a role: nobody knows yet).
 */
uint32_t hw_tokens_asked(const struct hw_token_ratios *ratios, const struct hw_snapshot *snapshot,
                         const char *model, uint64_t prompt_bytes);
/* The name under which an answer of this backend counts, and its prompts are corrected. */
const char *hw_tokens_model(const struct hw_conf_backend *backend, const char *model);
/* A query's prompt as this backend will count it when it is asked for `model` (NULL: its own). */
uint64_t hw_tokens_at(const struct hw_token_ratios *ratios, const struct hw_conf_backend *backend,
                      const char *model, const struct hw_traits *traits);

#endif
