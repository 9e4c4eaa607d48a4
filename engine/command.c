/* engine/command.c - `hatchway bdh ...`: dispatch, and what the subcommands share. */
#include "engine/command.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdarg.h>

#include "engine/command_parts.h"
#include "engine/train.h"

static const char bdh_help[] =
    "usage: hatchway bdh COMMAND ...\n"
    "\n"
    "Runs and trains BDH (Baby Dragon Hatchling) models in this process.\n"
    "\n"
    "  inspect MODEL     what a checkpoint holds, and whether it can be run\n"
    "  generate MODEL    continue or answer a prompt\n"
    "  logits MODEL      bytes on stdin to logits on stdout\n"
    "  convert IN OUT    PyTorch's .pt or safetensors to safetensors\n"
    "  train             make a model from text or questions and answers\n"
    "  bench MODEL       how fast it runs here, and where the time goes\n"
    "  recall MODEL      how many of a corpus's questions it answers by heart\n"
    "  loss MODEL...     how well models know held-out text, by position\n"
    "\n"
    "MODEL is a safetensors file or PyTorch's .pt. `hatchway bdh COMMAND --help` tells more.\n";

int
hw_command_bdh(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } commands[] = {
        {"inspect", command_inspect},      {"generate", command_generate},
        {"logits", command_logits},        {"train", hw_command_bdh_train},
        {"recall", hw_command_bdh_recall}, {"convert", command_convert},
        {"bench", command_bench},          {"loss", command_loss},
    };

    if (argc < 2)
        return command_usage_error("bdh: which command? `hatchway bdh --help` lists them");
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        fputs(bdh_help, stdout);
        return command_finish_output();
    }
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(commands[i].name, argv[1]) == 0)
            return commands[i].run(argc - 1, argv + 1);
    return command_usage_error("bdh: no command \"%s\"; `hatchway bdh --help` lists them", argv[1]);
}

static void __attribute__((format(printf, 1, 0))) complain(const char *fmt, va_list ap)
{
    fflush(stdout);
    fputs("hatchway: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
}

int
command_usage_error(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    complain(fmt, ap);
    va_end(ap);
    return EXIT_USAGE;
}

int
command_bad_option(const char *command, int option, char **argv)
{
    const char *what = argv[optind - 1];

    if (option == ':')
        return command_usage_error("%s: %s needs a value", command, what);
    return command_usage_error("%s: unknown option %s; see `hatchway %s --help`", command, what,
                               command);
}

int
command_failed(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    complain(fmt, ap);
    va_end(ap);
    return EXIT_WORK;
}

int
command_finish_output(void)
{
    if (fflush(stdout) != 0 || ferror(stdout))
        return command_failed("cannot write the output: %s", strerror(errno));
    return 0;
}

bool
command_load(const char *path, enum hw_bdh_precision precision, struct loaded *loaded)
{
    struct hw_err err = {{0}};

    *loaded = (struct loaded){0};
    if (hw_bdh_model_load(path, &loaded->model, &err) == 0 &&
        hw_bdh_engine_create_as(loaded->model, precision, &loaded->engine, &err) == 0 &&
        hw_bdh_session_create(loaded->engine, &loaded->session, &err) == 0)
        return true;
    command_failed("%s", err.msg);
    return false;
}

void
command_unload(struct loaded *loaded)
{
    hw_bdh_session_destroy(&loaded->session);
    hw_bdh_engine_destroy(&loaded->engine);
    hw_bdh_model_destroy(&loaded->model);
}

bool
command_number(const char *option, const char *text, double low, double high, double *out)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end != '\0' || !(value >= low && value <= high)) {
        command_usage_error("%s must be a number from %g to %g, got \"%s\"", option, low, high,
                            text);
        return false;
    }
    *out = value;
    return true;
}

bool
command_integer(const char *option, const char *text, uint64_t low, uint64_t high, uint64_t *out)
{
    char *end;

    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    /* strtoull takes a minus sign and white space; a whole number starts with a digit */
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value < low ||
        value > high) {
        command_usage_error("%s must be a whole number from %llu to %llu, got \"%s\"", option,
                            (unsigned long long)low, (unsigned long long)high, text);
        return false;
    }
    *out = value;
    return true;
}

bool
command_precision(const char *text, enum hw_bdh_precision *out)
{
    bool fast = strcmp(text, "fast") == 0;

    if (!fast && strcmp(text, "f32") != 0) {
        command_usage_error("--precision must be f32 or fast, got \"%s\"", text);
        return false;
    }
    *out = fast ? HW_BDH_FAST : HW_BDH_F32;
    return true;
}
