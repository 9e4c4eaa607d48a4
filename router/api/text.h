/* router/api/text.h - the text of a message, where it stands.
 *
 * A query of megabytes is held once: only a short text is decoded when it is parsed. A long one
 * (message->text is NULL then) stays in the body as the JSON strings that it was sent as: its
 * content, or the text among its parts or blocks. text_len is what it has decoded, either way. */
#ifndef HW_ROUTER_API_TEXT_H
#define HW_ROUTER_API_TEXT_H

#include "router/api/query.h"

/* Bytes of text that are decoded at once. */
#define HW_TEXT_SHORT 256

/* The string with text in it that a part or block of the message has; false: it has none. What a
 * parser sums up must be what this finds. */
bool hw_text_of_part(const struct hw_message *message, const struct hw_json *part,
                     struct hw_json *string);
/* The length of a string when decoded. \u0000 is refused, since text travels as C strings to
 * filters and templates: "must not contain \u0000". */
int hw_text_measure(const struct hw_json *string, size_t *len, struct hw_err *err);
/* The message's content is this string. */
int hw_text_set(struct hw_message *message, const struct hw_json *string, struct hw_arena *arena,
                struct hw_err *err);
/* The message's content or blocks are an array, and text_len was summed up. */
int hw_text_settle(struct hw_message *message, struct hw_arena *arena, struct hw_err *err);

/* The first or last bytes, whole characters, at most room; how many. */
size_t hw_text_head(const struct hw_message *message, char *out, size_t room);
size_t hw_text_tail(const struct hw_message *message, char *out, size_t room);
/* All text_len bytes; no NUL behind. */
void hw_text_copy(const struct hw_message *message, char *out);
/* What decisions look at and records keep: all of it, or of a long text the first HW_TEXT_HEAD and
 * the last HW_TEXT_TAIL bytes. "" when there is no memory. */
#define HW_TEXT_HEAD 16384
#define HW_TEXT_TAIL 512
void hw_text_excerpt(const struct hw_message *message, struct hw_arena *arena, const char **text,
                     size_t *len);
/* Appends it as one JSON string, in the words of the body where they stand there. */
void hw_text_put(struct hw_buf *buf, const struct hw_message *message);

#endif
