/* engine/snapshot.h - a session's state, set aside.
 *
 * A snapshot is all that a session is at one position: the state, the tokens that the state does
 * not hold yet, the position, and by what text it is known. It never changes and is
 * reference-counted, so any number of sessions may go on from one; each does so to the bits that
 * the session it was taken of would have come to (by the same kernels: others round otherwise).
 * Pairs of rows that nothing was written to are left out: all of them before the 16th token, hardly
 * any later in a trained model. Belongs to one thread, as its references do. */
#ifndef HW_ENGINE_SNAPSHOT_H
#define HW_ENGINE_SNAPSHOT_H

#include "engine/forward.h"
#include "engine/sample.h"
#include "engine/textout.h"

struct hw_bdh_snapshot; /* opaque; layout in snapshot_parts.h */

/* On 0 the caller owns a reference. HW_ENOMEM. */
int hw_bdh_snapshot_take(const struct hw_bdh_session *session, struct hw_bdh_snapshot **out,
                         struct hw_err *err);
struct hw_bdh_snapshot *hw_bdh_snapshot_ref(struct hw_bdh_snapshot *snapshot);
void hw_bdh_snapshot_unref(struct hw_bdh_snapshot **snapshot); /* NULL-safe, nulls it */
/* Whatever the session held is gone. HW_EINVAL, the session as it was, when the snapshot is of
 * another model or precision. */
int hw_bdh_session_restore(struct hw_bdh_session *session, const struct hw_bdh_snapshot *snapshot,
                           struct hw_err *err);

uint64_t hw_bdh_snapshot_position(const struct hw_bdh_snapshot *snapshot); /* tokens read */
size_t hw_bdh_snapshot_bytes(const struct hw_bdh_snapshot *snapshot);      /* of memory */
/* Whether two are of the same text, model and precision. */
bool hw_bdh_snapshot_same(const struct hw_bdh_snapshot *a, const struct hw_bdh_snapshot *b);
/* Of `count` snapshots of one model, lowest position first, that which has read most of this text
 * and leaves a part of it unread: its index, or count. The text is walked once. */
size_t hw_bdh_snapshots_find(struct hw_bdh_snapshot *const *by_position, size_t count,
                             const void *text, size_t len);
/* Whether the last thing it has read is this, as far as its last 16 tokens tell. */
bool hw_bdh_snapshot_ends_with(const struct hw_bdh_snapshot *snapshot, const void *text,
                               size_t len);

/* A file holds a snapshot and what an answer goes on with. Little-endian:
 *
 *     "HWSTATE\n" | u32 version (3) | u32 precision | u8 digest[32] | u64 position
 *     u8 history[32], u16 recent[16]
 *     u32 vocab | u32 pair bytes | u64 pairs | u64 kept pairs | u64 body bytes
 *     u64 generator[4] | u32 lately count | u32 waiting bytes | u32 lately[...]
 *     u8 waiting[...] | f32 logits[vocab] | body | u8 BLAKE2b-256 of all before it
 *
 * body: a bit for each pair of rows of the state, lowest first; the pairs whose bit is set, in fast
 * each with its scale behind it; of the open block q, in fast their scales, x and touched. Files of
 * older versions are refused: what was read can be read again. */
struct hw_bdh_saved {
    struct hw_bdh_snapshot *snapshot;
    struct hw_sampler_state generator;
    float *logits; /* [vocab]: for what follows the last token */
    struct hw_textout_waiting waiting;
};

/* All or nothing: a temporary file beside it, synced, then renamed. */
int hw_bdh_saved_write(const struct hw_bdh_saved *saved, const char *path, struct hw_err *err);
/* A file that is cut, altered, or of another model or precision than the engine's is refused with
 * what is wrong; no more is allocated than a state of this engine needs. On 0 the caller frees
 * *out. */
int hw_bdh_saved_read(const struct hw_bdh_engine *engine, const char *path,
                      struct hw_bdh_saved *out, struct hw_err *err);
void hw_bdh_saved_free(struct hw_bdh_saved *saved); /* safe on one of zeros */

#endif
