/* router/api/embeddings.h - what the two embedding dialects, the protocols and the reader share.
 *
 * The canonical answer to a query that embeds is text: one JSON array of numbers a line, in the
 * order of the input. So it is kept, counted and passed on as any answer is. Numbers keep their
 * source text; floats that came as base64 are printed so that they read back as the same floats. */
#ifndef HW_ROUTER_API_EMBEDDINGS_H
#define HW_ROUTER_API_EMBEDDINGS_H

#include "router/api/fields.h"
#include "router/api/outgoing.h"

/* Takers; ctx is the struct hw_parse. take_input: a string, an array of strings, and where the
 * dialect allows it (openai) an array of tokens or of arrays of tokens. */
int hw_take_embedding_input(void *ctx, const struct hw_json *value);
int hw_take_dimensions(void *ctx, const struct hw_json *value);
/* The body was read: the texts become the user's message, which is what is classified. */
int hw_embeddings_settle(struct hw_parse *parse);

/* Requests for a backend of the other dialect. */
int hw_embeddings_to_openai(const struct hw_query *query, const char *model,
                            struct hw_outgoing *out, struct hw_err *err);
int hw_embeddings_to_ollama(const struct hw_query *query, const char *model,
                            struct hw_outgoing *out, struct hw_err *err);

/* An array of finite numbers as a canonical line, without its end; false: it is none. */
bool hw_vector_from_array(const struct hw_json *array, struct hw_buf *out);
/* The same of base64, little-endian 32-bit floats. */
bool hw_vector_from_base64(const struct hw_json *string, struct hw_buf *out);
/* The quoted base64 of a canonical line. */
void hw_vector_write_base64(struct hw_buf *out, const char *line, size_t len);

/* Cuts the next line off text; false: there is none. */
bool hw_vector_next(const char **text, const char *end, const char **line, size_t *len);

#endif
