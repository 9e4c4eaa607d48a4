/* router/http/client_plain.h - the own client for plain http: calls, connections, origins.
 *
 *   hw_plain          one a loop
 *     origin          one a host and port: its idle connections, last in, first out
 *       connection    a TCP connection; has at most one call at a time
 *   call              one request and its answer; always has a connection, be it one still to open
 *
 * A connection's states:
 *
 *   RESOLVING -> CONNECTING -> BUSY <-> IDLE
 *        |        ^  |          |        |
 *        |        |  v          |        |
 *        |     NEXT_ADDRESS     |        |
 *        +---------+--+---------+--------+--> CLOSING -> (kept for reuse, or freed)
 *
 * FAILED is a connection whose call is to hear of its failure in the next loop turn, because a call
 * never fails from within hw_client_send. */
#ifndef HW_ROUTER_HTTP_CLIENT_PLAIN_H
#define HW_ROUTER_HTTP_CLIENT_PLAIN_H

#include "hatchway/buf.h"
#include "router/http/client_answer.h"
#include "router/http/client_private.h"
#include "router/http/client_resolve.h"

#define HW_PLAIN_IDLE_MS 30000u
#define HW_PLAIN_MAX_IDLE 64u   /* of one origin */
#define HW_PLAIN_MAX_SPARE 128u /* connection and call objects kept for reuse */
#define HW_PLAIN_READ_BYTES 65536u
#define HW_PLAIN_NEVER UINT64_MAX

enum hw_plain_state {
    HW_PLAIN_RESOLVING,
    HW_PLAIN_CONNECTING,
    HW_PLAIN_NEXT_ADDRESS, /* the handle of a failed attempt is being closed */
    HW_PLAIN_FAILED,
    HW_PLAIN_BUSY,
    HW_PLAIN_IDLE,
    HW_PLAIN_CLOSING,
};

struct hw_plain_call {
    struct hw_call base; /* first: a struct hw_call * is one of these */
    struct hw_plain *plain;
    struct hw_plain_conn *conn;
    struct hw_plain_call *next_spare;
    struct hw_buf head; /* request line, fields, and copies of segments outside the body */
    uv_buf_t parts[1 + HW_CALL_MAX_SEGMENTS];
    unsigned part_count;
    struct hw_body *body;
    bool head_request;
    bool retried; /* a second stale connection is a failure */
};

struct hw_plain_conn {
    struct hw_plain *plain;
    struct hw_plain_origin *origin;
    struct hw_plain_call *call; /* NULL: idle, or the call ended or left */
    enum hw_plain_state state;
    bool reused;    /* has answered a call before this one */
    bool got_bytes; /* of this answer */
    bool tcp_open;
    bool writing; /* write_req is out */
    bool stopped; /* the answer was stopped by a pause: feed it before reading on */
    bool resuming;
    struct hw_plain_conn *prev, *next;             /* all that are not spare */
    struct hw_plain_conn *newer_idle, *older_idle; /* of the origin */
    uv_tcp_t tcp;
    uv_timer_t timer; /* lives as long as the object; due at armed_ms */
    uint64_t armed_ms, deadline_ms;
    uint64_t connect_deadline_ms;
    uv_connect_t connect_req;
    uv_write_t write_req;
    struct hw_resolve_waiter waiter;
    struct hw_addresses addresses;
    size_t next_address;
    struct hw_client_answer answer;
    struct hw_buf held;           /* read, but not yet wanted by a paused call */
    enum hw_call_failure failure; /* of FAILED */
    struct hw_err error;
};

struct hw_plain_origin {
    struct hw_plain_origin *next;
    char *host;
    uint16_t port;
    char *host_line; /* "Host: ...\r\n" */
    size_t host_line_len;
    struct hw_plain_conn *newest_idle, *oldest_idle;
    size_t idle_count;
    size_t refs; /* its connections, and whoever is about to make one */
};

struct hw_plain {
    uv_loop_t *loop;
    struct hw_resolver *resolver;
    struct hw_plain_origin *origins;
    struct hw_plain_conn *conns;       /* not spare */
    struct hw_plain_conn *spare_conns; /* linked by next */
    struct hw_plain_call *spare_calls;
    size_t spare_conn_count, spare_call_count;
    size_t object_count; /* connection objects, spare or not: what a close waits for */
    bool closing, resolver_closed;
    void (*pool_closed_cb)(struct hw_plain *plain);
    void (*closed_cb)(void *ctx);
    void *closed_ctx;
    char read_buf[HW_PLAIN_READ_BYTES]; /* of whichever connection is being read */
};

/* client_pool.c: objects and origins. */
struct hw_plain_origin *hw_plain_origin_get(struct hw_plain *plain, const char *host,
                                            uint16_t port); /* with a reference */
void hw_plain_origin_put(struct hw_plain *plain, struct hw_plain_origin *origin);
struct hw_plain_conn *hw_plain_conn_new(struct hw_plain *plain, struct hw_plain_origin *origin);
struct hw_plain_conn *hw_plain_conn_take_idle(struct hw_plain_origin *origin);
void hw_plain_conn_make_idle(struct hw_plain_conn *conn);
/* Closes the socket in this turn. The object goes when the loop has let go. */
void hw_plain_conn_close(struct hw_plain_conn *conn);
void hw_plain_conn_recycle(struct hw_plain_conn *conn); /* its handle is closed */
/* Calls are dropped unheard; closed_cb fires each time that an object is gone. */
void hw_plain_pool_close(struct hw_plain *plain, void (*closed_cb)(struct hw_plain *plain));

/* client_connect.c: finds an address that answers, then sends. */
void hw_plain_conn_open(struct hw_plain_conn *conn, struct hw_plain_call *call);
void hw_plain_conn_attempt_failed(struct hw_plain_conn *conn, const char *what);
void hw_plain_conn_on_tcp_closed(uv_handle_t *handle);

/* client_conn.c: a connection with a call. */
void hw_plain_conn_send(struct hw_plain_conn *conn, struct hw_plain_call *call);
void hw_plain_conn_pause(struct hw_plain_conn *conn);
void hw_plain_conn_resume(struct hw_plain_conn *conn);
void hw_plain_conn_arm(struct hw_plain_conn *conn, uint64_t deadline_ms);
void hw_plain_conn_on_timer(uv_timer_t *timer);
/* For failures met within hw_client_send: the call hears of it in the next turn. */
void hw_plain_conn_fail_soon(struct hw_plain_conn *conn, enum hw_call_failure failure,
                             const char *fmt, ...) __attribute__((format(printf, 3, 4)));
extern const struct hw_client_answer_events hw_plain_conn_answer_events;

/* client_plain.c: a call leaves its connection and its object is spare again. */
void hw_plain_call_release(struct hw_plain_call *call);

#endif
