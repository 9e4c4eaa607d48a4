/* router/http/server_private.h - what the files of the server share; nobody else includes it.
 *
 * server.c         the listener, the sweep of deadlines, drain and close
 * server_conn.c    one connection: reading, the queue of pipelined bytes, what follows an answer
 * server_out.c     bytes on their way to the agent
 * server_answer.c  the handler's side: respond, start, write, finish, abort; and our own errors
 * server_head.c    the text of a response head
 *
 * A connection's life (one setter, hw_conn_set_state):
 *
 *   READING --request complete--> STREAM --answered--> FLUSHING --all sent--> READING
 *      |                            |                     |
 *      '--refused--> FLUSHING       '--agent left--.      '--> LINGER --> CLOSED
 *                                                  '---------------------> CLOSED
 *
 * CLOSED is legal from everywhere. Handles are embedded; memory goes when the handle is closed AND
 * the stream has been ended by its owner AND nothing queued the connection (hw_conn_release). */
#ifndef HW_ROUTER_HTTP_SERVER_PRIVATE_H
#define HW_ROUTER_HTTP_SERVER_PRIVATE_H

#include "hatchway/assert.h"
#include "router/http/request.h"
#include "router/http/server.h"

#define HW_READ_BYTES ((size_t)64 * 1024)
#define HW_PENDING_MAX_BYTES ((size_t)64 * 1024)
#define HW_HIGH_WATER_BYTES ((size_t)256 * 1024)
#define HW_LOW_WATER_BYTES ((size_t)64 * 1024)
#define HW_STREAM_UNSENT_MAX_BYTES ((size_t)16 * 1024 * 1024)
#define HW_OUT_MAX_BYTES ((size_t)256 * 1024 * 1024)
#define HW_OUT_KEPT_BYTES ((size_t)16 * 1024)
#define HW_LINGER_MS 2000
#define HW_LINGER_MAX_BYTES ((size_t)16 * 1024 * 1024)

enum hw_conn_state {
    HW_CONN_READING,
    HW_CONN_STREAM,
    HW_CONN_FLUSHING,
    HW_CONN_LINGER,
    HW_CONN_CLOSED
};

struct hw_http_stream {
    bool open; /* its owner has not ended it */
    bool started;
    bool chunked;
    bool bodiless; /* HEAD, 204, 304: what is written is thrown away */
    bool congested;
    bool first_waits;    /* its first content has not gone out yet, */
    uint64_t first_turn; /* which was written in this turn */
    struct hw_http_watcher watcher;
};

struct hw_conn {
    uv_tcp_t tcp;
    uv_write_t write_req;
    struct hw_http_server *server;
    struct hw_conn *prev, *next;
    struct hw_conn *next_dirty;
    enum hw_conn_state state;
    bool handle_open;
    bool reading;
    bool dirty;   /* in the server's list: flush and pump at the end of this turn */
    bool running; /* requests are being taken from it further up the stack */
    bool served;  /* a request was answered on it: idle means keep-alive */
    bool extra;   /* beyond the limit of connections: only told so */
    bool keep_alive;
    bool linger; /* the agent may still be sending: read on after our FIN */
    bool broken; /* close at the end of this turn */
    bool in_flight;
    uint64_t deadline_ms;       /* of the state; 0: none */
    uint64_t write_deadline_ms; /* while in_flight */
    size_t write_queue_seen;
    uint64_t body_mark_bytes;
    size_t linger_left_bytes;
    struct hw_buf pending; /* read behind the current request */
    struct hw_buf out;     /* to be written at the end of the turn */
    struct hw_buf flight;  /* libuv has it */
    struct hw_request_reader reader;
    struct hw_http_stream stream;
};

struct hw_http_server {
    uv_loop_t *loop;
    uv_poll_t listener;
    uv_timer_t sweep;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t awake;     /* active while dirty connections are left over: the poll must not block */
    size_t open_handles; /* ours and the connections' */
    int listen_fd;       /* -1: no longer listening */
    uint16_t port;
    bool accept_paused; /* out of descriptors: the sweep tries again */
    bool draining, closing;
    void (*closed_cb)(void *ctx);
    void *closed_ctx;

    struct hw_http_limits limits;
    struct hw_http_handler handler;
    struct hw_conn *conns;
    size_t conn_count, extra_count, active;
    struct hw_http_server_stats stats;
    struct hw_conn *dirty_first, *dirty_last;
    uint64_t turn; /* of the loop, from poll to poll */

    int64_t date_second;
    char date[80];         /* "Sun, 06 Nov 1994 08:49:37 GMT" */
    struct hw_buf scratch; /* one head and a small body, on their way to one write */
    char read_buf[HW_READ_BYTES];
};

static inline struct hw_conn *
hw_conn_of(const struct hw_http_stream *stream)
{
    return (struct hw_conn *)((uintptr_t)stream - offsetof(struct hw_conn, stream));
}

static inline size_t
hw_conn_unsent(const struct hw_conn *conn)
{
    return conn->out.len + (conn->in_flight ? conn->flight.len : 0);
}

/* server.c */
void hw_server_handle_closed(struct hw_http_server *server);
void hw_server_mark_dirty(struct hw_conn *conn);

/* server_conn.c */
void hw_conn_accept(struct hw_http_server *server, int fd, const struct sockaddr *peer, bool extra);
void hw_conn_set_state(struct hw_conn *conn, enum hw_conn_state state);
/* Takes requests from the pending bytes until one is left open. */
void hw_conn_pump(struct hw_conn *conn);
/* The answer's bytes are all out (or never will be): what comes next on this connection? */
void hw_conn_after_answer(struct hw_conn *conn);
void hw_conn_on_deadline(struct hw_conn *conn);
/* Closes the socket; an open stream's owner hears on_gone. */
void hw_conn_close(struct hw_conn *conn);
void hw_conn_reset(struct hw_conn *conn); /* the same by RST, what is unsent is lost */
/* Frees it if nobody holds it any more. Called by the loop and at the end of a turn only, so that
 * a walk over the connections may call anything else. */
void hw_conn_release(struct hw_conn *conn);
/* The stream's owner is done with it. */
void hw_conn_end_stream(struct hw_conn *conn);

/* server_out.c */
/* Queues bytes behind what is queued; on failure the connection is marked broken. */
void hw_conn_queue(struct hw_conn *conn, const void *bytes, size_t len);
/* Writes what is queued as far as the kernel takes it; may close the connection. */
void hw_conn_flush(struct hw_conn *conn);
/* Both parts in order and at once, around the queue when it is empty. */
void hw_conn_send(struct hw_conn *conn, const char *head, size_t head_len, const char *body,
                  size_t body_len);
/* Whether the agent has taken anything since it was last asked (once a sweep). */
bool hw_conn_write_stalled(struct hw_conn *conn, uint64_t now_ms);

/* server_answer.c */
void hw_conn_refuse(struct hw_conn *conn, int status, const char *what);

/* server_head.c */
enum hw_framing { HW_FRAMING_NONE, HW_FRAMING_LENGTH, HW_FRAMING_CHUNKED, HW_FRAMING_CLOSE };
void hw_server_write_head(struct hw_conn *conn, struct hw_buf *out, int status,
                          const struct hw_http_field *fields, size_t field_count,
                          enum hw_framing framing, size_t length);

#endif
