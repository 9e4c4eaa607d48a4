/* router/api/text.h - the text of a message, where it stands.
 *
 * A query of megabytes is held once: its texts stay in the body as the JSON strings that they were
 * sent as, alone or among the parts of a content, and are decoded where somebody reads them, as far
 * as they are read. */
#ifndef HW_ROUTER_API_TEXT_H
#define HW_ROUTER_API_TEXT_H

#include "router/api/query.h"

/* The length of a string when decoded. \u0000 is refused, since text travels as C strings to
 * filters and templates: "must not contain \u0000". */
int hw_text_measure(const struct hw_json *string, size_t *len, struct hw_err *err);
/* The message's text is this string. */
int hw_text_set(struct hw_message *message, const struct hw_json *string, struct hw_err *err);
/* It stands in this array; text_len was summed up. */
void hw_text_set_parts(struct hw_message *message, enum hw_source_kind kind,
                       const struct hw_json *array);

/* The string with text that an element of such an array holds; false: it is something else. */
bool hw_text_of_part(const struct hw_json *part, enum hw_source_kind kind, struct hw_json *string);

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
