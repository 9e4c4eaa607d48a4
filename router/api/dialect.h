/* router/api/dialect.h - the agent's side of a dialect: parse its request, write its answers.
 *
 * One file a dialect, or a few with its name in front. All functions are pure: bytes in, bytes out.
 * A dialect's two ways to ask (a chat, a plain prompt) are two of these with one name. */
#ifndef HW_ROUTER_API_DIALECT_H
#define HW_ROUTER_API_DIALECT_H

#include "hatchway/buf.h"
#include "router/api/answer.h"
#include "router/api/query.h"

/* What an answer's frame needs beside its text. */
struct hw_reply {
    const struct hw_query *query;
    const char *id;     /* the request id; dialects derive theirs from it ("chatcmpl-<id>") */
    const char *model;  /* that answered */
    const char *device; /* of the backend: "cpu", ... */
    const char *backend;
    uint64_t created_s;
    uint64_t total_us, first_token_us; /* so far; 0: not known */

    /* Kept by the writer of a stream. */
    bool opened; /* the first event was written */
    bool saw_tool_call;
    struct hw_answer calls; /* what has to be gathered: tool calls; of a Responses stream all */
    uint64_t written_calls; /* a bit each: those that are complete with the agent */
    uint32_t open_call;     /* Anthropic's: whose block is open, when block_type is TOOL_CALL */
    struct hw_response_stream *response; /* Responses': its items; NULL: not begun */
    uint64_t blocks; /* Anthropic's: complete ones, and whether another is open */
    bool block_open;
    enum hw_event_type block_type;
    uint64_t text_bytes;
    uint64_t
        token_chars; /* of /v1/completions: of the tokens whose log-probabilities are written */
};

/* Bytes of tool calls that a stream gathers before it gives up. */
#define HW_MAX_CALL_BYTES ((size_t)16 << 20)

struct hw_response_stream;
void hw_response_stream_free(struct hw_response_stream **stream);

/* Before the first event, and after the last. */
void hw_reply_init(struct hw_reply *reply);
void hw_reply_free(struct hw_reply *reply);

struct hw_dialect {
    const char *name;                /* label and `dialect` in routes */
    const char *path;                /* where it is spoken; backends of it take queries there too */
    const char *stream_content_type; /* NULL: never streams */

    /* On error: HW_EINVAL (400), HW_ELIMIT (413: node or depth budget), err names field and
     * mending. */
    int (*parse)(struct hw_body *body, const struct hw_json_limits *limits, struct hw_arena *arena,
                 struct hw_query *query, struct hw_err *err);
    void (*write_whole)(struct hw_reply *reply, const struct hw_answer *answer, struct hw_buf *out);
    /* One event as stream bytes; the first call opens the stream (role delta), FINISH and ERROR
     * write the terminal events. NULL when the dialect never streams. */
    void (*write_event)(struct hw_reply *reply, const struct hw_event *event, struct hw_buf *out);
    /* A comment that keeps an idle stream alive. */
    const char *keepalive;
    /* What alone ends a complete stream ("data: [DONE]\n\n"), for one that was passed on as it came
     * and lacked it. */
    const char *terminal;
    /* The dialect's error object. `param` may be NULL. */
    void (*write_error)(int status, const char *message, const char *param, struct hw_buf *out);
};

extern const struct hw_dialect hw_dialect_openai;            /* /v1/chat/completions */
extern const struct hw_dialect hw_dialect_responses;         /* /v1/responses */
extern const struct hw_dialect hw_dialect_completions;       /* /v1/completions */
extern const struct hw_dialect hw_dialect_ollama;            /* /api/chat */
extern const struct hw_dialect hw_dialect_ollama_generate;   /* /api/generate */
extern const struct hw_dialect hw_dialect_anthropic;         /* /v1/messages */
extern const struct hw_dialect hw_dialect_embeddings;        /* /v1/embeddings */
extern const struct hw_dialect hw_dialect_ollama_embed;      /* /api/embed */
extern const struct hw_dialect hw_dialect_ollama_embeddings; /* /api/embeddings */
extern const struct hw_dialect hw_dialect_bdh;               /* /api/bdh/ask */

/* The dialect whose error shape a path's asker expects; OpenAI's for what is unknown. */
const struct hw_dialect *hw_dialect_of_path(const char *path, size_t len);
/* The one that is asked at this path, to the letter; NULL: none. */
const struct hw_dialect *hw_dialect_at_path(const char *path);

#endif
