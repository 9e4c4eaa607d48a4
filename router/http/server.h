/* router/http/server.h - HTTP/1.1 for agents: one server a loop.
 *
 * Takes connections, reads whole requests (Content-Length or chunked, Expect: 100-continue,
 * keep-alive, pipelining: one request of a connection is answered at a time) and hands each to
 * on_request as a stream. Malformed or oversized requests never reach the handler: the server asks
 * on_error for a body in the shape of the path's dialect and answers 400, 408, 411, 413, 414, 417,
 * 431, 501 or 505 itself.
 *
 *   stream:   on_request -> [respond] or [start, write..., finish] -> gone
 *
 * While a stream is open the connection is still read (into a bounded buffer), because a stopped
 * libuv read reports no FIN: on_gone fires once when the agent left before the answer was complete.
 * After finish / respond / abort / on_gone the stream must not be touched. */
#ifndef HW_ROUTER_HTTP_SERVER_H
#define HW_ROUTER_HTTP_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "hatchway/buf.h"
#include "hatchway/err.h"
#include "router/http/body.h"
#include "router/http/head.h"

struct hw_http_server;
struct hw_http_stream;

enum hw_http_method {
    HW_HTTP_GET,
    HW_HTTP_HEAD,
    HW_HTTP_POST,
    HW_HTTP_DELETE,
    HW_HTTP_OPTIONS,
    HW_HTTP_OTHER
};

struct hw_http_limits {
    uint64_t body;
    uint32_t header_bytes;
    uint32_t headers;
    uint32_t connections; /* of this server */
    uint32_t header_timeout_ms, body_timeout_ms, keepalive_ms;
    uint32_t write_timeout_ms; /* an agent that takes nothing for this long is cut off */
};

struct hw_http_request {
    enum hw_http_method method;
    struct hw_http_slice path;  /* before '?', as sent; never empty; only origin-form is accepted */
    struct hw_http_slice query; /* behind '?' */
    struct hw_http_head head;
    struct hw_body *body; /* NULL: none was sent. The stream's reference; take one to keep it */
    bool peer_is_loopback;
    char peer[48];        /* address, for the access log */
    uint64_t received_ns; /* uv_hrtime when the first byte of it came */
};

struct hw_http_handler {
    void *ctx;
    void (*on_request)(void *ctx, struct hw_http_stream *stream);
    /* Fills body (and *content_type) for an error that the server itself answers. path may be
     * empty. */
    void (*on_error)(void *ctx, int status, const char *what, struct hw_http_slice path,
                     struct hw_buf *body, const char **content_type);
};

/* ctx and hooks of a stream's owner. on_drain: what was written has gone out, write on. */
struct hw_http_watcher {
    void *ctx;
    void (*on_gone)(void *ctx);
    void (*on_drain)(void *ctx);
};

/* Fails when somebody listens there already: SO_REUSEPORT would let two gateways share a port, and
 * each get half of the queries. To be asked before the first server is made. */
int hw_http_server_probe(const char *host, uint16_t port, struct hw_err *err);
/* Listens at once with SO_REUSEPORT (one such server a loop). port 0 takes a free one
 * (hw_http_server_port tells). */
int hw_http_server_create(uv_loop_t *loop, const char *host, uint16_t port,
                          const struct hw_http_limits *limits,
                          const struct hw_http_handler *handler, struct hw_http_server **out,
                          struct hw_err *err);
uint16_t hw_http_server_port(const struct hw_http_server *server);
/* New limits for requests that begin from now on (a reload). */
void hw_http_server_set_limits(struct hw_http_server *server, const struct hw_http_limits *limits);
/* Drain: accepts what is queued (closing a REUSEPORT listener resets its backlog), stops listening,
 * closes idle connections, answers the rest with Connection: close. */
void hw_http_server_drain(struct hw_http_server *server);
/* Closes everything now; closed_cb fires when the loop has let go, and frees the server. */
void hw_http_server_close(struct hw_http_server *server, void (*closed_cb)(void *ctx), void *ctx);
/* What became of connections so far. Ends that agents chose are no part of it, nor are those that
 * stood idle between two requests for too long. */
struct hw_http_server_stats {
    uint64_t accepted;
    uint64_t refused;   /* beyond limits.connections */
    uint64_t timed_out; /* a request that did not arrive in time */
    uint64_t stalled;   /* cut off because the agent took nothing of its answer */
    /* Streams whose first content went to the kernel in the loop turn in which it was marked, and
     * in a later one. */
    uint64_t first_same_turn, first_later_turn;
};
void hw_http_server_stats(const struct hw_http_server *server, struct hw_http_server_stats *stats);
size_t hw_http_server_connections(const struct hw_http_server *server);
/* Requests not yet answered (streams open). */
size_t hw_http_server_active(const struct hw_http_server *server);

const struct hw_http_request *hw_http_stream_request(const struct hw_http_stream *stream);
void hw_http_stream_watch(struct hw_http_stream *stream, const struct hw_http_watcher *watcher);

/* A whole answer with Content-Length; ends the stream. Bytes are copied or written before return.
 * HEAD requests get the head only. */
void hw_http_respond(struct hw_http_stream *stream, int status, const struct hw_http_field *fields,
                     size_t field_count, const void *body, size_t len);
/* A streamed answer (chunked; to an HTTP/1.0 agent: until close). */
void hw_http_start(struct hw_http_stream *stream, int status, const struct hw_http_field *fields,
                   size_t field_count);
/* Sent in the loop turn it was written in. Never fails: a broken connection becomes on_gone, later.
 */
void hw_http_write(struct hw_http_stream *stream, const void *bytes, size_t len);
/* What is written next is the first content: the stats tell when it went out. */
void hw_http_mark_first(struct hw_http_stream *stream);
/* More than the high-water mark (256 KiB) is unsent: stop writing until on_drain. */
bool hw_http_congested(const struct hw_http_stream *stream);
void hw_http_finish(struct hw_http_stream *stream);
/* Cuts the connection (an answer that cannot be completed and has no way to say so). */
void hw_http_abort(struct hw_http_stream *stream);

const char *hw_http_reason(int status);

#endif
