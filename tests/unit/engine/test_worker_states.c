/* What a worker keeps of what it has read: whose prompt is read from where, and that nobody's text
 * changes by it. The worker's parts, driven here without a process or a socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/worker_parts.h"

#define MODEL HW_SOURCE_DIR "/tests/vectors/bdh/tiny_s002/model.safetensors"
#define TALKER HW_SOURCE_DIR "/models/hatchling.safetensors" /* what it says is text */

/* 200 bytes and more that many conversations begin with. */
#define SYSTEM                                                                                     \
    "You are a dragon of few words, and those are kind ones. You live in a hatchery by the sea, "  \
    "you know the tides, and you know what the eggs need. When you are asked what you do not "     \
    "know, you say so and nothing else. "

static struct worker
make_worker_of(const char *model, uint32_t sessions, size_t cache_bytes, bool fast)
{
    struct worker w = {.listen_fd = -1, .conf = {.state_cache_bytes = cache_bytes, .fast = fast}};
    assert_int_equal(hw_bdh_model_load(model, &w.model, NULL), 0);
    assert_int_equal(
        hw_bdh_engine_create_as(w.model, fast ? HW_BDH_FAST : HW_BDH_F32, &w.engine, NULL), 0);
    w.hello.max_sessions = sessions;
    w.spare = calloc(sessions, sizeof(*w.spare));
    if (cache_bytes > 0)
        assert_int_equal(hw_state_cache_create(cache_bytes, &w.state_cache, NULL), 0);
    return w;
}

static struct worker
make_worker(uint32_t sessions, size_t cache_bytes, bool fast)
{
    return make_worker_of(MODEL, sessions, cache_bytes, fast);
}

static void
free_worker(struct worker *w)
{
    states_free(w);
    hw_bdh_engine_destroy(&w->engine);
    hw_bdh_model_destroy(&w->model);
}

static void
give(struct worker *w, struct connection *conn, struct hw_buf *frames)
{
    struct hw_frame frame;
    struct hw_err err;
    size_t used, at = 0;
    while (hw_frame_parse((uint8_t *)frames->data + at, frames->len - at, &frame, &used, &err) ==
           1) {
        assert_true(stream_take_frame(w, conn, &frame, &err));
        at += used;
    }
    hw_buf_clear(frames);
}

/* One question: what goes before, and a last turn. */
static void
put(struct worker *w, struct connection *conn, uint32_t id, const struct hw_frame_open *open,
    const char *before, const char *last)
{
    struct hw_buf frames;
    hw_buf_init(&frames, 1u << 20);
    hw_frame_put_open(&frames, id, open);
    hw_frame_put_turn(&frames, id, HW_FRAME_ROLE_RAW, false, before, strlen(before));
    hw_frame_put_turn(&frames, id, HW_FRAME_ROLE_RAW, false, last, strlen(last));
    hw_frame_write(&frames, HW_FRAME_ASK, id, NULL, 0);
    give(w, conn, &frames);
    hw_buf_free(&frames);
}

static void
work(struct worker *w)
{
    do {
        sched_admit(w);
        sched_unit(w);
    } while (sched_has_work(w) || w->queue.count > 0);
}

/* Asks, waits for the answer, and returns how many tokens of the prompt were read for it. */
static uint64_t
ask(struct worker *w, const struct hw_frame_open *open, const char *before, const char *last,
    struct hw_buf *text)
{
    struct connection conn = {.fd = -1};
    uint64_t read_before = w->prompt_tokens;
    struct hw_frame frame;
    size_t used, at = 0;
    hw_buf_init(&conn.out, 1u << 20);
    put(w, &conn, 1, open, before, last);
    work(w);
    assert_null(conn.streams);
    while (hw_frame_parse((uint8_t *)conn.out.data + at, conn.out.len - at, &frame, &used, NULL) ==
           1) {
        assert_int_not_equal(frame.type, HW_FRAME_ERROR);
        if (frame.type == HW_FRAME_TEXT && text != NULL)
            hw_buf_append(text, frame.payload, frame.length);
        at += used;
    }
    hw_buf_free(&conn.out);
    return w->prompt_tokens - read_before;
}

static const struct hw_frame_open one = {.max_tokens = 1};

