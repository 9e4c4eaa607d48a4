/* router/api/json.h - a strict, bounded JSON scanner over bytes.
 *
 * cJSON lets much through and has no offsets (trailing junk, 01, raw control characters, invalid
 * UTF-8, duplicate keys; numbers are re-printed). So bodies are scanned strictly first: a cursor
 * walks the text and hands out values as slices of it; numbers keep their source text. Limits on
 * depth and on the number of values bound the work. RFC 8259; a lone surrogate escape is refused.
 */
#ifndef HW_ROUTER_API_JSON_H
#define HW_ROUTER_API_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hatchway/buf.h"
#include "hatchway/err.h"
#include "router/arena.h"

enum hw_json_type {
    HW_JSON_NULL,
    HW_JSON_BOOL,
    HW_JSON_NUMBER,
    HW_JSON_STRING,
    HW_JSON_ARRAY,
    HW_JSON_OBJECT
};

struct hw_json_limits {
    uint32_t depth;
    uint32_t nodes;
};

/* A value: its exact source text. Of a validated document only. */
struct hw_json {
    enum hw_json_type type;
    const char *p;
    size_t len;
};

/* Validates the whole document once; *root covers it without surrounding white space. The error
 * names the byte offset. */
int hw_json_validate(const char *text, size_t len, const struct hw_json_limits *limits,
                     struct hw_json *root, struct hw_err *err);

/* Walks an object's members or an array's elements. Text must have been validated. */
struct hw_json_iter {
    const char *p, *end;
    bool object;
};
void hw_json_iter_init(struct hw_json_iter *iter, const struct hw_json *container);
/* key: the raw string value (with quotes; compare by hw_json_string_is); NULL for arrays. */
bool hw_json_next(struct hw_json_iter *iter, struct hw_json *key, struct hw_json *value);
bool hw_json_get(const struct hw_json *object, const char *key,
                 struct hw_json *value); /* first match */

bool hw_json_string_is(const struct hw_json *string, const char *text); /* escapes decoded */
/* Decoded UTF-8 into the arena, NUL behind. \u0000 is refused (HW_EINVAL) since text travels as C
 * strings to filters and templates. */
int hw_json_string(const struct hw_json *string, struct hw_arena *arena, const char **out,
                   size_t *len, struct hw_err *err);
/* Decodes into out, which has room for string->len bytes, and returns how many it wrote. \u0000
 * becomes a byte 0, no NUL is put behind. */
size_t hw_json_decode(const struct hw_json *string, char *out);
/* The escape at *p (its backslash): writes up to 4 bytes and moves *p behind it. */
size_t hw_json_decode_escape(const char **p, char *out);
int hw_json_append_decoded(const struct hw_json *string, struct hw_buf *out);
bool hw_json_bool(const struct hw_json *value, bool *out);
bool hw_json_number(const struct hw_json *value, double *out); /* finite, at most 127 characters */
bool hw_json_uint(const struct hw_json *value,
                  uint64_t *out); /* a whole number >= 0, also 1.0 or 1e3 */

/* Appends text as a JSON string with quotes. Bytes that are no UTF-8 become U+FFFD. */
int hw_json_write_string(struct hw_buf *out, const char *text, size_t len);
/* Appends only what stands between the quotes. */
int hw_json_write_escaped(struct hw_buf *out, const char *text, size_t len);

#endif
