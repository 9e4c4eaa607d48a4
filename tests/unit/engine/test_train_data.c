/* What the trainer reads: rows and texts become sequences with the right targets and weights, each
 * epoch passes over everything once, and held-out phrasings stay out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/train_augment.h"
#include "engine/train_data.h"

enum { BLOCK = 96 };

static const struct hw_bdh_template tmpl = {"Q: ", "\nA: ", "\n"};
static uint8_t tokens[BLOCK + 1], targets[BLOCK + 1];
static float weights[BLOCK + 1];
static struct hw_train_sequence sequence = {
    .tokens = tokens, .targets = targets, .weights = weights};

static struct hw_train_data *
make_data(const char *name, const char *content, const struct hw_train_data_conf *conf,
          struct hw_err *err)
{
    char path[128];
    struct hw_train_data *data = NULL;

    snprintf(path, sizeof(path), "/tmp/hatchway-%d-%s", (int)getpid(), name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(content, file);
    fclose(file);
    hw_train_data_create(conf, &tmpl, &data);
    int rc = hw_train_data_add(data, path, err);
    if (rc == 0)
        rc = hw_train_data_ready(data, err);
    if (rc != 0)
        hw_train_data_destroy(&data);
    unlink(path);
    return data;
}

/* The drawn sequence as text: tokens, and the last target. */
static void
sequence_text(char text[BLOCK + 2])
{
    memcpy(text, tokens, sequence.rows);
    text[sequence.rows] = (char)targets[sequence.rows - 1];
    text[sequence.rows + 1] = '\0';
}

static void
test_pair(void **state)
{
    (void)state;
    struct hw_train_data_conf conf = {
        .block = BLOCK, .fork_weight = 1.0f, .question_weight = 0.25f};
    struct hw_train_data *data =
        make_data("pair.jsonl", "\n{\"question\": \" why? \", \"answer\": \"so.\", \"id\": 3}\n",
                  &conf, NULL);
    char text[BLOCK + 2];

    assert_non_null(data);
    assert_int_equal(hw_train_data_row_count(data), 1);
    hw_train_data_draw(data, 5, &sequence);
    assert_int_equal(hw_train_data_longest(data), sequence.rows);
    sequence_text(text);
    assert_string_equal(text, "Q: why?\nA: so.\n");
    for (size_t i = 0; i < sequence.rows; i++) {
        assert_int_equal(targets[i], text[i + 1]);
        assert_true(weights[i] == (i + 1 < strlen("Q: why?\nA: ") ? 0.25f : 1.0f));
    }
    hw_train_data_destroy(&data);
}

static void
test_epochs_and_held_out(void **state)
{
    (void)state;
    struct hw_train_data_conf conf = {.block = BLOCK, .augment = 0.8f, .chat = 0.5f, .seed = 3};
    struct hw_train_data *data = make_data("rows.jsonl",
                                           "{\"questions\": [\"What is one?\", \"One\"], "
                                           "\"held_out\": [\"What one?\"], \"answer\": \"uno\"}\n"
                                           "{\"questions\": [\"What is two?\"], "
                                           "\"held_out\": [\"What's two?\"], \"answer\": \"due\"}\n"
                                           "{\"questions\": [\"What is three?\"], "
                                           "\"held_out\": [], \"answer\": \"tre\"}\n",
                                           &conf, NULL);
    static const char *const answers[] = {"A: uno\n", "A: due\n", "A: tre\n"};
    char text[BLOCK + 2];
    size_t chats = 0;

    assert_non_null(data);
    assert_int_equal(hw_train_data_epoch(data), 3);
    for (uint64_t epoch = 0; epoch < 300; epoch++) {
        bool seen[3] = {false, false, false};
        for (uint64_t i = 0; i < 3; i++) {
            hw_train_data_draw(data, 3 * epoch + i, &sequence);
            assert_true(sequence.rows <= BLOCK);
            sequence_text(text);
            chats += strstr(text + 1, "Q: ") != NULL;
            assert_null(strstr(text, "What one?"));
            assert_null(strstr(text, "What's two?"));
            size_t first = strcspn(text, "\n") + 1;
            for (size_t a = 0; a < 3; a++)
                seen[a] = seen[a] || strncmp(text + first, answers[a], 7) == 0;
        }
        assert_true(seen[0] && seen[1] && seen[2]);
    }
    assert_in_range(chats, 300, 600);
    assert_int_equal(hw_train_data_validations(data), 2);
    hw_train_data_validation(data, 1, &sequence);
    sequence_text(text);
    assert_string_equal(text, "Q: What's two?\nA: due\n");
    assert_true(weights[0] == 0.0f && weights[sequence.rows - 1] == 1.0f);
    hw_train_data_destroy(&data);
}

