/* engine/worker_parts.h - private to worker*.c: the worker, its connections, their streams.
 *
 *     OPEN          ASK           a session is free       prompt taken
 *      --> COLLECT -----> QUEUED -----------> PREFILL -----------> DECODE --> gone (DONE sent)
 *             |  refused: ERROR sent
 *             +--------> FAILED --> gone at ASK
 *
 * CANCEL and the connection's end lead from each state to gone. FAILED is there because the gateway
 * may have sent the rest of a query before it read our refusal. */
#ifndef HW_ENGINE_WORKER_PARTS_H
#define HW_ENGINE_WORKER_PARTS_H

#include "engine/forward.h"
#include "engine/frame.h"
#include "engine/generate.h"
#include "engine/prompt.h"
#include "engine/state_cache.h"
#include "engine/told.h"
#include "engine/worker.h"

#define WORKER_MAX_CONNECTIONS 256
#define WORKER_MAX_STREAMS 1024 /* of all connections, in every state */
#define WORKER_MAX_PROMPT_BYTES ((size_t)8 << 20)
#define WORKER_MAX_PROMPTS_BYTES ((size_t)64 << 20) /* of all streams together */
#define WORKER_ROUND_PREFILL 32                  /* prompt tokens for one token of each decoder */
#define WORKER_BATCH 16                          /* sessions that step together at most */
#define WORKER_UNIT_PREFILL 16                   /* prompt tokens between two looks at sockets */
#define WORKER_OUT_PAUSE_BYTES ((size_t)1 << 20) /* a peer that reads no faster gets no more */
#define WORKER_OUT_MAX_BYTES ((size_t)4 << 20)

enum stream_state {
    STREAM_COLLECT,
    STREAM_FAILED,
    STREAM_QUEUED,
    STREAM_PREFILL,
    STREAM_DECODE,
};

struct stream {
    struct connection *conn;
    struct stream *prev, *next;           /* in conn->streams */
    struct stream *line_prev, *line_next; /* in the queue or among the active */
    uint32_t id;
    enum stream_state state;
    struct hw_frame_open open;
    struct hw_prompt prompt;
    struct hw_bdh_session *session; /* PREFILL, DECODE */
    struct hw_generation *generation;
    size_t prompt_bytes, last_turn; /* where in the prompt its last turn begins */
    uint64_t cached_at;             /* position up to which the session's text is in the cache */
    struct hw_buf text;             /* ready, waiting for credit */
    struct hw_buf logprobs;         /* of that text: a payload of LOGPROBS */
    uint64_t credit_bytes;
    uint64_t served; /* the tick of its last prompt tokens: the longest unserved goes first */
    uint64_t started_us, decode_us;
};

struct connection {
    struct connection *prev, *next;
    int fd;
    struct hw_buf in, out;
    struct stream *streams;
    bool broken; /* to be closed at the end of this turn */
    bool ended;  /* so because the peer left: no mistake */
};

struct line {
    struct stream *first, *last;
    uint32_t count;
};

/* A session that nobody uses, with what it has read. */
struct spare {
    struct hw_bdh_session *session;
    uint64_t cached_at;
};

struct worker {
    struct hw_worker_conf conf;
    struct hw_bdh_model *model;
    struct hw_bdh_engine *engine;
    struct hw_frame_hello hello;
    int listen_fd;
    struct connection *connections;
    uint32_t connection_count, stream_count;
    bool ever_connected;
    size_t prompts_bytes;
    struct line queue, active;
    size_t cache_bytes;        /* of the processor: bounds how many sessions step together */
    struct stream *turn_first; /* who leads the turn under way; NULL: none is */
    struct stream *next_first; /* who leads the next one; NULL: the first of the active */
    uint32_t turn_left;        /* steps of this turn */
    bool turn_fresh;           /* it went to one that had no token yet */
    uint64_t prefill_due;      /* prompt tokens that decoding has earned, times the decoders */
    uint64_t ticks;
    struct spare *spare; /* [max_sessions]; the longest left first */
    uint32_t spare_count, session_count;
    struct hw_state_cache *state_cache; /* NULL: none */
    uint64_t prompt_tokens, output_tokens, steps, kept_prompts, kept_tokens;
    uint64_t report_at_us;
};

/* worker.c */
uint64_t worker_now_us(void);
void worker_log(const struct worker *w, const char *level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* worker_trial.c: asks the trial question, if there is one. */
int worker_try(struct worker *w, struct hw_bdh_session *session, struct hw_err *err);

/* worker_conn.c: sockets and frames */
void conn_accept(struct worker *w);
void conn_read(struct worker *w, struct connection *conn);
void conn_flush(struct connection *conn);
bool conn_is_full(const struct connection *conn);
void conn_close(struct worker *w, struct connection *conn);

/* worker_stream.c: what a frame does to a stream. False: the peer broke the protocol. */
bool stream_take_frame(struct worker *w, struct connection *conn, const struct hw_frame *frame,
                       struct hw_err *err);
void stream_destroy(struct worker *w, struct stream *s);
void stream_fail(struct worker *w, struct stream *s, int code, const char *msg);

/* worker_states.c: sessions, and what they have read */
void states_add_spare(struct worker *w, struct hw_bdh_session *session, uint64_t cached_at);
/* For the stream's prompt, with as much of it read as any state has; NULL: memory is short. */
struct hw_bdh_session *states_take(struct worker *w, struct stream *s, struct hw_err *err);
/* How many tokens to read next: a unit, or fewer so as to stop where the state is worth keeping. */
uint32_t states_next(const struct worker *w, const struct stream *s);
/* After reading: keeps it if this is such a place. */
void states_keep(struct worker *w, struct stream *s);
uint64_t states_bytes(const struct worker *w);
void states_free(struct worker *w);

/* worker_sched.c: who computes next */
void line_append(struct line *line, struct stream *s);
void line_remove(struct line *line, struct stream *s);
/* Moves streams from the queue into free sessions. */
void sched_admit(struct worker *w);
/* Whether a unit of work could be done now. */
bool sched_has_work(const struct worker *w);
/* One unit. */
void sched_unit(struct worker *w);
/* Sends text within the stream's credit, and DONE behind the last of it; may destroy the stream. */
void sched_deliver(struct worker *w, struct stream *s);
void sched_release(struct worker *w, struct stream *s);

#endif
