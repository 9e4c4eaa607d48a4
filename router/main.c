/* router/main.c - the composition root: one program, its subcommands, every folder. */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "engine/command.h"
#include "engine/model.h"
#include "router/commands.h"
#include "router/version.h"

static const char help[] =
    "usage: hatchway COMMAND [...]\n"
    "\n"
    "One HTTP endpoint for every agent of a small fleet.\n"
    "\n"
    "  serve [-c FILE]       run the gateway\n"
    "  check FILE            validate a configuration\n"
    "  route -c FILE QUERY   explain where a query would go; sends nothing\n"
    "  policy COMMAND        train, classify: what tells queries apart, learned from examples;\n"
    "                        diff: what an edit would do to recorded queries; test: expectations\n"
    "  bdh COMMAND           inspect, generate, logits, convert, train, bench, recall, loss: BDH\n"
    "                        by hand\n"
    "  worker                what the gateway starts: a process that runs one BDH model\n"
    "  help                  this text\n"
    "\n"
    "Every command has --help. Exit status: 0 ok, 1 the work failed, 2 usage.\n";

struct command {
    const char *name;
    int (*run)(int argc, char **argv);
};

static int
read_model(const char *path, struct hw_model_claims *claims, struct hw_err *err)
{
    struct hw_bdh_facts facts;
    int rc = hw_bdh_model_facts(path, &facts, err);

    if (rc == 0)
        *claims = (struct hw_model_claims){.parameters = (double)facts.parameters,
                                           .trained_context = facts.trained_context,
                                           .decays = facts.conf.decay != 0.0f};
    return rc;
}

static int
check(int argc, char **argv)
{
    return hw_command_check(argc, argv, read_model);
}

static const struct command commands[] = {
    {"serve", hw_command_serve},   {"check", check},
    {"route", hw_command_route},   {"policy", hw_command_policy},
    {"worker", hw_command_worker}, {"bdh", hw_command_bdh},
};

int
main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";

    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        fputs(help, stdout);
        return 0;
    }
    if (strcmp(name, "version") == 0 || strcmp(name, "--version") == 0) {
        puts("hatchway " HW_VERSION);
        return 0;
    }
    if (sodium_init() < 0) {
        fputs("hatchway: libsodium cannot be started\n", stderr);
        return 1;
    }
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(name, commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    if (*name != '\0')
        fprintf(stderr, "hatchway: there is no command '%s'\n\n", name);
    fputs(help, stderr);
    return 2;
}
