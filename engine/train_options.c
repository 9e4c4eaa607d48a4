/* One table holds each option's name, kind, place, range and help, so that the three cannot drift
 * apart. */
#include "engine/train_options.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum kind {
    KIND_TEXT,
    KIND_FILE,
    KIND_FLAG,
    KIND_FLOAT,
    KIND_SIZE,
    KIND_U32,
    KIND_U64,
    KIND_SECONDS
};

struct option_row {
    const char *name;
    enum kind kind;
    size_t offset;
    double min, max;
    const char *help;
};

#define AT(member) offsetof(struct hw_train_options, member)

static const struct option_row table[] = {
    {"data", KIND_FILE, 0, 0, 0,
     "PATH  text, *.jsonl with {\"question\",\"answer\"} or "
     "{\"questions\",\"held_out\",\"answer\"}, "
     "or a folder of both; repeatable"},
    {"out", KIND_TEXT, AT(out), 0, 0, "DIR   gets model.safetensors, checkpoint, loss.csv"},
    {"steps", KIND_U64, AT(trainer.steps), 1, 1e9, "N     steps at most (5000)"},
    {"time-limit", KIND_SECONDS, AT(trainer.time_limit_s), 1, 1e7,
     "TIME  90s, 28m, 2h; the learning rate follows steps or clock, whichever is further"},
    {"batch", KIND_SIZE, AT(trainer.batch), 1, 65536, "N     sequences a step (16)"},
    {"block", KIND_SIZE, AT(trainer.block), 8, 16384,
     "N     tokens of a sequence at most (256); a question-answer pair is one short sequence"},
    {"rows", KIND_SIZE, AT(trainer.rows), 1, 1048576,
     "N     tokens a thread works on at once (1024)"},
    {"lr", KIND_FLOAT, AT(trainer.lr), 0, 1, "X     peak learning rate (0.001)"},
    {"min-lr", KIND_FLOAT, AT(trainer.min_lr), 0, 1, "X     what the cosine ends at (0.0001)"},
    {"warmup", KIND_U64, AT(trainer.warmup), 0, 1e9, "N     steps of linear rise (100)"},
    {"weight-decay", KIND_FLOAT, AT(trainer.weight_decay), 0, 10, "X     decoupled (0.1)"},
    {"muon", KIND_FLAG, AT(trainer.muon), 0, 0,
     "      orthogonalised momentum for encoders and decoder: fewer steps for facts (AdamW)"},
    {"beta1", KIND_FLOAT, AT(trainer.beta1), 0, 0.9999999, "X     (0.9)"},
    {"beta2", KIND_FLOAT, AT(trainer.beta2), 0, 0.9999999, "X     (0.99)"},
    {"dropout", KIND_FLOAT, AT(trainer.shape.dropout), 0, 0.99, "X     (0.1)"},
    {"clip", KIND_FLOAT, AT(trainer.clip), 0, 1e9, "X     gradient norm at most; 0: off (1)"},
    {"seed", KIND_U64, AT(trainer.seed), 0, 1.8e19, "N     (1337)"},
    {"layers", KIND_U32, AT(trainer.shape.n_layer), 1, 256, "N     (4)"},
    {"embd", KIND_U32, AT(trainer.shape.n_embd), 1, 16384, "N     (128)"},
    {"heads", KIND_U32, AT(trainer.shape.n_head), 1, 1024, "N     (4)"},
    {"multiplier", KIND_U32, AT(trainer.shape.multiplier), 1, 65536, "N     (64)"},
    {"decay", KIND_FLOAT, AT(decay), 0, 1,
     "X     of what a token left in the state, this much is left a token later; 0 or 1: all (the "
     "init model's, else 0)"},
    {"phases-f64", KIND_FLAG, AT(wide_phases), 0, 0,
     "      RoPE in double: right also beyond 100,000 tokens"},
    {"val-fraction", KIND_FLOAT, AT(data.val_fraction), 0, 0.9,
     "X     of each text's end, held out (0.1); of rows when none has held_out"},
    {"question-weight", KIND_FLOAT, AT(data.question_weight), 0, 1,
     "X     what a question's bytes count in the loss (0.1)"},
    {"fork-weight", KIND_FLOAT, AT(data.fork_weight), 0, 1000,
     "X     what an answer's byte counts where only the question tells how to go on (5)"},
    {"augment", KIND_FLOAT, AT(data.augment), 0, 1,
     "X     how often a question is put in another way (0.5)"},
    {"cut", KIND_FLOAT, AT(data.cut), 0, 1,
     "X     how often an answer ends early, soon after the last such byte (0.5)"},
    {"chat", KIND_FLOAT, AT(data.chat), 0, 1, "X     how often further pairs follow a pair (0.1)"},
    {"eval-every", KIND_U64, AT(eval_every), 1, 1e9, "N     steps between validations (100)"},
    {"save-every", KIND_U64, AT(save_every), 1, 1e9, "N     steps between checkpoints (200)"},
    {"sample-every", KIND_U64, AT(sample_every), 0, 1e9,
     "N     steps between samples of what the model writes; 0: none (0)"},
    {"sample", KIND_TEXT, AT(sample), 0, 0,
     "TEXT  what they answer or continue (a held-out question, the beginning of held-out text)"},
    {"keep", KIND_U64, AT(keep), 0, 1e6,
     "N     also keep the last N saved models as step-*.safetensors (0)"},
    {"resume", KIND_FLAG, AT(resume), 0, 0, "      go on from DIR's checkpoint, if there is one"},
    {"init", KIND_TEXT, AT(init), 0, 0, "MODEL start from its weights and shape"},
    {"threads", KIND_U32, AT(trainer.threads), 1, 256, "N     (the processors there are)"},
    {"plain-blas", KIND_FLAG, AT(trainer.plain_blas), 0, 0, "      do without OpenBLAS"},
    {"bf16", KIND_FLAG, AT(bf16), 0, 0, "      write the final model in bf16"},
    {"help", KIND_FLAG, AT(help), 0, 0, ""},
};

