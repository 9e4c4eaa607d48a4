/* Training as a whole, on toy data: it learns, it is repeatable, and a resumed run is the same run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/trainer.h"

static char folder[] = "/tmp/hatchway-trainer-XXXXXX";
static char rows_path[64], text_path[64], checkpoint_path[64];

static const struct hw_bdh_template tmpl = {"Q: ", "\nA: ", "\n"};

static struct hw_trainer_conf
small_conf(void)
{
    struct hw_trainer_conf conf = {
        .shape = {.n_layer = 2,
                  .n_embd = 16,
                  .n_head = 3,
                  .multiplier = 6,
                  .vocab = 256,
                  .dropout = 0.1f},
        .steps = 40,
        .batch = 5,
        .block = 64,
        .rows = 100,
        .lr = 1e-2f,
        .min_lr = 1e-3f,
        .warmup = 4,
        .weight_decay = 0.05f,
        .beta1 = 0.9f,
        .beta2 = 0.95f,
        .clip = 1.0f,
        .seed = 7,
        .threads = 3,
        .plain_blas = true,
    };
    assert_int_equal(hw_bdh_config_check(&conf.shape, NULL), 0);
    return conf;
}

static struct hw_train_data *
open_data(const char *path, float augment)
{
    struct hw_train_data_conf conf = {.block = 64,
                                      .val_fraction = 0.2f,
                                      .question_weight = 0.1f,
                                      .augment = augment,
                                      .chat = 0.3f,
                                      .seed = 7};
    struct hw_train_data *data = NULL;

    hw_train_data_create(&conf, &tmpl, &data);
    assert_int_equal(hw_train_data_add(data, path, NULL), 0);
    assert_int_equal(hw_train_data_ready(data, NULL), 0);
    return data;
}

static struct hw_trainer *
open_trainer(const struct hw_trainer_conf *conf)
{
    struct hw_trainer *trainer = NULL;
    struct hw_err err = {""};

    if (hw_trainer_create(conf, NULL, &trainer, &err) != 0)
        fail_msg("%s", err.msg);
    return trainer;
}

static void
run_steps(struct hw_trainer *trainer, struct hw_train_data *data, size_t count, double *losses)
{
    for (size_t i = 0; i < count; i++) {
        struct hw_train_report report;
        hw_trainer_step(trainer, data, 0.0, &report);
        losses[i] = report.loss;
    }
}

static void
test_it_learns(void **state)
{
    (void)state;
    struct hw_trainer_conf conf = small_conf();
    struct hw_train_data *data = open_data(rows_path, 0.0f);
    struct hw_trainer *trainer = open_trainer(&conf);
    double losses[40];

    double before = hw_trainer_validate(trainer, data, 100);
    run_steps(trainer, data, 40, losses);
    assert_true(fabs(losses[0] - log(256.0)) < 0.3); /* random weights know nothing */
    assert_true(losses[39] < 0.6 * losses[0]);
    assert_true(hw_trainer_validate(trainer, data, 100) < 0.8 * before);
    assert_true(hw_trainer_progress(trainer, 0.0) >= 1.0);
    hw_trainer_destroy(&trainer);
    hw_train_data_destroy(&data);
}

static void
check_resumed_run(bool muon, float decay)
{
    struct hw_trainer_conf conf = small_conf();
    struct hw_train_data *data = open_data(rows_path, 0.5f);
    conf.muon = muon;
    conf.shape.decay = decay;
    double whole[20], halves[20], elapsed_s = 0.0;

    struct hw_trainer *trainer = open_trainer(&conf);
    run_steps(trainer, data, 20, whole);
    hw_trainer_destroy(&trainer);

    trainer = open_trainer(&conf);
    run_steps(trainer, data, 9, halves);
    assert_int_equal(hw_trainer_save(trainer, checkpoint_path, 12.5, NULL), 0);
    hw_trainer_destroy(&trainer);
    trainer = open_trainer(&conf);
    assert_int_equal(hw_trainer_load(trainer, checkpoint_path, &elapsed_s, NULL), 0);
    assert_true(elapsed_s == 12.5);
    run_steps(trainer, data, 11, halves + 9);
    for (size_t i = 0; i < 20; i++)
        assert_true(whole[i] == halves[i]); /* to the bit */
    hw_trainer_destroy(&trainer);
    hw_train_data_destroy(&data);
}

