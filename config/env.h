/* config/env.h - ${NAME} in a value. Private to config/. */
#ifndef HW_CONFIG_ENV_H
#define HW_CONFIG_ENV_H

#include <stdbool.h>
#include <stddef.h>

#include "config/arena.h"
#include "hatchway/err.h"

/* The environment's share of one configuration file, all values together. */
#define HW_ENV_BYTES_MAX (1024 * 1024)

/* text with each ${NAME} replaced, in arena; `$${` stands for `${` itself. *budget is what the
 * environment may still add. HW_EINVAL: a NAME that is no name or
 * is not set, or no closing brace. HW_ELIMIT: over budget. */
int hw_conf_env_expand(struct hw_conf_arena *arena, const char *text, size_t *budget,
                       const char **out, bool *from_env, struct hw_err *err);

#endif
