/* router/log_private.h - what log.c and access_log.c share. */
#ifndef HW_ROUTER_LOG_PRIVATE_H
#define HW_ROUTER_LOG_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>

#define HW_LOG_TIME_BYTES 32
/* Now, as RFC 3339 in UTC with milliseconds: "2026-11-21T09:00:00.123Z". */
void hw_log_time(char out[static HW_LOG_TIME_BYTES]);

/* The whole of it, also to a pipe that is set to non-blocking. False: it cannot be written, or who
 * reads it has taken nothing for patience_ms. */
bool hw_log_write_all(int fd, const char *bytes, size_t len, int patience_ms);

#endif
