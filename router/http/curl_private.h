/* router/http/curl_private.h - calls over libcurl: what its two files share.
 *
 *   curl_client.c   libcurl's multi interface on the libuv loop; setting a transfer up
 *   curl_call.c     a transfer's callbacks, and the events made of them
 *
 * libcurl forbids most of its functions within its own callbacks, and our events may send and
 * cancel as they like. So its callbacks only put bytes into a call's inbox; events are delivered
 * after libcurl has returned. */
#ifndef HW_ROUTER_HTTP_CURL_PRIVATE_H
#define HW_ROUTER_HTTP_CURL_PRIVATE_H

#include <curl/curl.h>

#include "hatchway/buf.h"
#include "router/http/client_private.h"

#define HW_CURL_MAX_HEAD_BYTES (64u << 10)
#define HW_CURL_MAX_FIELDS 200
#define HW_CURL_INBOX_BYTES (256u << 10) /* beyond it the transfer pauses */

struct hw_curl_poll; /* one a descriptor */

struct hw_curl {
    uv_loop_t *loop;
    CURLM *multi;     /* NULL until the first call */
    uv_timer_t timer; /* libcurl's */
    uv_timer_t kick;  /* deliver what is ready in the next turn */
    struct hw_curl_poll *polls;
    struct hw_curl_call *calls;      /* all, doubly linked */
    struct hw_curl_call *delivering; /* NULLed when that one ends or is cancelled */
    size_t open_handles;
    bool closing;
    void (*closed_cb)(void *ctx);
    void *closed_ctx;
};

struct hw_curl_call {
    struct hw_call base; /* first */
    struct hw_curl *curl;
    struct hw_curl_call *prev, *next;
    CURL *easy;
    struct curl_slist *headers;
    struct hw_buf copied; /* segments that had no body to live in */
    struct hw_body *body;
    struct hw_call_segment segments[HW_CALL_MAX_SEGMENTS];
    size_t segment_count;
    size_t at_segment, at_byte; /* next to send */
    struct hw_buf head;         /* lines as they came, of the last head */
    struct hw_buf inbox;        /* body bytes not yet delivered */
    bool head_ready, head_delivered, body_began;
    bool stalled; /* libcurl was told to pause: the inbox was full or the call is paused */
    bool ended;   /* removed from the multi; result says how */
    CURLcode result;
    const char *refused; /* our own reason, when a callback ended the transfer */
    uint64_t received;
    uv_timer_t timer; /* first byte, idle; its close frees the call */
    uint64_t deadline_ms, armed_ms;
    char error[CURL_ERROR_SIZE];
};

/* curl_client.c */
void hw_curl_handle_closed(struct hw_curl *curl); /* one of open_handles */
void hw_curl_collect(struct hw_curl *curl);       /* takes ended transfers out of the multi */
void hw_curl_kick(struct hw_curl *curl);          /* hw_curl_deliver in the next turn */

/* curl_call.c */
int hw_curl_call_set_callbacks(struct hw_curl_call *call);
void hw_curl_call_destroy(struct hw_curl_call *call); /* takes it out of the multi, silently */
void hw_curl_deliver(struct hw_curl *curl);
extern const struct hw_call_driver hw_curl_driver;

#endif
