/* Rows of JSONL, and the examples that a role takes from such a file. */
#include "config/help.h"

#include <sys/stat.h>
#include <unistd.h>

#include "config/jsonl.h"

static char folder[64];
static char path[96];

static int
setup(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/hw_jsonl_XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/rows.jsonl", folder);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    unlink(path);
    rmdir(folder);
    return 0;
}

static void
write_rows(const char *rows, size_t len)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(rows, 1, len, file), len);
    fclose(file);
}

/* What the rows' first mistake is called; "" when they are in order. */
static const char *
mistake(const char *rows, size_t len)
{
    static struct hw_err err;
    struct hw_jsonl *file = NULL;
    struct hw_jsonl_row row;
    int rc;

    write_rows(rows, len);
    err.msg[0] = '\0';
    assert_int_equal(hw_jsonl_open(path, &file, &err), 0);
    while ((rc = hw_jsonl_next(file, &row, &err)) == 1)
        assert_non_null(row.text);
    hw_jsonl_close(&file);
    assert_int_equal(rc < 0, err.msg[0] != '\0');
    return rc < 0 ? err.msg + strlen(path) : "";
}

static void
rows_are_read(void **state)
{
    (void)state;
    static const char rows[] = "{\"text\":\"a \\u00e9\\n\",\"label\":\"x\"}\n\n  \r\n"
                               "{\"weak\":0.5,\"text\":\"b\",\"strong\":1,\"more\":[{}]}";
    struct hw_jsonl *file = NULL;
    struct hw_jsonl_row row;

    write_rows(rows, strlen(rows));
    assert_int_equal(hw_jsonl_open(path, &file, NULL), 0);
    assert_int_equal(hw_jsonl_next(file, &row, NULL), 1);
    assert_string_equal(row.text, "a \xc3\xa9\n");
    assert_string_equal(row.label, "x");
    assert_false(row.has_outcome);
    assert_int_equal(hw_jsonl_next(file, &row, NULL), 1);
    assert_int_equal(row.line, 4);
    assert_null(row.label);
    assert_true(row.has_outcome && row.weak > 0.49 && row.strong > 0.99);
    assert_int_equal(hw_jsonl_next(file, &row, NULL), 0);
    hw_jsonl_close(&file);
    assert_null(file);
}

static void
mistakes_name_the_line(void **state)
{
    (void)state;
#define MISTAKE(rows) mistake(rows, sizeof(rows) - 1)
    assert_string_equal(MISTAKE("{\"text\":\"a\"}\n"), "");
    assert_string_equal(MISTAKE("{\"text\":\"a\"}\n[1]\n"), ":2: this is no JSON object");
    assert_string_equal(MISTAKE("{\"text\":\"a\"} {}"), ":1: this is no JSON object");
    assert_string_equal(MISTAKE("{\"text\":\"a"), ":1: this is no JSON object");
    assert_string_equal(MISTAKE("{\"text\":7}"), ":1: expected {\"text\": \"...\"}");
    assert_string_equal(MISTAKE("{\"text\":\"a\",\"label\":7}"), ":1: 'label' must be a text");
    assert_string_equal(MISTAKE("{\"text\":\"a\",\"weak\":7,\"strong\":1}"),
                        ":1: 'weak' and 'strong' are between 0 and 1");
    assert_non_null(strstr(MISTAKE("{\"text\":\"a\0\"}\n{}\n"), ":1: "));

    size_t len = HW_JSONL_LINE_MAX + 10;
    char *endless = malloc(len);
    memset(endless, ' ', len);
    assert_non_null(strstr(mistake(endless, len), "more than 1048576 bytes"));
    free(endless);
}

/* Loads two roles that both name the file. */
static struct hw_snapshot *
load_roles(const char *rows)
{
    char yaml[512];

    write_rows(rows, strlen(rows));
    snprintf(yaml, sizeof(yaml),
             "backends: [{ name: a, kind: bdh, url: \"http://10.0.0.2:8010\", general: true }]\n"
             "roles:\n"
             "  red: { examples: [first], examples_file: %s }\n"
             "  blue: { examples_file: %s }\n",
             path, path);
    return load(yaml);
}

static void
a_file_serves_all_roles(void **state)
{
    (void)state;
    struct hw_snapshot *s = load_roles("{\"text\":\"r\",\"label\":\"red\"}\n"
                                       "{\"text\":\"b\",\"label\":\"blue\"}\n"
                                       "{\"text\":\"both\"}\n{\"text\":\" \"}\n"
                                       "{\"text\":\"g\",\"label\":\"green\"}\n");
    assert_non_null(s);
    assert_int_equal(s->roles[0].examples.count, 3);
    assert_string_equal(s->roles[0].examples.items[0], "first");
    assert_string_equal(s->roles[0].examples.items[1], "r");
    assert_string_equal(s->roles[0].examples.items[2], "both");
    assert_int_equal(s->roles[1].examples.count, 2);
    assert_string_equal(s->roles[1].examples.items[0], "b");
    hw_snapshot_unref(s);
}

