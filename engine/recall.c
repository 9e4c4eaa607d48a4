/* hatchway bdh recall: asks a model what it was trained on, and what it was not, and counts.
 *
 * An answer counts when it is right to the last byte. Questions are asked greedily by the engine
 * that serves them, not by the trainer's own forward pass. An answer is given up at its first wrong
 * byte, unless misses are to be listed. */
#include "engine/train.h"

#include <getopt.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/forward.h"
#include "engine/prompt.h"
#include "engine/sample.h"
#include "engine/train_rows.h"
#include "hatchway/assert.h"

enum { PROMPT_BYTES = 65536, ANSWER_SLACK = 64, MAX_THREADS = 64, MAX_BEFORE = 64 };

struct options {
    const char *model;
    const char *data;
    double min_trained, min_held_out; /* percent */
    long threads, before;
    bool failures, help;
};

struct question {
    const char *text, *answer;
    bool held_out;
    bool right;
    char *got; /* what a wrong answer was; NULL unless misses are listed */
};

struct inquiry {
    const struct options *options;
    const struct hw_bdh_model *model;
    const struct hw_bdh_engine *engine;
    struct question *questions;
    size_t count;
    size_t next; /* atomic: the first question that no thread has taken */
};

/* Feeds the prompt; logits are those behind its last byte. */
static void
feed(struct hw_bdh_session *session, const char *text, size_t len, float *logits)
{
    uint32_t tokens[256];

    hw_bdh_session_reset(session);
    for (size_t done = 0, n; done < len; done += n) {
        n = len - done < 256 ? len - done : 256;
        for (size_t i = 0; i < n; i++)
            tokens[i] = (uint8_t)text[done + i];
        hw_bdh_session_feed(session, tokens, n, done + n == len ? logits : NULL);
    }
}

/* The question, behind as many others with their answers as the user wants, the same each time. */
static int
write_prompt(const struct inquiry *inquiry, size_t index, struct hw_prompt *prompt)
{
    const struct question *questions = inquiry->questions;
    int rc = 0;

    for (long turn = inquiry->options->before; rc == 0 && turn > 0; turn--) {
        const struct question *other = &questions[(index + (size_t)turn * 37) % inquiry->count];
        if ((rc = hw_prompt_turn(prompt, HW_PROMPT_USER, false, other->text,
                                 strlen(other->text))) == 0)
            rc = hw_prompt_turn(prompt, HW_PROMPT_ASSISTANT, false, other->answer,
                                strlen(other->answer));
    }
    if (rc == 0)
        rc = hw_prompt_turn(prompt, HW_PROMPT_USER, false, questions[index].text,
                            strlen(questions[index].text));
    return rc == 0 ? hw_prompt_ask(prompt) : rc;
}

static void
answer(const struct inquiry *inquiry, struct hw_bdh_session *session, float *logits,
       struct question *question)
{
    uint32_t vocab = inquiry->model->conf.vocab;
    const char *end = inquiry->model->tmpl.after_assistant;
    struct hw_buf wanted, got;

    hw_buf_init(&wanted, PROMPT_BYTES);
    hw_buf_init(&got, PROMPT_BYTES);
    HW_ASSERT(hw_buf_printf(&wanted, "%s%s", question->answer, end) == 0);
    while (got.len < wanted.len + ANSWER_SLACK) {
        uint32_t token = hw_greedy_pick(logits, vocab);
        char byte = (char)token;
        HW_ASSERT(hw_buf_append(&got, &byte, 1) == 0);
        bool wrong = got.len > wanted.len || byte != wanted.data[got.len - 1];
        question->right = !wrong && got.len == wanted.len;
        if (question->right || (wrong && !inquiry->options->failures))
            break;
        size_t end_len = strlen(end);
        if (end_len > 0 && got.len >= end_len &&
            memcmp(got.data + got.len - end_len, end, end_len) == 0) {
            got.data[got.len - end_len] = '\0';
            question->right = strcmp(got.data, question->answer) == 0;
            break;
        }
        hw_bdh_session_step(session, token, logits);
    }
    hw_buf_free(&wanted);
    if (inquiry->options->failures && !question->right)
        question->got = got.data;
    else
        hw_buf_free(&got);
}

static void *
on_thread(void *arg)
{
    struct inquiry *inquiry = arg;
    struct hw_bdh_session *session = NULL;
    struct hw_prompt prompt;
    float *logits = hw_xcalloc(inquiry->model->conf.vocab, sizeof(*logits));

    if (hw_bdh_session_create(inquiry->engine, &session, NULL) != 0) {
        free(logits);
        return NULL; /* its share falls to the others; with none left all stay unanswered */
    }
    for (;;) {
        size_t i = __atomic_fetch_add(&inquiry->next, 1, __ATOMIC_RELAXED);
        if (i >= inquiry->count)
            break;
        struct question *question = &inquiry->questions[i];
        hw_prompt_init(&prompt, &inquiry->model->tmpl, PROMPT_BYTES);
        if (write_prompt(inquiry, i, &prompt) == 0 && prompt.text.len > 0) {
            feed(session, prompt.text.data, prompt.text.len, logits);
            answer(inquiry, session, logits, question);
        }
        hw_prompt_free(&prompt);
    }
    hw_bdh_session_destroy(&session);
    free(logits);
    return NULL;
}

static void
ask_all(struct inquiry *inquiry)
{
    pthread_t threads[MAX_THREADS];
    long started = 0;

    while (started < inquiry->options->threads - 1 &&
           pthread_create(&threads[started], NULL, on_thread, inquiry) == 0)
        started++;
    on_thread(inquiry);
    while (started > 0)
        pthread_join(threads[--started], NULL);
}

