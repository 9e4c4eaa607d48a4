/* router/http/client_answer.h - the bytes of one HTTP answer, read piece by piece.
 *
 * Pure: no socket, no clock. Wraps llhttp with our limits: 64 KiB and 200 fields of head, 16 KiB of
 * chunk extensions and trailers, max_bytes of body. 1xx answers are skipped. Callbacks run from
 * within hw_client_answer_feed / hw_client_answer_end. */
#ifndef HW_ROUTER_HTTP_CLIENT_ANSWER_H
#define HW_ROUTER_HTTP_CLIENT_ANSWER_H

#include <llhttp.h>

#include "hatchway/buf.h"
#include "router/http/head.h"

#define HW_CLIENT_ANSWER_MAX_HEAD_BYTES (64u << 10)
#define HW_CLIENT_ANSWER_MAX_FIELDS 200
#define HW_CLIENT_ANSWER_MAX_EXTRA_BYTES (16u << 10)

struct hw_client_answer_events {
    void (*on_head)(void *ctx, int status, const struct hw_http_head *head);
    void (*on_body)(void *ctx, const char *bytes, size_t len);
};

struct hw_client_answer_field {
    uint32_t name_at, name_len, value_at, value_len; /* in text */
};

struct hw_client_answer {
    llhttp_t parser;
    const struct hw_client_answer_events *events;
    void *ctx;
    struct hw_buf text; /* names and values, in order of arrival */
    struct hw_client_answer_field fields[HW_CLIENT_ANSWER_MAX_FIELDS];
    size_t field_count;
    bool in_value;     /* the last span belonged to a value: the next name begins a field */
    bool head_request; /* no body follows whatever the head says */
    bool head_done, complete, stop;
    size_t head_bytes, extra_bytes;
    uint64_t body_bytes, max_bytes;
    bool keep_alive; /* valid when complete */
    char error[128]; /* valid after HW_CLIENT_ANSWER_BAD */
};

enum hw_client_answer_result {
    HW_CLIENT_ANSWER_MORE,     /* all used, more is to come */
    HW_CLIENT_ANSWER_STOPPED,  /* hw_client_answer_stop was called: feed the rest later, even if it
                                  is empty */
    HW_CLIENT_ANSWER_COMPLETE, /* bytes behind *used are none of this answer's */
    HW_CLIENT_ANSWER_BAD,
};

void hw_client_answer_init(struct hw_client_answer *answer,
                           const struct hw_client_answer_events *events, void *ctx);
void hw_client_answer_free(struct hw_client_answer *answer);
/* Ready for another answer. */
void hw_client_answer_begin(struct hw_client_answer *answer, bool head_request, uint64_t max_bytes);
enum hw_client_answer_result hw_client_answer_feed(struct hw_client_answer *answer,
                                                   const char *bytes, size_t len, size_t *used);
/* The peer ended its side: COMPLETE when the answer runs until that, else BAD. */
enum hw_client_answer_result hw_client_answer_end(struct hw_client_answer *answer);
/* From within a callback: no further callback, hw_client_answer_feed returns. */
void hw_client_answer_stop(struct hw_client_answer *answer);

#endif
