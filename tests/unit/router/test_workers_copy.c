/* Copies of a file that may be written at any time. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "router/workers_copy.h"

#define BIG (3u << 20) /* several pieces */

struct world {
    uv_loop_t loop;
    char dir[64], path[96];
    struct hw_copy_wish wish;
    struct hw_copy_outcome outcome;
    int calls;
};

static void
write_file(struct world *w, char byte, size_t len)
{
    char *bytes = malloc(len + 1);
    assert_non_null(bytes);
    memset(bytes, byte, len);
    FILE *file = fopen(w->path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    fclose(file);
    free(bytes);
}

static void
begin(struct world *w)
{
    memset(w, 0, sizeof(*w));
    snprintf(w->dir, sizeof(w->dir), "/tmp/hw-test-copy-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->path, sizeof(w->path), "%s/model", w->dir);
    w->wish = (struct hw_copy_wish){.path = w->path, .compare = -1};
    assert_int_equal(uv_loop_init(&w->loop), 0);
}

static void
end(struct world *w)
{
    unlink(w->path);
    assert_int_equal(rmdir(w->dir), 0); /* nothing was left beside the file */
    assert_int_equal(uv_loop_close(&w->loop), 0);
}

static void
on_copied(void *ctx, const struct hw_copy_outcome *outcome)
{
    struct world *w = ctx;

    w->outcome = *outcome;
    w->calls++;
}

static enum hw_copy_result
copy(struct world *w)
{
    w->calls = 0;
    hw_copy_start(&w->loop, &w->wish, on_copied, w);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(w->calls, 1);
    return w->outcome.result;
}

static void
expect_bytes(int fd, char byte, size_t len)
{
    static char bytes[BIG + 1];

    assert_int_equal(pread(fd, bytes, sizeof(bytes), 0), len);
    for (size_t i = 0; i < len; i++)
        assert_int_equal(bytes[i], byte);
}

static void
test_a_copy_outlives_what_becomes_of_the_file(void **state)
{
    struct world w;
    (void)state;

    begin(&w);
    write_file(&w, 'a', BIG);
    assert_int_equal(copy(&w), HW_COPY_MADE);
    int fd = w.outcome.fd;
    write_file(&w, 'b', BIG); /* in place */
    expect_bytes(fd, 'a', BIG);
    unlink(w.path);
    expect_bytes(fd, 'a', BIG);
    assert_int_equal(write(fd, "x", 1), -1);
    close(fd);
    end(&w);
}

static void
test_what_is_known_is_not_copied(void **state)
{
    struct world w;
    (void)state;

    begin(&w);
    write_file(&w, 'a', BIG);
    assert_int_equal(copy(&w), HW_COPY_MADE);
    w.wish.compare = w.outcome.fd;
    w.wish.known[1] = w.outcome.mark;
    assert_int_equal(copy(&w), HW_COPY_KNOWN);
    assert_int_equal(w.outcome.fd, -1);

    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1000000000}};
    assert_int_equal(utimensat(AT_FDCWD, w.path, times, 0), 0);
    assert_int_equal(copy(&w), HW_COPY_SAME);
    assert_int_equal(w.outcome.fd, -1);

    write_file(&w, 'a', BIG - 1);
    assert_int_equal(copy(&w), HW_COPY_MADE);
    close(w.outcome.fd);
    write_file(&w, 'b', BIG);
    assert_int_equal(copy(&w), HW_COPY_MADE);
    expect_bytes(w.outcome.fd, 'b', BIG);
    close(w.outcome.fd);
    close(w.wish.compare);
    end(&w);
}

static void
test_a_writer_is_waited_for(void **state)
{
    struct world w;
    (void)state;

    begin(&w);
    write_file(&w, 'a', BIG);
    int writer = open(w.path, O_WRONLY);
    assert_true(writer >= 0);
    assert_int_equal(copy(&w), HW_COPY_BUSY);
    assert_int_equal(w.outcome.fd, -1);
    close(writer);
    assert_int_equal(copy(&w), HW_COPY_MADE);
    close(w.outcome.fd);
    writer = open(w.path, O_WRONLY | O_NONBLOCK); /* no lease was left to hold it up */
    assert_true(writer >= 0);
    close(writer);
    end(&w);
}

static void
test_what_is_no_file_is_not_there(void **state)
{
    struct world w;
    (void)state;

    begin(&w);
    assert_int_equal(copy(&w), HW_COPY_GONE);
    assert_int_equal(mkfifo(w.path, 0600), 0);
    assert_int_equal(copy(&w), HW_COPY_GONE);
    w.wish.path = w.dir;
    assert_int_equal(copy(&w), HW_COPY_GONE);
    assert_int_equal(w.outcome.fd, -1);
    end(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_copy_outlives_what_becomes_of_the_file),
        cmocka_unit_test(test_what_is_known_is_not_copied),
        cmocka_unit_test(test_a_writer_is_waited_for),
        cmocka_unit_test(test_what_is_no_file_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
