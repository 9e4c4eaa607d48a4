/* router/exchange_private.h - shared by exchange.c (the state machine), exchange_admit.c (who
 * answers), exchange_begin.c (request to route), exchange_cache.c (key, look-up, keeping),
 * exchange_join.c (an identical query in flight) and exchange_reply.c (what the agent reads).
 *
 *     NEW --> LOOKUP --> JOIN --> WAIT --> ATTEMPT --> RELAY
 *      |        |         |        |       |    ^        |
 *      |        |         |        |       +----+ next   |   each of the first three may be left
 *      |        |         |        |            |        |   out; DONE is legal from every state:
 *      +--------+---------+--------+------------+--------+-> answered, refused, or the agent left
 */
#ifndef HW_ROUTER_EXCHANGE_PRIVATE_H
#define HW_ROUTER_EXCHANGE_PRIVATE_H

#include "router/api/answer.h"
#include "router/api/dialect.h"
#include "router/arena.h"
#include "router/attempt.h"
#include "router/exchange.h"

enum hw_exchange_state {
    HW_EXCHANGE_NEW,     /* parsed, classified, routed */
    HW_EXCHANGE_LOOKUP,  /* Redis was asked */
    HW_EXCHANGE_JOIN,    /* an identical query is being answered */
    HW_EXCHANGE_WAIT,    /* every candidate is full */
    HW_EXCHANGE_ATTEMPT, /* sent; nothing has gone to the agent yet */
    HW_EXCHANGE_RELAY,   /* the agent has read a first byte: no way back */
    HW_EXCHANGE_DONE,
    HW_EXCHANGE_STATE_COUNT
};

/* What was sent where, for the log and for trying a died worker's backend once more. */
enum { HW_EXCHANGE_MAX_ATTEMPTS = 6 };

struct hw_exchange {
    struct hw_exchange *next, *prev; /* loop->exchanges */
    enum hw_exchange_state state;
    struct hw_loop *loop;
    struct hw_plan *plan;
    struct hw_http_stream *stream;         /* NULL: answered, or the agent left */
    const struct hw_http_request *request; /* good while stream is not NULL */
    struct hw_arena arena;
    char request_id[129];
    char traceparent[64];     /* "": none came */
    char peer[48], path[128]; /* for the log: the request is gone by then */
    uint64_t bytes_in;
    int agent; /* index into the snapshot's agents; -1 */

    bool strict; /* rather 400 than an answer to a query that lost something on its way */
    struct hw_query query;
    struct hw_traits traits;
    struct hw_exchange_note *note; /* for the decision log; NULL: it gets no line */
    struct hw_reply reply;
    int route;
    const struct hw_conf_route *route_conf;

    struct hw_candidate *candidates; /* candidates first, the excluded behind */
    size_t candidate_count, excluded_end, next_candidate;
    struct hw_waiter waiter;

    struct hw_attempt attempt;
    struct hw_slot slot; /* that is held */
    const struct hw_candidate *current;
    uint32_t attempts;
    uint32_t deaths;    /* of workers, under this query */
    bool cast;          /* a copy was sent, or it was decided that none is */
    const char *shadow; /* the backend that a copy was sent to; NULL: none */
    enum hw_attempt_result last_result;
    int last_status;
    char last_message[512];

    enum hw_cache_result cache;
    bool keep; /* a complete answer will be stored under key */
    struct hw_cache_key key;
    uint64_t key_backends; /* what the key says of who may answer */
    struct hw_cache_redis_get *redis_get;
    struct hw_join join;

    bool finished; /* a complete answer, whose end was `finish` */
    enum hw_finish finish;
    bool summing;
    struct hw_answer answer;
    struct hw_buf held; /* raw bytes that the agent may not see yet */
    struct hw_buf out;  /* what is being written */
    bool held_too_much;
    bool client_left;
    int64_t retry_after_s; /* for 503 and 429; 0: soon */
    int status;            /* that the agent was given; 0: none yet */
    /* The head went out with a keep-alive comment, before any content: from then on an error is an
     * event, while another candidate may still answer. */
    bool opened_early;
    const char *told;      /* then: what the head named as dropped */
    uint64_t last_sent_ms; /* by the loop's clock; 0: nothing yet */
    const char *error;     /* for the log */
    char error_text[512];
    uint64_t bytes_out, first_token_us;
    uint64_t began_ns;
};

