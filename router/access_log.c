/* router/access_log.c - one JSON line a query, written by a thread of its own.
 *
 * A loop puts its line together outside of the lock, appends it to the filling buffer and goes on:
 * a slow disk costs lines (counted), never a query. Only a line into an empty queue wakes the
 * writer, which then waits a moment for company: some fifty wake-ups a second at any load, and one
 * large write instead of many small ones. The two buffers trade places, so that the writer holds no
 * lock while it writes. */
#include "router/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "hatchway/assert.h"
#include "hatchway/buf.h"
#include "router/api/json.h"
#include "router/log_private.h"

#define QUEUE_MAX_BYTES ((size_t)1024 * 1024)
#define QUEUE_HURRY_BYTES ((size_t)256 * 1024) /* company enough: write now */
#define COMPANY_NS (20L * 1000 * 1000)
#define PATIENCE_MS 1000 /* with a reader that takes nothing: then lines are lost, not the exit */
#define LINE_MAX_BYTES ((size_t)64 * 1024)
#define LINE_USUAL_BYTES ((size_t)1024)

struct hw_access_log {
    char *path; /* NULL: stdout, stderr or off */
    bool off;
    int fd; /* the writer's own once it runs */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct hw_buf filling;
    bool reopen, stop;
    _Atomic uint64_t dropped;
};

static int
open_file(const char *path)
{
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
}

/* A file that cannot be opened again leaves the old one in use: better a line in the rotated file
 * than none. */
static void
reopen_file(struct hw_access_log *log)
{
    if (log->path == NULL)
        return;
    int fd = open_file(log->path);
    if (fd < 0) {
        hw_log(HW_LOG_ERROR, "access log %s: %s; the old file stays open", log->path,
               strerror(errno));
        return;
    }
    close(log->fd);
    log->fd = fd;
}

static void
write_out(struct hw_access_log *log, struct hw_buf *lines)
{
    if (lines->len == 0)
        return;
    if (!hw_log_write_all(log->fd, lines->data, lines->len, PATIENCE_MS)) {
        uint64_t count = 0;
        for (size_t i = 0; i < lines->len; i++)
            count += lines->data[i] == '\n';
        atomic_fetch_add_explicit(&log->dropped, count, memory_order_relaxed);
    }
    hw_buf_clear(lines);
}

static void
wait_for_company(struct hw_access_log *log)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += COMPANY_NS;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    while (!log->stop && !log->reopen && log->filling.len < QUEUE_HURRY_BYTES)
        if (pthread_cond_timedwait(&log->wake, &log->lock, &until) == ETIMEDOUT)
            break;
}

static void *
run_writer(void *arg)
{
    struct hw_access_log *log = arg;
    struct hw_buf writing;
    bool stop = false;

    hw_buf_init(&writing, QUEUE_MAX_BYTES);
    while (!stop) {
        pthread_mutex_lock(&log->lock);
        while (log->filling.len == 0 && !log->stop && !log->reopen)
            pthread_cond_wait(&log->wake, &log->lock);
        wait_for_company(log);
        struct hw_buf lines = log->filling;
        log->filling = writing;
        writing = lines;
        bool reopen = log->reopen;
        log->reopen = false;
        stop = log->stop;
        pthread_mutex_unlock(&log->lock);

        write_out(log, &writing);
        if (reopen)
            reopen_file(log);
    }
    hw_buf_free(&writing);
    return NULL;
}

