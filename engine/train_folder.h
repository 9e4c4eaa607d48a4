/* engine/train_folder.h - a folder of texts as training data. */
#ifndef HW_ENGINE_TRAIN_FOLDER_H
#define HW_ENGINE_TRAIN_FOLDER_H

#include "engine/train_rows.h"

struct hw_train_folder {
    char *bytes; /* the texts one after the other, an empty line between them; the caller's */
    size_t len;
    size_t text_count;
    size_t skipped; /* files with a NUL byte in them: no text */
};

/* Reads every file below path in the order of their paths: *.jsonl into rows, others as text.
 * Hidden files and folders and symbolic links are passed over. Errors name the file. */
int hw_train_folder_read(const char *path, struct hw_train_rows *rows, struct hw_train_folder *out,
                         struct hw_err *err);

#endif
