/* scripted_worker.h - a worker process that does as the prompt says (see obey). */
#ifndef HW_TEST_SCRIPTED_WORKER_H
#define HW_TEST_SCRIPTED_WORKER_H

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "engine/frame.h"

#define SCRIPT_CONNS 8
#define FLOOD_BYTES (1u << 20)

struct script_conn {
    int fd;
    struct hw_buf in, out;
    char prompt[8192]; /* of the stream being opened: its turns, one after the other */
    uint32_t flood_stream, flood_credit, flood_left;
};

static unsigned script_cancels;

static inline void
script_text(struct script_conn *conn, uint32_t stream, const char *text)
{
    struct hw_frame_done done = {.prompt_tokens = 3, .output_tokens = (uint32_t)strlen(text)};

    hw_frame_write(&conn->out, HW_FRAME_START, stream, NULL, 0);
    hw_frame_write(&conn->out, HW_FRAME_TEXT, stream, text, strlen(text));
    hw_frame_put_done(&conn->out, stream, &done);
}

static inline void
script_flood(struct script_conn *conn)
{
    static const char block[4096];
    struct hw_frame_done done = {.output_tokens = FLOOD_BYTES};

    if (conn->flood_stream == 0)
        return;
    while (conn->flood_left > 0 && conn->flood_credit >= sizeof(block)) {
        hw_frame_write(&conn->out, HW_FRAME_TEXT, conn->flood_stream, block, sizeof(block));
        conn->flood_credit -= (uint32_t)sizeof(block);
        conn->flood_left -= (uint32_t)sizeof(block);
    }
    if (conn->flood_left == 0) {
        hw_frame_put_done(&conn->out, conn->flood_stream, &done);
        conn->flood_stream = 0;
    }
}

static inline int
script_ends(const char *prompt, const char *word)
{
    size_t len = strlen(prompt), end = strlen(word);

    return len >= end && strcmp(prompt + len - end, word) == 0;
}

static inline void
script_obey(struct script_conn *conn, uint32_t stream)
{
    const char *prompt = conn->prompt;
    char text[64];

    if (script_ends(prompt, "pid")) {
        snprintf(text, sizeof(text), "%d", (int)getpid());
        script_text(conn, stream, text);
    } else if (strcmp(prompt, "cancels") == 0) {
        snprintf(text, sizeof(text), "%u", script_cancels);
        script_text(conn, stream, text);
    } else if (strcmp(prompt, "flood") == 0) {
        hw_frame_write(&conn->out, HW_FRAME_START, stream, NULL, 0);
        conn->flood_stream = stream;
        conn->flood_credit = HW_FRAME_FIRST_CREDIT;
        conn->flood_left = FLOOD_BYTES;
    } else if (script_ends(prompt, "hang")) {
        hw_frame_write(&conn->out, HW_FRAME_START, stream, NULL, 0);
    } else if (strcmp(prompt, "die") == 0) {
        raise(SIGKILL);
    } else if (strcmp(prompt, "error") == 0) {
        struct hw_frame_error error = {.code = HW_ELIMIT, .msg = "the queue is full"};
        hw_frame_put_error(&conn->out, stream, &error);
    } else if (strcmp(prompt, "overrun") == 0) {
        static const char block[HW_FRAME_FIRST_CREDIT + 1];
        hw_frame_write(&conn->out, HW_FRAME_TEXT, stream, block, sizeof(block));
    } else if (strcmp(prompt, "garbage") == 0) {
        hw_buf_puts(&conn->out, "HTTP/1.1 200 OK\r\n\r\n");
    } else if (strcmp(prompt, "queue") != 0) {
        script_text(conn, stream, prompt);
    }
}

static inline void
script_take(struct script_conn *conn, const struct hw_frame *frame)
{
    uint32_t credit;

    switch (frame->type) {
    case HW_FRAME_OPEN:
        conn->prompt[0] = '\0';
        break;
    case HW_FRAME_TURN:
        if (strlen(conn->prompt) + frame->length < sizeof(conn->prompt))
            strncat(conn->prompt, (const char *)frame->payload + 1, frame->length - 1);
        else
            snprintf(conn->prompt, sizeof(conn->prompt), "long");
        break;
    case HW_FRAME_ASK:
        script_obey(conn, frame->stream);
        break;
    case HW_FRAME_CREDIT:
        if (hw_frame_get_credit(frame, &credit, NULL) == 0)
            conn->flood_credit += credit;
        break;
    case HW_FRAME_CANCEL:
        script_cancels++;
        conn->flood_stream = 0;
        break;
    default:
        abort();
    }
    script_flood(conn);
}