static void
test_a_beginning_is_read_once(void **state)
{
    (void)state;
    static const char *const questions[] = {"When is high tide?", "Are you well?", "What is 2 + 3?",
                                            "When is low tide?"};
    struct worker w = make_worker(2, 8u << 20, false);
    uint64_t all = strlen(SYSTEM) + strlen(questions[0]);
    assert_int_equal(ask(&w, &one, SYSTEM, questions[0], NULL), all);
    for (int i = 1; i < 4; i++) /* a fork each, of one snapshot */
        assert_int_equal(ask(&w, &one, SYSTEM, questions[i], NULL), strlen(questions[i]));
    assert_int_equal(w.kept_prompts, 3);
    assert_int_equal(w.kept_tokens, 3 * strlen(SYSTEM));
    assert_int_equal(hw_state_cache_count(w.state_cache), 1);
    free_worker(&w);
}

/* Without the cache a session left behind serves one continuation and no fork. */
static void
test_without_a_cache(void **state)
{
    (void)state;
    struct worker w = make_worker(2, 0, false);
    uint64_t all = strlen(SYSTEM) + 4;
    assert_int_equal(ask(&w, &one, SYSTEM, "One?", NULL), all);
    assert_int_equal(ask(&w, &one, SYSTEM, "Two?", NULL), all);
    assert_int_equal(ask(&w, &one, SYSTEM "Two?", " And?", NULL), 5);
    free_worker(&w);
}

static void
test_a_question_again(void **state)
{
    (void)state;
    struct worker w = make_worker(1, 8u << 20, false);
    assert_int_equal(ask(&w, &one, "", SYSTEM SYSTEM, NULL), 2 * strlen(SYSTEM));
    assert_int_equal(ask(&w, &one, "", SYSTEM SYSTEM, NULL), 1);
    assert_int_equal(ask(&w, &one, "", "Something else", NULL), 14);
    assert_int_equal(ask(&w, &one, "", SYSTEM SYSTEM, NULL), 1);
    free_worker(&w);
}

/* One session, two conversations in turns: each finds where its answer ended, though the other has
 * used the session since. */
static void
test_conversations_in_turns(void **state)
{
    (void)state;
    static const char *const names[] = {"Ann", "Bob"};
    const struct hw_frame_open open = {.max_tokens = 150, .top_k = 1};
    struct worker w = make_worker(1, 8u << 20, false);
    struct hw_buf talk[2];
    for (int i = 0; i < 2; i++) {
        hw_buf_init(&talk[i], 100000);
        hw_buf_printf(&talk[i], "%s: " SYSTEM, names[i]);
    }
    for (int turn = 0; turn < 4; turn++)
        for (int i = 0; i < 2; i++) {
            struct hw_buf text;
            char next[40];
            hw_buf_init(&text, 4000);
            snprintf(next, sizeof(next), "%s asks in turn %d", names[i], turn);
            uint64_t read = ask(&w, &open, talk[i].data, next, &text);
            /* A random model answers with bytes that are no text: its prompts' ends are found. */
            if (turn > 0)
                assert_true(read < talk[i].len);
            hw_buf_puts(&talk[i], next);
            hw_buf_append(&talk[i], text.data, text.len);
            hw_buf_free(&text);
        }
    assert_true(w.kept_prompts >= 6);
    for (int i = 0; i < 2; i++)
        hw_buf_free(&talk[i]);
    free_worker(&w);
}

/* The only session is taken for another question: the answer's end is found again all the same. */
static void
test_the_end_of_an_answer(void **state)
{
    (void)state;
    const struct hw_frame_open open = {.max_tokens = 200};
    struct worker w = make_worker_of(TALKER, 1, 32u << 20, true);
    struct hw_buf talk;
    hw_buf_init(&talk, 4000);
    hw_buf_puts(&talk, "A route is ");
    assert_int_equal(ask(&w, &open, "", talk.data, &talk), strlen("A route is "));
    assert_int_equal(talk.len, strlen("A route is ") + 200); /* ASCII: a byte a token */
    assert_int_equal(ask(&w, &one, "", "And now?", NULL), 8);
    assert_int_equal(ask(&w, &one, talk.data, "Go on", NULL), 1 + 5); /* its last was not fed */
    hw_buf_free(&talk);
    free_worker(&w);
}

/* A long prompt leaves snapshots on its way, at 1 and 4 KiB. */
static void
test_a_long_prompt_is_kept_in_pieces(void **state)
{
    (void)state;
    struct worker w = make_worker(1, 8u << 20, false);
    char *first = calloc(1, 6001), *second = calloc(1, 6001);
    memset(first, 'a', 6000);
    memset(second, 'a', 6000);
    memset(second + 5000, 'b', 1000);
    assert_int_equal(ask(&w, &one, "", first, NULL), 6000);
    assert_int_equal(ask(&w, &one, "", second, NULL), 6000 - 4096);
    memset(second + 2000, 'c', 4000);
    assert_int_equal(ask(&w, &one, "", second, NULL), 6000 - 1024);
    memset(second + 100, 'd', 5900);
    assert_int_equal(ask(&w, &one, "", second, NULL), 6000);
    free(first);
    free(second);
    free_worker(&w);
}

