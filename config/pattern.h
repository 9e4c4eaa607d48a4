/* config/pattern.h - regular expressions of the policy: PCRE2, compiled (JIT) when the file is
 * read, then only read, by any thread. A search is bounded: one that backtracks too much is given
 * up, so that no message can hold up a loop. */
#ifndef HW_CONFIG_PATTERN_H
#define HW_CONFIG_PATTERN_H

#include <stddef.h>

#include "hatchway/err.h"

struct hw_pattern;

enum hw_pattern_result { HW_PATTERN_NO, HW_PATTERN_YES, HW_PATTERN_GAVE_UP };

/* Puts the new one at the head of *list, which hw_patterns_free frees. UTF-8, case matters ((?i)
 * changes that). On HW_EINVAL *at is the offset in text where the mistake was met. */
int hw_pattern_compile(const char *text, struct hw_pattern **list, size_t *at, struct hw_err *err);
void hw_patterns_free(struct hw_pattern **list);
/* Anywhere in text, which need not be valid UTF-8. */
enum hw_pattern_result hw_pattern_search(const struct hw_pattern *pattern, const char *text,
                                         size_t len);

#endif