static void
start_writer(struct hw_access_log *log)
{
    pthread_condattr_t attr;
    HW_ASSERT(pthread_condattr_init(&attr) == 0);
    HW_ASSERT(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
    HW_ASSERT(pthread_mutex_init(&log->lock, NULL) == 0);
    HW_ASSERT(pthread_cond_init(&log->wake, &attr) == 0);
    pthread_condattr_destroy(&attr);
    hw_buf_init(&log->filling, QUEUE_MAX_BYTES);
    HW_ASSERT(pthread_create(&log->thread, NULL, run_writer, log) == 0);
}

int
hw_access_log_create(const char *where, struct hw_access_log **out, struct hw_err *err)
{
    char *path = NULL;
    int fd = -1;

    if (strcmp(where, "stdout") == 0) {
        fd = STDOUT_FILENO;
    } else if (strcmp(where, "stderr") == 0) {
        fd = STDERR_FILENO;
    } else if (strcmp(where, "off") != 0) {
        fd = open_file(where);
        if (fd < 0)
            return hw_err_set(err, HW_EIO, "access log %s: %s", where, strerror(errno));
        path = hw_xcalloc(strlen(where) + 1, 1);
        memcpy(path, where, strlen(where));
    }
    struct hw_access_log *log = hw_xcalloc(1, sizeof(*log));
    log->path = path;
    log->fd = fd;
    log->off = fd < 0;
    if (!log->off)
        start_writer(log);
    *out = log;
    return 0;
}

static void
put_text(struct hw_buf *line, const char *name, const char *text)
{
    if (text == NULL)
        return;
    hw_buf_puts(line, name);
    hw_json_write_string(line, text, strlen(text));
}

static void
put_number(struct hw_buf *line, const char *name, uint64_t number)
{
    char digits[24];
    size_t n = sizeof(digits);
    do
        digits[--n] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    hw_buf_puts(line, name);
    hw_buf_append(line, digits + n, sizeof(digits) - n);
}

static void
format(struct hw_buf *line, const struct hw_access *access)
{
    char time_text[HW_LOG_TIME_BYTES];
    hw_log_time(time_text);
    hw_buf_puts(line, "{\"ts\":\"");
    hw_buf_puts(line, time_text);
    hw_buf_puts(line, "\"");
    put_text(line, ",\"request_id\":", access->request_id);
    put_text(line, ",\"trace_id\":", access->trace_id);
    put_text(line, ",\"peer\":", access->peer);
    put_text(line, ",\"agent\":", access->agent);
    put_text(line, ",\"dialect\":", access->dialect);
    put_text(line, ",\"method\":", access->method);
    put_text(line, ",\"path\":", access->path);
    put_number(line, ",\"status\":", (uint64_t)(access->status > 0 ? access->status : 0));
    put_text(line, ",\"route\":", access->route);
    put_text(line, ",\"role\":", access->role);
    put_text(line, ",\"lane\":", access->lane);
    put_text(line, ",\"backend\":", access->backend);
    put_text(line, ",\"model\":", access->model);
    put_text(line, ",\"cache\":", access->cache);
    hw_buf_puts(line, access->stream ? ",\"stream\":true" : ",\"stream\":false");
    if (access->client_left)
        hw_buf_puts(line, ",\"client_left\":true");
    put_text(line, ",\"error\":", access->error);
    put_number(line, ",\"attempts\":", access->attempts);
    put_number(line, ",\"prompt_tokens\":", access->prompt_tokens);
    put_number(line, ",\"output_tokens\":", access->output_tokens);
    put_number(line, ",\"bytes_in\":", access->bytes_in);
    put_number(line, ",\"bytes_out\":", access->bytes_out);
    put_number(line, ",\"duration_us\":", access->duration_us);
    if (access->first_token_us > 0)
        put_number(line, ",\"first_token_us\":", access->first_token_us);
    hw_buf_puts(line, "}\n");
}

void
hw_access_log_write(struct hw_access_log *log, const struct hw_access *access)
{
    if (log->off)
        return;
    struct hw_buf line;
    hw_buf_init(&line, LINE_MAX_BYTES);
    hw_buf_reserve(&line, LINE_USUAL_BYTES);
    format(&line, access);

    bool kept = false, wake = false;
    if (!line.failed) {
        pthread_mutex_lock(&log->lock);
        size_t before = log->filling.len;
        kept = hw_buf_append(&log->filling, line.data, line.len) == 0;
        wake = kept && (before == 0 ||
                        (before < QUEUE_HURRY_BYTES && log->filling.len >= QUEUE_HURRY_BYTES));
        pthread_mutex_unlock(&log->lock);
    }
    if (wake)
        pthread_cond_signal(&log->wake);
    if (!kept)
        atomic_fetch_add_explicit(&log->dropped, 1, memory_order_relaxed);
    hw_buf_free(&line);
}

uint64_t
hw_access_log_dropped(const struct hw_access_log *log)
{
    return atomic_load_explicit(&log->dropped, memory_order_relaxed);
}

void
hw_access_log_reopen(struct hw_access_log *log)
{
    if (log->off)
        return;
    pthread_mutex_lock(&log->lock);
    log->reopen = true;
    pthread_mutex_unlock(&log->lock);
    pthread_cond_signal(&log->wake);
}

void
hw_access_log_destroy(struct hw_access_log **log_ptr)
{
    struct hw_access_log *log = *log_ptr;
    if (log == NULL)
        return;
    *log_ptr = NULL;
    if (!log->off) {
        pthread_mutex_lock(&log->lock);
        log->stop = true;
        pthread_mutex_unlock(&log->lock);
        pthread_cond_signal(&log->wake);
        pthread_join(log->thread, NULL);
        hw_buf_free(&log->filling);
        pthread_cond_destroy(&log->wake);
        pthread_mutex_destroy(&log->lock);
        if (log->path != NULL)
            close(log->fd);
    }
    free(log->path);
    free(log);
}
