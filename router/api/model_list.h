/* router/api/model_list.h - a backend's lists of models: Ollama's /api/tags and /api/ps, OpenAI's
 * /v1/models. Pure; the bytes are a peer's. */
#ifndef HW_ROUTER_API_MODEL_LIST_H
#define HW_ROUTER_API_MODEL_LIST_H

#include "config/snapshot.h"
#include "hatchway/err.h"
#include "policies/found.h"

/* What a server of this kind has. Names that are too long or no plain text are left out, and what
 * is above HW_MAX_FOUND_MODELS. Of another Hatchway's list what is only a word of its policy (auto,
 * roles, aliases) is no model. */
int hw_model_list_read(enum hw_kind kind, const char *text, size_t len, struct hw_found **out,
                       struct hw_err *err);
/* Marks what Ollama has loaded; what it has loaded but not listed is ignored. */
int hw_model_list_read_loaded(const char *text, size_t len, struct hw_found *found,
                              struct hw_err *err);

#endif
