/* cache/redis_link.h - one TCP connection to Redis: bytes out, replies in. Private to cache.
 *
 * Owned by its loop and by one owner. After on_lost or hw_redis_link_close the owner has let go of
 * it and hears on_closed once, later, when its memory goes. */
#ifndef HW_CACHE_REDIS_LINK_H
#define HW_CACHE_REDIS_LINK_H

#include <stdbool.h>
#include <uv.h>

#include "cache/entry.h"
#include "hatchway/buf.h"

struct hw_redis_link;

enum hw_redis_reply {
    HW_REDIS_REPLY_DONE,  /* +OK, an integer, nil */
    HW_REDIS_REPLY_VALUE, /* a bulk string; entry NULL: not one of our values */
    HW_REDIS_REPLY_ERROR, /* -ERR ... */
};

/* All are called from the loop, never from within a function of the link, except that on_lost may
 * come from hw_redis_link_flush. */
struct hw_redis_link_events {
    void (*on_connected)(void *ctx);
    /* One a command, in their order. entry: a reference for the callee. */
    void (*on_reply)(void *ctx, enum hw_redis_reply reply, struct hw_cache_entry *entry);
    void (*on_lost)(void *ctx);
    void (*on_closed)(void *ctx);
};

/* NULL when no socket could be had; nothing is called then. */
struct hw_redis_link *hw_redis_link_open(uv_loop_t *loop, const struct sockaddr *address,
                                         uint64_t max_entry_bytes,
                                         const struct hw_redis_link_events *events, void *ctx);
void hw_redis_link_close(struct hw_redis_link *link);
/* Commands are appended here and sent by the next flush. */
struct hw_buf *hw_redis_link_out(struct hw_redis_link *link);
void hw_redis_link_flush(struct hw_redis_link *link);
size_t hw_redis_link_unsent(const struct hw_redis_link *link);

#endif
