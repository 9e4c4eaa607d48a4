/* router/question.h - what somebody wants to know the way of: a text, or a whole request body in a
 * dialect, with who asks, when, and by which headers. For `hatchway route`, POST /hatchway/explain
 * and `hatchway policy test`. And what a query, asked or only asked about, tells routing. */
#ifndef HW_ROUTER_QUESTION_H
#define HW_ROUTER_QUESTION_H

#include "policies/classify.h"
#include "policies/tokens.h"
#include "router/api/dialect.h"
#include "router/arena.h"

#define HW_QUESTION_HEADERS_MAX 64

struct hw_question_header {
    const char *name, *value; /* the name in lower case */
};

/* As a person says it. NULL: not said. */
struct hw_question {
    const char *text; /* or body */
    const char *body; /* of a request: JSON */
    size_t body_len;
    const char *model, *role, *agent, *lane, *dialect, *path; /* they stand over the body's */
    const char *at; /* as if it were then: "03:00", "sat 14:30", "2026-11-21T03:00" */
    struct hw_question_header headers[HW_QUESTION_HEADERS_MAX];
    size_t header_count;
    /* Whether a running gateway has found the model at a backend; NULL: none was asked. */
    bool (*knows)(void *ctx, const char *model);
    void *knows_ctx;
    const struct hw_token_ratios *ratios; /* that it has learned of prompts; NULL: nothing */
    int64_t tokens; /* prompt size instead of an estimate from the text; -1: estimate */
    int64_t now_s;
};

struct hw_asked {
    struct hw_traits traits;
    struct hw_query query;
    struct hw_message message; /* of a text alone */
    int agent;                 /* index into the snapshot's agents; -1 */
    uint64_t conversation;     /* as by: affinity sees it */
};

/* Adds a header; both are copied into arena. */
int hw_question_add_header(struct hw_question *question, const char *name, const char *value,
                           struct hw_arena *arena, struct hw_err *err);
/* HW_EINVAL: it names what the policy does not have, or a body is none. *out points into question
 * and arena. */
int hw_question_read(const struct hw_snapshot *snapshot, const struct hw_question *question,
                     struct hw_arena *arena, struct hw_asked *out, struct hw_err *err);
/* question_time.c: the time that is meant, in the policy's zone. False: it is none. */
bool hw_question_time(const struct hw_snapshot *snapshot, const char *text, int64_t now_s,
                      int64_t *at_s);

/* What a query itself tells routing; the rest of *traits is untouched. A long text is an excerpt in
 * the arena. */
void hw_query_traits(const struct hw_query *query, struct hw_arena *arena,
                     struct hw_traits *traits);
/* What stays the same while a conversation grows, as a number; never 0. */
uint64_t hw_query_conversation(const struct hw_query *query, int agent);

#endif
