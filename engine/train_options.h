/* engine/train_options.h - the command line of `bdh train`. */
#ifndef HW_ENGINE_TRAIN_OPTIONS_H
#define HW_ENGINE_TRAIN_OPTIONS_H

#include <stdbool.h>

#include "engine/train_data.h"
#include "engine/trainer.h"

enum { HW_TRAIN_FILES = 64 };

struct hw_train_options {
    struct hw_trainer_conf trainer;
    struct hw_train_data_conf data;
    const char *files[HW_TRAIN_FILES];
    size_t file_count;
    const char *out;
    const char *init;   /* NULL: random weights */
    const char *sample; /* NULL: from the data */
    uint64_t eval_every, save_every, sample_every, keep;
    float decay; /* below 0: not given */
    bool resume, bf16, wide_phases, help;
};

/* Fills options (defaults first) from argv. */
int hw_train_options_read(int argc, char **argv, struct hw_train_options *options,
                          struct hw_err *err);
void hw_train_options_help(void);

#endif