/* "abcd", "abxy", "ab": they part behind "ab", and at the first letter from "zz". */
static void
test_forks(void **state)
{
    (void)state;
    struct hw_train_data_conf conf = {.block = BLOCK, .fork_weight = 7.0f};
    struct hw_train_data *data = make_data("forks.jsonl",
                                           "{\"question\": \"1\", \"answer\": \"abcd\"}\n"
                                           "{\"question\": \"2\", \"answer\": \"abxy\"}\n"
                                           "{\"question\": \"3\", \"answer\": \"ab\"}\n"
                                           "{\"question\": \"4\", \"answer\": \"zz\"}\n",
                                           &conf, NULL);
    static const char *const forks[] = {"1.1..", "1.1..", "1.1", "1.."};

    assert_non_null(data);
    for (uint64_t i = 0; i < 4; i++) {
        hw_train_data_draw(data, i, &sequence);
        const char *wanted = forks[tokens[strlen("Q: ")] - '1'];
        size_t first = strlen("Q: 1\nA: ") - 1;
        assert_int_equal(sequence.rows - first, strlen(wanted));
        for (size_t k = 0; wanted[k] != '\0'; k++)
            assert_true(weights[first + k] == (wanted[k] == '1' ? 7.0f : 1.0f));
    }
    hw_train_data_destroy(&data);
}

