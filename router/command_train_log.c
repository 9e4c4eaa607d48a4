/* router/command_train_log.c - `hatchway policy train --log`: learning from queries that nobody has
 * labelled, and what that is worth. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"
#include "policies/classify.h"
#include "router/command_train.h"
#include "router/commands.h"
#include "router/record_file.h"

#define FOLDS 5
#define ROW_PART 1024 /* of a long text its beginning and its end: the classifier reads less */
#define ROWS_MAX_BYTES ((size_t)1 << 30)

/* What the logs had. */
struct reading {
    struct hw_learn_pool *pool;
    const struct hw_classifier *classifier; /* of the policy; NULL: examples from a file */
    char **texts;                           /* of each of the pool's queries; NULL: only features */
    size_t records, unreadable, untold, by_keyword, beyond;
    char first_unreadable[sizeof(((struct hw_err *)0)->msg)];
};

struct session {
    const struct hw_train_options *options;
    struct hw_learn_conf conf;
    struct hw_snapshot *snapshot;
    struct hw_classifier *classifier;
    struct hw_examples *examples, *learned;
    struct reading reading;
    int32_t *labels; /* of the pool's queries */
    struct hw_learn_self_report report;
};

/* --- examples -------------------------------------------------------------------------------- */

static int
read_policy(struct session *session, struct hw_err *err)
{
    if (hw_command_load(session->options->policy, &session->snapshot) != 0)
        return hw_err_set(err, HW_EINVAL, "%s: the policy cannot be used",
                          session->options->policy);
    session->conf.abstain = (float)session->snapshot->classifier.abstain;
    int rc = hw_classifier_create(session->snapshot, &session->classifier, err);
    if (rc == 0)
        rc =
            hw_classifier_examples(session->classifier, session->snapshot, &session->examples, err);
    if (rc == 0 && hw_examples_classes(session->examples) < 2)
        rc = hw_err_set(err, HW_EINVAL,
                        "fewer than two roles have 5 examples: give them some to begin with");
    if (rc != 0)
        hw_err_prefix(err, "%s", session->options->policy);
    session->reading.classifier = session->classifier;
    return rc;
}

static int
read_examples(struct session *session, struct hw_err *err)
{
    const struct hw_train_options *options = session->options;

    if (options->policy != NULL)
        return read_policy(session, err);
    session->examples = hw_examples_create(session->conf.bits);
    int rc = hw_train_read_examples(options->data, session->examples, err);
    if (rc == 0 && hw_examples_classes(session->examples) < 2)
        rc =
            hw_err_set(err, HW_EINVAL, "%s: rows of two labels at least are wanted", options->data);
    return rc;
}

/* --- the logs -------------------------------------------------------------------------------- */

/* What a policy's keywords decide the classifier is never asked. */
static bool
is_by_keyword(const struct reading *reading, const struct hw_record *record)
{
    struct hw_traits traits = {.text = record->text, .text_len = record->text_len, .role = -1};

    if (reading->classifier == NULL)
        return false;
    if (record->text == NULL)
        return record->role_source == HW_ROLE_BY_KEYWORD;
    traits.asked_role = -1;
    hw_classify(reading->classifier, &traits);
    return traits.role_source == HW_ROLE_BY_KEYWORD;
}

static bool
is_inside_character(char c)
{
    return ((uint8_t)c & 0xc0) == 0x80;
}

static char *
keep_text(const char *text, size_t len)
{
    size_t head = len, tail = 0;

    if (len > 2 * ROW_PART) {
        for (head = ROW_PART; head > 0 && is_inside_character(text[head]);)
            head--;
        for (tail = ROW_PART; tail > 0 && is_inside_character(text[len - tail]);)
            tail--;
    }
    char *copy = hw_xcalloc(head + tail + 2, 1);
    memcpy(copy, text, head);
    if (tail > 0) {
        copy[head] = ' ';
        memcpy(copy + head + 1, text + len - tail, tail);
    }
    return copy;
}

static int
take_record(struct reading *reading, const struct hw_record *record, struct hw_err *err)
{
    bool has_text = record->text != NULL && record->text_len > 0;
    int rc = 0;

    reading->records++;
    if (!has_text && record->features == NULL) {
        reading->untold += record->text_bytes > 0;
        return 0;
    }
    if (is_by_keyword(reading, record)) {
        reading->by_keyword++;
        return 0;
    }
    if (hw_learn_pool_count(reading->pool) == HW_LEARN_POOL_MAX) {
        reading->beyond++;
        return 0;
    }
    rc = has_text ? hw_learn_pool_add(reading->pool, record->text, record->text_len, err)
                  : hw_learn_pool_add_buckets(reading->pool, record->features,
                                              record->feature_count, err);
    if (rc == 1 && has_text)
        reading->texts[hw_learn_pool_count(reading->pool) - 1] =
            keep_text(record->text, record->text_len);
    return rc < 0 ? rc : 0;
}