void hw_exchange_set_state(struct hw_exchange *ex, enum hw_exchange_state state);
/* The only end: counts, logs, frees. */
void hw_exchange_done(struct hw_exchange *ex);

/* exchange_begin.c: false when it answered already (an error) and the exchange is gone. */
bool hw_exchange_read_request(struct hw_exchange *ex);

/* exchange_cache.c */
void hw_exchange_prepare_cache(struct hw_exchange *ex);
/* True: answered (the exchange is gone) or Redis was asked (the exchange goes on from there). */
bool hw_exchange_lookup(struct hw_exchange *ex);
/* Keeps the answer, and gives it to those that wait for it. */
void hw_exchange_store(struct hw_exchange *ex);
/* Answers with a kept entry, counts that as `how` in `counter`. False: the entry was unreadable. */
bool hw_exchange_answer_from(struct hw_exchange *ex, const struct hw_cache_entry *entry,
                             enum hw_cache_result how, struct hw_metric *counter);
/* Does the agent ask for an answer that is neither kept nor was? */
bool hw_exchange_forbids_cache(const struct hw_exchange *ex);

/* exchange_join.c: the way on after a miss. Waits for an identical query's answer, or is admitted.
 */
void hw_exchange_join(struct hw_exchange *ex);
/* At its end, or when others had better not wait for it any more. */
void hw_exchange_leave_join(struct hw_exchange *ex);

/* exchange_record.c: the decision log. The first while the request is there and its traits are
 * filled in, the second when all is over. */
void hw_exchange_note_request(struct hw_exchange *ex, bool lane_by_header);
void hw_exchange_record(struct hw_exchange *ex, int status, uint64_t duration_us);

/* exchange.c, for exchange_admit.c */
extern const struct hw_attempt_events hw_exchange_attempt_events;
uint64_t hw_exchange_now_ms(const struct hw_exchange *ex); /* the loop's clock */
/* The slot goes back and the backend's record is brought up to date. */
void hw_exchange_settle(struct hw_exchange *ex, enum hw_attempt_result result);
void hw_exchange_remember_failure(struct hw_exchange *ex, const struct hw_attempt_end *end);

/* exchange_begin.c. What a query's candidates are ranked by; looks into the fleet as it is now and
 * fills views (to be released, hw_discover_release) and devices. Its conversation is left out. */
struct hw_rank_input hw_exchange_rank_input(struct hw_exchange *ex, struct hw_backend_view *views,
                                            struct hw_device_view *devices);

/* exchange_admit.c: picks a candidate and sends. */
/* candidates[from] becomes candidates[to]; those between move over. */
void hw_exchange_move_candidate(struct hw_exchange *ex, size_t from, size_t to);
void hw_exchange_admit(struct hw_exchange *ex);
/* The model to ask a candidate for (NULL: its own choice), and the room that a query has there. */
const char *hw_exchange_model(const struct hw_candidate *candidate,
                              const struct hw_conf_backend *conf);
struct hw_room hw_exchange_room(const struct hw_plan *plan, const struct hw_candidate *candidate);

/* exchange_reply.c. All of them that answer whole end the exchange. */
void hw_exchange_open_stream(struct hw_exchange *ex); /* status 200 and headers */
void hw_exchange_write(struct hw_exchange *ex, const void *bytes, size_t len);
/* Tells an agent whose stream has been silent for timeouts.keepalive_comment that it is alive. */
void hw_exchange_keep_alive(struct hw_exchange *ex);
/* Whether the agent gets the backend's bytes as they come. */
bool hw_exchange_is_raw(const struct hw_exchange *ex);
void hw_exchange_write_event(struct hw_exchange *ex, const struct hw_event *event);
void hw_exchange_reply_whole(struct hw_exchange *ex, int status, const void *body, size_t len,
                             const char *content_type);
void hw_exchange_reply_answer(struct hw_exchange *ex, const struct hw_answer *answer);
void hw_exchange_reply_error(struct hw_exchange *ex, int status, const char *param,
                             const char *message, ...) __attribute__((format(printf, 4, 5)));
/* In a stream that was begun: the dialect's error event, which is its last. */
void hw_exchange_end_with_error(struct hw_exchange *ex, int status, const char *text);
void hw_exchange_log(struct hw_exchange *ex);

#endif