static void
test_text_is_split(void **state)
{
    (void)state;
    struct hw_train_data_conf conf = {.block = 10, .val_fraction = 0.5f};
    struct hw_train_data *data = make_data(
        "text.md", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", &conf, NULL);

    assert_non_null(data);
    for (uint64_t i = 0; i < 50; i++) {
        hw_train_data_draw(data, i, &sequence);
        assert_int_equal(sequence.rows, 10);
        assert_null(memchr(tokens, 'b', 10));
    }
    assert_int_equal(hw_train_data_longest(data), 10);
    assert_int_equal(hw_train_data_validations(data), 2);
    hw_train_data_validation(data, 1, &sequence);
    assert_null(memchr(targets, 'a', 10));
    hw_train_data_destroy(&data);
}

static void
test_mistakes_are_named(void **state)
{
    (void)state;
    struct hw_train_data_conf conf = {.block = BLOCK};
    static const struct {
        const char *content, *message;
    } cases[] = {
        {"{\"question\": \"q\", \"answer\": \"a\"}\n{\"question\": \"q\"}\n",
         ":2: has no \"answer\""},
        {"{\"questions\": [], \"answer\": \"a\"}", ":1: needs \"question\""},
        {"{\"questions\": [3], \"answer\": \"a\"}", ":1: needs \"question\""},
        {"{\"question\": \"q\", \"held_out\": 1, \"answer\": \"a\"}", ":1: \"held_out\" must be"},
        {"[1]", ":1: is no JSON object"},
        {"{", ":1: is no JSON object"},
        {"", "the data is empty"},
        {"{\"question\": \"q\", \"answer\": \"0123456789012345678901234567890123456789"
         "01234567890123456789012345678901234567890123456789\"}",
         "--block must be at least"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct hw_err err = {""};
        assert_null(make_data("bad.jsonl", cases[i].content, &conf, &err));
        if (strstr(err.msg, cases[i].message) == NULL)
            fail_msg("case %zu: %s", i, err.msg);
    }
}

/* What is only measured may be held out whole; what trains needs a block to train on. */
static void
test_only_measured(void **state)
{
    (void)state;
    struct hw_train_data_conf conf = {.block = 10, .val_fraction = 1.0f};
    const char *text = "0123456789abcdefghijklmnopqrst";
    const char *row = "{\"question\": \"q\", \"answer\": \"a\"}";
    struct hw_err err = {""};

    assert_null(make_data("all.md", text, &conf, &err));
    assert_non_null(strstr(err.msg, "of a text of 30 bytes 0 are to train on, and one --block of "
                                    "10 needs 11"));
    conf.only_measured = true;
    struct hw_train_data *data = make_data("all.md", text, &conf, NULL);
    assert_non_null(data);
    assert_int_equal(hw_train_data_validations(data), 2);
    hw_train_data_validation(data, 0, &sequence);
    assert_memory_equal(tokens, text, 10);
    hw_train_data_destroy(&data);

    conf.val_fraction = 0.5f;
    conf.block = 8;
    assert_null(make_data("one.jsonl", row, &conf, &err));
    assert_non_null(strstr(err.msg, "are 10 bytes; --length must be at least that"));
    conf.block = 15;
    assert_null(make_data("half.md", text, &conf, &err));
    assert_non_null(strstr(err.msg, "what is held out, at most 15 bytes of a text, is shorter than "
                                    "one sequence of 15 bytes and what follows it"));
    data = make_data("one.jsonl", row, &conf, NULL);
    assert_non_null(data);
    assert_int_equal(hw_train_data_validations(data), 1);
    hw_train_data_destroy(&data);
}

static void
test_changes_keep_their_bounds(void **state)
{
    (void)state;
    char longest[HW_TRAIN_QUESTION_MAX + 100], out[HW_TRAIN_QUESTION_MAX];
    size_t same = 0;

    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    for (size_t len = 0; len < sizeof(longest); len += 7) {
        char *question = longest + sizeof(longest) - 1 - len;
        for (uint64_t i = 0; i < 50; i++) {
            struct hw_train_rng rng = hw_train_rng_make(len, i);
            hw_train_augment(question, &rng, out);
            assert_true(strlen(out) < HW_TRAIN_QUESTION_MAX);
        }
    }
    for (uint64_t i = 0; i < 500; i++) {
        struct hw_train_rng rng = hw_train_rng_make(2, i);
        hw_train_splice("What is it?", longest, &rng, out);
        assert_true(strlen(out) < HW_TRAIN_QUESTION_MAX);
        hw_train_splice("What is it?", "Tell me.", &rng, out);
        assert_true(strlen(out) <= strlen("What is it?Tell me."));
    }
    for (uint64_t i = 0; i < 2000; i++) {
        struct hw_train_rng rng = hw_train_rng_make(1, i);
        hw_train_augment("What is the name of the BDH worker?", &rng, out);
        assert_true(out[0] != '\0');
        same += strcmp(out, "What is the name of the BDH worker?") == 0;
    }
    assert_in_range(same, 50, 1000);
    assert_true(hw_train_holds_question("Hi, What's  TWO? thanks", "whats two"));
    assert_false(hw_train_holds_question("What's two?", "what's too?"));
    assert_false(hw_train_holds_question("two", "twos"));
    assert_false(hw_train_holds_question("two", "?"));
}

static void
write_file(const char *folder, const char *name, const char *bytes, size_t len)
{
    char path[256];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    fclose(file);
}

/* A folder's texts become one, in the order of their paths; its rows are rows. Hidden files and
 * what is no text stay out. */
static void
test_folder(void **state)
{
    (void)state;
    struct hw_train_data_conf conf = {.block = 8, .fork_weight = 1.0f};
    struct hw_train_data *data = NULL;
    char folder[] = "/tmp/hatchway-folder-XXXXXX", below[64], hidden[64], command[80];
    struct hw_buf prompt;
    struct hw_err err = {""};

    assert_non_null(mkdtemp(folder));
    snprintf(below, sizeof(below), "%s/a", folder);
    snprintf(hidden, sizeof(hidden), "%s/.git", folder);
    assert_int_equal(mkdir(below, 0700), 0);
    assert_int_equal(mkdir(hidden, 0700), 0);
    write_file(folder, "b.txt", "second text", 11);
    write_file(folder, "c.bin", "no\0text", 7);
    write_file(below, "z.md", "first text", 10);
    write_file(hidden, "x.txt", "hidden text", 11);
    hw_train_data_create(&conf, &tmpl, &data);
    assert_int_equal(hw_train_data_add(data, folder, NULL), 0);
    assert_int_equal(hw_train_data_skipped(data), 1);
    assert_int_equal(hw_train_data_ready(data, NULL), 0);
    hw_buf_init(&prompt, 100);
    assert_int_equal(hw_train_data_prompt(data, NULL, &prompt), 0);
    assert_int_equal(prompt.len, 23);
    assert_memory_equal(prompt.data, "first text\n\nsecond text", 23);
    hw_train_data_destroy(&data);

    write_file(folder, "rows.jsonl", "{\"question\": \"q\", \"answer\": \"a\"}\n", 33);
    conf.block = 16;
    hw_train_data_create(&conf, &tmpl, &data);
    assert_int_equal(hw_train_data_add(data, folder, NULL), 0);
    assert_int_equal(hw_train_data_row_count(data), 1);
    hw_buf_clear(&prompt);
    assert_int_equal(hw_train_data_prompt(data, "why?", &prompt), 0);
    assert_memory_equal(prompt.data, "Q: why?\nA: ", 11);
    hw_buf_free(&prompt);

    snprintf(hidden, sizeof(hidden), "%s/empty", folder);
    assert_int_equal(mkdir(hidden, 0700), 0);
    assert_int_equal(hw_train_data_add(data, hidden, &err), HW_EINVAL);
    assert_non_null(strstr(err.msg, "no text"));
    hw_train_data_destroy(&data);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_folder),
        cmocka_unit_test(test_pair),
        cmocka_unit_test(test_epochs_and_held_out),
        cmocka_unit_test(test_forks),
        cmocka_unit_test(test_text_is_split),
        cmocka_unit_test(test_mistakes_are_named),
        cmocka_unit_test(test_only_measured),
        cmocka_unit_test(test_changes_keep_their_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
