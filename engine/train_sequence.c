/* The sequences that are trained on and measured.
 *
 * A row becomes one short sequence of its own, so that attention, whose cost grows with the square
 * of the length, stays cheap and nothing is padded. Some sequences go on with further pairs, as a
 * conversation does: otherwise a second question would meet a context never seen.
 *
 * Where two answers that began alike part, the question alone tells how to go on: a fork. All other
 * bytes of an answer follow from those before it. Forks are few, and without a weight of their own
 * the model learns them last, after it has all answers by heart. For the same reason most sequences
 * may end soon after the last fork: they cost half, and teach as much of what is hard. */
#include <string.h>

#include "engine/train_augment.h"
#include "engine/train_data_parts.h"
#include "engine/train_rng.h"

enum { CHAT_PAIRS = 3, CUT_SLACK = 8, SPLICE_ONE_IN = 4, SAMPLE_BYTES = 48 };

size_t
hw_train_data_longest(const struct hw_train_data *data)
{
    size_t longest = 0, pairs = data->conf.chat > 0.0f ? CHAT_PAIRS : 1;

    if (data->text_count > 0)
        return data->conf.block;
    for (size_t r = 0; r < data->train_rows; r++)
        for (size_t q = 0; q < data->rows.rows[r].question_count; q++) {
            size_t bytes = hw_train_pair_bytes(data, data->rows.rows[r].questions[q],
                                               data->rows.rows[r].answer);
            longest = bytes > longest ? bytes : longest;
        }
    longest = longest * pairs - 1; /* the last byte is a target alone */
    return longest < data->conf.block ? longest : data->conf.block;
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
        hw_train_pair_bytes(data, changed, row->answer) <= room)
        question = changed;
    if (hw_train_pair_bytes(data, question, row->answer) > room)
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
    const struct hw_train_text *text = data->texts;

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

static const char *
held_out_question(const struct hw_train_data *data, const struct hw_train_held_out *held)
{
    const struct hw_train_row *row = &data->rows.rows[held->row];

    return row->held_out_count > 0 ? row->held_out[held->question] : row->questions[0];
}

void
hw_train_data_validation(const struct hw_train_data *data, size_t index,
                         struct hw_train_sequence *sequence)
{
    if (index < data->held_out_count) {
        const struct hw_train_held_out *held = &data->held_out[index];
        size_t bytes = 0;
        append_pair(data, sequence, &bytes, held->row, held_out_question(data, held), VALIDATION);
        return;
    }
    size_t block = index - data->held_out_count;
    for (const struct hw_train_text *text = data->texts;; text++) {
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
    if (question == NULL && data->held_out_count > 0)
        question = held_out_question(data, &data->held_out[0]);
    if (question == NULL && data->rows.count > 0)
        question = data->rows.rows[0].questions[0];
    if (question != NULL && data->rows.count > 0)
        return hw_buf_printf(out, "%s%s%s", data->tmpl.before_user, question,
                             data->tmpl.before_assistant);
    if (question != NULL)
        return hw_buf_append(out, question, strlen(question));
    const struct hw_train_text *text = &data->texts[0];
    size_t from = text->train < text->len ? text->train : 0, len = text->len - from;
    return hw_buf_append(out, text->bytes + from, len < SAMPLE_BYTES ? len : SAMPLE_BYTES);
}
