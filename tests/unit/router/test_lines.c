/* Lines on their way to a file: bounded files, moving them, and what is lost is counted. */
#include <dirent.h>
#include <signal.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "router/lines.h"

static char folder[] = "/tmp/hatchway-test-lines-XXXXXX";

static const char *
in_folder(const char *name)
{
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

static long
size_of(const char *name)
{
    struct stat st;
    return stat(in_folder(name), &st) == 0 ? (long)st.st_size : -1;
}

static struct hw_lines *
open_lines(const char *name, uint64_t max_bytes, uint32_t keep)
{
    struct hw_lines_target target = {
        .path = in_folder(name), .fd = -1, .max_bytes = max_bytes, .keep = keep};
    struct hw_lines *lines = NULL;
    assert_int_equal(hw_lines_create("test log", &target, 1u << 20, &lines, NULL), 0);
    return lines;
}

static void
test_files_are_set_aside(void **state)
{
    (void)state;
    /* Ten lines a file; destroying writes all that is queued, in files that keep their size. */
    struct hw_lines *lines = open_lines("a", 100, 2);
    for (int i = 0; i < 35; i++) {
        char line[16];
        snprintf(line, sizeof(line), "line %04d\n", i);
        hw_lines_put(lines, line, 10);
    }
    assert_int_equal(hw_lines_lost(lines), 0);
    hw_lines_destroy(&lines);

    assert_int_equal(size_of("a"), 50);
    assert_int_equal(size_of("a.1"), 100);
    assert_int_equal(size_of("a.2"), 100);
    assert_int_equal(size_of("a.3"), -1); /* the first ten are gone: that is the bound */
    FILE *file = fopen(in_folder("a.2"), "r");
    char line[16] = "";
    assert_non_null(fgets(line, sizeof(line), file));
    fclose(file);
    assert_string_equal(line, "line 0010\n");

    lines = open_lines("a", 100, 2); /* what is there counts */
    hw_lines_put(lines, "0123456789012345678901234567890123456789012345678\n", 50);
    hw_lines_put(lines, "one more\n", 9);
    hw_lines_destroy(&lines);
    assert_int_equal(size_of("a"), 9);
    assert_int_equal(size_of("a.1"), 100);
}

static void
test_a_line_longer_than_a_file(void **state)
{
    (void)state;
    struct hw_lines *lines = open_lines("long", 16, 1);
    hw_lines_put(lines, "short\n", 6);
    hw_lines_put(lines, "this line is longer than the file\n", 34);
    hw_lines_put(lines, "short\n", 6);
    hw_lines_destroy(&lines);
    assert_int_equal(size_of("long"), 6);
    assert_int_equal(size_of("long.1"), 34);
}

static void
test_nothing_is_kept(void **state)
{
    (void)state;
    struct hw_lines *lines = open_lines("none", 20, 0);
    for (int i = 0; i < 9; i++)
        hw_lines_put(lines, "123456789\n", 10);
    hw_lines_destroy(&lines);
    assert_int_equal(size_of("none"), 10);
    assert_int_equal(size_of("none.1"), -1);
}

static void
test_moving(void **state)
{
    (void)state;
    struct hw_lines *lines = open_lines("from", 0, 0);
    struct hw_lines_target nowhere = {.fd = -1};
    struct hw_lines_target to = {.path = in_folder("to"), .fd = -1};
    struct hw_lines_target missing = {.path = "/nonexistent/folder/log", .fd = -1};

    hw_lines_put(lines, "one\n", 4);
    hw_lines_retarget(lines, &nowhere);
    for (int i = 0; i < 500 && size_of("from") != 4; i++)
        usleep(10000);
    usleep(50000); /* until the writer has gone */
    hw_lines_put(lines, "unwanted\n", 9);
    hw_lines_retarget(lines, &to);
    for (int i = 0; i < 500 && size_of("to") < 0; i++)
        usleep(10000);
    assert_int_equal(hw_lines_lost(lines), 0);
    hw_lines_put(lines, "two\n", 4);
    for (int i = 0; i < 500 && size_of("to") < 4; i++)
        usleep(10000);
    hw_lines_retarget(lines, &missing);
    usleep(50000);
    hw_lines_put(lines, "three\n", 6);
    for (int i = 0; i < 500 && hw_lines_lost(lines) == 0; i++)
        usleep(10000);
    assert_int_equal(hw_lines_lost(lines), 1);
    hw_lines_destroy(&lines);
    assert_int_equal(size_of("from"), 4);
    assert_int_equal(size_of("to"), 4);
}

/* A disk with room for so many bytes: a file's limit does what a full disk does. */
static void
test_a_full_disk(void **state)
{
    (void)state;
    struct rlimit old, small = {.rlim_cur = 25, .rlim_max = RLIM_INFINITY};
    struct hw_lines *lines = open_lines("full", 0, 0);

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    hw_lines_put(lines, "0123456789012345678\n", 20);
    for (int i = 0; i < 500 && size_of("full") < 20; i++)
        usleep(10000);
    hw_lines_put(lines, "torn in the middle\n", 19);
    for (int i = 0; i < 500 && hw_lines_lost(lines) == 0; i++)
        usleep(10000);
    assert_int_equal(hw_lines_lost(lines), 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    hw_lines_put(lines, "well again\n", 11);
    hw_lines_destroy(&lines);

    FILE *file = fopen(in_folder("full"), "r");
    char text[128];
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    fclose(file);
    assert_string_equal(text, "0123456789012345678\ntorn \nwell again\n");
}

static int
make_folder(void **state)
{
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int
remove_folder(void **state)
{
    (void)state;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;)
        unlink(in_folder(entry->d_name));
    if (dir != NULL)
        closedir(dir);
    return rmdir(folder);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files_are_set_aside),
        cmocka_unit_test(test_a_line_longer_than_a_file),
        cmocka_unit_test(test_nothing_is_kept),
        cmocka_unit_test(test_moving),
        cmocka_unit_test(test_a_full_disk),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
