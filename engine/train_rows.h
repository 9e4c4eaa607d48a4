/* engine/train_rows.h - question and answer rows from JSONL files.
 *
 * A line is {"question": Q, "answer": A} or {"questions": [Q...], "held_out": [Q...], "answer": A};
 * other keys are passed over. Held-out phrasings are never trained on. */
#ifndef HW_ENGINE_TRAIN_ROWS_H
#define HW_ENGINE_TRAIN_ROWS_H

#include <stddef.h>

#include "hatchway/err.h"

struct hw_train_row {
    char **questions; /* at least one */
    size_t question_count;
    char **held_out;
    size_t held_out_count;
    char *answer;
};

struct hw_train_rows {
    struct hw_train_row *rows;
    size_t count, room;
};

/* Appends the file's rows; errors name file and line. */
int hw_train_rows_read(struct hw_train_rows *rows, const char *path, struct hw_err *err);
void hw_train_rows_free(struct hw_train_rows *rows);

/* Reads a whole file; *out is NUL-terminated and the caller's. */
int hw_train_read_file(const char *path, char **out, size_t *len, struct hw_err *err);

#endif
