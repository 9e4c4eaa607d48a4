/* router/log.c - the process log: JSON lines on stderr, one write(2) each.
 *
 * Rare by design (starts, reloads, failures), so that it may write from the loop itself; what comes
 * with every query goes to the access log. */
#include "router/log.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "hatchway/buf.h"
#include "router/api/json.h"
#include "router/log_private.h"

#define MESSAGE_BYTES 2048
#define LINE_MAX_BYTES ((size_t)16 * 1024)
#define PATIENCE_MS 50 /* this may be a loop */

static _Atomic int least_level = HW_LOG_INFO;

void
hw_log_time_at(uint64_t unix_ms, char out[static HW_LOG_TIME_BYTES])
{
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    size_t n = strftime(out, HW_LOG_TIME_BYTES, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, HW_LOG_TIME_BYTES - n, ".%03uZ", (unsigned)(unix_ms % 1000));
}

void
hw_log_time(char out[static HW_LOG_TIME_BYTES])
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    hw_log_time_at((uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u, out);
}

void
hw_log_text(struct hw_buf *line, const char *name, const char *text)
{
    if (text == NULL)
        return;
    hw_buf_puts(line, name);
    hw_json_write_string(line, text, strlen(text));
}

void
hw_log_number(struct hw_buf *line, const char *name, uint64_t number)
{
    char digits[24];
    size_t n = sizeof(digits);
    do
        digits[--n] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    hw_buf_puts(line, name);
    hw_buf_append(line, digits + n, sizeof(digits) - n);
}

bool
hw_log_write_all(int fd, const char *bytes, size_t len, int patience_ms)
{
    struct stat status;
    bool file = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);

    while (len > 0) {
        /* A pipe that says it has room has it for PIPE_BUF bytes: more would block, and a reader
         * that has stopped would stop us with it. */
        struct pollfd pollfd = {.fd = fd, .events = POLLOUT};
        if (!file && poll(&pollfd, 1, patience_ms) == 0)
            return false;
        ssize_t n = write(fd, bytes, file || len < PIPE_BUF ? len : PIPE_BUF);
        if (n >= 0) {
            bytes += n;
            len -= (size_t)n;
        } else if (errno != EINTR && errno != EAGAIN) {
            return false;
        }
    }
    return true;
}

static void
write_line(const char *level, const char *topic, const char *fmt, va_list ap)
{
    char msg[MESSAGE_BYTES], time_text[HW_LOG_TIME_BYTES];
    int n = vsnprintf(msg, sizeof(msg), fmt, ap);
    if (n < 0)
        return;
    size_t len = (size_t)n < sizeof(msg) ? (size_t)n : sizeof(msg) - 1;

    struct hw_buf line;
    hw_buf_init(&line, LINE_MAX_BYTES);
    hw_log_time(time_text);
    hw_buf_printf(&line, "{\"time\":\"%s\",\"level\":\"%s\",", time_text, level);
    if (topic != NULL)
        hw_buf_printf(&line, "\"topic\":\"%s\",", topic);
    hw_buf_puts(&line, "\"msg\":");
    hw_json_write_string(&line, msg, len);
    hw_buf_puts(&line, "}\n");
    if (!line.failed)
        hw_log_write_all(STDERR_FILENO, line.data, line.len, PATIENCE_MS);
    hw_buf_free(&line);
}

void
hw_log(enum hw_log_level level, const char *fmt, ...)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};

    if ((int)level < atomic_load_explicit(&least_level, memory_order_relaxed))
        return;
    va_list ap;
    va_start(ap, fmt);
    write_line(names[level], NULL, fmt, ap);
    va_end(ap);
}

void
hw_log_set_level(enum hw_log_level level)
{
    atomic_store_explicit(&least_level, (int)level, memory_order_relaxed);
}

/* The variable is read once: getenv is not safe beside a setenv, and traces are asked for often. */
static char trace_topics[256];
static pthread_once_t trace_once = PTHREAD_ONCE_INIT;

static void
read_trace_topics(void)
{
    const char *topics = getenv("HATCHWAY_TRACE");
    if (topics != NULL)
        snprintf(trace_topics, sizeof(trace_topics), "%s", topics);
}

static bool
topic_is_listed(const char *list, const char *topic)
{
    size_t len = strlen(topic);
    while (*list != '\0') {
        size_t n = strcspn(list, ",");
        if ((n == len && memcmp(list, topic, n) == 0) || (n == 3 && memcmp(list, "all", 3) == 0))
            return true;
        list += n;
        list += *list == ',';
    }
    return false;
}

bool
hw_trace_on(const char *topic)
{
    pthread_once(&trace_once, read_trace_topics);
    return trace_topics[0] != '\0' && topic_is_listed(trace_topics, topic);
}

void
hw_trace(const char *topic, const char *fmt, ...)
{
    if (!hw_trace_on(topic))
        return;
    va_list ap;
    va_start(ap, fmt);
    write_line("trace", topic, fmt, ap);
    va_end(ap);
}
