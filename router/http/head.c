/* router/http/head.c - looking fields up in a received head.
 *
 * A linear walk: heads of agents have ten fields or so, and comparing lengths first leaves about
 * one comparison of bytes a look-up. */
#include "router/http/head.h"

#include <string.h>
#include <strings.h>

bool
hw_http_slice_is(const struct hw_http_slice *slice, const char *text)
{
    size_t len = strlen(text);
    return slice->len == len && strncasecmp(slice->p, text, len) == 0;
}

const struct hw_http_slice *
hw_http_head_find(const struct hw_http_head *head, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < head->count; i++) {
        const struct hw_http_received_field *field = &head->fields[i];
        if (field->name.len == len && strncasecmp(field->name.p, name, len) == 0)
            return &field->value;
    }
    return NULL;
}
