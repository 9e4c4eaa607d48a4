/* The run around the steps: options, progress, the loss log, checkpoints, and the last save. */
#include "engine/train.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/train_options.h"
#include "engine/train_sample.h"
#include "engine/trainer.h"

enum { PATH_BYTES = 4096, VALIDATIONS = 64, PROGRESS_S = 10, SAMPLE_TOKENS = 160 };

static volatile sig_atomic_t interrupted;

static void
on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

struct run {
    struct hw_train_options options;
    struct hw_train_data *data;
    struct hw_trainer *trainer;
    struct hw_bdh_model *model; /* shape and template; takes the weights when they are saved */
    FILE *log;
    double before_s;  /* training time of earlier runs */
    double started_s; /* of this one, on the monotonic clock */
    double shown_s;   /* when progress was last printed */
    uint64_t shown_tokens, tokens;
    double loss; /* running mean, for the progress line */
    double val_loss;
};

static double
now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static double
elapsed_s(const struct run *run)
{
    return run->before_s + now_s() - run->started_s;
}

static int
in_folder(const struct run *run, const char *name, char path[PATH_BYTES], struct hw_err *err)
{
    int len = snprintf(path, PATH_BYTES, "%s/%s", run->options.out, name);

    if (len < 0 || len >= PATH_BYTES)
        return hw_err_set(err, HW_EINVAL, "--out: the path is too long");
    return 0;
}

/* ---- the loss log ---- */

/* Lines of steps that the checkpoint does not know yet are dropped: they will be run again. */
static int
copy_log(const char *path, FILE *out, uint64_t steps_done)
{
    FILE *old = fopen(path, "r");
    char line[256];

    if (old == NULL)
        return errno == ENOENT ? 0 : HW_EIO;
    while (fgets(line, sizeof(line), old) != NULL) {
        char *end = NULL;
        unsigned long long step = strtoull(line, &end, 10);
        if (end != line && *end == ',' && step <= steps_done)
            fputs(line, out);
    }
    fclose(old);
    return 0;
}

static int
open_log(struct run *run, struct hw_err *err)
{
    char path[PATH_BYTES], temporary[PATH_BYTES];
    int rc = in_folder(run, "loss.csv", path, err);

    if (rc == 0)
        rc = in_folder(run, "loss.csv.tmp", temporary, err);
    if (rc != 0)
        return rc;
    run->log = fopen(temporary, "w");
    if (run->log == NULL)
        return hw_err_set(err, HW_EIO, "%s: %s", temporary, strerror(errno));
    fputs("step,seconds,tokens,lr,grad_norm,loss,val_loss\n", run->log);
    uint64_t done = hw_trainer_steps_done(run->trainer);
    if ((done > 0 && copy_log(path, run->log, done) != 0) || fflush(run->log) != 0 ||
        rename(temporary, path) != 0)
        return hw_err_set(err, HW_EIO, "%s: %s", path, strerror(errno));
    return 0;
}

/* ---- saving ---- */

static int
save_model(struct run *run, const char *name, struct hw_err *err)
{
    char path[PATH_BYTES];
    int rc = in_folder(run, name, path, err);

    if (rc != 0)
        return rc;
    hw_trainer_export(run->trainer, run->model);
    return hw_bdh_model_save(run->model, path,
                             run->options.bf16 ? HW_BDH_DTYPE_BF16 : HW_BDH_DTYPE_F32, err);
}

static int
save_checkpoint(struct run *run, struct hw_err *err)
{
    char path[PATH_BYTES], name[64];
    uint64_t step = hw_trainer_steps_done(run->trainer), every = run->options.save_every;
    int rc = in_folder(run, "checkpoint", path, err);

    if (rc == 0)
        rc = hw_trainer_save(run->trainer, path, elapsed_s(run), err);
    if (rc != 0 || run->options.keep == 0)
        return rc;
    snprintf(name, sizeof(name), "step-%08llu.safetensors", (unsigned long long)step);
    rc = save_model(run, name, err);
    if (rc == 0 && step > run->options.keep * every) {
        snprintf(name, sizeof(name), "step-%08llu.safetensors",
                 (unsigned long long)(step - run->options.keep * every));
        if (in_folder(run, name, path, err) == 0)
            unlink(path); /* absent when the run began later */
    }
    return rc;
}

/* ---- the run ---- */

static int
open_data(struct run *run, struct hw_err *err)
{
    int rc = 0;

    hw_train_data_create(&run->options.data, &run->model->tmpl, &run->data);
    for (size_t i = 0; i < run->options.file_count && rc == 0; i++)
        rc = hw_train_data_add(run->data, run->options.files[i], err);
    if (rc == 0)
        rc = hw_train_data_ready(run->data, err);
    if (rc == 0 && hw_train_data_row_count(run->data) == 0)
        run->model->tmpl = (struct hw_bdh_template){{0}, {0}, {0}}; /* plain text: none to ask by */
    if (rc == 0 && hw_train_data_longest(run->data) > run->model->trained_context)
        run->model->trained_context = (uint32_t)hw_train_data_longest(run->data);
    return rc;
}

