/* config/jsonl.h - files of one JSON object a line: example sentences, recorded outcomes.
 *
 * Read as a stream, a bounded line at a time. Empty lines are passed over; anything else that is
 * no object is an error that names file and line. Fields that are not asked for are ignored. */
#ifndef HW_CONFIG_JSONL_H
#define HW_CONFIG_JSONL_H

#include <stdbool.h>
#include <stddef.h>

#include "hatchway/err.h"

#define HW_JSONL_LINE_MAX (1024 * 1024)

struct hw_jsonl;

struct hw_jsonl_row {
    size_t line;       /* from 1 */
    const char *text;  /* good until the next row */
    const char *label; /* NULL: the row has none */
    bool has_outcome;  /* both `weak` and `strong` are there: how well each model answered, 0..1 */
    double weak, strong;
};

int hw_jsonl_open(const char *path, struct hw_jsonl **out, struct hw_err *err);
/* 1: row is filled; 0: the end; below 0: an error, "PATH:LINE: ...". */
int hw_jsonl_next(struct hw_jsonl *file, struct hw_jsonl_row *row, struct hw_err *err);
void hw_jsonl_close(struct hw_jsonl **file); /* NULL-safe, nulls it */

#endif
