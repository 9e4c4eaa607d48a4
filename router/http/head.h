/* router/http/head.h - header fields, as server and client both hold them. */
#ifndef HW_ROUTER_HTTP_HEAD_H
#define HW_ROUTER_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A field to send. Names are ours (token characters); a value with CR, LF or NUL is refused by
 * whoever writes it out. */
struct hw_http_field {
    const char *name;
    const char *value;
    size_t value_len;
};

/* A received head: one block of memory, fields as slices of it. Names keep their spelling, values
 * are trimmed. */
struct hw_http_slice {
    const char *p;
    size_t len;
};

struct hw_http_received_field {
    struct hw_http_slice name;
    struct hw_http_slice value;
};

struct hw_http_head {
    const struct hw_http_received_field *fields;
    size_t count;
};

/* The first field of that name (case-insensitive), or NULL. */
const struct hw_http_slice *hw_http_head_find(const struct hw_http_head *head, const char *name);
bool hw_http_slice_is(const struct hw_http_slice *slice, const char *text); /* case-insensitive */

#endif
