/* router/http/server.c - the listener of one loop, its sweep, its end.
 *
 * The listening socket is polled and accepted from here rather than through uv_listen: libuv spins
 * on accept while descriptors are exhausted, and a drain must be able to empty the backlog before
 * it closes the socket (closing one of several SO_REUSEPORT listeners resets what is queued on it).
 *
 * Deadlines are kept as numbers in the connections and looked at by one timer, a few times within
 * the shortest of them: nothing on the hot path starts or stops a timer. */
#include "router/http/server_private.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "router/log.h"

#define BACKLOG 1024
#define ACCEPTS_PER_TURN 64  /* so that a burst of new connections does not starve the open ones */
#define EXTRA_CONNECTIONS 64 /* told 503 at the same time; beyond that they are just closed */
#define SWEEP_MIN_MS 10
#define SWEEP_MAX_MS 250

void
hw_server_handle_closed(struct hw_http_server *server)
{
    HW_ASSERT(server->open_handles > 0);
    if (--server->open_handles > 0)
        return;
    void (*closed_cb)(void *ctx) = server->closed_cb;
    void *ctx = server->closed_ctx;
    hw_buf_free(&server->scratch);
    free(server);
    if (closed_cb != NULL)
        closed_cb(ctx);
}

static void
on_handle_closed(uv_handle_t *handle)
{
    hw_server_handle_closed(handle->data);
}

void
hw_server_mark_dirty(struct hw_conn *conn)
{
    struct hw_http_server *server = conn->server;
    if (conn->dirty)
        return;
    conn->dirty = true;
    conn->next_dirty = NULL;
    if (server->dirty_last != NULL)
        server->dirty_last->next_dirty = conn;
    else
        server->dirty_first = conn;
    server->dirty_last = conn;
}

static struct hw_conn *
pop_dirty(struct hw_http_server *server)
{
    struct hw_conn *conn = server->dirty_first;
    if (conn == NULL)
        return NULL;
    server->dirty_first = conn->next_dirty;
    if (server->dirty_first == NULL)
        server->dirty_last = NULL;
    conn->dirty = false;
    return conn;
}

static void
on_awake(uv_idle_t *idle)
{
    (void)idle; /* its being active is the point */
}

/* The end of a turn. What a callback in here makes dirty again is left to the next turn, or an
 * agent that reads as fast as we write would hold the loop. */
static void
end_turn(struct hw_http_server *server)
{
    struct hw_conn *last = server->dirty_last, *conn;
    bool is_last = last == NULL;
    while (!is_last && (conn = pop_dirty(server)) != NULL) {
        is_last = conn == last;
        if (conn->state == HW_CONN_CLOSED) {
            hw_conn_release(conn);
        } else {
            hw_conn_flush(conn);
            hw_conn_pump(conn);
        }
    }
    if (server->closing)
        return;
    if (server->dirty_first != NULL)
        uv_idle_start(&server->awake, on_awake);
    else
        uv_idle_stop(&server->awake);
}

/* Both sides of the poll: what timers wrote goes out before it may block. */
static void
on_prepare(uv_prepare_t *prepare)
{
    struct hw_http_server *server = prepare->data;

    end_turn(server);
    server->turn++;
}

static void
on_check(uv_check_t *check)
{
    end_turn(check->data);
}

static void on_connections(uv_poll_t *poll, int status, int events);

static void
on_sweep(uv_timer_t *timer)
{
    struct hw_http_server *server = timer->data;
    uint64_t now_ms = uv_now(server->loop);

    if (server->accept_paused && server->listen_fd >= 0) {
        server->accept_paused = false;
        uv_poll_start(&server->listener, UV_READABLE, on_connections);
    }
    for (struct hw_conn *conn = server->conns; conn != NULL; conn = conn->next) {
        if (conn->state == HW_CONN_CLOSED)
            continue;
        if (hw_conn_write_stalled(conn, now_ms)) {
            server->stats.stalled++;
            hw_conn_close(conn);
        } else if (conn->deadline_ms != 0 && now_ms >= conn->deadline_ms) {
            hw_conn_on_deadline(conn);
        }
    }
    if (!server->closing && server->conns == NULL && !server->accept_paused)
        uv_timer_stop(&server->sweep);
}

