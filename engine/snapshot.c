/* engine/snapshot.c - sessions to snapshots and back; which of several fits a text. */
#include "engine/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "engine/snapshot_parts.h"

struct hw_snapshot_shape
hw_snapshot_measure(const struct hw_bdh_engine *e, uint64_t position)
{
    bool fast = e->precision == HW_BDH_FAST;
    struct hw_snapshot_shape shape = {
        .row_bytes = 2 * e->width * (fast ? sizeof(int8_t) : sizeof(float)),
        .places = (size_t)e->conf.n_layer * e->conf.n_head,
        .q_bytes = e->head_width * (fast ? sizeof(uint8_t) : sizeof(float)),
        .q_scale_bytes = fast ? sizeof(float) : 0,
        .x_bytes = e->width * sizeof(float),
        .touched_bytes = e->head_width / 2 * sizeof(uint32_t),
        .slots = position % e->block,
    };

    shape.pair_bytes = shape.row_bytes + (fast ? sizeof(float) : 0);
    shape.pairs = shape.places * (e->conf.n_neuron / 2);
    shape.map_bytes = (shape.pairs + 7) / 8;
    if (shape.slots > 0)
        shape.open_bytes = shape.places * (shape.slots * (shape.q_bytes + shape.q_scale_bytes) +
                                           shape.touched_bytes) +
                           e->conf.n_layer * shape.slots * shape.x_bytes;
    return shape;
}

struct hw_bdh_snapshot *
hw_snapshot_make(const struct hw_bdh_engine *e, uint64_t position, size_t kept)
{
    const struct hw_snapshot_shape shape = hw_snapshot_measure(e, position);
    size_t body_bytes = shape.map_bytes + kept * shape.pair_bytes + shape.open_bytes;
    struct hw_bdh_snapshot *snapshot = malloc(sizeof(*snapshot) + body_bytes);

    if (snapshot == NULL)
        return NULL;
    *snapshot = (struct hw_bdh_snapshot){
        .references = 1,
        .vocab = e->conf.vocab,
        .precision = e->precision,
        .position = position,
        .pair_bytes = (uint32_t)shape.pair_bytes,
        .pairs = shape.pairs,
        .kept = kept,
        .body_bytes = body_bytes,
    };
    memcpy(snapshot->digest, e->digest, sizeof(snapshot->digest));
    return snapshot;
}

static bool
is_zero(const void *bytes, size_t len)
{
    const uint64_t *words = bytes;

    for (size_t i = 0; i < len / sizeof(*words); i++)
        if (words[i] != 0)
            return false;
    return true;
}

/* Where a pair's scale is; NULL in f32. */
static float *
find_scale(const struct hw_bdh_session *s, size_t pair)
{
    const struct hw_bdh_engine *e = s->engine;
    size_t in_place = e->conf.n_neuron / 2;

    return e->precision == HW_BDH_FAST
               ? s->scales + pair / in_place * (e->head_width / 2) + pair % in_place
               : NULL;
}

/* Whether anything was written to it. */
static bool
is_written(const struct hw_bdh_session *s, const struct hw_snapshot_shape *shape, size_t pair)
{
    const float *scale = find_scale(s, pair);

    return scale != NULL
               ? *scale > 0.0f
               : !is_zero((uint8_t *)s->state + pair * shape->row_bytes, shape->row_bytes);
}

/* A pair's rows and scale, from the session or, with `back`, to it. */
static void
move_pair(const struct hw_bdh_session *s, const struct hw_snapshot_shape *shape, size_t pair,
          uint8_t *bytes, bool back)
{
    uint8_t *rows = (uint8_t *)s->state + pair * shape->row_bytes;
    float *scale = find_scale(s, pair);

    memcpy(back ? rows : bytes, back ? bytes : rows, shape->row_bytes);
    bytes += shape->row_bytes;
    if (scale != NULL)
        memcpy(back ? (void *)scale : bytes, back ? bytes : (void *)scale, sizeof(*scale));
}

static void
clear_pair(const struct hw_bdh_session *s, const struct hw_snapshot_shape *shape, size_t pair)
{
    float *scale = find_scale(s, pair);

    if (scale != NULL)
        *scale = 0.0f;
    else
        memset((uint8_t *)s->state + pair * shape->row_bytes, 0, shape->row_bytes);
}

/* The open block's slots in use, from the session or, with `back`, to it. */
static void
move_open_block(const struct hw_bdh_session *s, const struct hw_snapshot_shape *shape,
                uint8_t *open, bool back)
{
    const struct {
        uint8_t *at;
        size_t count, stride, bytes;
    } parts[] = {
        {s->q, shape->places, s->engine->block * shape->q_bytes, shape->slots * shape->q_bytes},
        {(uint8_t *)s->q_scales, shape->places, s->engine->block * shape->q_scale_bytes,
         shape->slots * shape->q_scale_bytes},
        {(uint8_t *)s->x, s->engine->conf.n_layer, s->engine->block * shape->x_bytes,
         shape->slots * shape->x_bytes},
        {(uint8_t *)s->touched, 1, 0, shape->places * shape->touched_bytes},
    };

    if (shape->slots == 0)
        return;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        for (size_t j = 0; j < parts[i].count; j++) {
            uint8_t *at = parts[i].at + j * parts[i].stride;
            memcpy(back ? at : open, back ? open : at, parts[i].bytes);
            open += parts[i].bytes;
        }
}