static int
open_model(struct run *run, struct hw_err *err)
{
    struct hw_bdh_config *shape = &run->options.trainer.shape;
    static const struct hw_bdh_template tmpl = {"Q: ", "\nA: ", "\n"};
    int rc;

    shape->decay = run->options.decay < 0.0f ? 0.0f : run->options.decay;
    shape->wide_phases = run->options.wide_phases;
    if (run->options.init != NULL) {
        struct hw_bdh_config wanted = *shape;
        if ((rc = hw_bdh_model_load(run->options.init, &run->model, err)) != 0)
            return rc;
        if (run->model->conf.vocab < 256)
            return hw_err_set(err, HW_EINVAL, "%s: its vocabulary of %u has no room for bytes",
                              run->options.init, run->model->conf.vocab);
        *shape = run->model->conf;
        shape->dropout = wanted.dropout;
        shape->wide_phases = shape->wide_phases || wanted.wide_phases;
        if (run->options.decay >= 0.0f)
            shape->decay = wanted.decay;
        if ((rc = hw_bdh_config_check(shape, err)) != 0)
            return rc;
        if (shape->decay != run->model->conf.decay) /* it never held what it holds now */
            run->model->trained_context = 0;
        run->model->conf = *shape;
    } else if ((rc = hw_bdh_config_check(shape, err)) != 0 ||
               (rc = hw_bdh_model_create(shape, &run->model, err)) != 0) {
        return rc;
    }
    if (run->model->tmpl.before_assistant[0] == '\0')
        run->model->tmpl = tmpl;
    return 0;
}

static int
open_run(struct run *run, struct hw_err *err)
{
    char path[PATH_BYTES];
    int rc;

    if (mkdir(run->options.out, 0777) != 0 && errno != EEXIST)
        return hw_err_set(err, HW_EIO, "%s: %s", run->options.out, strerror(errno));
    if ((rc = open_model(run, err)) != 0 || (rc = open_data(run, err)) != 0 ||
        (rc =
             hw_trainer_create(&run->options.trainer, run->options.init == NULL ? NULL : run->model,
                               &run->trainer, err)) != 0)
        return rc;
    if (run->options.resume && (rc = in_folder(run, "checkpoint", path, err)) == 0) {
        rc = hw_trainer_load(run->trainer, path, &run->before_s, err);
        if (rc == HW_ENOTFOUND) {
            printf("no checkpoint in %s yet: starting from the beginning\n", run->options.out);
            rc = 0;
        }
    }
    return rc != 0 ? rc : open_log(run, err);
}

static void
show_progress(struct run *run, bool must)
{
    double now = now_s(), progress = hw_trainer_progress(run->trainer, elapsed_s(run));

    if (!must && now - run->shown_s < (double)PROGRESS_S)
        return;
    double rate = (double)(run->tokens - run->shown_tokens) / fmax(now - run->shown_s, 1e-3);
    double left = progress > 0.0 ? elapsed_s(run) * (1.0 - progress) / progress : 0.0;
    left = fmax(left, 0.0);
    printf("step %llu/%llu  loss %.4f  val %.4f  %.0f tokens/s  left %dm%02ds\n",
           (unsigned long long)hw_trainer_steps_done(run->trainer),
           (unsigned long long)run->options.trainer.steps, run->loss, run->val_loss, rate,
           (int)(left / 60.0), (int)fmod(left, 60.0));
    fflush(stdout);
    run->shown_s = now;
    run->shown_tokens = run->tokens;
}

/* What the model writes by now: printed, and added to samples.txt. */
static int
show_sample(struct run *run, struct hw_err *err)
{
    char path[PATH_BYTES];
    struct hw_buf prompt, text;
    FILE *file = NULL;

    hw_buf_init(&prompt, PATH_BYTES);
    hw_buf_init(&text, 4 * SAMPLE_TOKENS);
    hw_trainer_export(run->trainer, run->model);
    int rc = in_folder(run, "samples.txt", path, err);
    if (rc == 0 && hw_train_data_prompt(run->data, run->options.sample, &prompt) != 0)
        rc = hw_err_set(err, HW_ELIMIT, "--sample: more than %d bytes", (int)PATH_BYTES);
    if (rc == 0)
        rc = hw_train_sample(run->model, &prompt, SAMPLE_TOKENS, &text, err);
    if (rc == 0 && (file = fopen(path, "a")) == NULL)
        rc = hw_err_set(err, HW_EIO, "%s: %s", path, strerror(errno));
    for (int i = 0; rc == 0 && i < 2; i++)
        fprintf(i == 0 ? stdout : file, "== sample at step %llu\n%.*s%.*s\n",
                (unsigned long long)hw_trainer_steps_done(run->trainer), (int)prompt.len,
                prompt.data, (int)text.len, text.data);
    if (file != NULL && fclose(file) != 0 && rc == 0)
        rc = hw_err_set(err, HW_EIO, "%s: %s", path, strerror(errno));
    hw_buf_free(&prompt);
    hw_buf_free(&text);
    return rc;
}

