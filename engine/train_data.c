/* What there is to train on and what is held out: a row's own held-out phrasings, or where no row
 * has any the last rows, and of each text its end. The sequences of it are train_sequence.c's. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/train_data_parts.h"
#include "engine/train_folder.h"
#include "hatchway/assert.h"

void
hw_train_data_create(const struct hw_train_data_conf *conf, const struct hw_bdh_template *tmpl,
                     struct hw_train_data **out)
{
    struct hw_train_data *data = hw_xcalloc(1, sizeof(*data));

    data->conf = *conf;
    data->tmpl = *tmpl;
    *out = data;
}

void
hw_train_data_destroy(struct hw_train_data **data)
{
    if (*data == NULL)
        return;
    for (size_t i = 0; i < (*data)->text_count; i++)
        free((*data)->texts[i].bytes);
    free((*data)->texts);
    for (size_t i = 0; (*data)->forks != NULL && i < (*data)->rows.count; i++)
        free((*data)->forks[i].at);
    free((*data)->forks);
    free((*data)->held_out);
    free((*data)->order);
    hw_train_rows_free(&(*data)->rows);
    free(*data);
    *data = NULL;
}

static void
keep_text(struct hw_train_data *data, char *bytes, size_t len)
{
    data->texts = realloc(data->texts, (data->text_count + 1) * sizeof(*data->texts));
    HW_ASSERT(data->texts != NULL);
    data->texts[data->text_count++] = (struct hw_train_text){.bytes = bytes, .len = len};
}

static int
add_folder(struct hw_train_data *data, const char *path, struct hw_err *err)
{
    struct hw_train_folder folder;
    int rc = hw_train_folder_read(path, &data->rows, &folder, err);

    if (rc != 0)
        return rc;
    data->skipped += folder.skipped;
    if (folder.text_count > 0)
        keep_text(data, folder.bytes, folder.len);
    return 0;
}

int
hw_train_data_add(struct hw_train_data *data, const char *path, struct hw_err *err)
{
    size_t len = strlen(path);
    struct stat about;

    if (stat(path, &about) == 0 && S_ISDIR(about.st_mode))
        return add_folder(data, path, err);
    if (len > 6 && strcmp(path + len - 6, ".jsonl") == 0)
        return hw_train_rows_read(&data->rows, path, err);
    char *bytes;
    int rc = hw_train_read_file(path, &bytes, &len, err);
    if (rc == 0)
        keep_text(data, bytes, len);
    return rc;
}

size_t
hw_train_pair_bytes(const struct hw_train_data *data, const char *question, const char *answer)
{
    return strlen(data->tmpl.before_user) + strlen(question) + strlen(data->tmpl.before_assistant) +
           strlen(answer) + strlen(data->tmpl.after_assistant);
}

static int
check_row(const struct hw_train_data *data, const struct hw_train_row *row, struct hw_err *err)
{
    for (size_t q = 0; q < row->question_count + row->held_out_count; q++) {
        const char *question =
            q < row->question_count ? row->questions[q] : row->held_out[q - row->question_count];
        size_t bytes = hw_train_pair_bytes(data, question, row->answer);
        if (bytes > data->conf.block + 1)
            return hw_err_set(err, HW_EINVAL,
                              "\"%.60s\" and its answer are %zu bytes; %s must be at least that",
                              question, bytes, data->conf.only_measured ? "--length" : "--block");
    }
    return 0;
}

static void
list_held_out(struct hw_train_data *data)
{
    size_t count = 0, least = data->conf.only_measured ? 0 : 1; /* rows to train on */

    for (size_t r = 0; r < data->rows.count; r++)
        count += data->rows.rows[r].held_out_count;
    data->train_rows = data->rows.count;
    if (count == 0 && data->rows.count > least) {
        size_t kept = (size_t)((float)data->rows.count * (1.0f - data->conf.val_fraction));
        data->train_rows = kept < least ? least : kept;
        count = data->rows.count - data->train_rows;
        data->held_out = hw_xcalloc(count + 1, sizeof(*data->held_out));
        for (size_t r = data->train_rows; r < data->rows.count; r++)
            data->held_out[data->held_out_count++] = (struct hw_train_held_out){r, 0};
        return;
    }
    data->held_out = hw_xcalloc(count + 1, sizeof(*data->held_out));
    for (size_t r = 0; r < data->rows.count; r++)
        for (size_t q = 0; q < data->rows.rows[r].held_out_count; q++)
            data->held_out[data->held_out_count++] = (struct hw_train_held_out){r, q};
}

