/* config/arena.h - the memory of one snapshot (or of one YAML tree): many allocations, one free.
 *
 * Everything is zeroed when handed out and wiped before it goes back, so no key or password of a
 * configuration outlives it. Running out of memory aborts: the file is at most 1 MiB and what is
 * made of it a small multiple of that. */
#ifndef HW_CONFIG_ARENA_H
#define HW_CONFIG_ARENA_H

#include <stddef.h>

struct hw_conf_arena_chunk;

struct hw_conf_arena {
    struct hw_conf_arena_chunk *chunks; /* newest first; NULL: nothing allocated yet */
};

void *hw_conf_arena_alloc(struct hw_conf_arena *arena, size_t size);
void *hw_conf_arena_array(struct hw_conf_arena *arena, size_t count, size_t size);
char *hw_conf_arena_strdup(struct hw_conf_arena *arena, const char *text);
char *hw_conf_arena_strndup(struct hw_conf_arena *arena, const char *text, size_t len);
void hw_conf_arena_free(struct hw_conf_arena *arena);

#endif
