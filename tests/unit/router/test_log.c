/* The logs: every line is JSON whatever an agent put into it, none is torn, and what cannot be kept
 * is counted. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "router/api/json.h"
#include "router/log.h"

static char folder[] = "/tmp/hatchway-test-log-XXXXXX";
static char path[128], old_path[128];

static int
make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/access.log", folder);
    snprintf(old_path, sizeof(old_path), "%s/access.log.1", folder);
    return 0;
}

static int
remove_folder(void **state)
{
    (void)state;
    unlink(path);
    unlink(old_path);
    return rmdir(folder);
}

static char *
read_file(const char *name)
{
    static char text[8 << 20];
    FILE *file = fopen(name, "r");
    if (file == NULL)
        return strcpy(text, "");
    size_t len = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[len] = '\0';
    return text;
}

/* Each line must be one valid JSON object. */
static size_t
count_lines(const char *text)
{
    static const struct hw_json_limits limits = {.depth = 4, .nodes = 100};
    size_t lines = 0;
    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        struct hw_json root;
        struct hw_err err;
        if (hw_json_validate(text, len, &limits, &root, &err) != 0)
            fail_msg("%s: %.*s", err.msg, (int)len, text);
        assert_int_equal(root.type, HW_JSON_OBJECT);
        assert_int_equal(text[len], '\n');
        text += len + 1;
        lines++;
    }
    return lines;
}

static struct hw_access
usual(void)
{
    return (struct hw_access){.request_id = "01JABC",
                              .peer = "127.0.0.1",
                              .agent = "trading",
                              .dialect = "openai",
                              .method = "POST",
                              .path = "/v1/chat/completions",
                              .route = "specialist",
                              .cache = "hit",
                              .status = 200,
                              .attempts = 1,
                              .output_tokens = 18446744073709551615u,
                              .duration_us = 1234};
}

static void
test_access_line(void **state)
{
    (void)state;
    struct hw_access_log *log;
    assert_int_equal(hw_access_log_create(path, &log, NULL), 0);
    struct hw_access access = usual();
    hw_access_log_write(log, &access);
    access.path = "/\"\\\n\x01\xff\xc3(\xed\xa0\x80 \xc3\xa9";
    access.error = "backend said: \"no\"";
    access.client_left = access.stream = true;
    access.first_token_us = 7;
    hw_access_log_write(log, &access);
    hw_access_log_destroy(&log);
    assert_null(log);

    char *text = read_file(path);
    assert_int_equal(count_lines(text), 2);
    assert_non_null(strstr(text, "\"request_id\":\"01JABC\""));
    assert_non_null(strstr(text, "\"path\":\"/v1/chat/completions\",\"status\":200"));
    assert_non_null(strstr(text, "\"output_tokens\":18446744073709551615"));
    assert_null(strstr(text, "role")); /* NULL is left out */
    assert_non_null(strstr(text, "\"path\":\"/\\\"\\\\\\n\\u0001\xef\xbf\xbd\xef\xbf\xbd("));
    assert_non_null(strstr(text, " \xc3\xa9\""));
    assert_non_null(strstr(text, "\"client_left\":true"));
    /* {"ts":"2026-11-21T09:00:00.123Z" */
    assert_int_equal(strncmp(text, "{\"ts\":\"20", 9), 0);
    assert_int_equal(text[7 + 10], 'T');
    assert_int_equal(text[7 + 19], '.');
    assert_int_equal(text[7 + 23], 'Z');

    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0137, 0); /* 0640 less the umask */
    unlink(path);
}

static void *
write_many(void *arg)
{
    struct hw_access access = usual();
    for (int i = 0; i < 500; i++)
        hw_access_log_write(arg, &access);
    return NULL;
}

