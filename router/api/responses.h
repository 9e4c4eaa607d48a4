/* router/api/responses.h - what the files of OpenAI's Responses dialect share; nobody else includes
 * it. */
#ifndef HW_ROUTER_API_RESPONSES_H
#define HW_ROUTER_API_RESPONSES_H

#include "router/api/dialect.h"

/* responses_input.c: a string or items; adds to query->messages and does not settle them. */
int hw_responses_parse_input(const struct hw_json *value, struct hw_arena *arena,
                             struct hw_query *query, struct hw_err *err);

/* One item of an answer's output. */
struct hw_response_item {
    enum hw_event_type type; /* TEXT, REASONING or TOOL_CALL */
    bool closed;
    bool cut; /* it ended because there was no room for more */
    size_t start, end;
    size_t logprobs_start, logprobs_end;
    uint32_t call; /* index of a TOOL_CALL among the calls */
};

/* responses_write.c */
void hw_responses_write_whole(struct hw_reply *reply, const struct hw_answer *answer,
                              struct hw_buf *out);
/* Item number n; its text (none yet: len 0) from what answer has gathered. */
void hw_responses_write_item(struct hw_buf *out, const struct hw_reply *reply,
                             const struct hw_answer *answer, const struct hw_response_item *item,
                             size_t n);
void hw_responses_write_item_id(struct hw_buf *out, const struct hw_reply *reply,
                                enum hw_event_type type, size_t n);
/* ,"logprobs":[...] */
void hw_responses_write_logprobs(struct hw_buf *out, const char *entries, size_t len);
/* {"type":"output_text",...} with this text. */
void hw_responses_write_part(struct hw_buf *out, const struct hw_reply *reply,
                             enum hw_event_type type, const char *text, size_t len,
                             const char *logprobs, size_t logprobs_len);
/* The response object. finish NULL: in progress. */
void hw_responses_write_response(struct hw_buf *out, const struct hw_reply *reply,
                                 const struct hw_answer *answer,
                                 const struct hw_response_item *items, size_t count,
                                 const enum hw_finish *finish);
/* Thoughts are wanted as a summary (reasoning.summary): else they are the item's content. */
bool hw_responses_wants_summary(const struct hw_query *query);

/* responses_stream.c */
void hw_responses_write_event(struct hw_reply *reply, const struct hw_event *event,
                              struct hw_buf *out);

#endif
