/* router/api/openai.h - what the files of the OpenAI dialects (chat, completions) share; nobody
 * else includes it. */
#ifndef HW_ROUTER_API_OPENAI_H
#define HW_ROUTER_API_OPENAI_H

#include "router/api/dialect.h"

/* openai_messages.c: fills query->messages, last_user, prompt_bytes, wants_images. */
int hw_openai_parse_messages(const struct hw_json *value, struct hw_arena *arena,
                             struct hw_query *query, struct hw_err *err);

/* openai_write.c */
void hw_openai_write_whole(struct hw_reply *reply, const struct hw_answer *answer,
                           struct hw_buf *out);
void hw_openai_write_event(struct hw_reply *reply, const struct hw_event *event,
                           struct hw_buf *out);
/* A whole answer or a chunk up to its list of choices. The id is the request's behind prefix. */
void hw_openai_write_head(struct hw_buf *out, const struct hw_reply *reply, const char *prefix,
                          const char *object);
void hw_openai_write_usage(struct hw_buf *out, const struct hw_usage *usage); /* "usage":{...} */
/* "error":{...}, for an object that holds more. */
void hw_openai_write_error_object(int status, const char *message, const char *param,
                                  struct hw_buf *out);
void hw_openai_write_error(int status, const char *message, const char *param, struct hw_buf *out);

#endif