int
hw_bdh_snapshot_take(const struct hw_bdh_session *session, struct hw_bdh_snapshot **out,
                     struct hw_err *err)
{
    const struct hw_snapshot_shape shape = hw_snapshot_measure(session->engine, session->position);
    uint8_t *map = calloc(1, shape.map_bytes);
    size_t kept = 0;

    for (size_t i = 0; map != NULL && i < shape.pairs; i++)
        if (is_written(session, &shape, i)) {
            map[i / 8] |= (uint8_t)(1u << i % 8);
            kept++;
        }
    struct hw_bdh_snapshot *snapshot =
        map != NULL ? hw_snapshot_make(session->engine, session->position, kept) : NULL;
    if (snapshot == NULL) {
        free(map);
        return hw_err_set(err, HW_ENOMEM, "no memory for a snapshot of %zu pairs of rows", kept);
    }
    snapshot->history = session->history;
    memcpy(snapshot->body, map, shape.map_bytes);
    uint8_t *to = snapshot->body + shape.map_bytes;
    for (size_t i = 0; i < shape.pairs; i++)
        if ((map[i / 8] >> i % 8 & 1) != 0) {
            move_pair(session, &shape, i, to, false);
            to += shape.pair_bytes;
        }
    move_open_block(session, &shape, to, false);
    free(map);
    *out = snapshot;
    return 0;
}

struct hw_bdh_snapshot *
hw_bdh_snapshot_ref(struct hw_bdh_snapshot *snapshot)
{
    snapshot->references++;
    return snapshot;
}

void
hw_bdh_snapshot_unref(struct hw_bdh_snapshot **snapshot)
{
    if (*snapshot != NULL && --(*snapshot)->references == 0)
        free(*snapshot);
    *snapshot = NULL;
}

int
hw_bdh_session_restore(struct hw_bdh_session *session, const struct hw_bdh_snapshot *snapshot,
                       struct hw_err *err)
{
    const struct hw_bdh_engine *e = session->engine;
    const struct hw_snapshot_shape shape = hw_snapshot_measure(e, snapshot->position);
    const uint8_t *map = snapshot->body;
    uint8_t *from = (uint8_t *)map + shape.map_bytes;

    if (snapshot->precision != e->precision ||
        memcmp(snapshot->digest, e->digest, sizeof(e->digest)) != 0)
        return hw_err_set(err, HW_EINVAL, "the snapshot is of another model or precision");
    for (size_t i = 0; i < shape.pairs; i++)
        if ((map[i / 8] >> i % 8 & 1) != 0) {
            move_pair(session, &shape, i, from, true);
            from += shape.pair_bytes;
        } else {
            clear_pair(session, &shape, i);
        }
    move_open_block(session, &shape, from, true);
    session->history = snapshot->history;
    session->position = snapshot->position;
    return 0;
}

uint64_t
hw_bdh_snapshot_position(const struct hw_bdh_snapshot *snapshot)
{
    return snapshot->position;
}

size_t
hw_bdh_snapshot_bytes(const struct hw_bdh_snapshot *snapshot)
{
    return sizeof(*snapshot) + snapshot->body_bytes;
}

bool
hw_bdh_snapshot_same(const struct hw_bdh_snapshot *a, const struct hw_bdh_snapshot *b)
{
    return a->position == b->position && a->precision == b->precision &&
           memcmp(a->digest, b->digest, sizeof(a->digest)) == 0 &&
           hw_history_same(&a->history, &b->history, a->position);
}

size_t
hw_bdh_snapshots_find(struct hw_bdh_snapshot *const *by_position, size_t count, const void *text,
                      size_t len)
{
    const uint8_t *bytes = text;
    struct hw_history walked = {0};
    uint64_t at = 0;
    size_t found = count;

    for (size_t i = 0; i < count && by_position[i]->position < len; i++) {
        const struct hw_bdh_snapshot *snapshot = by_position[i];
        for (; at < snapshot->position; at++)
            hw_history_note(&walked, at, bytes[at] % snapshot->vocab);
        if (hw_history_same(&walked, &snapshot->history, at))
            found = i;
    }
    return found;
}

bool
hw_bdh_snapshot_ends_with(const struct hw_bdh_snapshot *snapshot, const void *text, size_t len)
{
    const uint8_t *bytes = text;
    size_t known = snapshot->position < HW_HISTORY_RECENT ? (size_t)snapshot->position
                                                          : (size_t)HW_HISTORY_RECENT;

    if (len > snapshot->position)
        return false;
    for (size_t i = 1; i <= len && i <= known; i++)
        if (snapshot->history.recent[(snapshot->position - i) % HW_HISTORY_RECENT] !=
            bytes[len - i])
            return false;
    return true;
}
