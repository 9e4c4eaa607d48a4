/* engine/command_loss.c - `hatchway bdh loss`: how well models know what comes next, by how much
 * went before it.
 *
 * The end of each text, which training with the same --val-fraction never saw, is cut into
 * sequences; every model reads each from position 0 in the engine that serves it. */
#include <getopt.h>

#include "engine/command_parts.h"
#include "engine/sample.h"
#include "engine/train_data.h"
#include "hatchway/assert.h"

enum { MAX_MODELS = 8, MAX_PATHS = 16, DEFAULT_BLOCK = 256, BLOCKS = 8, MAX_LENGTH = 1 << 20 };

static const char help[] =
    "usage: hatchway bdh loss MODEL... --data PATH [--data PATH] [--block N] [--length N]\n"
    "                    [--sequences N] [--val-fraction X] [--precision f32|fast]\n"
    "\n"
    "Prints the mean loss (nats a byte) of held-out text by position, a column a model: whether a\n"
    "model keeps its quality beyond what it was trained to hold.\n"
    "\n"
    "  --data PATH        as for `hatchway bdh train`; of each text only its end counts\n"
    "  --val-fraction X   so much of it, as the training held out (default 0.1); 1: all of it, of\n"
    "                     text that no model here was trained on\n"
    "  --block N          positions a row of the table (default: the first model's trained\n"
    "                     context, or 256)\n"
    "  --length N         bytes of a sequence (default: eight blocks)\n"
    "  --sequences N      at most so many, spread evenly (default 64)\n"
    "  --precision P      f32 (default), or fast: weights and state in int8\n";

struct loss_options {
    const char *models[MAX_MODELS];
    size_t model_count;
    const char *data[MAX_PATHS];
    size_t data_count;
    uint64_t block, length, sequences; /* block, length 0: by the first model */
    double val_fraction;
    enum hw_bdh_precision precision;
};

struct loss_run {
    const struct loss_options *options;
    struct loaded models[MAX_MODELS];
    struct hw_train_data *data;
    struct hw_train_sequence sequence;
    size_t block, length, rows, sequences;
    double *sums[MAX_MODELS], *weights; /* [rows] */
};

static int
load_models(struct loss_run *run)
{
    const struct loss_options *o = run->options;

    for (size_t i = 0; i < o->model_count; i++) {
        if (!command_load(o->models[i], o->precision, &run->models[i]))
            return EXIT_WORK;
        if (run->models[i].model->conf.vocab < 256)
            return command_failed("%s: its vocabulary of %u has no room for bytes", o->models[i],
                                  run->models[i].model->conf.vocab);
    }
    uint32_t trained = run->models[0].model->trained_context;
    run->block = o->block > 0 ? o->block : trained > 0 ? trained : DEFAULT_BLOCK;
    run->length = o->length > 0 ? o->length : run->block * BLOCKS;
    if (run->length > MAX_LENGTH)
        return command_failed("a sequence of %zu bytes is too long: --length may be at most %d",
                              run->length, (int)MAX_LENGTH);
    run->rows = (run->length + run->block - 1) / run->block;
    return 0;
}

static int
open_data(struct loss_run *run, struct hw_err *err)
{
    const struct loss_options *o = run->options;
    const struct hw_train_data_conf conf = {
        .block = run->length, .val_fraction = (float)o->val_fraction, .only_measured = true};
    int rc = 0;

    hw_train_data_create(&conf, &run->models[0].model->tmpl, &run->data);
    for (size_t i = 0; rc == 0 && i < o->data_count; i++)
        rc = hw_train_data_add(run->data, o->data[i], err);
    if (rc == 0)
        rc = hw_train_data_ready(run->data, err);
    if (rc != 0)
        return rc;
    size_t all = hw_train_data_validations(run->data);
    run->sequences = all < o->sequences ? all : o->sequences;
    run->sequence.tokens = hw_xcalloc(run->length + 1, 1);
    run->sequence.targets = hw_xcalloc(run->length + 1, 1);
    run->sequence.weights = hw_xcalloc(run->length + 1, sizeof(float));
    run->weights = hw_xcalloc(run->rows, sizeof(double));
    for (size_t i = 0; i < o->model_count; i++)
        run->sums[i] = hw_xcalloc(run->rows, sizeof(double));
    return 0;
}

/* One sequence through one model. */
static void
read_sequence(struct loss_run *run, size_t model, float *logits)
{
    const struct hw_train_sequence *s = &run->sequence;
    const struct loaded *loaded = &run->models[model];
    struct hw_logprob own;

    hw_bdh_session_reset(loaded->session);
    for (size_t i = 0; i < s->rows; i++) {
        bool counts = s->weights[i] > 0.0f;
        hw_bdh_session_step(loaded->session, s->tokens[i], counts ? logits : NULL);
        if (!counts)
            continue;
        hw_logprobs(logits, loaded->model->conf.vocab, s->targets[i], 0, &own);
        run->sums[model][i / run->block] -= (double)(s->weights[i] * own.logprob);
        if (model == 0)
            run->weights[i / run->block] += (double)s->weights[i];
    }
}

