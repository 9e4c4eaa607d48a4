/* engine/command_parts.h - private to command_*.c. */
#ifndef HW_ENGINE_COMMAND_PARTS_H
#define HW_ENGINE_COMMAND_PARTS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/forward.h"

enum { EXIT_WORK = 1, EXIT_USAGE = 2 };

int command_inspect(int argc, char **argv);
int command_generate(int argc, char **argv);
int command_logits(int argc, char **argv);
int command_convert(int argc, char **argv);
int command_bench(int argc, char **argv);
int command_loss(int argc, char **argv);

/* A model with its engine, and a session on it. */
struct loaded {
    struct hw_bdh_model *model;
    struct hw_bdh_engine *engine;
    struct hw_bdh_session *session;
};
/* Says what went wrong itself. Free with command_unload in either case. */
bool command_load(const char *path, enum hw_bdh_precision precision, struct loaded *loaded);
void command_unload(struct loaded *loaded);

/* "hatchway: ..." on stderr; returns EXIT_USAGE or EXIT_WORK. */
int command_usage_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int command_failed(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* What getopt_long (with opterr 0 and a leading ':') could not take; returns EXIT_USAGE. */
int command_bad_option(const char *command, int option, char **argv);
/* stdout reached whoever reads it: 0, or EXIT_WORK with a message. */
int command_finish_output(void);

/* The whole of text as a number in [low, high]; else false, having said so. */
bool command_number(const char *option, const char *text, double low, double high, double *out);
bool command_integer(const char *option, const char *text, uint64_t low, uint64_t high,
                     uint64_t *out);
/* "f32" or "fast". */
bool command_precision(const char *text, enum hw_bdh_precision *out);

#endif
