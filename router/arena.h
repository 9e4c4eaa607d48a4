/* router/arena.h - memory of one exchange, freed in one place.
 *
 * A bump allocator over a list of blocks. Bounded: an allocation beyond max returns NULL, since the
 * network decides how much is asked for. */
#ifndef HW_ROUTER_ARENA_H
#define HW_ROUTER_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#include "hatchway/err.h"

struct hw_arena_block;

struct hw_arena {
    struct hw_arena_block *blocks;
    size_t used; /* of the front block */
    size_t total;
    size_t max;
    bool full; /* something was refused for lying beyond max */
};

void hw_arena_init(struct hw_arena *arena, size_t max);
void *hw_arena_alloc(struct hw_arena *arena,
                     size_t size); /* zeroed, 16-byte aligned; NULL: over max */
/* More room for what p holds, which was allocated so; what is new is not zeroed. NULL: over the
 * maximum, and p is what it was. A large p grows in place or moves without a copy being left. */
void *hw_arena_grow(struct hw_arena *arena, void *p, size_t old_size, size_t size);
char *hw_arena_copy(struct hw_arena *arena, const void *bytes, size_t len); /* with a NUL behind */
/* For a query that was refused: says how much it may have and which limit that goes by. */
void hw_arena_explain(const struct hw_arena *arena, struct hw_err *err);
void hw_arena_free(struct hw_arena *arena);

#endif
