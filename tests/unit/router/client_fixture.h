/* client_fixture.h - a scripted peer in a thread, and a call whose events are written down. */
#ifndef HW_TEST_CLIENT_FIXTURE_H
#define HW_TEST_CLIENT_FIXTURE_H

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "hatchway/buf.h"
#include "router/http/client.h"

/* Plays the peer of one connection; nth counts from 0. The descriptor is closed behind it. */
struct peer;
typedef void peer_script(struct peer *peer, int fd, int nth);

struct peer {
    int listener;
    uint16_t port;
    pthread_t thread;
    peer_script *script;
    _Atomic int accepted;
    _Atomic int saw_end_ms; /* how long wait_for_end had to wait */
    struct hw_buf seen;     /* for scripts: what came; read it after peer_stop */
    size_t size;            /* for scripts */
};

static inline void *
peer_run(void *arg)
{
    struct peer *peer = arg;

    for (;;) {
        int fd = accept(peer->listener, NULL, NULL);
        if (fd < 0)
            return NULL;
        peer->script(peer, fd, peer->accepted++);
        close(fd);
    }
}

static inline void
peer_start(struct peer *peer, peer_script *script)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address);

    peer->script = script;
    hw_buf_init(&peer->seen, 64 << 20);
    peer->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(peer->listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(peer->listener, 64), 0);
    getsockname(peer->listener, (struct sockaddr *)&address, &len);
    peer->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&peer->thread, NULL, peer_run, peer), 0);
}

static inline void
peer_stop(struct peer *peer)
{
    shutdown(peer->listener, SHUT_RDWR);
    pthread_join(peer->thread, NULL);
    close(peer->listener);
}

/* Reads one request into peer->seen (its head, and a body by Content-Length). False: none came. */
static inline int
peer_read_request(struct peer *peer, int fd)
{
    size_t from = peer->seen.len;

    for (;;) {
        char *head = peer->seen.data != NULL ? peer->seen.data + from : NULL;
        char *end = head != NULL ? strstr(head, "\r\n\r\n") : NULL;
        if (end != NULL) {
            char *length = strstr(head, "Content-Length: ");
            size_t body = length != NULL && length < end ? strtoul(length + 16, NULL, 10) : 0;
            size_t have = peer->seen.len - (size_t)(end + 4 - peer->seen.data);
            if (have >= body)
                return 1;
        }
        char bytes[65536];
        ssize_t n = read(fd, bytes, sizeof(bytes));
        if (n <= 0)
            return 0;
        hw_buf_append(&peer->seen, bytes, (size_t)n);
    }
}

static inline void
peer_say(int fd, const char *text)
{
    size_t len = strlen(text), at = 0;

    while (at < len) {
        ssize_t n = send(fd, text + at, len - at, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        at += (size_t)n;
    }
}

/* Waits for the client to leave; notes how long that took. */
static inline void
peer_wait_for_end(struct peer *peer, int fd)
{
    uint64_t begin = uv_hrtime();
    char byte;

    while (read(fd, &byte, 1) > 0)
        ;
    peer->saw_end_ms = (int)((uv_hrtime() - begin) / 1000000) + 1;
}

/* --- the call -------------------------------------------------------------------------------- */

struct seen_call {
    uv_loop_t *loop;
    struct hw_call *call;
    int heads, dones, errors;
    int status;
    char type[64]; /* content-type */
    struct hw_buf body;
    enum hw_call_failure failure;
    struct hw_err err;
    void (*on_body_hook)(struct seen_call *seen);
    void (*on_done_hook)(struct seen_call *seen);
    struct hw_client *client;
};

static inline void
seen_head(void *ctx, int status, const struct hw_http_head *head)
{
    struct seen_call *seen = ctx;
    const struct hw_http_slice *type = hw_http_head_find(head, "content-type");

    seen->heads++;
    seen->status = status;
    if (type != NULL)
        snprintf(seen->type, sizeof(seen->type), "%.*s", (int)type->len, type->p);
}

static inline void
seen_body(void *ctx, const char *bytes, size_t len)
{
    struct seen_call *seen = ctx;

    assert_int_equal(seen->dones + seen->errors, 0);
    assert_int_equal(hw_buf_append(&seen->body, bytes, len), 0);
    if (seen->on_body_hook != NULL)
        seen->on_body_hook(seen);
}

static inline void
seen_done(void *ctx)
{
    struct seen_call *seen = ctx;

    seen->dones++;
    seen->call = NULL;
    if (seen->on_done_hook != NULL)
        seen->on_done_hook(seen);
}

static inline void
seen_error(void *ctx, enum hw_call_failure failure, const struct hw_err *err)
{
    struct seen_call *seen = ctx;

    seen->errors++;
    seen->call = NULL;
    seen->failure = failure;
    seen->err = *err;
    print_message("failure %d: %s\n", (int)failure, err->msg); /* shown beside a failed test */
}

static const struct hw_call_events seen_events = {seen_head, seen_body, seen_done, seen_error};

static inline void
seen_init(struct seen_call *seen, uv_loop_t *loop, struct hw_client *client)
{
    *seen = (struct seen_call){.loop = loop, .client = client};
    hw_buf_init(&seen->body, 256 << 20);
}

static inline void
seen_send(struct seen_call *seen, const struct hw_call_request *request)
{
    struct hw_err err = {""};

    if (hw_client_send(seen->client, request, &seen_events, seen, &seen->call, &err) != 0)
        fail_msg("send: %s", err.msg);
    assert_int_equal(seen->heads + seen->dones + seen->errors, 0);
}

static inline void
seen_wait(struct seen_call *seen)
{
    while (seen->dones + seen->errors == 0)
        uv_run(seen->loop, UV_RUN_ONCE);
    assert_int_equal(seen->dones + seen->errors, 1);
}

static inline void
on_sleep_over(uv_timer_t *timer)
{
    *(int *)timer->data = 1;
}

static inline void
run_for(uv_loop_t *loop, uint64_t ms)
{
    int over = 0;
    uv_timer_t timer;

    uv_timer_init(loop, &timer);
    timer.data = &over;
    uv_timer_start(&timer, on_sleep_over, ms, 0);
    while (!over)
        uv_run(loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(loop, UV_RUN_NOWAIT);
}

static inline void
on_client_closed(void *ctx)
{
    *(int *)ctx = 1;
}

static inline void
client_close(struct hw_client *client, uv_loop_t *loop)
{
    int closed = 0;

    hw_client_close(client, on_client_closed, &closed);
    assert_int_equal(closed, 0);
    while (!closed)
        uv_run(loop, UV_RUN_ONCE);
    uv_run(loop, UV_RUN_DEFAULT);
}

#endif
