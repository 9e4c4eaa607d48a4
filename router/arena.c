/* router/arena.c - a bump allocator over a list of blocks.
 *
 * Only what is handed out is zeroed, so an exchange that uses 300 bytes does not pay for a block of
 * four thousand. What is large gets a block of its own behind the front one, which goes on serving
 * the small pieces. */
#include "router/arena.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* With its header about 4 KiB, and a multiple of ALIGN. */
#define BLOCK_BYTES ((size_t)4080)
#define ALIGN ((size_t)16)

struct hw_arena_block {
    struct hw_arena_block *next;
    size_t cap;
    _Alignas(16) unsigned char bytes[];
};

void
hw_arena_init(struct hw_arena *arena, size_t max)
{
    *arena = (struct hw_arena){.max = max};
}

static size_t
round_up(size_t size)
{
    return size == 0 ? ALIGN : (size + ALIGN - 1) & ~(ALIGN - 1);
}

static struct hw_arena_block *
add_block(struct hw_arena *arena, size_t cap, bool behind_front)
{
    struct hw_arena_block *block = malloc(sizeof(*block) + cap);
    if (block == NULL)
        return NULL;
    block->cap = cap;
    if (behind_front && arena->blocks != NULL) {
        block->next = arena->blocks->next;
        arena->blocks->next = block;
    } else {
        block->next = arena->blocks;
        arena->blocks = block;
        arena->used = 0;
    }
    return block;
}

void *
hw_arena_alloc(struct hw_arena *arena, size_t size)
{
    if (size > SIZE_MAX - ALIGN)
        return NULL;
    size_t rounded = round_up(size);
    if (rounded > arena->max || arena->total > arena->max - rounded) {
        arena->full = true;
        return NULL;
    }

    unsigned char *p;
    if (arena->blocks != NULL && rounded <= arena->blocks->cap - arena->used) {
        p = arena->blocks->bytes + arena->used;
        arena->used += rounded;
    } else if (rounded > BLOCK_BYTES / 2) {
        bool front = arena->blocks == NULL;
        struct hw_arena_block *block = add_block(arena, rounded, true);
        if (block == NULL)
            return NULL;
        if (front)
            arena->used = rounded;
        p = block->bytes;
    } else {
        struct hw_arena_block *block = add_block(arena, BLOCK_BYTES, false);
        if (block == NULL)
            return NULL;
        p = block->bytes;
        arena->used = rounded;
    }
    arena->total += rounded;
    memset(p, 0, rounded);
    return p;
}

/* The link to the block that p has to itself; NULL: it shares one. */
static struct hw_arena_block **
own_block(struct hw_arena *arena, const void *p, size_t size)
{
    if (size <= BLOCK_BYTES / 2)
        return NULL;
    for (struct hw_arena_block **link = &arena->blocks; *link != NULL; link = &(*link)->next)
        if ((*link)->bytes == p)
            return (*link)->cap == size ? link : NULL;
    return NULL;
}

void *
hw_arena_grow(struct hw_arena *arena, void *p, size_t old_size, size_t size)
{
    size_t old_rounded = round_up(old_size), rounded = round_up(size);
    struct hw_arena_block **link = own_block(arena, p, old_rounded);

    if (link == NULL) {
        void *more = hw_arena_alloc(arena, size);
        if (more != NULL)
            memcpy(more, p, old_size);
        return more;
    }
    size_t others = arena->total - old_rounded;
    if (size > SIZE_MAX / 2 || rounded > arena->max || others > arena->max - rounded)
        return NULL;
    struct hw_arena_block *grown = realloc(*link, sizeof(*grown) + rounded);
    if (grown == NULL)
        return NULL;
    grown->cap = rounded;
    if (link == &arena->blocks)
        arena->used = rounded;
    *link = grown;
    arena->total = others + rounded;
    return grown->bytes;
}

char *
hw_arena_copy(struct hw_arena *arena, const void *bytes, size_t len)
{
    if (len == SIZE_MAX)
        return NULL;
    char *copy = hw_arena_alloc(arena, len + 1);
    if (copy != NULL && len > 0)
        memcpy(copy, bytes, len);
    return copy;
}

void
hw_arena_free(struct hw_arena *arena)
{
    struct hw_arena_block *block = arena->blocks;
    while (block != NULL) {
        struct hw_arena_block *next = block->next;
        free(block);
        block = next;
    }
    hw_arena_init(arena, arena->max);
}

void
hw_arena_explain(const struct hw_arena *arena, struct hw_err *err)
{
    char what[sizeof(err->msg)];

    if (!arena->full)
        return;
    snprintf(what, sizeof(what), "%s", err->msg);
    hw_err_set(err, HW_ELIMIT, "%.400s (%zu bytes; that grows with limits.body)", what, arena->max);
}
