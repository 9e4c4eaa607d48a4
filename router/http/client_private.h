/* router/http/client_private.h - what the two clients share behind client.h.
 *
 * client.c owns the hw_client and picks: plain http (client_plain.h) or https (curl_client.c). Each
 * call begins with a struct hw_call that says whose it is. */
#ifndef HW_ROUTER_HTTP_CLIENT_PRIVATE_H
#define HW_ROUTER_HTTP_CLIENT_PRIVATE_H

#include "router/http/client.h"

#define HW_CALL_MAX_RESPONSE (64ull << 20) /* max_response_bytes 0 */
#define HW_CALL_CONNECT_MS 2000            /* connect_ms 0 */
#define HW_CALL_FIRST_BYTE_MS 60000
#define HW_CALL_IDLE_MS 30000

struct hw_call_driver {
    void (*cancel)(struct hw_call *call);
    void (*pause)(struct hw_call *call);
    void (*resume)(struct hw_call *call);
};

/* The first member of either client's own call. */
struct hw_call {
    const struct hw_call_driver *driver;
    struct hw_call_events events;
    void *ctx;
    bool paused;
    uint32_t connect_ms, first_byte_ms, idle_ms;
    uint64_t max_response_bytes;
};

/* Fills *call from the request, with defaults for what it leaves 0. */
void hw_call_init(struct hw_call *call, const struct hw_call_driver *driver,
                  const struct hw_call_request *request, const struct hw_call_events *events,
                  void *ctx);
/* Refuses a method, path, host or field that would break out of the head it is written into. */
int hw_call_request_check(const struct hw_call_request *request, struct hw_err *err);
/* Host, Content-Length, Connection and the like are the client's own: a caller's are left out. */
bool hw_call_field_is_ours(const char *name);
/* Does the segment point into the request's body, whose reference keeps it alive? */
bool hw_call_segment_is_kept(const struct hw_call_request *request,
                             const struct hw_call_segment *segment);

struct hw_plain;
struct hw_plain *hw_plain_create(uv_loop_t *loop);
void hw_plain_close(struct hw_plain *plain, void (*closed_cb)(void *ctx), void *ctx);
int hw_plain_send(struct hw_plain *plain, const struct hw_call_request *request,
                  const struct hw_call_events *events, void *ctx, struct hw_call **out,
                  struct hw_err *err);

struct hw_curl;
struct hw_curl *hw_curl_create(uv_loop_t *loop);
void hw_curl_close(struct hw_curl *curl, void (*closed_cb)(void *ctx), void *ctx);
int hw_curl_send(struct hw_curl *curl, const struct hw_call_request *request,
                 const struct hw_call_events *events, void *ctx, struct hw_call **out,
                 struct hw_err *err);

#endif
