/* config/arena.c - a list of chunks, filled from the front. */
#include "config/arena.h"

#include <stdint.h>
#include <string.h>

#include "hatchway/assert.h"

#define CHUNK_BYTES 16384
#define ALIGN_BYTES 16

struct hw_conf_arena_chunk {
    struct hw_conf_arena_chunk *next;
    size_t used, size;
    _Alignas(ALIGN_BYTES) unsigned char bytes[];
};

void *
hw_conf_arena_alloc(struct hw_conf_arena *arena, size_t size)
{
    HW_ASSERT(size < SIZE_MAX / 2);
    size_t need = (size + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
    struct hw_conf_arena_chunk *chunk = arena->chunks;
    if (chunk == NULL || chunk->size - chunk->used < need) {
        size_t room = need > CHUNK_BYTES ? need : CHUNK_BYTES;
        chunk = hw_xcalloc(1, sizeof(*chunk) + room);
        chunk->size = room;
        chunk->next = arena->chunks;
        arena->chunks = chunk;
    }
    void *p = chunk->bytes + chunk->used;
    chunk->used += need;
    return p;
}

void *
hw_conf_arena_array(struct hw_conf_arena *arena, size_t count, size_t size)
{
    HW_ASSERT(size == 0 || count < SIZE_MAX / 2 / size);
    return hw_conf_arena_alloc(arena, count * size);
}

char *
hw_conf_arena_strndup(struct hw_conf_arena *arena, const char *text, size_t len)
{
    char *copy = hw_conf_arena_alloc(arena, len + 1);
    memcpy(copy, text, len);
    return copy;
}

char *
hw_conf_arena_strdup(struct hw_conf_arena *arena, const char *text)
{
    return hw_conf_arena_strndup(arena, text, strlen(text));
}

void
hw_conf_arena_free(struct hw_conf_arena *arena)
{
    while (arena->chunks != NULL) {
        struct hw_conf_arena_chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        explicit_bzero(chunk->bytes, chunk->used);
        free(chunk);
    }
}
