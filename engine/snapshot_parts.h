/* engine/snapshot_parts.h - private to snapshot*.c: the layout of a snapshot. */
#ifndef HW_ENGINE_SNAPSHOT_PARTS_H
#define HW_ENGINE_SNAPSHOT_PARTS_H

#include "engine/forward_parts.h"
#include "engine/snapshot.h"

/* How an engine's state falls into pairs of rows, and what its open block takes. */
struct hw_snapshot_shape {
    size_t row_bytes;  /* a pair's two rows */
    size_t pair_bytes; /* and, in fast, their scale */
    size_t pairs, map_bytes;
    size_t places; /* layers x heads */
    size_t q_bytes, q_scale_bytes, x_bytes,
        touched_bytes; /* a token's q and its scale in a place, its x in a layer; a place's */
    size_t slots;      /* tokens of the open block */
    size_t open_bytes;
};
struct hw_snapshot_shape hw_snapshot_measure(const struct hw_bdh_engine *engine, uint64_t position);

struct hw_bdh_snapshot {
    uint32_t references;
    uint32_t vocab;
    enum hw_bdh_precision precision;
    uint8_t digest[32];
    uint64_t position;
    struct hw_history history;
    uint32_t pair_bytes; /* of two rows of the state, as neighbours under RoPE */
    size_t pairs, kept;
    size_t body_bytes;
    uint8_t body[]; /* map, pairs, open block: as in the file */
};

/* With a body to be filled; NULL: no memory. */
struct hw_bdh_snapshot *hw_snapshot_make(const struct hw_bdh_engine *engine, uint64_t position,
                                         size_t kept);

#endif