static uint64_t
sweep_ms(const struct hw_http_limits *limits)
{
    uint64_t least = limits->header_timeout_ms;
    if (limits->body_timeout_ms < least)
        least = limits->body_timeout_ms;
    if (limits->keepalive_ms < least)
        least = limits->keepalive_ms;
    if (limits->write_timeout_ms < least)
        least = limits->write_timeout_ms;
    least /= 8;
    return least < SWEEP_MIN_MS ? SWEEP_MIN_MS : least > SWEEP_MAX_MS ? SWEEP_MAX_MS : least;
}

static void
start_sweeping(struct hw_http_server *server)
{
    if (uv_is_active((uv_handle_t *)&server->sweep))
        return;
    uint64_t ms = sweep_ms(&server->limits);
    uv_timer_start(&server->sweep, on_sweep, ms, ms);
}

/* One connection off the backlog. False: there is none, or none can be taken now. */
static bool
accept_one(struct hw_http_server *server)
{
    struct sockaddr_storage peer = {0};
    socklen_t len = sizeof(peer);
    int fd =
        accept4(server->listen_fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            hw_log(HW_LOG_WARN, "cannot accept connections: %s", strerror(errno));
            server->accept_paused = true;
            uv_poll_stop(&server->listener);
            start_sweeping(server);
        }
        return errno == ECONNABORTED || errno == EINTR || errno == EPROTO;
    }
    server->stats.accepted++;
    bool extra = server->conn_count - server->extra_count >= server->limits.connections;
    server->stats.refused += extra;
    if (extra && server->extra_count >= EXTRA_CONNECTIONS) {
        close(fd);
        return true;
    }
    start_sweeping(server);
    hw_conn_accept(server, fd, (const struct sockaddr *)&peer, extra);
    return true;
}

static void
on_connections(uv_poll_t *poll, int status, int events)
{
    struct hw_http_server *server = poll->data;
    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN && server->listen_fd >= 0; i++)
        if (!accept_one(server))
            return;
}

static void
stop_listening(struct hw_http_server *server)
{
    if (server->listen_fd < 0)
        return;
    uv_close((uv_handle_t *)&server->listener, on_handle_closed);
    close(server->listen_fd);
    server->listen_fd = -1;
}

static int
set_option(int fd, int level, int option)
{
    int on = 1;
    return setsockopt(fd, level, option, &on, sizeof(on));
}

/* Accepted sockets inherit TCP_NODELAY from the listening one. */
static int
open_listener(const struct addrinfo *info)
{
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (set_option(fd, SOL_SOCKET, SO_REUSEADDR) != 0 ||
        set_option(fd, SOL_SOCKET, SO_REUSEPORT) != 0 ||
        set_option(fd, IPPROTO_TCP, TCP_NODELAY) != 0 ||
        bind(fd, info->ai_addr, info->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

static int
look_up(const char *host, uint16_t port, struct addrinfo **out, struct hw_err *err)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    char service[8];

    snprintf(service, sizeof(service), "%u", (unsigned)port);
    int rc = getaddrinfo(host, service, &hints, out);
    if (rc != 0)
        return hw_err_set(err, HW_EINVAL, "cannot listen on %s: %s", host, gai_strerror(rc));
    return 0;
}

int
hw_http_server_probe(const char *host, uint16_t port, struct hw_err *err)
{
    struct addrinfo *info;
    int rc = look_up(host, port, &info, err);
    if (rc != 0)
        return rc;
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || set_option(fd, SOL_SOCKET, SO_REUSEADDR) != 0 ||
        bind(fd, info->ai_addr, info->ai_addrlen) != 0)
        rc = hw_err_set(err, HW_EIO, "cannot listen on %s port %u: %s", host, (unsigned)port,
                        strerror(errno));
    if (fd >= 0)
        close(fd);
    freeaddrinfo(info);
    return rc;
}

static int
listen_on(const char *host, uint16_t port, int *out, uint16_t *out_port, struct hw_err *err)
{
    struct addrinfo *info;
    int rc = look_up(host, port, &info, err);
    if (rc != 0)
        return rc;
    int fd = open_listener(info);
    freeaddrinfo(info);
    if (fd < 0)
        return hw_err_set(err, HW_EIO, "cannot listen on %s port %u: %s", host, (unsigned)port,
                          strerror(errno));

    struct sockaddr_storage bound;
    socklen_t len = sizeof(bound);
    if (getsockname(fd, (struct sockaddr *)&bound, &len) != 0) {
        close(fd);
        return hw_err_set(err, HW_EIO, "getsockname: %s", strerror(errno));
    }
    *out_port =
        ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)(void *)&bound)->sin6_port
                                          : ((struct sockaddr_in *)(void *)&bound)->sin_port);
    *out = fd;
    return 0;
}

