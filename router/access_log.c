/* router/access_log.c - one JSON line a query; its way to the file is router/lines.c. */
#include "router/log.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hatchway/assert.h"
#include "hatchway/buf.h"
#include "router/api/json.h"
#include "router/lines.h"
#include "router/log_private.h"

#define QUEUE_MAX_BYTES ((size_t)1024 * 1024)
#define LINE_MAX_BYTES ((size_t)64 * 1024)
#define LINE_USUAL_BYTES ((size_t)1024)

struct hw_access_log {
    struct hw_lines *lines; /* NULL: off */
};

int
hw_access_log_create(const char *where, struct hw_access_log **out, struct hw_err *err)
{
    struct hw_lines_target target = {.fd = -1};
    struct hw_lines *lines = NULL;
    int rc = 0;

    if (strcmp(where, "stdout") == 0)
        target.fd = STDOUT_FILENO;
    else if (strcmp(where, "stderr") == 0)
        target.fd = STDERR_FILENO;
    else
        target.path = where;
    if (strcmp(where, "off") != 0)
        rc = hw_lines_create("access log", &target, QUEUE_MAX_BYTES, &lines, err);
    if (rc != 0)
        return rc;
    struct hw_access_log *log = hw_xcalloc(1, sizeof(*log));
    log->lines = lines;
    *out = log;
    return 0;
}

static void
format(struct hw_buf *line, const struct hw_access *access)
{
    char time_text[HW_LOG_TIME_BYTES];
    hw_log_time(time_text);
    hw_buf_puts(line, "{\"ts\":\"");
    hw_buf_puts(line, time_text);
    hw_buf_puts(line, "\"");
    hw_log_text(line, ",\"request_id\":", access->request_id);
    hw_log_text(line, ",\"trace_id\":", access->trace_id);
    hw_log_text(line, ",\"peer\":", access->peer);
    hw_log_text(line, ",\"agent\":", access->agent);
    hw_log_text(line, ",\"dialect\":", access->dialect);
    hw_log_text(line, ",\"method\":", access->method);
    hw_log_text(line, ",\"path\":", access->path);
    hw_log_number(line, ",\"status\":", (uint64_t)(access->status > 0 ? access->status : 0));
    hw_log_text(line, ",\"route\":", access->route);
    hw_log_text(line, ",\"role\":", access->role);
    hw_log_text(line, ",\"lane\":", access->lane);
    hw_log_text(line, ",\"backend\":", access->backend);
    hw_log_text(line, ",\"model\":", access->model);
    hw_log_text(line, ",\"cache\":", access->cache);
    hw_buf_puts(line, access->stream ? ",\"stream\":true" : ",\"stream\":false");
    if (access->client_left)
        hw_buf_puts(line, ",\"client_left\":true");
    hw_log_text(line, ",\"error\":", access->error);
    hw_log_number(line, ",\"attempts\":", access->attempts);
    hw_log_number(line, ",\"prompt_tokens\":", access->prompt_tokens);
    hw_log_number(line, ",\"output_tokens\":", access->output_tokens);
    hw_log_number(line, ",\"bytes_in\":", access->bytes_in);
    hw_log_number(line, ",\"bytes_out\":", access->bytes_out);
    hw_log_number(line, ",\"duration_us\":", access->duration_us);
    if (access->first_token_us > 0)
        hw_log_number(line, ",\"first_token_us\":", access->first_token_us);
    hw_buf_puts(line, "}\n");
}

void
hw_access_log_write(struct hw_access_log *log, const struct hw_access *access)
{
    if (log->lines == NULL)
        return;
    struct hw_buf line;
    hw_buf_init(&line, LINE_MAX_BYTES);
    hw_buf_reserve(&line, LINE_USUAL_BYTES);
    format(&line, access);
    if (line.failed)
        hw_lines_lose(log->lines);
    else
        hw_lines_put(log->lines, line.data, line.len);
    hw_buf_free(&line);
}

uint64_t
hw_access_log_dropped(const struct hw_access_log *log)
{
    return log->lines != NULL ? hw_lines_lost(log->lines) : 0;
}

void
hw_access_log_reopen(struct hw_access_log *log)
{
    if (log->lines != NULL)
        hw_lines_reopen(log->lines);
}

void
hw_access_log_destroy(struct hw_access_log **log)
{
    if (*log == NULL)
        return;
    hw_lines_destroy(&(*log)->lines);
    free(*log);
    *log = NULL;
}
