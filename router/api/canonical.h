/* router/api/canonical.h - what the dialects' parsers share to build a canonical query. */
#ifndef HW_ROUTER_API_CANONICAL_H
#define HW_ROUTER_API_CANONICAL_H

#include "router/api/query.h"

/* An empty message behind the others; good until the next is added. NULL: over the arena's limit,
 * err is filled (HW_ELIMIT). */
struct hw_message *hw_query_add_message(struct hw_query *query, struct hw_arena *arena,
                                        struct hw_err *err);
/* Notes a member of a message; HW_ELIMIT as above. */
int hw_message_set(struct hw_query *query, struct hw_message *message, enum hw_member what,
                   const struct hw_json *value, struct hw_arena *arena, struct hw_err *err);
/* The member as it was noted; false: it has none. */
bool hw_message_get(const struct hw_query *query, const struct hw_message *message,
                    enum hw_member what, struct hw_json *value);
/* When all messages are there: last_user, prompt_bytes, wants_images. */
void hw_query_settle(struct hw_query *query);

/* Moves what was written into the arena and frees buf, whatever comes back; *out covers it. */
int hw_query_keep(struct hw_buf *buf, enum hw_json_type type, struct hw_arena *arena,
                  struct hw_json *out, struct hw_err *err);
/* Names what cannot be carried, whoever answers. Bounded: the last name is "..." when there are
 * more. */
void hw_query_lose(struct hw_query *query, struct hw_arena *arena, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Hands each element of the agent's array to read, with its index: the messages that it adds keep
 * that, and an error of it says where. */
typedef int (*hw_read_message)(void *ctx, const struct hw_json *item, size_t i);
int hw_query_read_messages(const struct hw_json *array, const char *name, hw_read_message read,
                           void *ctx, struct hw_query *query, struct hw_err *err);
/* "messages[2].content must be ...": puts the element before what err says of it; returns rc. */
int hw_query_at(int rc, const char *array, size_t i, struct hw_err *err);

#endif
