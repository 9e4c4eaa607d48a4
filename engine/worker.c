/* engine/worker.c - start, the loop, the end.
 *
 * A plain poll: there are as many sockets as the gateway has loops. While there is work it does not
 * wait; otherwise it sleeps until a socket, a signal, or the next report. */
#include "engine/worker.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "engine/turns.h"
#include "engine/worker_parts.h"

#define BENCHMARK_US 60000u /* for each of the two rates */
#define REPORT_US 1000000u

static volatile sig_atomic_t terminated;

uint64_t
worker_now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

/* One JSON line on stderr, which the gateway passes on. */
void
worker_log(const struct worker *w, const char *level, const char *fmt, ...)
{
    char msg[768];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(msg, sizeof(msg), fmt, ap);
    va_end(ap);
    cJSON *line = cJSON_CreateObject();
    cJSON_AddStringToObject(line, "level", level);
    cJSON_AddStringToObject(line, "msg", msg);
    cJSON_AddStringToObject(line, "worker", w->model != NULL ? w->model->name : "");
    cJSON_AddNumberToObject(line, "pid", (double)getpid());
    char *text = cJSON_PrintUnformatted(line);
    if (text != NULL)
        fprintf(stderr, "%s\n", text);
    cJSON_free(text);
    cJSON_Delete(line);
}

static void
on_terminate(int signal_number)
{
    (void)signal_number;
    terminated = 1;
}

/* SIGTERM is let in only while we poll, so none is missed between a look and a sleep. SIGINT and
 * SIGHUP reach a terminal's whole process group, while the gateway still wants its workers to
 * drain: they are the gateway's to heed. */
static void
set_signals(void)
{
    struct sigaction terminate = {.sa_handler = on_terminate};
    sigset_t blocked;

    prctl(PR_SET_PDEATHSIG, SIGTERM); /* never outlive the gateway */
    sigaction(SIGTERM, &terminate, NULL);
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
}

/* Runs for a while as serving will, `count` tokens at a time: bytes a second. */
static float
measure(struct hw_bdh_session *session, size_t count, float *logits)
{
    uint64_t start = worker_now_us(), now = start;
    uint32_t tokens[WORKER_UNIT_PREFILL], taken = 0;

    while (now - start < BENCHMARK_US) {
        for (size_t i = 0; i < count; i++)
            tokens[i] = 'a' + taken++ % 26;
        hw_bdh_session_feed(session, tokens, count, logits);
        now = worker_now_us();
    }
    return (float)((double)taken * 1e6 / (double)(now - start));
}

/* The digest stands in the keys of kept answers: fast ones are others, and change with what fast
 * rounds. */
static void
name_answers(struct worker *w)
{
    static const char rounded[] = "fast, its state in bytes";
    uint8_t named[sizeof(w->model->digest) + sizeof(rounded)];

    memcpy(w->hello.digest, w->model->digest, sizeof(w->hello.digest));
    if (!w->conf.fast)
        return;
    memcpy(named, w->model->digest, sizeof(w->model->digest));
    memcpy(named + sizeof(w->model->digest), rounded, sizeof(rounded));
    crypto_generichash(w->hello.digest, sizeof(w->hello.digest), named, sizeof(named), NULL, 0);
}

static int
start_engine(struct worker *w, struct hw_err *err)
{
    int rc = w->conf.model_fd > 0
                 ? hw_bdh_model_load_fd(w->conf.model_fd, w->conf.model_path, &w->model, err)
                 : hw_bdh_model_load(w->conf.model_path, &w->model, err);
    enum hw_bdh_precision precision = w->conf.fast ? HW_BDH_FAST : HW_BDH_F32;
    w->cache_bytes = w->conf.cache_bytes > 0 ? w->conf.cache_bytes : hw_turn_cache_bytes();
    if (rc != 0 || (rc = hw_bdh_engine_create_as(w->model, precision, &w->engine, err)) != 0)
        return rc;
    const struct hw_bdh_config *model = &w->model->conf;
    size_t state_bytes = hw_bdh_engine_state_bytes(w->engine);
    size_t fit = w->conf.memory_bytes / state_bytes;
    uint32_t sessions = w->conf.max_sessions > 0 ? w->conf.max_sessions : 1;
    if (fit < sessions)
        sessions = fit > 0 ? (uint32_t)fit : 1;
    w->spare = calloc(sessions, sizeof(struct spare));
    float *logits = malloc(model->vocab * sizeof(float));
    struct hw_bdh_session *session = NULL;
    if (w->spare == NULL || logits == NULL)
        rc = hw_err_set(err, HW_ENOMEM, "no memory for %u sessions", sessions);
    else
        rc = hw_bdh_session_create(w->engine, &session, err);
    if (rc == 0) {
        w->hello =
            (struct hw_frame_hello){.max_sessions = sessions,
                                    .vocab = model->vocab,
                                    .param_count = hw_bdh_param_count(model),
                                    .decode_bytes_s = measure(session, 1, logits),
                                    .prefill_bytes_s = measure(session, WORKER_UNIT_PREFILL, NULL),
                                    .device = "cpu"};
        name_answers(w);
        memcpy(w->hello.model, w->model->name, sizeof(w->hello.model));
        hw_bdh_session_reset(session); /* what it was measured with is nobody's prompt */
        rc = worker_try(w, session, err);
        hw_bdh_session_reset(session);
        states_add_spare(w, session, 0);
        w->session_count++;
    }
    if (rc == 0 && w->conf.state_cache_bytes > 0) {
        if (w->conf.state_cache_bytes >= state_bytes)
            rc = hw_state_cache_create(w->conf.state_cache_bytes, &w->state_cache, err);
        else
            worker_log(w, "warn",
                       "no states are kept: one takes %zu bytes, the state cache has %zu",
                       state_bytes, w->conf.state_cache_bytes);
    }
    free(logits);
    return rc;
}