static void
list_questions(struct inquiry *inquiry, const struct hw_train_rows *rows)
{
    size_t count = 0;

    for (size_t r = 0; r < rows->count; r++)
        count += rows->rows[r].question_count + rows->rows[r].held_out_count;
    inquiry->questions = hw_xcalloc(count + 1, sizeof(*inquiry->questions));
    for (size_t r = 0; r < rows->count; r++) {
        const struct hw_train_row *row = &rows->rows[r];
        for (size_t q = 0; q < row->question_count; q++)
            inquiry->questions[inquiry->count++] =
                (struct question){.text = row->questions[q], .answer = row->answer};
        for (size_t q = 0; q < row->held_out_count; q++)
            inquiry->questions[inquiry->count++] = (struct question){
                .text = row->held_out[q], .answer = row->answer, .held_out = true};
    }
}

static double
percent(size_t part, size_t whole)
{
    return whole == 0 ? 100.0 : 100.0 * (double)part / (double)whole;
}

/* Prints both rates; true when they are as high as demanded. */
static bool
report(struct inquiry *inquiry)
{
    size_t asked[2] = {0, 0}, right[2] = {0, 0};

    for (size_t i = 0; i < inquiry->count; i++) {
        struct question *question = &inquiry->questions[i];
        asked[question->held_out]++;
        right[question->held_out] += question->right;
        if (inquiry->options->failures && !question->right)
            printf("%s: %s\n  wanted: %s\n  got:    %s\n",
                   question->held_out ? "held-out" : "trained", question->text, question->answer,
                   question->got == NULL ? "(the question does not fit)" : question->got);
        free(question->got);
    }
    double trained = percent(right[0], asked[0]), held_out = percent(right[1], asked[1]);
    printf("trained: %zu/%zu (%.1f %%)  held-out: %zu/%zu (%.1f %%)\n", right[0], asked[0], trained,
           right[1], asked[1], held_out);
    return trained >= inquiry->options->min_trained && held_out >= inquiry->options->min_held_out;
}

static int
run_inquiry(const struct options *options, bool *passed, struct hw_err *err)
{
    struct hw_train_rows rows = {0};
    struct hw_bdh_model *model = NULL;
    struct hw_bdh_engine *engine = NULL;
    struct inquiry inquiry = {.options = options};
    int rc;

    if ((rc = hw_train_rows_read(&rows, options->data, err)) == 0 &&
        (rc = hw_bdh_model_load(options->model, &model, err)) == 0 &&
        (rc = hw_bdh_engine_create(model, &engine, err)) == 0) {
        inquiry.model = model;
        inquiry.engine = engine;
        list_questions(&inquiry, &rows);
        ask_all(&inquiry);
        *passed = report(&inquiry);
    }
    free(inquiry.questions);
    hw_bdh_engine_destroy(&engine);
    hw_bdh_model_destroy(&model);
    hw_train_rows_free(&rows);
    return rc;
}

static bool
read_number(const char *text, double min, double max, double *out)
{
    char *end = NULL;

    *out = strtod(text, &end);
    return end != text && *end == '\0' && *out >= min && *out <= max;
}

static bool
read_options(int argc, char **argv, struct options *options)
{
    static const struct option names[] = {
        {"data", required_argument, NULL, 'd'},
        {"min-trained", required_argument, NULL, 't'},
        {"min-held-out", required_argument, NULL, 'o'},
        {"threads", required_argument, NULL, 'j'},
        {"before", required_argument, NULL, 'b'},
        {"failures", no_argument, NULL, 'f'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    double threads = (double)sysconf(_SC_NPROCESSORS_ONLN), before = 0;
    bool fine = true;
    int found;

    *options = (struct options){0};
    threads = threads < 1.0 ? 1.0 : threads > MAX_THREADS ? MAX_THREADS : threads;
    optind = 1;
    while (fine && (found = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (found == 'd')
            options->data = optarg;
        else if (found == 't')
            fine = read_number(optarg, 0, 100, &options->min_trained);
        else if (found == 'o')
            fine = read_number(optarg, 0, 100, &options->min_held_out);
        else if (found == 'j')
            fine = read_number(optarg, 1, MAX_THREADS, &threads);
        else if (found == 'b')
            fine = read_number(optarg, 0, MAX_BEFORE, &before);
        else if (found == 'f')
            options->failures = true;
        else if (found == 'h')
            options->help = true;
        else
            fine = false;
    }
    options->threads = (long)threads;
    options->before = (long)before;
    options->model = fine && argc - optind == 1 ? argv[optind] : NULL;
    return options->help || (options->model != NULL && options->data != NULL);
}

int
hw_command_bdh_recall(int argc, char **argv)
{
    static const char usage[] =
        "usage: hatchway bdh recall MODEL --data FILE.jsonl [--before N] [--failures]\n"
        "           [--threads N] [--min-trained PERCENT] [--min-held-out PERCENT]\n\n"
        "Asks every trained and every held-out phrasing greedily and counts the answers that are\n"
        "right to the last byte; with --before each as the last turn of a conversation, behind N\n"
        "other questions and their answers. Exit status 1 when a rate is below what is demanded.\n";
    struct options options;
    struct hw_err err = {""};
    bool passed = false;

    if (!read_options(argc, argv, &options)) {
        fputs(usage, stderr);
        return 2;
    }
    if (options.help) {
        fputs(usage, stdout);
        return 0;
    }
    if (run_inquiry(&options, &passed, &err) != 0) {
        fprintf(stderr, "hatchway: bdh recall: %s\n", err.msg);
        return 1;
    }
    return passed ? 0 : 1;
}
