/* A row becomes one short sequence of its own, so that attention, whose cost grows with the square
 * of the length, stays cheap and nothing is padded. Some sequences go on with further pairs, as a
 * conversation does: otherwise a second question would meet a context never seen.
 *
 * Where two answers that began alike part, the question alone tells how to go on: a fork. All other
 * bytes of an answer follow from those before it. Forks are few, and without a weight of their own
 * the model learns them last, after it has all answers by heart. For the same reason most sequences
 * may end soon after the last fork: they cost half, and teach as much of what is hard. */
#include "engine/train_data.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/train_augment.h"
#include "engine/train_folder.h"
#include "engine/train_rng.h"
#include "hatchway/assert.h"

enum { CHAT_PAIRS = 3, CUT_SLACK = 8, SPLICE_ONE_IN = 4, SAMPLE_BYTES = 48 };

struct text {
    char *bytes;
    size_t len;
    size_t train; /* the first `train` bytes are trained on */
};

struct held_out {
    size_t row, question;
};

struct fork_map {
    size_t last;
    bool *at; /* [bytes of the answer + 1]; the last is for the answer's end */
};

struct hw_train_data {
    struct hw_train_data_conf conf;
    struct hw_bdh_template tmpl;
    struct hw_train_rows rows;
    struct fork_map *forks; /* [rows.count] */
    size_t train_rows;      /* rows[0 .. train_rows) are trained on */
    struct text *texts;
    size_t text_count;
    size_t skipped; /* files of folders that are no text */
    struct held_out *held_out;
    size_t held_out_count;
    size_t text_blocks, val_blocks;
    uint32_t *order; /* of the current epoch: rows first, then blocks of text */
    size_t order_len;
    uint64_t order_epoch;
    bool order_made;
};

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
    data->texts[data->text_count++] = (struct text){.bytes = bytes, .len = len};
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

