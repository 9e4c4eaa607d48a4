/* router/http/client_resolve.h - names to addresses, looked up off the loop and kept for a while.
 *
 * One a loop. Answers are kept 30 s, failures 1 s, at most 64 names. */
#ifndef HW_ROUTER_HTTP_CLIENT_RESOLVE_H
#define HW_ROUTER_HTTP_CLIENT_RESOLVE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <uv.h>

#include "hatchway/err.h"

#define HW_MAX_ADDRESSES 8

union hw_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

struct hw_addresses {
    size_t count;
    union hw_address list[HW_MAX_ADDRESSES]; /* port 0 */
};

struct hw_resolver;
struct hw_resolver_name;

/* Embedded in who waits. On failure addresses is NULL and what says why. */
struct hw_resolve_waiter {
    struct hw_resolver_name *name; /* NULL: does not wait */
    struct hw_resolve_waiter *prev, *next;
    void (*on_resolved)(struct hw_resolve_waiter *waiter, const struct hw_addresses *addresses,
                        const char *what);
};

struct hw_resolver *hw_resolver_create(uv_loop_t *loop);
/* Nobody may wait any more. */
void hw_resolver_close(struct hw_resolver *resolver, void (*closed_cb)(void *ctx), void *ctx);

/* 1: *out is filled now (an address in figures, or a name kept). 0: on_resolved fires once, later.
 * Negative: an error now. */
int hw_resolver_ask(struct hw_resolver *resolver, const char *host,
                    struct hw_resolve_waiter *waiter, struct hw_addresses *out, struct hw_err *err);
void hw_resolver_forget(struct hw_resolve_waiter *waiter); /* harmless when it does not wait */

#endif