static int
run_step(struct run *run, struct hw_err *err)
{
    const struct hw_train_options *options = &run->options;
    struct hw_train_report report;

    hw_trainer_step(run->trainer, run->data, elapsed_s(run), &report);
    if (!isfinite(report.loss))
        return hw_err_set(err, HW_EINVAL, "the loss is no number any more; try a lower --lr");
    uint64_t step = hw_trainer_steps_done(run->trainer);
    bool evaluate = step % options->eval_every == 0;
    run->tokens += report.tokens;
    run->loss = run->loss == 0.0 ? report.loss : 0.95 * run->loss + 0.05 * report.loss;
    if (evaluate)
        run->val_loss = hw_trainer_validate(run->trainer, run->data, VALIDATIONS);
    fprintf(run->log, "%llu,%.2f,%zu,%.6g,%.5g,%.6f,", (unsigned long long)step, elapsed_s(run),
            report.tokens, (double)report.lr, report.grad_norm, report.loss);
    fprintf(run->log, evaluate ? "%.6f\n" : "\n", run->val_loss);
    show_progress(run, evaluate);
    if (options->sample_every > 0 && step % options->sample_every == 0) {
        int rc = show_sample(run, err);
        if (rc != 0)
            return rc;
    }
    if (step % options->save_every != 0)
        return 0;
    fflush(run->log);
    return save_checkpoint(run, err);
}

static int
run_to_end(struct run *run, struct hw_err *err)
{
    const struct hw_bdh_config *shape = &run->options.trainer.shape;
    int rc = 0;

    printf("%zu parameters (%u layers, embd %u, %u heads, multiplier %u), %zu sequences an epoch, "
           "%u threads, %s\n",
           hw_bdh_param_count(shape), shape->n_layer, shape->n_embd, shape->n_head,
           shape->multiplier, hw_train_data_epoch(run->data), run->options.trainer.threads,
           hw_trainer_blas(run->trainer));
    if (hw_train_data_skipped(run->data) > 0)
        printf("%zu files are no text and were passed over\n", hw_train_data_skipped(run->data));
    if (hw_train_data_validations(run->data) == 0)
        puts("nothing is held out: \"val\" stays without a value (--val-fraction, or rows with "
             "\"held_out\", would give it one)");
    run->val_loss = (double)NAN;
    run->started_s = run->shown_s = now_s();
    while (rc == 0 && !interrupted && hw_trainer_progress(run->trainer, elapsed_s(run)) < 1.0)
        rc = run_step(run, err);
    if (rc == 0)
        rc = save_checkpoint(run, err);
    if (rc == 0 && interrupted) {
        printf("saved at step %llu; --resume goes on from there\n",
               (unsigned long long)hw_trainer_steps_done(run->trainer));
        return HW_ECANCELED;
    }
    if (rc == 0)
        rc = save_model(run, "model.safetensors", err);
    if (rc == 0)
        printf("wrote %s/model.safetensors after %llu steps, %.0f s; validation %.4f\n",
               run->options.out, (unsigned long long)hw_trainer_steps_done(run->trainer),
               elapsed_s(run), hw_trainer_validate(run->trainer, run->data, SIZE_MAX));
    return rc;
}

int
hw_command_bdh_train(int argc, char **argv)
{
    struct run run = {0};
    struct hw_err err = {""};
    struct sigaction action = {.sa_handler = on_interrupt}, old_int, old_term;

    if (hw_train_options_read(argc, argv, &run.options, &err) != 0) {
        fprintf(stderr, "hatchway: bdh train: %s (--help lists the options)\n", err.msg);
        return 2;
    }
    if (run.options.help) {
        hw_train_options_help();
        return 0;
    }
    interrupted = 0;
    sigaction(SIGINT, &action, &old_int);
    sigaction(SIGTERM, &action, &old_term);
    int rc = open_run(&run, &err);
    if (rc == 0)
        rc = run_to_end(&run, &err);
    if (rc != 0 && rc != HW_ECANCELED)
        fprintf(stderr, "hatchway: bdh train: %s\n", err.msg);
    sigaction(SIGINT, &old_int, NULL);
    sigaction(SIGTERM, &old_term, NULL);
    if (run.log != NULL)
        fclose(run.log);
    hw_trainer_destroy(&run.trainer);
    hw_train_data_destroy(&run.data);
    hw_bdh_model_destroy(&run.model);
    return rc == 0 ? 0 : 1;
}