static void
a_bad_file_is_named_where_it_is_asked_for(void **state)
{
    (void)state;
    assert_null(load_roles("{\"text\":\"r\",\"label\":\"red\"}\nnonsense\n"));
    assert_non_null(strstr(messages, "t.yaml:3:"));
    assert_non_null(strstr(messages, "roles.red.examples_file: "));
    assert_non_null(strstr(messages, "rows.jsonl:2: this is no JSON object"));
    assert_null(load_roles("{\"text\":\"r\",\"label\":\"red\"}\n"));
    assert_non_null(strstr(messages, "no row is for the role 'blue'"));
    assert_null(load("roles: { red: { examples_file: /dev/zero } }\n"));
    assert_non_null(strstr(messages, "/dev/zero: this is no plain file"));
    char fifo[] = "/tmp/hw_config_XXXXXX/fifo", yaml[128];
    *strrchr(fifo, '/') = '\0';
    assert_non_null(mkdtemp(fifo));
    fifo[strlen(fifo)] = '/';
    assert_int_equal(mkfifo(fifo, 0600), 0); /* whose writer never comes */
    snprintf(yaml, sizeof(yaml), "roles: { red: { examples_file: %s } }\n", fifo);
    assert_null(load(yaml));
    assert_non_null(strstr(messages, "fifo: this is no plain file"));
    unlink(fifo);
    *strrchr(fifo, '/') = '\0';
    rmdir(fifo);
    assert_null(load("roles: { red: { examples_file: nowhere.jsonl } }\n"));
    assert_non_null(strstr(messages, "/etc/hw/nowhere.jsonl: cannot be read"));
}

static void
how_the_classifier_is_set(void **state)
{
    (void)state;
    struct hw_snapshot *s = load(BASE);
    assert_true(s->classifier.learned);
    assert_true(s->classifier.abstain > 0.0199 && s->classifier.abstain < 0.0201);
    assert_true(s->classifier.confidence > 0.499 && s->classifier.confidence < 0.501);
    hw_snapshot_unref(s);
    s = load(BASE "classifier: { learned: false, abstain: 0.5%, confidence: 0% }\n");
    assert_false(s->classifier.learned);
    assert_true(s->classifier.abstain > 0.0049 && s->classifier.abstain < 0.0051);
    hw_snapshot_unref(s);
    assert_null(load(BASE "classifier: { abstain: 51% }\n"));
    assert_non_null(strstr(messages, "must be between 0% and 50%, got '51%'"));
    static const char *const wrong[] = {"2", "2 %", "-1%", "%", "1e1%", "nan%", "101%", "1.2.3%"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char yaml[600];
        snprintf(yaml, sizeof(yaml), BASE "classifier: { confidence: \"%s\" }\n", wrong[i]);
        assert_null(load(yaml));
        assert_non_null(strstr(messages, "expected a percentage such as 2%"));
    }
}

static void
outcomes_teach_difficulty(void **state)
{
    (void)state;
    const char *data = HW_SOURCE_DIR "/bench/data/classify/";
    char yaml[900];
    snprintf(yaml, sizeof(yaml),
             BASE
             "difficulty: { examples_file: %sdifficulty_mmlu.train.jsonl, strong_share: 5%% }\n"
             "routes: [{ name: hard, when: { difficult: true }, to: { by: latency } }]\n",
             data);
    struct hw_snapshot *s = load(yaml);
    assert_non_null(s);
    assert_int_equal(s->difficulty.outcome_count, 1500);
    assert_true(s->difficulty.strong_share > 0.049 && s->difficulty.strong_share < 0.051);
    assert_true(s->difficulty.outcomes[0].strong == 1.0f);
    assert_int_equal(s->routes[0].when.difficult, HW_WANTED_TRUE);
    hw_snapshot_unref(s);
    assert_null(load(BASE "routes: [{ when: { difficult: true }, to: { by: latency } }]\n"));
    assert_non_null(strstr(messages, "learned from recorded outcomes: write difficulty:"));
    snprintf(yaml, sizeof(yaml), BASE "difficulty: { examples_file: %shwu64_role.val.jsonl }\n",
             data);
    assert_null(load(yaml));
    assert_non_null(strstr(messages, "hwu64_role.val.jsonl:1: a row says how well each model"));
    assert_null(load(BASE "difficulty: { strong_share: 10% }\n"));
    assert_null(load(BASE "difficulty: { examples_file: /dev/zero }\n"));
    assert_non_null(strstr(messages, "this is no plain file"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rows_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(mistakes_name_the_line, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_serves_all_roles, setup, teardown),
        cmocka_unit_test_setup_teardown(a_bad_file_is_named_where_it_is_asked_for, setup, teardown),
        cmocka_unit_test(how_the_classifier_is_set),
        cmocka_unit_test(outcomes_teach_difficulty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