static int
read_log(struct reading *reading, const char *path, struct hw_err *err)
{
    struct hw_record_file *file = NULL;
    struct hw_record record;
    int rc = hw_record_file_open(path, &file, err);

    while (rc == 0 && (rc = hw_record_file_next(file, &record, err)) != 0) {
        if (rc == 1) {
            rc = take_record(reading, &record, err);
        } else if (rc == HW_EINVAL) {
            if (reading->unreadable++ == 0)
                snprintf(reading->first_unreadable, sizeof(reading->first_unreadable), "%s",
                         err->msg);
            rc = 0;
        }
    }
    hw_record_file_close(&file);
    return rc;
}

/* Says what the logs lack, where they have nothing to learn from. */
static int
refuse_logs(const struct reading *reading, struct hw_err *err)
{
    if (reading->records == 0 && reading->unreadable > 0)
        return hw_err_set(err, HW_EINVAL, "%s", reading->first_unreadable);
    if (reading->untold > 0)
        return hw_err_set(err, HW_EINVAL,
                          "the log tells neither text nor features (of this version) of %zu "
                          "queries: set `decisions: { text: full }`, or `features`",
                          reading->untold);
    if (reading->by_keyword > 0)
        return hw_err_set(err, HW_EINVAL,
                          "keywords decide all %zu queries of the log: there is nothing to learn",
                          reading->by_keyword);
    return hw_err_set(err, HW_EINVAL,
                      "the log has no query that is not among the examples: is `decisions` on?");
}

static int
read_logs(struct session *session, struct hw_err *err)
{
    struct reading *reading = &session->reading;
    int rc = 0;

    reading->pool = hw_learn_pool_create(session->examples);
    reading->texts = hw_xcalloc(HW_LEARN_POOL_MAX, sizeof(char *));
    for (size_t i = 0; i < session->options->log_count && rc == 0; i++)
        rc = read_log(reading, session->options->logs[i], err);
    size_t count = hw_learn_pool_count(reading->pool), texts = 0;
    for (size_t i = 0; i < count; i++)
        texts += reading->texts[i] != NULL;
    if (rc == 0 && count == 0)
        rc = refuse_logs(reading, err);
    if (rc == 0 && session->options->rows != NULL && texts == 0)
        rc = hw_err_set(err, HW_EINVAL,
                        "--rows wants texts, and the log has only features: set `decisions: "
                        "{ text: full }`; without --rows the features are enough");
    if (rc != 0)
        return rc;
    printf("%zu queries in the log, %zu different ones to learn from", reading->records, count);
    if (reading->by_keyword > 0)
        printf("; %zu decided by keywords", reading->by_keyword);
    if (reading->untold > 0)
        printf("; %zu without text and features", reading->untold);
    if (reading->beyond > 0)
        printf("; %zu beyond the first %d different ones", reading->beyond, HW_LEARN_POOL_MAX);
    if (reading->unreadable > 0)
        printf("; %zu lines that cannot be read, the first: %s", reading->unreadable,
               reading->first_unreadable);
    printf("\n");
    return 0;
}

/* --- learning -------------------------------------------------------------------------------- */

static double
percent(size_t part, size_t whole)
{
    return whole > 0 ? 100.0 * (double)part / (double)whole : 0.0;
}

static void
print_report(const struct session *session, unsigned folds)
{
    const struct hw_learn_self_report *report = &session->report;
    static const char *const verdicts[] = {"worse with them", "no clear difference",
                                           "better with them"};
    size_t classes = hw_examples_classes(session->examples), taken = 0;
    uint32_t *given = hw_xcalloc(classes + 1, sizeof(*given));

    for (size_t i = 0; i < hw_learn_pool_count(session->reading.pool); i++)
        if (session->labels[i] >= 0) {
            given[session->labels[i]]++;
            taken++;
        }
    if (report->tried > 0)
        printf("cross-validated in %u parts, %zu examples: %.1f %% right without them, %.1f %% "
               "with %zu of them: %s (%zu gained, %zu lost)\n",
               folds, report->tried, percent(report->right_before, report->tried),
               percent(report->right_after, report->tried), taken,
               verdicts[hw_learn_self_verdict(report) + 1], report->gained, report->lost);
    else
        printf("every example has a keyword: there is nothing to measure by, and no telling "
               "whether %zu of them help\n",
               taken);
    for (size_t c = 0; c < classes; c++)
        printf("  %-32s %5u examples  %5.1f %% -> %5.1f %% right  %6u of the log\n",
               hw_examples_label(session->examples, (int)c), report->class_tried[c],
               percent(report->class_before[c], report->class_tried[c]),
               percent(report->class_after[c], report->class_tried[c]), given[c]);
    free(given);
}