static size_t
pair_bytes(const struct hw_train_data *data, const char *question, const char *answer)
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
        size_t bytes = pair_bytes(data, question, row->answer);
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
            data->held_out[data->held_out_count++] = (struct held_out){r, 0};
        return;
    }
    data->held_out = hw_xcalloc(count + 1, sizeof(*data->held_out));
    for (size_t r = 0; r < data->rows.count; r++)
        for (size_t q = 0; q < data->rows.rows[r].held_out_count; q++)
            data->held_out[data->held_out_count++] = (struct held_out){r, q};
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
        struct text *text = &data->texts[i];
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
hw_train_data_longest(const struct hw_train_data *data)
{
    size_t longest = 0, pairs = data->conf.chat > 0.0f ? CHAT_PAIRS : 1;

    if (data->text_count > 0)
        return data->conf.block;
    for (size_t r = 0; r < data->train_rows; r++)
        for (size_t q = 0; q < data->rows.rows[r].question_count; q++) {
            size_t bytes =
                pair_bytes(data, data->rows.rows[r].questions[q], data->rows.rows[r].answer);
            longest = bytes > longest ? bytes : longest;
        }
    longest = longest * pairs - 1; /* the last byte is a target alone */
    return longest < data->conf.block ? longest : data->conf.block;
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

static void
append(struct hw_train_sequence *sequence, size_t *bytes, const char *text, size_t len,
       float weight)
{
    for (size_t i = 0; i < len; i++) {
        /* Byte b is the token of row b and the target of row b - 1. */
        size_t at = *bytes + i;
        if (at > 0) {
            sequence->targets[at - 1] = (uint8_t)text[i];
            sequence->weights[at - 1] = weight;
            sequence->rows = at;
        }
        sequence->tokens[at] = (uint8_t)text[i];
    }
    *bytes += len;
}

enum purpose { WHOLE, CUT, VALIDATION };

/* For validation questions have no weight and forks none of their own. */
static void
append_pair(const struct hw_train_data *data, struct hw_train_sequence *sequence, size_t *bytes,
            size_t r, const char *question, enum purpose purpose)
{
    const struct hw_bdh_template *tmpl = &data->tmpl;
    const char *answer = data->rows.rows[r].answer;
    size_t answer_len = strlen(answer), reach = data->forks[r].last + CUT_SLACK;
    bool cut = purpose == CUT && reach < answer_len;
    float question_weight = purpose != VALIDATION ? data->conf.question_weight : 0.0f;

    append(sequence, bytes, tmpl->before_user, strlen(tmpl->before_user), question_weight);
    append(sequence, bytes, question, strlen(question), question_weight);
    append(sequence, bytes, tmpl->before_assistant, strlen(tmpl->before_assistant),
           question_weight);
    size_t first = *bytes - 1; /* the row that predicts the answer's first byte */
    append(sequence, bytes, answer, cut ? reach : answer_len, 1.0f);
    if (!cut)
        append(sequence, bytes, tmpl->after_assistant, strlen(tmpl->after_assistant), 1.0f);
    for (size_t i = 0; purpose != VALIDATION && i <= answer_len && first + i < sequence->rows; i++)
        if (data->forks[r].at[i])
            sequence->weights[first + i] = data->conf.fork_weight;
}

static void
append_text(struct hw_train_sequence *sequence, const char *bytes, size_t rows)
{
    memcpy(sequence->tokens, bytes, rows);
    memcpy(sequence->targets, bytes + 1, rows);
    for (size_t i = 0; i < rows; i++)
        sequence->weights[i] = 1.0f;
    sequence->rows = rows;
}

/* A phrasing that is held out must not slip in by way of a change. */
static bool
is_held_out(const struct hw_train_row *row, const char *question)
{
    for (size_t i = 0; i < row->held_out_count; i++)
        if (hw_train_holds_question(question, row->held_out[i]))
            return true;
    return false;
}

static bool
draw_pair(const struct hw_train_data *data, size_t r, struct hw_train_rng *rng,
          enum purpose purpose, struct hw_train_sequence *sequence, size_t *bytes)
{
    const struct hw_train_row *row = &data->rows.rows[r];
    const char *question = row->questions[hw_train_rng_below(rng, row->question_count)];
    const char *other = row->questions[hw_train_rng_below(rng, row->question_count)];
    char spliced[HW_TRAIN_QUESTION_MAX], changed[HW_TRAIN_QUESTION_MAX] = "";
    size_t room = data->conf.block + 1 - *bytes;

    if (hw_train_rng_unit(rng) < data->conf.augment) {
        hw_train_splice(question, other, rng, spliced);
        bool splice = hw_train_rng_below(rng, SPLICE_ONE_IN) == 0 && spliced[0] != '\0';
        hw_train_augment(splice ? spliced : question, rng, changed);
    }
    if (changed[0] != '\0' && !is_held_out(row, changed) &&
        pair_bytes(data, changed, row->answer) <= room)
        question = changed;
    if (pair_bytes(data, question, row->answer) > room)
        return false;
    append_pair(data, sequence, bytes, r, question, purpose);
    return true;
}

/* Fisher-Yates, drawn from the epoch's own stream. */
static void
make_order(struct hw_train_data *data, uint64_t epoch)
{
    if (data->order_made && data->order_epoch == epoch)
        return;
    struct hw_train_rng rng = hw_train_rng_make(data->conf.seed, ~epoch);
    for (size_t i = 0; i < data->order_len; i++)
        data->order[i] = (uint32_t)i;
    for (size_t i = data->order_len - 1; i > 0; i--) {
        size_t j = hw_train_rng_below(&rng, i + 1);
        uint32_t kept = data->order[i];
        data->order[i] = data->order[j];
        data->order[j] = kept;
    }
    data->order_epoch = epoch;
    data->order_made = true;
}

static void
draw_text(const struct hw_train_data *data, size_t block, struct hw_train_rng *rng,
          struct hw_train_sequence *sequence)
{
    const struct text *text = data->texts;

    while (block >= text->train / data->conf.block) {
        block -= text->train / data->conf.block;
        text++;
    }
    size_t start = hw_train_rng_below(rng, text->train - data->conf.block);
    append_text(sequence, text->bytes + start, data->conf.block);
}

void
hw_train_data_draw(struct hw_train_data *data, uint64_t number, struct hw_train_sequence *sequence)
{
    struct hw_train_rng rng = hw_train_rng_make(data->conf.seed, number);
    size_t bytes = 0, pairs = 1;

    make_order(data, number / data->order_len);
    size_t item = data->order[number % data->order_len];
    if (item >= data->train_rows) {
        draw_text(data, item - data->train_rows, &rng, sequence);
        return;
    }
    bool chat = hw_train_rng_unit(&rng) < data->conf.chat;
    bool cut = hw_train_rng_unit(&rng) < data->conf.cut;
    draw_pair(data, item, &rng, cut && !chat ? CUT : WHOLE, sequence, &bytes);
    while (
        chat && pairs++ < CHAT_PAIRS &&
        draw_pair(data, hw_train_rng_below(&rng, data->train_rows), &rng, WHOLE, sequence, &bytes))
        continue;
}

void
hw_train_data_validation(const struct hw_train_data *data, size_t index,
                         struct hw_train_sequence *sequence)
{
    if (index < data->held_out_count) {
        const struct held_out *held = &data->held_out[index];
        const struct hw_train_row *row = &data->rows.rows[held->row];
        size_t bytes = 0;
        append_pair(data, sequence, &bytes, held->row,
                    row->held_out_count > 0 ? row->held_out[held->question] : row->questions[0],
                    VALIDATION);
        return;
    }
    size_t block = index - data->held_out_count;
    for (const struct text *text = data->texts;; text++) {
        size_t held = text->len - text->train;
        size_t blocks = held > data->conf.block ? (held - 1) / data->conf.block : 0;
        if (block < blocks) {
            append_text(sequence, text->bytes + text->train + block * data->conf.block,
                        data->conf.block);
            return;
        }
        block -= blocks;
    }
}

int
hw_train_data_prompt(const struct hw_train_data *data, const char *question, struct hw_buf *out)
{
    if (question == NULL && data->held_out_count > 0) {
        const struct held_out *held = &data->held_out[0];
        const struct hw_train_row *row = &data->rows.rows[held->row];
        question = row->held_out_count > 0 ? row->held_out[held->question] : row->questions[0];
    }
    if (question == NULL && data->rows.count > 0)
        question = data->rows.rows[0].questions[0];
    if (question != NULL && data->rows.count > 0)
        return hw_buf_printf(out, "%s%s%s", data->tmpl.before_user, question,
                             data->tmpl.before_assistant);
    if (question != NULL)
        return hw_buf_append(out, question, strlen(question));
    const struct text *text = &data->texts[0];
    size_t from = text->train < text->len ? text->train : 0, len = text->len - from;
    return hw_buf_append(out, text->bytes + from, len < SAMPLE_BYTES ? len : SAMPLE_BYTES);
}
