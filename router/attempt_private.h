/* router/attempt_private.h - what the halves of an attempt share: attempt.c (its life, and calls
 * over HTTP), attempt_read.c (what a backend sends), attempt_worker.c (local workers). */
#ifndef HW_ROUTER_ATTEMPT_PRIVATE_H
#define HW_ROUTER_ATTEMPT_PRIVATE_H

#include "router/attempt.h"

enum {
    HW_ATTEMPT_LINE_MAX_BYTES = 16 << 20,
};

/* The last act: everything below is closed, then the listener hears of it. */
void hw_attempt_end_with(struct hw_attempt *attempt, struct hw_attempt_end end);
void hw_attempt_note_content(struct hw_attempt *attempt, size_t len);
/* HW_EINVAL when fields were dropped that the query forbids to drop. */
int hw_attempt_check_strict(const struct hw_attempt_request *request, const struct hw_buf *dropped,
                            struct hw_err *err);

/* Bytes of a backend's body, and its end. Failures are left in attempt->failed, ->end and
 * ->message: whoever called ends the attempt with them. */
void hw_attempt_feed(struct hw_attempt *attempt, const char *bytes, size_t len);
void hw_attempt_feed_end(struct hw_attempt *attempt);

int hw_attempt_start_worker(struct hw_attempt *attempt, const struct hw_attempt_request *request,
                            struct hw_err *err);
/* The text that came while the attempt was paused. */
void hw_attempt_pass_waiting(struct hw_attempt *attempt);

#endif
