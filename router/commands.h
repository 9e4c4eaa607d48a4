/* router/commands.h - the subcommands of `hatchway` that are the router's. Each takes its own argv
 * (argv[0] is its name) and returns an exit status: 0 ok, 1 the work failed, 2 usage. */
#ifndef HW_ROUTER_COMMANDS_H
#define HW_ROUTER_COMMANDS_H

#include "hatchway/err.h"

#include "config/snapshot.h"

int hw_command_serve(int argc, char **argv);
/* What a local model's file says of itself. */
struct hw_model_claims {
    double parameters;
    uint64_t trained_context; /* tokens, each a byte; 0: it does not say */
    bool decays;
};
/* 0, or err says what is wrong with the file. */
typedef int hw_model_reader(const char *path, struct hw_model_claims *claims, struct hw_err *err);
int hw_command_check(int argc, char **argv, hw_model_reader *read_model);
int hw_command_policy(int argc, char **argv);
int hw_command_policy_diff(int argc, char **argv);  /* argv[0]: "diff" */
int hw_command_policy_test(int argc, char **argv);  /* the same: "test" */
int hw_command_policy_train(int argc, char **argv); /* "train" */
int hw_command_route(int argc, char **argv);

/* Loads a configuration; its mistakes go to stderr. Not 0: *out is untouched. */
int hw_command_load(const char *path, struct hw_snapshot **out);

#endif
