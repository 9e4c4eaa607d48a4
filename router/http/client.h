/* router/http/client.h - calls to backends: one interface in front of two clients.
 *
 * Plain http goes through our own pooled keep-alive client (client_plain.h: the hot path), https
 * through libcurl's multi interface on the same loop (curl_client.c). One hw_client a loop.
 *
 *   send -> on_head -> on_body... -> on_done        or at any point -> on_error
 *
 * Exactly one of on_done / on_error, never from within hw_client_send; nothing after a cancel. The
 * call object is gone after either. */
#ifndef HW_ROUTER_HTTP_CLIENT_H
#define HW_ROUTER_HTTP_CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "hatchway/err.h"
#include "router/http/body.h"
#include "router/http/head.h"

struct hw_client;
struct hw_call;

enum hw_call_failure {
    HW_CALL_CONNECT,  /* refused, unreachable, name not found, connect timeout */
    HW_CALL_TIMEOUT,  /* first byte or idle timeout */
    HW_CALL_RESET,    /* the connection broke, or ended before the answer was complete */
    HW_CALL_PROTOCOL, /* not HTTP, or over a limit */
};

struct hw_call_events {
    void (*on_head)(void *ctx, int status, const struct hw_http_head *head);
    void (*on_body)(void *ctx, const char *bytes, size_t len);
    void (*on_done)(void *ctx);
    void (*on_error)(void *ctx, enum hw_call_failure failure, const struct hw_err *err);
};

#define HW_CALL_MAX_SEGMENTS 4
struct hw_call_segment {
    const void *bytes;
    size_t len;
};

/* Everything pointed to must live until hw_client_send returns, except the segments' bytes: they
 * are kept alive by `body` (one reference is taken when not NULL) or else copied. */
struct hw_call_request {
    bool https;
    const char *host;
    uint16_t port;
    const char *method;                 /* "GET", "POST" */
    const char *path;                   /* with the backend's prefix */
    const struct hw_http_field *fields; /* Host, Content-Length, Connection are the client's own */
    size_t field_count;
    struct hw_call_segment segments[HW_CALL_MAX_SEGMENTS];
    size_t segment_count;
    struct hw_body *body; /* what segments may point into; others are copied */
    uint32_t connect_ms, first_byte_ms, idle_ms;
    uint64_t max_response_bytes; /* 0: 64 MiB */
};

struct hw_client *hw_client_create(uv_loop_t *loop);
/* Cancels what runs, closes pools; closed_cb fires when the loop has let go. */
void hw_client_close(struct hw_client *client, void (*closed_cb)(void *ctx), void *ctx);

int hw_client_send(struct hw_client *client, const struct hw_call_request *request,
                   const struct hw_call_events *events, void *ctx, struct hw_call **out,
                   struct hw_err *err);
/* Closes the connection under it, so that the backend stops working: within the same loop turn. */
void hw_call_cancel(struct hw_call *call);
/* Back-pressure: while paused no on_body comes (what was read already is kept) and the peer's
 * window closes. Idle timeout stands still. */
void hw_call_pause(struct hw_call *call);
void hw_call_resume(struct hw_call *call);

#endif
