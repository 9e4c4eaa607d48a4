/* router/api/protocol.h - the backend's side: write its request, read its answer as events.
 *
 * One file a kind: to_openai.c, to_ollama.c, to_bdh.c (the ask service by url). Pure: bytes in,
 * events out; frames and UTF-8 characters may be split at every byte. */
#ifndef HW_ROUTER_API_PROTOCOL_H
#define HW_ROUTER_API_PROTOCOL_H

#include "config/snapshot.h"
#include "hatchway/buf.h"
#include "router/api/answer.h"
#include "router/api/query.h"

#define HW_OUTGOING_SEGMENTS 3
struct hw_outgoing {
    const char *path; /* behind the backend's own prefix: "/v1/chat/completions" */
    /* Either the agent's own body with the model name edited in place (segments point into
     * query->body and `text`), or text alone: a translated body. */
    struct {
        const char *p;
        size_t len;
    } segments[HW_OUTGOING_SEGMENTS];
    size_t segment_count;
    struct hw_buf text;    /* the owner frees it */
    struct hw_buf dropped; /* fields that could not be carried, "logit_bias, n"; "" when none */
};

typedef void (*hw_on_event)(void *ctx, const struct hw_event *event);

struct hw_reader; /* state of one answer being read */

struct hw_protocol {
    enum hw_kind kind;
    /* Queries and answers of these pass as they are; NULL behind the last. */
    const struct hw_dialect *const *dialects;
    /* model: for the backend; NULL: leave what the agent asked, or the backend's default. The
     * caller has initialised out->text and out->dropped and frees them whatever comes back. */
    int (*write_request)(const struct hw_query *query, const char *model, struct hw_outgoing *out,
                         struct hw_err *err);
};

extern const struct hw_protocol hw_protocol_openai;
extern const struct hw_protocol hw_protocol_ollama;
extern const struct hw_protocol hw_protocol_bdh;
const struct hw_protocol *hw_protocol_of(enum hw_kind kind);
bool hw_protocol_speaks(const struct hw_protocol *protocol, const struct hw_dialect *dialect);

/* Servers say that an answer came to its end although it called tools, and agents then wait for
 * nothing. Finds where one that is passed on as it came does so: the first finish reason that is
 * HW_FALSE_STOP, to be replaced by HW_TRUE_STOP. Only for answers that called a tool. */
#define HW_FALSE_STOP "\"stop\""
#define HW_TRUE_STOP "\"tool_calls\""
bool hw_protocol_false_stop(const struct hw_query *query, const char *bytes, size_t len,
                            size_t *at);

/* A reader for one answer: status and content type as the backend sent them decide how the bytes
 * are read (SSE, NDJSON, one JSON object, an error body). max_bytes bounds one line or object. */
struct hw_reader *hw_reader_create(const struct hw_protocol *protocol, const struct hw_query *query,
                                   int status, const char *content_type, size_t content_type_len,
                                   size_t max_bytes);
/* Emits events. After FINISH or ERROR further bytes are ignored. The reader may be destroyed from
 * within an event; the query outlives it. */
void hw_reader_feed(struct hw_reader *reader, const char *bytes, size_t len, hw_on_event on_event,
                    void *ctx);
/* The body ended: emits FINISH or ERROR if neither came ("the backend ended its stream early"). */
void hw_reader_end(struct hw_reader *reader, hw_on_event on_event, void *ctx);
void hw_reader_destroy(struct hw_reader **reader);

#endif
