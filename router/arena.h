/* router/arena.h - memory of one exchange, freed in one place.
 *
 * A bump allocator over a list of blocks. Bounded: an allocation beyond max returns NULL, since the
 * network decides how much is asked for. */
#ifndef HW_ROUTER_ARENA_H
#define HW_ROUTER_ARENA_H

#include <stddef.h>

struct hw_arena_block;

struct hw_arena {
    struct hw_arena_block *blocks;
    size_t used; /* of the front block */
    size_t total;
    size_t max;
};

void hw_arena_init(struct hw_arena *arena, size_t max);
void *hw_arena_alloc(struct hw_arena *arena,
                     size_t size); /* zeroed, 16-byte aligned; NULL: over max */
char *hw_arena_copy(struct hw_arena *arena, const void *bytes, size_t len); /* with a NUL behind */
void hw_arena_free(struct hw_arena *arena);

#endif
