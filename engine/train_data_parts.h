/* engine/train_data_parts.h - private to train_data.c, which fills this once, and train_sequence.c,
 * which draws from it. */
#ifndef HW_ENGINE_TRAIN_DATA_PARTS_H
#define HW_ENGINE_TRAIN_DATA_PARTS_H

#include "engine/train_data.h"

struct hw_train_text {
    char *bytes;
    size_t len;
    size_t train; /* the first `train` bytes are trained on */
};

struct hw_train_held_out {
    size_t row, question;
};

struct hw_train_forks {
    size_t last;
    bool *at; /* [bytes of the answer + 1]; the last is for the answer's end */
};

struct hw_train_data {
    struct hw_train_data_conf conf;
    struct hw_bdh_template tmpl;
    struct hw_train_rows rows;
    struct hw_train_forks *forks; /* [rows.count] */
    size_t train_rows;            /* rows[0 .. train_rows) are trained on */
    struct hw_train_text *texts;
    size_t text_count;
    size_t skipped; /* files of folders that are no text */
    struct hw_train_held_out *held_out;
    size_t held_out_count;
    size_t text_blocks, val_blocks;
    uint32_t *order; /* of the current epoch: rows first, then blocks of text */
    size_t order_len;
    uint64_t order_epoch;
    bool order_made;
};

/* Of the question, its answer and what the template puts about them. */
size_t hw_train_pair_bytes(const struct hw_train_data *data, const char *question,
                           const char *answer);

#endif
