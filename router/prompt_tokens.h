/* router/prompt_tokens.h - what backends' reports have taught of prompt sizes, for operators. */
#ifndef HW_ROUTER_PROMPT_TOKENS_H
#define HW_ROUTER_PROMPT_TOKENS_H

#include <cjson/cJSON.h>

#include "router/plan.h"

/* "prompt_tokens_ratio": {"llama3.1:8b": 1.1} of backend i's models, into its object; none known:
 * nothing. */
void hw_prompt_tokens_json(const struct hw_plan *plan, size_t i, cJSON *json);
/* The gauges of backend i's models. */
void hw_prompt_tokens_refresh(const struct hw_plan *plan, size_t i);

#endif
