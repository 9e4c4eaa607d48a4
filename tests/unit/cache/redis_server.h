/* A real redis-server for the tests, and a loop to wait in. */
#ifndef HW_TESTS_REDIS_SERVER_H
#define HW_TESTS_REDIS_SERVER_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

struct redis_server {
    uint16_t port;
    pid_t pid;
};

static inline uint16_t
free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) != 0)
        abort();
    close(fd);
    return ntohs(address.sin_port);
}

static inline bool
redis_server_installed(void)
{
    return system("command -v redis-server >/dev/null 2>&1") == 0;
}

/* Returns at once; the store under test is to find out when it is there. */
static inline void
redis_server_start(struct redis_server *server, const char *password)
{
    char port[8];

    snprintf(port, sizeof(port), "%u", server->port);
    server->pid = fork();
    if (server->pid != 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int null = open("/dev/null", O_RDWR);
    dup2(null, 1);
    dup2(null, 2);
    execlp("redis-server", "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "",
           "--appendonly", "no", "--dir", "/tmp", "--requirepass", password != NULL ? password : "",
           (char *)NULL);
    _exit(127);
}

static inline void
redis_server_kill(struct redis_server *server)
{
    if (server->pid <= 0)
        return;
    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
    server->pid = 0;
}

/* Says something to it behind the store's back; returns the first line's first byte. */
static inline char
redis_server_tell(const struct redis_server *server, const void *bytes, size_t len)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(server->port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    char reply = 0;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
        write(fd, bytes, len) == (ssize_t)len && read(fd, &reply, 1) != 1)
        reply = 0;
    close(fd);
    return reply;
}

static inline uint64_t
wall_clock_ms(void)
{
    uv_timeval64_t now;

    uv_gettimeofday(&now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_usec / 1000;
}

static inline void
on_tick(uv_timer_t *timer)
{
    (void)timer;
}

/* Runs the loop until `done` says so; false after max_ms. */
static inline bool
run_until(uv_loop_t *loop, bool (*done)(void *), void *ctx, uint64_t max_ms)
{
    uint64_t end = uv_hrtime() + max_ms * 1000000;
    uv_timer_t tick;

    uv_timer_init(loop, &tick);
    uv_timer_start(&tick, on_tick, 1, 1);
    bool reached = done(ctx);
    while (!reached && uv_hrtime() < end) {
        uv_run(loop, UV_RUN_ONCE);
        reached = done(ctx);
    }
    uv_close((uv_handle_t *)&tick, NULL);
    uv_run(loop, UV_RUN_NOWAIT);
    return reached;
}

#endif