/* False: the gateway is gone. */
static inline int
script_serve(struct script_conn *conn, short events)
{
    char bytes[65536];

    if (events & (POLLIN | POLLHUP | POLLERR)) {
        ssize_t n = read(conn->fd, bytes, sizeof(bytes));
        if (n <= 0)
            return 0;
        hw_buf_append(&conn->in, bytes, (size_t)n);
    }
    struct hw_frame frame;
    size_t used;
    while (hw_frame_parse((const uint8_t *)conn->in.data, conn->in.len, &frame, &used, NULL) == 1) {
        script_take(conn, &frame);
        hw_buf_consume(&conn->in, used);
    }
    if (conn->out.len > 0) {
        ssize_t n = send(conn->fd, conn->out.data, conn->out.len, MSG_NOSIGNAL);
        if (n > 0)
            hw_buf_consume(&conn->out, (size_t)n);
    }
    return 1;
}

static inline void
script_greet(struct script_conn *conn, int fd, const char *model)
{
    struct hw_frame_hello hello = {.max_sessions = 4, .vocab = 256, .device = "cpu"};
    struct hw_frame_report report = {.active = 1, .prompt_tokens = 7, .output_tokens = 9};

    snprintf(hello.model, sizeof(hello.model), "%.60s", model);
    memcpy(hello.digest, model, strnlen(model, sizeof(hello.digest)));
    conn->fd = fd;
    hw_buf_init(&conn->in, 8 << 20);
    hw_buf_init(&conn->out, 8 << 20);
    hw_frame_put_hello(&conn->out, &hello);
    hw_frame_put_report(&conn->out, &report);
    script_serve(conn, 0);
}

/* What `--model-fd 3` says first, else the path: "broken" cannot be loaded, "crash" crashes, "slow"
 * and what begins so takes its time. */
static inline const char *
script_load(char **argv)
{
    static char text[32];

    for (int i = 6; argv[i] != NULL; i++)
        if (strcmp(argv[i], "--model-fd") == 0 && pread(3, text, sizeof(text) - 1, 0) < 0)
            exit(1);
    const char *model = text[0] != '\0' ? text : argv[3];
    if (strcmp(model, "broken") == 0)
        exit(1);
    if (strcmp(model, "crash") == 0)
        raise(SIGKILL); /* what leaves no core, and no report of a sanitizer */
    if (strncmp(model, "slow", 4) == 0)
        poll(NULL, 0, 1000);
    return model;
}

/* `worker --model PATH --socket PATH ...` */
static inline int
scripted_worker(char **argv)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct script_conn conns[SCRIPT_CONNS] = {{0}};
    struct pollfd fds[SCRIPT_CONNS + 1];
    int count = 0, ever = 0;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const char *model = script_load(argv);
    if (strcmp(model, "stubborn") == 0)
        signal(SIGTERM, SIG_IGN);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", argv[5]);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(listener, 8))
        return 1;
    while (!ever || count > 0 || strcmp(model, "stubborn") == 0) {
        fds[0] = (struct pollfd){.fd = listener, .events = POLLIN};
        for (int i = 0; i < count; i++)
            fds[i + 1] =
                (struct pollfd){.fd = conns[i].fd,
                                .events = (short)(POLLIN | (conns[i].out.len > 0 ? POLLOUT : 0))};
        poll(fds, (nfds_t)count + 1, -1);
        for (int i = count - 1; i >= 0; i--) {
            if (fds[i + 1].revents != 0 && !script_serve(&conns[i], fds[i + 1].revents)) {
                close(conns[i].fd);
                hw_buf_free(&conns[i].in);
                hw_buf_free(&conns[i].out);
                conns[i] = conns[--count];
            }
        }
        if ((fds[0].revents & POLLIN) && count < SCRIPT_CONNS) {
            script_greet(&conns[count++], accept(listener, NULL, NULL), model);
            ever = 1;
        }
    }
    return 0;
}

#endif
