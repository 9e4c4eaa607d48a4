/* router/decision_log.c - see decision_log.h. The writer is made when the log is first wanted and
 * then stays: a reload only tells it where to write. */
#include "router/decision_log.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"
#include "router/lines.h"
#include "router/log.h"

#define QUEUE_MAX_BYTES ((size_t)8 * 1024 * 1024)
#define LINE_USUAL_BYTES ((size_t)2048)

struct hw_decision_log {
    _Atomic(struct hw_lines *) lines; /* NULL: it was never on */
    char *path;                       /* loop 0's: of what is written to; NULL: off */
    uint64_t max_size;
    uint32_t keep;
};

static struct hw_lines_target
target_of(const struct hw_conf_decisions *conf)
{
    return (struct hw_lines_target){
        .path = conf->file, .fd = -1, .max_bytes = conf->max_size, .keep = conf->keep};
}

static void
remember(struct hw_decision_log *log, const struct hw_conf_decisions *conf)
{
    free(log->path);
    log->path = NULL;
    log->max_size = conf->max_size;
    log->keep = conf->keep;
    if (conf->file == NULL)
        return;
    size_t size = strlen(conf->file) + 1;
    log->path = hw_xcalloc(size, 1);
    memcpy(log->path, conf->file, size);
}

static int
start(struct hw_decision_log *log, const struct hw_conf_decisions *conf, struct hw_err *err)
{
    struct hw_lines_target target = target_of(conf);
    struct hw_lines *lines = NULL;
    int rc = hw_lines_create("decision log", &target, QUEUE_MAX_BYTES, &lines, err);

    if (rc == 0) {
        remember(log, conf);
        atomic_store(&log->lines, lines);
    }
    return rc;
}

int
hw_decision_log_create(const struct hw_conf_decisions *conf, struct hw_decision_log **out,
                       struct hw_err *err)
{
    struct hw_decision_log *log = hw_xcalloc(1, sizeof(*log));
    int rc = conf->file != NULL ? start(log, conf, err) : 0;

    if (rc != 0)
        free(log);
    else
        *out = log;
    return rc;
}

void
hw_decision_log_apply(struct hw_decision_log *log, const struct hw_conf_decisions *conf)
{
    struct hw_lines *lines = atomic_load(&log->lines);
    struct hw_lines_target target = target_of(conf);
    struct hw_err err;
    bool same = (conf->file == NULL) == (log->path == NULL) &&
                (conf->file == NULL || strcmp(conf->file, log->path) == 0) &&
                conf->max_size == log->max_size && conf->keep == log->keep;

    if (same)
        return;
    if (lines != NULL) {
        hw_lines_retarget(lines, &target);
        remember(log, conf);
    } else if (start(log, conf, &err) != 0) { /* the next reload tries again */
        hw_log(HW_LOG_ERROR, "%s; decisions are not logged", err.msg);
    }
}

void
hw_decision_log_write(struct hw_decision_log *log, const struct hw_record *record)
{
    struct hw_lines *lines = atomic_load_explicit(&log->lines, memory_order_acquire);
    struct hw_buf line;

    if (lines == NULL)
        return;
    hw_buf_init(&line, HW_RECORD_LINE_MAX);
    hw_buf_reserve(&line, LINE_USUAL_BYTES);
    if (hw_record_write(record, &line) == 0)
        hw_lines_put(lines, line.data, line.len);
    else
        hw_lines_lose(lines);
    hw_buf_free(&line);
}

uint64_t
hw_decision_log_dropped(const struct hw_decision_log *log)
{
    struct hw_lines *lines = atomic_load(&log->lines);
    return lines != NULL ? hw_lines_lost(lines) : 0;
}

void
hw_decision_log_reopen(struct hw_decision_log *log)
{
    struct hw_lines *lines = atomic_load(&log->lines);
    if (lines != NULL)
        hw_lines_reopen(lines);
}

void
hw_decision_log_destroy(struct hw_decision_log **log)
{
    if (*log == NULL)
        return;
    struct hw_lines *lines = atomic_load(&(*log)->lines);
    hw_lines_destroy(&lines);
    free((*log)->path);
    free(*log);
    *log = NULL;
}
