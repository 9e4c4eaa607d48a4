/* router/api/answer.h - what backends say, in canonical form: events, and the answer they add up
 * to. */
#ifndef HW_ROUTER_API_ANSWER_H
#define HW_ROUTER_API_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hatchway/buf.h"
#include "hatchway/err.h"
#include "router/api/scan.h"

enum hw_finish { HW_FINISH_STOP, HW_FINISH_LENGTH, HW_FINISH_TOOL_CALLS, HW_FINISH_FILTER };

struct hw_usage {
    bool known;
    uint64_t prompt_tokens;
    uint64_t output_tokens;
};

enum hw_event_type {
    HW_EVENT_TEXT,      /* text */
    HW_EVENT_REASONING, /* text */
    HW_EVENT_TOOL_CALL, /* index; id and name on its first event; text: more of its arguments */
    HW_EVENT_FINISH,    /* finish, usage: the answer is complete; always the last */
    HW_EVENT_ERROR,     /* text: what the backend said; status when it gave one; always the last */
};

/* Valid during the call that hands it over. */
struct hw_event {
    enum hw_event_type type;
    const char *text; /* whole UTF-8 characters */
    size_t len;
    /* TEXT's, where they were asked for: OpenAI's entries, with commas between them. */
    const char *logprobs;
    size_t logprobs_len;
    uint32_t index;
    const char *id;
    const char *name;
    enum hw_finish finish;
    struct hw_usage usage;
    int status;
};

#define HW_MAX_TOOL_CALLS 64
struct hw_tool_call {
    char *id, *name;
    struct hw_buf arguments;
    struct hw_scan scan; /* of the arguments */
};

/* The sum of events; bounded. */
struct hw_answer {
    struct hw_buf text;
    struct hw_buf reasoning;
    struct hw_buf logprobs; /* never kept */
    struct hw_tool_call *tool_calls;
    size_t tool_call_count;
    enum hw_finish finish;
    struct hw_usage usage;
    bool overflowed; /* more than max bytes: not kept, and no whole answer can be made of it */
};

void hw_answer_init(struct hw_answer *answer, size_t max_bytes);
void hw_answer_free(struct hw_answer *answer);
void hw_answer_add(struct hw_answer *answer, const struct hw_event *event);

/* The blob of a cache entry: model, backend, then the answer. decode checks everything (Redis may
 * hold anything) and copies into *answer (initialised by it). */
struct hw_kept {
    char backend[64];
    char model[128];
    uint64_t created_s;
};
int hw_answer_encode(const struct hw_answer *answer, const struct hw_kept *kept,
                     struct hw_buf *out);
int hw_answer_decode(const uint8_t *bytes, size_t len, size_t max_bytes, struct hw_kept *kept,
                     struct hw_answer *answer, struct hw_err *err);

#endif
