/* router/command_train.h - what the kinds of `hatchway policy train` share. Private to them. */
#ifndef HW_ROUTER_COMMAND_TRAIN_H
#define HW_ROUTER_COMMAND_TRAIN_H

#include "hatchway/err.h"
#include "policies/learn.h"
#include "policies/learn_self.h"

#define HW_TRAIN_LOGS_MAX 64

struct hw_train_options {
    const char *data, *policy; /* where the examples are */
    const char *logs[HW_TRAIN_LOGS_MAX];
    size_t log_count;
    const char *out;  /* the model's file; NULL: none */
    const char *rows; /* the labelled queries' file; NULL: none */
    const char *try;
    unsigned folds;
    bool difficulty;
    struct hw_learn_conf conf;
    struct hw_learn_self_conf self;
};

int hw_train_read_examples(const char *path, struct hw_examples *examples, struct hw_err *err);
/* Beside the file first: a reader never meets half of it. */
int hw_train_write_file(const char *path, const struct hw_buf *bytes, struct hw_err *err);
int hw_train_save(const struct hw_learned *learned, const char *path, struct hw_err *err);
/* command_train_log.c: learns from decision logs as well. */
int hw_train_from_log(const struct hw_train_options *options, struct hw_err *err);

#endif
