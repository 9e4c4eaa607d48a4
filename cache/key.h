/* cache/key.h - the name of a cached answer: BLAKE2b-256 over everything that changes the answer.
 *
 * Fields are length-prefixed, so that no two different queries feed the same bytes. */
#ifndef HW_CACHE_KEY_H
#define HW_CACHE_KEY_H

#include <sodium.h>
#include <stddef.h>
#include <stdint.h>

#define HW_CACHE_FORMAT 1 /* of keys and entries; raised when either changes meaning */

struct hw_cache_key {
    uint8_t bytes[32];
};

struct hw_cache_key_builder {
    crypto_generichash_state state;
};

void hw_cache_key_begin(struct hw_cache_key_builder *builder);
void hw_cache_key_add(struct hw_cache_key_builder *builder, const void *bytes, size_t len);
void hw_cache_key_add_u64(struct hw_cache_key_builder *builder, uint64_t value);
void hw_cache_key_end(struct hw_cache_key_builder *builder, struct hw_cache_key *key);

#endif