int
hw_http_server_create(uv_loop_t *loop, const char *host, uint16_t port,
                      const struct hw_http_limits *limits, const struct hw_http_handler *handler,
                      struct hw_http_server **out, struct hw_err *err)
{
    int fd = -1;
    uint16_t bound_port = 0;
    int rc = listen_on(host, port, &fd, &bound_port, err);
    if (rc != 0)
        return rc;

    struct hw_http_server *server = hw_xcalloc(1, sizeof(*server));
    rc = uv_poll_init(loop, &server->listener, fd);
    if (rc != 0) {
        close(fd);
        free(server);
        return hw_err_set(err, HW_EIO, "cannot poll the listening socket: %s", uv_strerror(rc));
    }
    server->loop = loop;
    server->listen_fd = fd;
    server->port = bound_port;
    server->limits = *limits;
    server->handler = *handler;
    server->date_second = -1;
    hw_buf_init(&server->scratch, HW_OUT_MAX_BYTES);
    uv_timer_init(loop, &server->sweep);
    uv_prepare_init(loop, &server->prepare);
    uv_check_init(loop, &server->check);
    uv_idle_init(loop, &server->awake);
    server->listener.data = server->sweep.data = server->prepare.data = server->check.data =
        server->awake.data = server;
    server->open_handles = 5;
    uv_prepare_start(&server->prepare, on_prepare);
    uv_check_start(&server->check, on_check);
    uv_unref((uv_handle_t *)&server->prepare);
    uv_unref((uv_handle_t *)&server->check);
    uv_poll_start(&server->listener, UV_READABLE, on_connections);
    *out = server;
    return 0;
}

uint16_t
hw_http_server_port(const struct hw_http_server *server)
{
    return server->port;
}

void
hw_http_server_set_limits(struct hw_http_server *server, const struct hw_http_limits *limits)
{
    server->limits = *limits;
    if (!server->closing && uv_is_active((uv_handle_t *)&server->sweep)) {
        uv_timer_stop(&server->sweep);
        start_sweeping(server);
    }
}

void
hw_http_server_drain(struct hw_http_server *server)
{
    if (server->draining || server->closing)
        return;
    server->draining = true;
    while (accept_one(server))
        ;
    stop_listening(server);
    for (struct hw_conn *conn = server->conns; conn != NULL; conn = conn->next)
        hw_server_mark_dirty(conn); /* the end of the turn closes those that are idle */
}

/* Streams whose owners have no on_gone end here: there is nothing left that could tell them. */
static void
close_conns(struct hw_http_server *server)
{
    for (struct hw_conn *conn = server->conns; conn != NULL; conn = conn->next) {
        hw_conn_close(conn);
        if (conn->stream.open)
            hw_conn_end_stream(conn);
    }
    for (struct hw_conn *conn; (conn = pop_dirty(server)) != NULL;)
        hw_conn_release(conn);
}

void
hw_http_server_close(struct hw_http_server *server, void (*closed_cb)(void *ctx), void *ctx)
{
    HW_ASSERT(!server->closing);
    server->closing = true;
    server->closed_cb = closed_cb;
    server->closed_ctx = ctx;
    stop_listening(server);
    close_conns(server);
    uv_close((uv_handle_t *)&server->sweep, on_handle_closed);
    uv_close((uv_handle_t *)&server->prepare, on_handle_closed);
    uv_close((uv_handle_t *)&server->check, on_handle_closed);
    uv_close((uv_handle_t *)&server->awake, on_handle_closed);
}

void
hw_http_server_stats(const struct hw_http_server *server, struct hw_http_server_stats *stats)
{
    *stats = server->stats;
}

size_t
hw_http_server_connections(const struct hw_http_server *server)
{
    return server->conn_count;
}

size_t
hw_http_server_active(const struct hw_http_server *server)
{
    return server->active;
}
