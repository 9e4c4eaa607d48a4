/* router/attempt.h - one try of one backend, whatever its kind: a call over HTTP read by the
 * backend's protocol, or a question to a local worker. Both come out as the same events.
 *
 *   start -> (on_raw, on_event)... -> on_end
 *
 * on_event: TEXT, REASONING, TOOL_CALL and, when the answer is complete, FINISH. on_raw: the bytes
 * as they came, before the events that are in them; only when the backend speaks the agent's
 * dialect. Of an event stream only whole events are passed on, none that reports an error and none
 * behind the terminal one: so whoever listens may add an event of its own at any time. on_end comes
 * exactly once, last, never from within start; the attempt may be reset in it. */
#ifndef HW_ROUTER_ATTEMPT_H
#define HW_ROUTER_ATTEMPT_H

#include <stdbool.h>
#include <stdint.h>

#include "router/api/answer.h"
#include "router/api/protocol.h"
#include "router/api/query.h"
#include "router/gateway.h"

struct hw_attempt_end {
    enum hw_attempt_result result;
    int status;          /* the backend's; 0: it gave none */
    const char *message; /* what went wrong, or "" */
    bool died;           /* a worker process died under it: a successor may be asked again */
};

struct hw_attempt_events {
    void (*on_raw)(void *ctx, const char *bytes, size_t len);
    void (*on_event)(void *ctx, const struct hw_event *event);
    void (*on_end)(void *ctx, const struct hw_attempt_end *end);
};

struct hw_attempt_request {
    const struct hw_query *query;
    const struct hw_conf_backend *conf;
    const char *model; /* to ask for; NULL: the backend's own choice */
    const char *request_id;
    const char *traceparent; /* NULL: none came */
    uint32_t worker_wait_ms; /* local workers: how long to wait for one that is starting */
    bool strict;             /* what cannot be carried whole is refused (400, named) */
    /* The same of what is not just this: the agent was told already. NULL: it was not. */
    const char *told;
};

struct hw_attempt {
    struct hw_loop *loop;
    const struct hw_conf_backend *conf;
    const struct hw_query *query;
    const struct hw_attempt_events *events;
    void *ctx;
    const struct hw_protocol *protocol; /* NULL: a local worker */
    struct hw_call *call;
    struct hw_worker_call *worker_call;
    struct hw_reader *reader;
    struct hw_buf dropped; /* fields that could not be carried */
    bool running;
    bool raw;
    bool whole; /* the backend was asked for a whole answer: it begins when it is finished */
    bool paused;
    struct hw_buf tail;   /* raw event stream: an event that is not complete yet */
    size_t tail_searched; /* how much of it is known to hold no end of an event */
    const char *event;    /* raw event stream: the event being read, not passed on yet; or NULL */
    size_t event_len;
    bool saw_call;    /* of a tool */
    bool finished;    /* FINISH was seen */
    bool in_feed_end; /* the reader is being told that the body ended */
    int status;
    uint64_t sent_ns, first_ns, last_ns, finished_ns;
    uint64_t output_bytes, pieces;
    size_t owed_bytes;     /* credit not yet given back to a worker */
    struct hw_buf waiting; /* a worker's text that came while paused */
    struct hw_buf told;    /* LOGPROBS of text that was not passed on yet */
    struct hw_usage usage;
    uint64_t model_id;         /* finished by a local worker: which checkpoint it runs */
    struct hw_attempt_end end; /* an ERROR event waiting for its on_end */
    bool failed;
    char message[512];
    char content_type[96];
};

/* Fails now (*end filled, on_end will not come) or ends once, later. */
int hw_attempt_start(struct hw_attempt *attempt, struct hw_loop *loop,
                     const struct hw_attempt_request *request,
                     const struct hw_attempt_events *events, void *ctx, struct hw_attempt_end *end);
/* Stops the backend's work in this loop turn; no callback follows. Legal at any time. */
void hw_attempt_cancel(struct hw_attempt *attempt);
void hw_attempt_pause(struct hw_attempt *attempt);
void hw_attempt_resume(struct hw_attempt *attempt);
/* Deadlines that the clients below do not watch. May call on_end. */
void hw_attempt_sweep(struct hw_attempt *attempt, uint64_t now_ns);
/* What a successful attempt teaches. */
void hw_attempt_sample(const struct hw_attempt *attempt, struct hw_speed_sample *sample);

#endif
