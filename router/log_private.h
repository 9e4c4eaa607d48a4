/* router/log_private.h - what the logs share. */
#ifndef HW_ROUTER_LOG_PRIVATE_H
#define HW_ROUTER_LOG_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hatchway/buf.h"

#define HW_LOG_TIME_BYTES 32
/* Now, as RFC 3339 in UTC with milliseconds: "2026-11-21T09:00:00.123Z". */
void hw_log_time(char out[static HW_LOG_TIME_BYTES]);
void hw_log_time_at(uint64_t unix_ms, char out[static HW_LOG_TIME_BYTES]);

/* A member of a line: name is `,"status":`. A NULL text is left out. */
void hw_log_text(struct hw_buf *line, const char *name, const char *text);
void hw_log_number(struct hw_buf *line, const char *name, uint64_t number);

/* The whole of it, also to a pipe that is set to non-blocking. False: it cannot be written, or who
 * reads it has taken nothing for patience_ms. */
bool hw_log_write_all(int fd, const char *bytes, size_t len, int patience_ms);

#endif
