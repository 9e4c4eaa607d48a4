/* cache/redis_wire.h - what is said to Redis, byte for byte. Private to cache. Pure.
 *
 * Keys are "hw:1:" and the key in hex; a value is one byte HW_CACHE_FORMAT, eight bytes expires_ms
 * (little-endian) and the entry's bytes. Values are read as strictly as anything from a peer. */
#ifndef HW_CACHE_REDIS_WIRE_H
#define HW_CACHE_REDIS_WIRE_H

#include "cache/entry.h"
#include "cache/key.h"
#include "hatchway/buf.h"

#define HW_REDIS_VALUE_HEAD 9u

/* The commands that open a connection: AUTH if there is a password, then SELECT, which is sent for
 * db 0 too because its answer is the proof that somebody is there. Returns how many were written.
 */
unsigned hw_redis_write_hello(struct hw_buf *out, const char *password, uint32_t db);
int hw_redis_write_ping(struct hw_buf *out);
/* Asks for one byte more than the largest entry wanted, so that no reply is larger than that. */
int hw_redis_write_get(struct hw_buf *out, const struct hw_cache_key *key,
                       uint64_t max_entry_bytes);
int hw_redis_write_set(struct hw_buf *out, const struct hw_cache_key *key,
                       const struct hw_cache_entry *entry, uint64_t ttl_ms);
/* NULL: absent, of another format, expired, too large, or no memory for it: a miss. */
struct hw_cache_entry *hw_redis_read_value(const void *bytes, size_t len, uint64_t max_entry_bytes,
                                           uint64_t now_ms);

#endif
