/* engine/train_data.h - what the trainer reads: texts and question-answer rows, drawn as sequences.
 *
 * Which sequence a number gets is a pure function of seed and number: each epoch passes over all
 * rows once, in an order of its own, each with one of its phrasings. */
#ifndef HW_ENGINE_TRAIN_DATA_H
#define HW_ENGINE_TRAIN_DATA_H

#include <stdint.h>

#include "engine/model.h"
#include "engine/train_rows.h"
#include "hatchway/buf.h"

struct hw_train_data_conf {
    size_t block;       /* rows (tokens) of a sequence at most */
    float val_fraction; /* of a text's end; of rows only when no row has held-out phrasings */
    float fork_weight;  /* what an answer's byte counts where answers part (see train_sequence.c) */
    float question_weight; /* what a question's byte counts; an answer's other bytes: 1 */
    float augment;         /* how often a question is asked in another way */
    float cut;             /* how often an answer ends soon after its last fork */
    float chat;            /* how often further pairs follow in the same sequence */
    uint64_t seed;
    bool only_measured; /* nothing is drawn, so nothing need be left to train on (bdh loss) */
};

/* A sequence: row i predicts targets[i] from tokens[0..i]. */
struct hw_train_sequence {
    uint8_t *tokens, *targets; /* [block + 1], the caller's */
    float *weights;            /* [block + 1] */
    size_t rows;
};

struct hw_train_data;

void hw_train_data_create(const struct hw_train_data_conf *conf, const struct hw_bdh_template *tmpl,
                          struct hw_train_data **out);
void hw_train_data_destroy(struct hw_train_data **data); /* NULL-safe, nulls it */
/* *.jsonl is read as rows, a folder as engine/train_folder.h says, anything else as text. */
int hw_train_data_add(struct hw_train_data *data, const char *path, struct hw_err *err);
/* Call once, after the last add: divides training from validation. Refused where there is nothing
 * to train on, or, when only measured, nothing held out. */
int hw_train_data_ready(struct hw_train_data *data, struct hw_err *err);

/* Sequences in one pass over everything, and in the validation set. */
size_t hw_train_data_epoch(const struct hw_train_data *data);
size_t hw_train_data_validations(const struct hw_train_data *data);
/* Rows of the longest sequence that may be drawn: a whole block of text, else what pairs come to.
 */
size_t hw_train_data_longest(const struct hw_train_data *data);
/* Files of folders that were passed over, being no text. */
size_t hw_train_data_skipped(const struct hw_train_data *data);
/* Question-answer rows; with any, the model is asked by the template. */
size_t hw_train_data_row_count(const struct hw_train_data *data);
void hw_train_data_draw(struct hw_train_data *data, uint64_t number,
                        struct hw_train_sequence *sequence);
/* index < hw_train_data_validations; only an answer's bytes have weight (in a text, all). */
void hw_train_data_validation(const struct hw_train_data *data, size_t index,
                              struct hw_train_sequence *sequence);
/* Appends the beginning of a sequence, for the model to go on from: question (NULL: one that is
 * held out) as rows are asked, or, where there are no rows, question itself (NULL: held-out text).
 */
int hw_train_data_prompt(const struct hw_train_data *data, const char *question,
                         struct hw_buf *out);

#endif