/* Every pair of rows is compared: thousands of rows take well under a second. */
static void
find_forks(struct hw_train_data *data)
{
    data->forks = hw_xcalloc(data->rows.count + 1, sizeof(*data->forks));
    for (size_t r = 0; r < data->rows.count; r++) {
        const char *answer = data->rows.rows[r].answer;
        data->forks[r].at = hw_xcalloc(strlen(answer) + 1, sizeof(bool));
        for (size_t other = 0; other < data->rows.count; other++) {
            const char *rival = data->rows.rows[other].answer;
            size_t same = 0;
            while (answer[same] != '\0' && answer[same] == rival[same])
                same++;
            if (answer[same] == rival[same])
                continue;
            data->forks[r].at[same] = true;
            data->forks[r].last = same > data->forks[r].last ? same : data->forks[r].last;
        }
    }
}

/* A sequence of N tokens takes N + 1 bytes: the last one is a target alone. */
static int
divide_texts(struct hw_train_data *data, struct hw_err *err)
{
    size_t block = data->conf.block, most = 0;

    for (size_t i = 0; i < data->text_count; i++) {
        struct hw_train_text *text = &data->texts[i];
        text->train = (size_t)((double)text->len * (1.0 - (double)data->conf.val_fraction));
        size_t held = text->len - text->train;
        if (text->train < block + 1 && !data->conf.only_measured)
            return hw_err_set(err, HW_EINVAL,
                              "of a text of %zu bytes %zu are to train on, and one --block of %zu "
                              "needs %zu: more text, a smaller --block or a smaller --val-fraction",
                              text->len, text->train, block, block + 1);
        data->text_blocks += text->train / block;
        data->val_blocks += held > block ? (held - 1) / block : 0;
        most = held > most ? held : most;
    }
    if (data->conf.only_measured && hw_train_data_validations(data) == 0 && data->text_count > 0)
        return hw_err_set(err, HW_EINVAL,
                          "what is held out, at most %zu bytes of a text, is shorter than one "
                          "sequence of %zu bytes and what follows it: more text, a larger "
                          "--val-fraction or a smaller --length",
                          most, block);
    return 0;
}

int
hw_train_data_ready(struct hw_train_data *data, struct hw_err *err)
{
    for (size_t r = 0; r < data->rows.count; r++) {
        int rc = check_row(data, &data->rows.rows[r], err);
        if (rc != 0)
            return rc;
    }
    list_held_out(data);
    find_forks(data);
    int rc = divide_texts(data, err);
    if (rc != 0)
        return rc;
    data->order_len = data->train_rows + data->text_blocks;
    if (data->order_len == 0 && hw_train_data_validations(data) == 0)
        return hw_err_set(err, HW_EINVAL, "the data is empty");
    data->order = hw_xcalloc(data->order_len + 1, sizeof(*data->order));
    return 0;
}

size_t
hw_train_data_epoch(const struct hw_train_data *data)
{
    return data->order_len;
}

size_t
hw_train_data_validations(const struct hw_train_data *data)
{
    return data->held_out_count + data->val_blocks;
}

size_t
hw_train_data_skipped(const struct hw_train_data *data)
{
    return data->skipped;
}

size_t
hw_train_data_row_count(const struct hw_train_data *data)
{
    return data->rows.count;
}