static int
learn(struct session *session, struct hw_err *err)
{
    struct hw_learn_self_report *report = &session->report;
    size_t classes = hw_examples_classes(session->examples);
    unsigned folds = session->options->folds > 0 ? session->options->folds : FOLDS;

    report->class_tried = hw_xcalloc(classes, sizeof(uint32_t));
    report->class_before = hw_xcalloc(classes, sizeof(uint32_t));
    report->class_after = hw_xcalloc(classes, sizeof(uint32_t));
    session->labels =
        hw_xcalloc(hw_learn_pool_count(session->reading.pool), sizeof(*session->labels));
    int rc = hw_learn_self_validate(session->examples, session->reading.pool, &session->conf,
                                    &session->options->self, folds, report, err);
    if (rc == 0)
        rc = hw_learn_self(session->examples, session->reading.pool, &session->conf,
                           &session->options->self, &session->learned, session->labels, err);
    if (rc == 0)
        print_report(session, folds);
    return rc;
}

/* --- what is written ------------------------------------------------------------------------- */

static int
write_rows(const struct session *session, struct hw_err *err)
{
    struct hw_buf out;
    size_t rows = 0, without = 0;

    hw_buf_init(&out, ROWS_MAX_BYTES);
    for (size_t i = 0; i < hw_learn_pool_count(session->reading.pool); i++) {
        const char *text = session->reading.texts[i];
        if (session->labels[i] < 0)
            continue;
        if (text == NULL) {
            without++;
            continue;
        }
        cJSON *row = cJSON_CreateObject();
        cJSON_AddStringToObject(row, "text", text);
        cJSON_AddStringToObject(row, "label",
                                hw_examples_label(session->examples, session->labels[i]));
        char *line = cJSON_PrintUnformatted(row);
        if (line != NULL)
            hw_buf_printf(&out, "%s\n", line);
        free(line);
        cJSON_Delete(row);
        rows++;
    }
    int rc = out.failed ? hw_err_set(err, HW_ENOMEM, "no memory for the rows")
                        : hw_train_write_file(session->options->rows, &out, err);
    hw_buf_free(&out);
    if (rc == 0) {
        printf("%s: %zu rows", session->options->rows, rows);
        if (without > 0)
            printf("; %zu more have only features", without);
        printf("\n");
    }
    return rc;
}

static int
write_model(const struct session *session, struct hw_err *err)
{
    struct hw_learned *learned = NULL;
    int rc = hw_learn(session->learned, &session->conf, &learned, err);

    if (rc == 0)
        rc = hw_train_save(learned, session->options->out, err);
    if (rc == 0)
        printf("%s: %zu labels\n", session->options->out, hw_learned_classes(learned));
    hw_learned_destroy(&learned);
    return rc;
}

static void
session_free(struct session *session)
{
    struct reading *reading = &session->reading;

    for (size_t i = 0; reading->texts != NULL && i < HW_LEARN_POOL_MAX; i++)
        free(reading->texts[i]);
    free(reading->texts);
    hw_learn_pool_destroy(&reading->pool);
    hw_examples_destroy(&session->examples);
    hw_examples_destroy(&session->learned);
    hw_classifier_destroy(&session->classifier);
    if (session->snapshot != NULL)
        hw_snapshot_unref(session->snapshot);
    free(session->labels);
    free(session->report.class_tried);
    free(session->report.class_before);
    free(session->report.class_after);
}

int
hw_train_from_log(const struct hw_train_options *options, struct hw_err *err)
{
    struct session session = {.options = options, .conf = options->conf};

    int rc = read_examples(&session, err);
    if (rc == 0)
        rc = read_logs(&session, err);
    if (rc == 0)
        rc = learn(&session, err);
    if (rc == 0 && options->rows != NULL)
        rc = write_rows(&session, err);
    if (rc == 0 && options->out != NULL)
        rc = write_model(&session, err);
    session_free(&session);
    return rc;
}