static void
test_the_budget_holds(void **state)
{
    (void)state;
    const size_t budget = 400u << 10;
    struct worker w = make_worker(1, budget, false);
    char text[1200];
    for (int i = 0; i < 30; i++) {
        memset(text, 'a' + i % 26, sizeof(text));
        text[sizeof(text) - 1] = '\0';
        ask(&w, &one, SYSTEM, text, NULL);
        assert_true(hw_state_cache_bytes(w.state_cache) <= budget);
        assert_true(states_bytes(&w) <= budget + hw_bdh_engine_state_bytes(w.engine));
    }
    assert_true(hw_state_cache_count(w.state_cache) > 1);
    /* What all of them used is there still, what only the first did is not. */
    assert_int_equal(ask(&w, &one, SYSTEM, "Hello?", NULL), 6);
    memset(text, 'a', sizeof(text) - 1);
    assert_int_equal(ask(&w, &one, SYSTEM, text, NULL), sizeof(text) - 1);
    free_worker(&w);
    w = make_worker(1, 100, false); /* less than any snapshot takes */
    ask(&w, &one, SYSTEM, text, NULL);
    assert_int_equal(hw_state_cache_count(w.state_cache), 0);
    free_worker(&w);
}

/* Forks, repetitions and continuations of each other, drawn from the same seeds: the same texts
 * whether all, some or nothing of what was read is kept. */
static void
check_texts(bool fast)
{
    enum { ASKED = 40 };
    struct worker workers[] = {make_worker(1, 8u << 20, fast), make_worker(3, 300u << 10, fast),
                               make_worker(3, 0, fast)};
    struct hw_frame_open open = {
        .temperature = 1.0f, .top_p = 1.0f, .repetition_penalty = 1.1f, .has_seed = true};
    uint64_t read[3] = {0}, all = 0;
    char before[1000];
    for (uint32_t i = 0; i < ASKED; i++) {
        struct hw_buf texts[3];
        const char *last = i % 4 == 0 ? "And so?" : "Go on, and say where the eggs are.";
        size_t length = (size_t)i * 37 % strlen(SYSTEM);
        snprintf(before, sizeof(before), "%s%.*s", i % 3 == 0 ? "" : SYSTEM, (int)length, SYSTEM);
        open.seed = i;
        open.max_tokens = 1 + i * 13 % 90;
        for (int k = 0; k < 3; k++) {
            hw_buf_init(&texts[k], 4000);
            read[k] += ask(&workers[k], &open, before, last, &texts[k]);
            assert_int_equal(texts[0].len, texts[k].len);
            if (texts[0].len > 0)
                assert_memory_equal(texts[0].data, texts[k].data, texts[0].len);
        }
        all += strlen(before) + strlen(last);
        for (int k = 0; k < 3; k++)
            hw_buf_free(&texts[k]);
    }
    assert_true(read[0] < all / 2);
    assert_true(read[1] < all);
    assert_true(read[2] == all);
    for (int k = 0; k < 3; k++)
        free_worker(&workers[k]);
}

static void
test_no_text_changes(void **state)
{
    (void)state;
    check_texts(false);
    check_texts(true);
}

/* All at once: the cache is put to and taken from while others are on their way. */
static void
test_side_by_side(void **state)
{
    (void)state;
    struct worker w = make_worker(4, 8u << 20, false);
    struct connection conn = {.fd = -1};
    const struct hw_frame_open open = {.max_tokens = 30};
    char last[40];
    hw_buf_init(&conn.out, 1u << 20);
    for (uint32_t i = 1; i <= 12; i++) {
        snprintf(last, sizeof(last), "Question %u, if I may", i);
        put(&w, &conn, i, &open, SYSTEM, last);
    }
    work(&w);
    assert_null(conn.streams);
    assert_int_equal(w.kept_prompts, 8); /* all but the first four, which came together */
    assert_int_equal(w.spare_count, w.session_count);
    hw_buf_free(&conn.out);
    free_worker(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_beginning_is_read_once),
        cmocka_unit_test(test_without_a_cache),
        cmocka_unit_test(test_a_question_again),
        cmocka_unit_test(test_conversations_in_turns),
        cmocka_unit_test(test_the_end_of_an_answer),
        cmocka_unit_test(test_a_long_prompt_is_kept_in_pieces),
        cmocka_unit_test(test_the_budget_holds),
        cmocka_unit_test(test_no_text_changes),
        cmocka_unit_test(test_side_by_side),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
