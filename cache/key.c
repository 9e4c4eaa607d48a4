/* cache/key.c - keys are BLAKE2b from libsodium: fast, and nobody can make two queries collide to
 * read another tenant's answers. */
#include "cache/key.h"

static void
put_le64(uint8_t out[8], uint64_t value)
{
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

void
hw_cache_key_begin(struct hw_cache_key_builder *builder)
{
    crypto_generichash_init(&builder->state, NULL, 0, sizeof(((struct hw_cache_key *)0)->bytes));
    hw_cache_key_add_u64(builder, HW_CACHE_FORMAT);
}

void
hw_cache_key_add(struct hw_cache_key_builder *builder, const void *bytes, size_t len)
{
    uint8_t prefix[8];

    put_le64(prefix, len);
    crypto_generichash_update(&builder->state, prefix, sizeof(prefix));
    if (len > 0)
        crypto_generichash_update(&builder->state, bytes, len);
}

void
hw_cache_key_add_u64(struct hw_cache_key_builder *builder, uint64_t value)
{
    uint8_t bytes[8];

    put_le64(bytes, value);
    hw_cache_key_add(builder, bytes, sizeof(bytes));
}

void
hw_cache_key_end(struct hw_cache_key_builder *builder, struct hw_cache_key *key)
{
    crypto_generichash_final(&builder->state, key->bytes, sizeof(key->bytes));
}
