/* router/http/body.h - the bytes of one request, held once.
 *
 * Server, translators and backend calls share them by reference. Owned by one loop: the count is
 * not atomic. */
#ifndef HW_ROUTER_HTTP_BODY_H
#define HW_ROUTER_HTTP_BODY_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "hatchway/assert.h"

struct hw_body {
    uint32_t refs;
    size_t len;
    size_t cap;
    char *bytes; /* NUL behind len */
};

static inline struct hw_body *
hw_body_ref(struct hw_body *body)
{
    HW_ASSERT(body->refs > 0);
    body->refs++;
    return body;
}

static inline void
hw_body_unref(struct hw_body *body)
{
    if (body == NULL)
        return;
    HW_ASSERT(body->refs > 0);
    if (--body->refs == 0) {
        free(body->bytes);
        free(body);
    }
}

#endif
