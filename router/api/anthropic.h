/* router/api/anthropic.h - what the files of the Anthropic dialect share; nobody else includes it.
 */
#ifndef HW_ROUTER_API_ANTHROPIC_H
#define HW_ROUTER_API_ANTHROPIC_H

#include "router/api/dialect.h"

/* anthropic_messages.c: both add to query->messages and do not settle them. */
int hw_anthropic_parse_messages(const struct hw_json *value, struct hw_arena *arena,
                                struct hw_query *query, struct hw_err *err);
int hw_anthropic_parse_system(const struct hw_json *value, struct hw_arena *arena,
                              struct hw_query *query, struct hw_err *err);

/* anthropic_write.c */
void hw_anthropic_write_whole(struct hw_reply *reply, const struct hw_answer *answer,
                              struct hw_buf *out);
void hw_anthropic_write_event(struct hw_reply *reply, const struct hw_event *event,
                              struct hw_buf *out);
void hw_anthropic_write_error(int status, const char *message, const char *param,
                              struct hw_buf *out);

#endif