static void
test_threads_and_rotation(void **state)
{
    (void)state;
    struct hw_access_log *log;
    pthread_t threads[4];
    assert_int_equal(hw_access_log_create(path, &log, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, write_many, log);
    assert_int_equal(rename(path, old_path), 0);
    hw_access_log_reopen(log);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(hw_access_log_dropped(log), 0);
    hw_access_log_destroy(&log);
    size_t lines = count_lines(read_file(path)) + count_lines(read_file(old_path));
    assert_int_equal(lines, 2000);
    unlink(path);
    unlink(old_path);
}

/* A reader that has stopped costs lines, not the loop's time. */
static void
test_full_queue_drops(void **state)
{
    (void)state;
    struct hw_access_log *log;
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    int saved = dup(STDOUT_FILENO);
    fflush(stdout);
    dup2(pipes[1], STDOUT_FILENO);
    assert_int_equal(hw_access_log_create("stdout", &log, NULL), 0);
    struct hw_access access = usual();
    for (int i = 0; i < 20000; i++)
        hw_access_log_write(log, &access);
    uint64_t dropped = hw_access_log_dropped(log);
    /* set it free again: the reading end goes, the write fails, the writer ends */
    close(pipes[0]);
    hw_access_log_destroy(&log);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    close(pipes[1]);
    assert_true(dropped > 10000 && dropped < 20000);
}

static void
test_off_and_errors(void **state)
{
    (void)state;
    struct hw_access_log *log = NULL;
    struct hw_access access = usual();
    struct hw_err err;
    assert_int_equal(hw_access_log_create("off", &log, NULL), 0);
    hw_access_log_write(log, &access);
    hw_access_log_reopen(log);
    assert_int_equal(hw_access_log_dropped(log), 0);
    hw_access_log_destroy(&log);
    hw_access_log_destroy(&log);
    assert_int_equal(hw_access_log_create("/nowhere/at/all", &log, &err), HW_EIO);
    assert_null(log);
    assert_non_null(strstr(err.msg, "/nowhere/at/all"));
}

/* A loop pays well under a microsecond a line; measured generously, since tests run sanitized. */
static void
test_cost(void **state)
{
    (void)state;
    struct hw_access_log *log;
    assert_int_equal(hw_access_log_create("/dev/null", &log, NULL), 0);
    struct hw_access access = usual();
    struct timespec a, b;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
    for (int i = 0; i < 20000; i++)
        hw_access_log_write(log, &access);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
    double us = ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / 2e7;
    print_message("%.2f us a line\n", us);
    assert_true(us < 100);
    hw_access_log_destroy(&log);
}

static void
test_process_log(void **state)
{
    (void)state;
    int saved = dup(STDERR_FILENO);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(fd, STDERR_FILENO);
    setenv("HATCHWAY_TRACE", "exchange,cache", 1);
    hw_log(HW_LOG_DEBUG, "not shown");
    hw_log_set_level(HW_LOG_DEBUG);
    hw_log(HW_LOG_DEBUG, "shown %d", 1);
    hw_log_set_level(HW_LOG_INFO);
    hw_log(HW_LOG_ERROR, "a \"quote\"\nand \xff%*s", 5000, "x"); /* longer than a line may be */
    hw_trace("cache", "hit %s", "k");
    hw_trace("cach", "no such topic");
    hw_trace("policy", "not asked for");
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(fd);
    assert_true(hw_trace_on("exchange"));
    assert_false(hw_trace_on("exchange,cache"));

    char *text = read_file(path);
    assert_int_equal(count_lines(text), 3);
    assert_non_null(strstr(text, "\"level\":\"debug\",\"msg\":\"shown 1\"}"));
    assert_non_null(
        strstr(text, "\"level\":\"error\",\"msg\":\"a \\\"quote\\\"\\nand \xef\xbf\xbd"));
    assert_non_null(strstr(text, "\"level\":\"trace\",\"topic\":\"cache\",\"msg\":\"hit k\"}"));
    unlink(path);
}

int
main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_access_line),
        cmocka_unit_test(test_threads_and_rotation),
        cmocka_unit_test(test_full_queue_drops),
        cmocka_unit_test(test_off_and_errors),
        cmocka_unit_test(test_cost),
        cmocka_unit_test(test_process_log),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