static void
read_all(struct loss_run *run)
{
    size_t all = hw_train_data_validations(run->data), most = 0;

    for (size_t i = 0; i < run->options->model_count; i++)
        if (run->models[i].model->conf.vocab > most)
            most = run->models[i].model->conf.vocab;
    float *logits = hw_xcalloc(most, sizeof(*logits));
    for (size_t done = 0; done < run->sequences; done++) {
        hw_train_data_validation(run->data, done * all / run->sequences, &run->sequence);
        for (size_t i = 0; i < run->options->model_count; i++)
            read_sequence(run, i, logits);
    }
    free(logits);
}

static void
print_table(const struct loss_run *run)
{
    size_t count = run->options->model_count;
    double weight = 0.0, sums[MAX_MODELS] = {0};

    for (size_t i = 0; i < count; i++) {
        const struct hw_bdh_model *model = run->models[i].model;
        printf("model %zu: %s, trained context ", i + 1, run->options->models[i]);
        if (model->trained_context > 0)
            printf("%u", model->trained_context);
        else
            printf("not known");
        if (model->conf.decay != 0.0f)
            printf(", decay %g", (double)model->conf.decay);
        putchar('\n');
    }
    printf("%zu sequences of %zu bytes; nats a byte\n\n%-17s", run->sequences, run->length,
           "positions");
    for (size_t i = 0; i < count; i++)
        printf("  model %zu", i + 1);
    for (size_t row = 0; row < run->rows; row++) {
        char positions[64];
        size_t end = (row + 1) * run->block < run->length ? (row + 1) * run->block : run->length;
        if (run->weights[row] == 0.0)
            continue;
        snprintf(positions, sizeof(positions), "%zu-%zu", row * run->block, end - 1);
        printf("\n%-17s", positions);
        weight += run->weights[row];
        for (size_t i = 0; i < count; i++) {
            printf(" %8.4f", run->sums[i][row] / run->weights[row]);
            sums[i] += run->sums[i][row];
        }
    }
    printf("\n%-17s", "all");
    for (size_t i = 0; i < count; i++)
        printf(" %8.4f", sums[i] / weight);
    putchar('\n');
}

static int
measure(const struct loss_options *options)
{
    struct loss_run run = {.options = options};
    struct hw_err err = {{0}};
    int rc = load_models(&run);

    if (rc == 0 && open_data(&run, &err) != 0)
        rc = command_failed("%s", err.msg);
    if (rc == 0) {
        read_all(&run);
        print_table(&run);
    }
    for (size_t i = 0; i < options->model_count; i++) {
        command_unload(&run.models[i]);
        free(run.sums[i]);
    }
    hw_train_data_destroy(&run.data);
    free(run.sequence.tokens);
    free(run.sequence.targets);
    free(run.sequence.weights);
    free(run.weights);
    return rc != 0 ? rc : command_finish_output();
}

static int
take_data(struct loss_options *options, const char *path)
{
    if (options->data_count == MAX_PATHS)
        return command_usage_error("bdh loss: at most %d --data", (int)MAX_PATHS);
    options->data[options->data_count++] = path;
    return 0;
}

/* 0, or what main is to exit with. */
static int
take_option(struct loss_options *o, int option, char **argv)
{
    bool good;

    if (option == 'd')
        return take_data(o, optarg);
    if (option == 'b')
        good = command_integer("--block", optarg, 1, MAX_LENGTH, &o->block);
    else if (option == 'l')
        good = command_integer("--length", optarg, 1, MAX_LENGTH, &o->length);
    else if (option == 's')
        good = command_integer("--sequences", optarg, 1, 1000000, &o->sequences);
    else if (option == 'v')
        good = command_number("--val-fraction", optarg, 0.001, 1.0, &o->val_fraction);
    else if (option == 'p')
        good = command_precision(optarg, &o->precision);
    else
        return command_bad_option("bdh loss", option, argv);
    return good ? 0 : EXIT_USAGE;
}

int
command_loss(int argc, char **argv)
{
    static const struct option names[] = {
        {"data", required_argument, NULL, 'd'},
        {"block", required_argument, NULL, 'b'},
        {"length", required_argument, NULL, 'l'},
        {"val-fraction", required_argument, NULL, 'v'},
        {"sequences", required_argument, NULL, 's'},
        {"precision", required_argument, NULL, 'p'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct loss_options options = {.sequences = 64, .val_fraction = 0.1};
    int option, rc;

    opterr = 0;
    optind = 0;
    while ((option = getopt_long(argc, argv, ":h", names, NULL)) != -1) {
        if (option == 'h') {
            fputs(help, stdout);
            return command_finish_output();
        }
        if ((rc = take_option(&options, option, argv)) != 0)
            return rc;
    }
    if (optind == argc || options.data_count == 0)
        return command_usage_error("bdh loss: a MODEL and --data are needed");
    if (argc - optind > MAX_MODELS)
        return command_usage_error("bdh loss: at most %d models", (int)MAX_MODELS);
    while (optind < argc)
        options.models[options.model_count++] = argv[optind++];
    return measure(&options);
}
