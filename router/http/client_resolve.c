/* router/http/client_resolve.c - a small cache before uv_getaddrinfo.
 *
 * Look-ups run on libuv's thread pool and cannot be stopped once begun, so a name lives on its own
 * until its look-up is over; who waits can leave at any time. */
#include "router/http/client_resolve.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"

#define KEEP_MS 30000u
#define KEEP_FAILURE_MS 1000u
#define MAX_NAMES 64

struct hw_resolver_name {
    struct hw_resolver *resolver;
    struct hw_resolver_name *next;
    char *host;
    bool running;
    uint64_t expires_ms; /* 0: never looked up */
    int status;          /* of the last look-up, libuv's */
    struct hw_addresses addresses;
    struct hw_resolve_waiter *waiters;
    uv_getaddrinfo_t req;
};

struct hw_resolver {
    uv_loop_t *loop;
    struct hw_resolver_name *names;
    size_t count;
    bool closing;
    void (*closed_cb)(void *ctx);
    void *closed_ctx;
};

struct hw_resolver *
hw_resolver_create(uv_loop_t *loop)
{
    struct hw_resolver *resolver = hw_xcalloc(1, sizeof(*resolver));

    resolver->loop = loop;
    return resolver;
}

static void
drop_name(struct hw_resolver *resolver, struct hw_resolver_name **link)
{
    struct hw_resolver_name *name = *link;

    HW_ASSERT(!name->running && name->waiters == NULL);
    *link = name->next;
    resolver->count--;
    free(name->host);
    free(name);
}

static void
finish_close(struct hw_resolver *resolver)
{
    struct hw_resolver_name **link = &resolver->names;

    while (*link != NULL) {
        if ((*link)->running)
            link = &(*link)->next;
        else
            drop_name(resolver, link);
    }
    if (resolver->names != NULL)
        return;
    void (*closed_cb)(void *) = resolver->closed_cb;
    void *ctx = resolver->closed_ctx;
    free(resolver);
    closed_cb(ctx);
}

void
hw_resolver_close(struct hw_resolver *resolver, void (*closed_cb)(void *ctx), void *ctx)
{
    resolver->closing = true;
    resolver->closed_cb = closed_cb;
    resolver->closed_ctx = ctx;
    for (struct hw_resolver_name *name = resolver->names; name != NULL; name = name->next)
        if (name->running)
            uv_cancel((uv_req_t *)&name->req); /* works only on one that has not begun */
    finish_close(resolver);
}

static void
take_addresses(struct hw_addresses *out, const struct addrinfo *list)
{
    out->count = 0;
    for (const struct addrinfo *ai = list; ai != NULL && out->count < HW_MAX_ADDRESSES;
         ai = ai->ai_next) {
        union hw_address *address = &out->list[out->count];
        memset(address, 0, sizeof(*address));
        if (ai->ai_family == AF_INET)
            memcpy(&address->v4, ai->ai_addr, sizeof(address->v4));
        else if (ai->ai_family == AF_INET6)
            memcpy(&address->v6, ai->ai_addr, sizeof(address->v6));
        else
            continue;
        out->count++;
    }
}

static void
on_looked_up(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
    struct hw_resolver_name *name = req->data;
    struct hw_resolver *resolver = name->resolver;

    take_addresses(&name->addresses, list);
    uv_freeaddrinfo(list);
    name->status = status != 0 ? status : name->addresses.count == 0 ? UV_EAI_NODATA : 0;
    name->expires_ms = uv_now(resolver->loop) + (name->status == 0 ? KEEP_MS : KEEP_FAILURE_MS);
    /* A callback may ask again or forget others: take one at a time off the front. The name counts
     * as running until the last is served, which keeps it. */
    while (name->waiters != NULL) {
        struct hw_resolve_waiter *waiter = name->waiters;
        hw_resolver_forget(waiter);
        waiter->on_resolved(waiter, name->status == 0 ? &name->addresses : NULL,
                            name->status == 0 ? NULL : uv_strerror(name->status));
    }
    name->running = false;
    if (resolver->closing)
        finish_close(resolver);
}

static bool
in_figures(const char *host, struct hw_addresses *out)
{
    memset(&out->list[0], 0, sizeof(out->list[0]));
    out->count = 1;
    return uv_ip4_addr(host, 0, &out->list[0].v4) == 0 ||
           uv_ip6_addr(host, 0, &out->list[0].v6) == 0;
}

/* Room for one more: the first name that nobody waits for goes. */
static int
make_room(struct hw_resolver *resolver, struct hw_err *err)
{
    if (resolver->count < MAX_NAMES)
        return 0;
    for (struct hw_resolver_name **link = &resolver->names; *link != NULL; link = &(*link)->next) {
        if (!(*link)->running && (*link)->waiters == NULL) {
            drop_name(resolver, link);
            return 0;
        }
    }
    return hw_err_set(err, HW_ELIMIT, "more than %d names are being looked up", MAX_NAMES);
}

static struct hw_resolver_name *
name_of(struct hw_resolver *resolver, const char *host, struct hw_err *err)
{
    for (struct hw_resolver_name *name = resolver->names; name != NULL; name = name->next)
        if (strcmp(name->host, host) == 0)
            return name;
    if (make_room(resolver, err) != 0)
        return NULL;
    struct hw_resolver_name *name = hw_xcalloc(1, sizeof(*name));
    name->resolver = resolver;
    name->req.data = name;
    name->host = strdup(host);
    HW_ASSERT(name->host != NULL);
    name->next = resolver->names;
    resolver->names = name;
    resolver->count++;
    return name;
}

int
hw_resolver_ask(struct hw_resolver *resolver, const char *host, struct hw_resolve_waiter *waiter,
                struct hw_addresses *out, struct hw_err *err)
{
    if (in_figures(host, out))
        return 1;
    struct hw_resolver_name *name = name_of(resolver, host, err);
    if (name == NULL)
        return HW_ELIMIT;
    if (!name->running) {
        if (name->expires_ms > uv_now(resolver->loop)) {
            if (name->status != 0)
                return hw_err_set(err, HW_ENOTFOUND, "cannot resolve %s: %s", host,
                                  uv_strerror(name->status));
            *out = name->addresses;
            return 1;
        }
        struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
        int rc = uv_getaddrinfo(resolver->loop, &name->req, on_looked_up, host, NULL, &hints);
        if (rc != 0)
            return hw_err_set(err, HW_EIO, "cannot resolve %s: %s", host, uv_strerror(rc));
        name->running = true;
    }
    waiter->name = name;
    waiter->prev = NULL;
    waiter->next = name->waiters;
    if (waiter->next != NULL)
        waiter->next->prev = waiter;
    name->waiters = waiter;
    return 0;
}

void
hw_resolver_forget(struct hw_resolve_waiter *waiter)
{
    struct hw_resolver_name *name = waiter->name;

    if (name == NULL)
        return;
    if (waiter->prev != NULL)
        waiter->prev->next = waiter->next;
    else
        name->waiters = waiter->next;
    if (waiter->next != NULL)
        waiter->next->prev = waiter->prev;
    waiter->name = NULL;
    waiter->prev = waiter->next = NULL;
}