enum { ROWS = sizeof(table) / sizeof(table[0]) };

static void
set_defaults(struct hw_train_options *options)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);

    *options = (struct hw_train_options){
        .trainer = {.shape = {.n_layer = 4,
                              .n_embd = 128,
                              .n_head = 4,
                              .multiplier = 64,
                              .vocab = 256,
                              .dropout = 0.1f},
                    .steps = 5000,
                    .batch = 16,
                    .block = 256,
                    .rows = 1024,
                    .lr = 1e-3f,
                    .min_lr = 1e-4f,
                    .warmup = 100,
                    .weight_decay = 0.1f,
                    .beta1 = 0.9f,
                    .beta2 = 0.99f,
                    .clip = 1.0f,
                    .seed = 1337,
                    .threads = processors > 0 && processors <= 256 ? (unsigned)processors : 1},
        .data = {.val_fraction = 0.1f,
                 .fork_weight = 5.0f,
                 .question_weight = 0.1f,
                 .augment = 0.5f,
                 .cut = 0.5f,
                 .chat = 0.1f},
        .decay = -1.0f,
        .eval_every = 100,
        .save_every = 200,
    };
}

static int
set_number(const struct option_row *row, const char *text, void *place, struct hw_err *err)
{
    char *end = NULL;

    errno = 0;
    double value = strtod(text, &end);
    double unit = 1.0;
    if (row->kind == KIND_SECONDS && end != text && *end != '\0') {
        unit = *end == 's' ? 1.0 : *end == 'm' ? 60.0 : *end == 'h' ? 3600.0 : NAN;
        end++;
    }
    value *= unit;
    bool whole = row->kind == KIND_FLOAT || row->kind == KIND_SECONDS || value == floor(value);
    if (end == text || *end != '\0' || errno != 0 || !whole ||
        !(value >= row->min && value <= row->max))
        return hw_err_set(err, HW_EINVAL, "--%s must be %s from %g to %g, got \"%s\"", row->name,
                          row->kind == KIND_FLOAT     ? "a number"
                          : row->kind == KIND_SECONDS ? "a time such as 90s, 28m or 2h,"
                                                      : "a whole number",
                          row->min, row->max, text);
    if (row->kind == KIND_FLOAT)
        *(float *)place = (float)value;
    else if (row->kind == KIND_SECONDS)
        *(double *)place = value;
    else if (row->kind == KIND_SIZE)
        *(size_t *)place = (size_t)value;
    else if (row->kind == KIND_U32)
        *(uint32_t *)place = (uint32_t)value;
    else
        *(uint64_t *)place = (uint64_t)value;
    return 0;
}

static int
set_option(const struct option_row *row, const char *text, struct hw_train_options *options,
           struct hw_err *err)
{
    void *place = (char *)options + row->offset;

    if (row->kind == KIND_FLAG) {
        *(bool *)place = true;
    } else if (row->kind == KIND_TEXT) {
        *(const char **)place = text;
    } else if (row->kind == KIND_FILE) {
        if (options->file_count == HW_TRAIN_FILES)
            return hw_err_set(err, HW_ELIMIT, "--data: at most %d files", HW_TRAIN_FILES);
        options->files[options->file_count++] = text;
    } else {
        return set_number(row, text, place, err);
    }
    return 0;
}

int
hw_train_options_read(int argc, char **argv, struct hw_train_options *options, struct hw_err *err)
{
    struct option names[ROWS + 1] = {{0}};
    int found, index = 0;

    set_defaults(options);
    for (int i = 0; i < ROWS; i++) {
        names[i].name = table[i].name;
        names[i].has_arg = table[i].kind == KIND_FLAG ? no_argument : required_argument;
    }
    optind = 1;
    opterr = 0;
    while ((found = getopt_long(argc, argv, "", names, &index)) != -1) {
        if (found != 0)
            return hw_err_set(err, HW_EINVAL, "%s: unknown option, or one that lacks its value",
                              argv[optind - 1]);
        int rc = set_option(&table[index], optarg, options, err);
        if (rc != 0)
            return rc;
    }
    if (options->help)
        return 0;
    if (optind < argc)
        return hw_err_set(err, HW_EINVAL, "%s: not an option; data goes behind --data",
                          argv[optind]);
    if (options->file_count == 0 || options->out == NULL)
        return hw_err_set(err, HW_EINVAL, "--data PATH and --out DIR are needed");
    options->data.block = options->trainer.block;
    options->data.seed = options->trainer.seed;
    return 0;
}

void
hw_train_options_help(void)
{
    puts("usage: hatchway bdh train --data PATH --out DIR [options]\n\n"
         "Trains a BDH model from bytes. Ctrl-C saves; --resume goes on, step for step as if it "
         "had\n"
         "not stopped (without --time-limit, and with the same options).\n");
    for (int i = 0; i < ROWS; i++)
        if (table[i].help[0] != '\0')
            printf("  --%-16s %s\n", table[i].name, table[i].help);
}
