/* router/log.h - JSON lines: the process log on stderr and the access log, safe from any thread.
 *
 * A line is built in a buffer and written by one write(2), so that loops do not mix. Never blocks a
 * loop for long: the access log is handed to a writer thread through a bounded queue; when that is
 * full the line is dropped and counted. No secrets: callers pass names and sizes, never keys or
 * texts. */
#ifndef HW_ROUTER_LOG_H
#define HW_ROUTER_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "hatchway/err.h"

enum hw_log_level { HW_LOG_DEBUG, HW_LOG_INFO, HW_LOG_WARN, HW_LOG_ERROR };

/* One line {"time","level","msg"} on stderr; msg is formatted and escaped. */
void hw_log(enum hw_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void hw_log_set_level(enum hw_log_level level);

/* Run-time traces by topic (HATCHWAY_TRACE=exchange,cache; or "all"). */
bool hw_trace_on(const char *topic);
void hw_trace(const char *topic, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

struct hw_access_log;
struct hw_access {
    const char *request_id, *trace_id; /* trace_id may be NULL */
    const char *peer, *agent, *dialect, *method, *path;
    const char *route, *role, *lane, *backend, *model, *cache; /* NULL: left out */
    int status;
    bool stream, client_left;
    const char *error; /* NULL: none */
    uint32_t attempts;
    uint64_t prompt_tokens, output_tokens, bytes_in, bytes_out;
    uint64_t duration_us, first_token_us; /* 0: none */
};
/* where: "stdout", "stderr", a path (appended, 0640; reopened on hw_access_log_reopen), or "off".
 */
int hw_access_log_create(const char *where, struct hw_access_log **out, struct hw_err *err);
void hw_access_log_write(struct hw_access_log *log, const struct hw_access *access);
uint64_t hw_access_log_dropped(const struct hw_access_log *log);
void hw_access_log_reopen(struct hw_access_log *log);   /* SIGHUP, for logrotate */
void hw_access_log_destroy(struct hw_access_log **log); /* writes out what is queued */

#endif
