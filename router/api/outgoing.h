/* router/api/outgoing.h - what the protocols' writers share; nobody else includes it. */
#ifndef HW_ROUTER_API_OUTGOING_H
#define HW_ROUTER_API_OUTGOING_H

#include "router/api/protocol.h"

/* Adds a name to what could not be carried, once; a name that is no plain word is shortened to
 * "...", since the list becomes a header. The list is bounded, ends in "..." when it is full, and
 * never fails the query. */
void hw_outgoing_drop(struct hw_outgoing *out, const char *name, size_t len);
/* The same for something of message number i: "messages[2].WHAT", by where the agent wrote it. */
void hw_outgoing_drop_at(struct hw_outgoing *out, const struct hw_query *query, size_t i,
                         const char *what);
/* Lists what parsing lost, every top-level field of the agent's body that is set and stands not in
 * `carried` (NULL behind the last), and those members of its messages that no parser reads. */
void hw_outgoing_drop_others(struct hw_outgoing *out, const struct hw_query *query,
                             const char *const *carried);
/* The same for the members of an Ollama query's `options`, as "options.NAME". */
void hw_outgoing_drop_options(struct hw_outgoing *out, const struct hw_query *query,
                              const char *const *carried);
/* Lists content that is neither text nor an image, as "messages[N].content". */
void hw_outgoing_drop_parts(struct hw_outgoing *out, const struct hw_query *query);
/* Appends `,"images": [...]`, Ollama's, when the message has any; names what cannot be carried. */
void hw_outgoing_put_images(struct hw_outgoing *out, const struct hw_query *query, size_t at);
/* The agent's own body, around the model's name; to a backend of the same dialect. */
int hw_outgoing_pass(const struct hw_query *query, const char *model, struct hw_outgoing *out,
                     struct hw_err *err);
/* The agent's body as JSON. */
struct hw_json hw_query_root(const struct hw_query *query);

/* Appends "name": (with a comma before it unless it is the first of its object). */
void hw_put_key(struct hw_buf *buf, const char *name);
void hw_put_raw(struct hw_buf *buf, const struct hw_json *value);
/* A number as the agent spelt it, or in our spelling where it did not. */
void hw_put_number(struct hw_buf *buf, const struct hw_json *raw, double value);
/* Makes out->text the only segment. 0, or why it failed. */
int hw_outgoing_done(struct hw_outgoing *out, const char *path, struct hw_err *err);

#endif