static int
listen_on(const char *path, int *out, struct hw_err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat st;

    if (strlen(path) >= sizeof(address.sun_path))
        return hw_err_set(err, HW_EINVAL, "--socket: the path must be under %zu bytes: %s",
                          sizeof(address.sun_path), path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
        unlink(path); /* left by a worker that was killed */
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    mode_t mask = umask(0177); /* 0600 from its first moment */
    bool ok = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
              listen(fd, 64) == 0;
    umask(mask);
    if (!ok) {
        hw_err_set(err, HW_EIO, "%s: cannot listen: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return HW_EIO;
    }
    *out = fd;
    return 0;
}

static void
send_reports(struct worker *w, uint64_t now)
{
    const struct hw_frame_report report = {
        .active = w->active.count,
        .queued = w->queue.count,
        .prompt_tokens = w->prompt_tokens,
        .output_tokens = w->output_tokens,
        .steps = w->steps,
        .kept_prompts = w->kept_prompts,
        .kept_tokens = w->kept_tokens,
        .state_bytes = states_bytes(w),
    };

    if (now < w->report_at_us)
        return;
    w->report_at_us = now + REPORT_US;
    for (struct connection *conn = w->connections; conn != NULL; conn = conn->next)
        if (!conn_is_full(conn))
            hw_frame_put_report(&conn->out, &report);
}

/* Waits for at most wait_ms; then reads what came. fds has room for every connection. */
static void
look_at_sockets(struct worker *w, struct pollfd *fds, int wait_ms)
{
    const struct timespec wait = {.tv_sec = wait_ms / 1000,
                                  .tv_nsec = (long)(wait_ms % 1000) * 1000000L};
    sigset_t none;
    nfds_t count = 0;

    sigemptyset(&none);
    fds[count++] = (struct pollfd){.fd = w->listen_fd, .events = POLLIN};
    for (struct connection *conn = w->connections; conn != NULL; conn = conn->next) {
        short events = conn_is_full(conn) ? 0 : POLLIN;
        if (conn->out.len > 0)
            events |= POLLOUT;
        fds[count++] = (struct pollfd){.fd = conn->fd, .events = events};
    }
    if (ppoll(fds, count, &wait, &none) <= 0)
        return;
    nfds_t at = 1;
    for (struct connection *conn = w->connections; conn != NULL; conn = conn->next, at++) {
        if (fds[at].revents & (POLLIN | POLLHUP | POLLERR))
            conn_read(w, conn);
    }
    if (fds[0].revents & POLLIN)
        conn_accept(w);
}

static void
flush_and_reap(struct worker *w)
{
    struct connection *next;

    for (struct connection *conn = w->connections; conn != NULL; conn = next) {
        next = conn->next;
        conn_flush(conn);
        if (!conn->broken)
            continue;
        if (!conn->ended && conn->out.failed)
            worker_log(w, "warn", "connection closed: it does not read");
        conn_close(w, conn);
    }
}

static const char *
serve(struct worker *w)
{
    static struct pollfd fds[WORKER_MAX_CONNECTIONS + 1];
    const uint64_t connect_by = worker_now_us() + HW_WORKER_CONNECT_WAIT_MS * UINT64_C(1000);

    w->report_at_us = worker_now_us() + REPORT_US;
    while (!terminated) {
        uint64_t now = worker_now_us();
        send_reports(w, now);
        int wait_ms = (int)((w->report_at_us - now) / 1000) + 1;
        sched_admit(w); /* who waited for a session that was left just now */
        look_at_sockets(w, fds, sched_has_work(w) ? 0 : wait_ms);
        sched_admit(w);
        if (sched_has_work(w))
            sched_unit(w);
        flush_and_reap(w);
        if (w->ever_connected && w->connection_count == 0)
            return "the gateway has closed every connection";
        if (!w->ever_connected && worker_now_us() >= connect_by)
            return "nobody connected";
    }
    return "SIGTERM";
}

static void
worker_free(struct worker *w)
{
    while (w->connections != NULL)
        conn_close(w, w->connections);
    states_free(w);
    hw_bdh_engine_destroy(&w->engine);
    hw_bdh_model_destroy(&w->model);
    if (w->listen_fd >= 0) {
        close(w->listen_fd);
        unlink(w->conf.socket_path);
    }
}

int
hw_worker_run(const struct hw_worker_conf *conf, struct hw_err *err)
{
    struct worker w = {.conf = *conf, .listen_fd = -1};

    set_signals();
    int rc = start_engine(&w, err);
    if (rc == 0)
        rc = listen_on(conf->socket_path, &w.listen_fd, err);
    if (rc == 0) {
        worker_log(&w, "info",
                   "serving %zu parameters%s with %s kernels, %u sessions, %.0f bytes/s decode, "
                   "%.0f bytes/s prefill",
                   (size_t)w.hello.param_count, w.conf.fast ? " (fast)" : "",
                   hw_bdh_engine_kernels(w.engine), w.hello.max_sessions,
                   (double)w.hello.decode_bytes_s, (double)w.hello.prefill_bytes_s);
        const char *why = serve(&w);
        worker_log(&w, "info", "leaving: %s", why);
    }
    worker_free(&w);
    return rc;
}