static void
test_resumed_run_is_the_same_run(void **state)
{
    (void)state;
    check_resumed_run(false, 0.0f);
    check_resumed_run(true, 0.0f);
    check_resumed_run(false, 0.9f);
}

/* A checkpoint of another run, or one that is cut or changed anywhere, is refused. */
static void
test_checkpoint_is_checked(void **state)
{
    (void)state;
    struct hw_trainer_conf conf = small_conf();
    struct hw_trainer *trainer = open_trainer(&conf);
    double elapsed_s = 0.0;
    struct hw_err err = {""};

    assert_int_equal(hw_trainer_load(trainer, "/nowhere/checkpoint", &elapsed_s, &err),
                     HW_ENOTFOUND);
    assert_int_equal(hw_trainer_save(trainer, checkpoint_path, 0.0, NULL), 0);
    hw_trainer_destroy(&trainer);
    conf.seed = 8;
    trainer = open_trainer(&conf);
    assert_int_equal(hw_trainer_load(trainer, checkpoint_path, &elapsed_s, &err), HW_EINVAL);
    assert_non_null(strstr(err.msg, "another run"));
    hw_trainer_destroy(&trainer);

    conf.seed = 7;
    conf.shape.decay = 0.9f;
    trainer = open_trainer(&conf);
    assert_int_equal(hw_trainer_load(trainer, checkpoint_path, &elapsed_s, &err), HW_EINVAL);
    assert_non_null(strstr(err.msg, "decay 0.8999"));
    hw_trainer_destroy(&trainer);
    conf.shape.decay = 0.0f;
    FILE *file = fopen(checkpoint_path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, 3000, SEEK_SET), 0);
    int byte = fgetc(file);
    assert_int_equal(fseek(file, 3000, SEEK_SET), 0);
    fputc(byte ^ 1, file);
    fclose(file);
    trainer = open_trainer(&conf);
    assert_int_equal(hw_trainer_load(trainer, checkpoint_path, &elapsed_s, &err), HW_EINVAL);
    assert_int_equal(truncate(checkpoint_path, 2000), 0);
    assert_int_equal(hw_trainer_load(trainer, checkpoint_path, &elapsed_s, &err), HW_EINVAL);
    assert_non_null(strstr(err.msg, "damaged"));
    hw_trainer_destroy(&trainer);
}

/* The clock can end the schedule before the steps do. */
static void
test_time_limit(void **state)
{
    (void)state;
    struct hw_trainer_conf conf = small_conf();
    struct hw_train_data *data = open_data(text_path, 0.0f);
    struct hw_train_report early, late;

    conf.warmup = 0;
    conf.time_limit_s = 100.0;
    struct hw_trainer *trainer = open_trainer(&conf);
    hw_trainer_step(trainer, data, 0.0, &early);
    hw_trainer_step(trainer, data, 99.9, &late);
    assert_true(early.lr == conf.lr);
    assert_true(late.lr < 1.01f * conf.min_lr);
    assert_true(hw_trainer_progress(trainer, 100.0) >= 1.0);
    assert_int_equal(early.tokens, conf.batch * conf.block);
    hw_trainer_destroy(&trainer);
    hw_train_data_destroy(&data);
}

static int
make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(rows_path, sizeof(rows_path), "%s/rows.jsonl", folder);
    snprintf(text_path, sizeof(text_path), "%s/text.md", folder);
    snprintf(checkpoint_path, sizeof(checkpoint_path), "%s/checkpoint", folder);
    FILE *rows = fopen(rows_path, "w"), *text = fopen(text_path, "w");
    if (rows == NULL || text == NULL)
        return -1;
    for (int i = 0; i < 8; i++)
        fprintf(rows,
                "{\"questions\": [\"what is %c?\", \"tell %c\"], \"held_out\": [\"%c, please\"], "
                "\"answer\": \"it is %c.\"}\n",
                'a' + i, 'a' + i, 'a' + i, 'z' - i);
    for (int i = 0; i < 200; i++)
        fprintf(text, "line %d of a text\n", i);
    fclose(rows);
    fclose(text);
    return 0;
}

static int
remove_folder(void **state)
{
    (void)state;
    unlink(rows_path);
    unlink(text_path);
    unlink(checkpoint_path);
    return rmdir(folder);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_learns),
        cmocka_unit_test(test_resumed_run_is_the_same_run),
        cmocka_unit_test(test_checkpoint_is_checked),
        cmocka_unit_test(test_time_limit),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
