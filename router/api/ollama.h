/* router/api/ollama.h - what the files of the Ollama dialect share; nobody else includes it. */
#ifndef HW_ROUTER_API_OLLAMA_H
#define HW_ROUTER_API_OLLAMA_H

#include "router/api/dialect.h"

/* ollama_messages.c: fills query->messages but does not settle them. */
int hw_ollama_parse_messages(const struct hw_json *value, struct hw_arena *arena,
                             struct hw_query *query, struct hw_err *err);
/* An array of base64 strings; *out is left absent when it is empty. */
int hw_ollama_parse_images(const struct hw_json *value, struct hw_json *out, struct hw_err *err);

/* ollama_write.c */
void hw_ollama_write_whole(struct hw_reply *reply, const struct hw_answer *answer,
                           struct hw_buf *out);
void hw_ollama_write_event(struct hw_reply *reply, const struct hw_event *event,
                           struct hw_buf *out);
void hw_ollama_write_error(int status, const char *message, const char *param, struct hw_buf *out);

#endif
