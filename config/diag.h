/* config/diag.h - collecting mistakes. Private to config/. */
#ifndef HW_CONFIG_DIAG_H
#define HW_CONFIG_DIAG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "config/load.h"

/* More than this many errors (or warnings) help nobody: the rest is counted, not kept. */
#define HW_DIAGS_MAX 100

void hw_diags_add(struct hw_diags *diags, bool warning, uint32_t line, uint32_t column,
                  const char *fmt, va_list ap) __attribute__((format(printf, 5, 0)));
void hw_diags_addf(struct hw_diags *diags, bool warning, uint32_t line, uint32_t column,
                   const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* Sorts by line, then column (what was found first stays first), and says what was left out. */
void hw_diags_finish(struct hw_diags *diags);

#endif
