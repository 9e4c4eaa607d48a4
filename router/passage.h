/* router/passage.h - a request that is passed on to one backend beside queries: what manages its
 * models, and /api/show. No candidates, no retries, no cache; an agent that leaves cancels it. */
#ifndef HW_ROUTER_PASSAGE_H
#define HW_ROUTER_PASSAGE_H

#include "router/backend_call.h"
#include "router/gateway.h"
#include "router/http/server.h"

struct hw_passage_end {
    int status; /* 0: no answer, and why says what happened */
    const struct hw_buf *body;
    const char *why;
    const char *note;
};

struct hw_passage {
    struct hw_backend_call call; /* its conf is the loop's plan's */
    char note[256];              /* comes back at the end */
    /* NULL: the answer is passed on as it comes. Else it is gathered, up to 4 MiB, and whoever is
     * told has to answer the stream. */
    void (*whole)(struct hw_loop *loop, struct hw_http_stream *stream,
                  const struct hw_passage_end *end);
    /* The backend answered with success; may be NULL. */
    void (*succeeded)(struct hw_loop *loop, size_t backend);
};

/* Answers the stream, now or later. */
void hw_passage_begin(struct hw_loop *loop, struct hw_http_stream *stream,
                      const struct hw_passage *passage);
/* The loop stops: those under way are cut off. */
void hw_passage_abort_all(struct hw_loop *loop);

#endif
