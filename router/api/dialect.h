/* router/api/dialect.h - the agent's side of a dialect: parse its request, write its answers.
 *
 * One file a dialect (openai.c, bdh.c; ollama.c and anthropic.c later). All functions are pure:
 * bytes in, bytes out. */
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
    bool opened; /* the stream's first event was written (kept by the writer) */
    bool saw_tool_call;
};

struct hw_dialect {
    const char *name;                /* label and `dialect` in routes */
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

extern const struct hw_dialect hw_dialect_openai; /* /v1/chat/completions */
extern const struct hw_dialect hw_dialect_bdh;    /* /api/bdh/ask */

/* The dialect whose error shape a path's asker expects; OpenAI's for what is unknown. */
const struct hw_dialect *hw_dialect_of_path(const char *path, size_t len);

#endif
