/* engine/forward.h - BDH token by token, in constant memory.
 *
 * The recurrent form: each layer and head keeps S [N, D]; a token reads y = q . S and then adds
 * q (outer) x. An engine holds the weights repacked for that, is read-only after its creation and
 * shared by all sessions (and threads); a session is one conversation and belongs to one thread. */
#ifndef HW_ENGINE_FORWARD_H
#define HW_ENGINE_FORWARD_H

#include "engine/model.h"

struct hw_bdh_engine;  /* opaque; layout in forward.c */
struct hw_bdh_session; /* opaque; layout in forward.c */

/* Copies what it needs: the model may be destroyed after. On 0 the caller owns *out. */
int hw_bdh_engine_create(const struct hw_bdh_model *model, struct hw_bdh_engine **out,
                         struct hw_err *err);
/* NULL-safe, nulls it; every session must be gone. */
void hw_bdh_engine_destroy(struct hw_bdh_engine **engine);
const struct hw_bdh_config *hw_bdh_engine_config(const struct hw_bdh_engine *engine);
/* The instruction set its loops use: "avx512", "avx2" or "base". */
const char *hw_bdh_engine_kernels(const struct hw_bdh_engine *engine);

/* A session at position 0; about hw_bdh_state_bytes of memory. On 0 the caller owns *out. */
int hw_bdh_session_create(const struct hw_bdh_engine *engine, struct hw_bdh_session **out,
                          struct hw_err *err);
/* Back to position 0, as new. */
void hw_bdh_session_reset(struct hw_bdh_session *session);
void hw_bdh_session_destroy(struct hw_bdh_session **session); /* NULL-safe, nulls it */
uint64_t hw_bdh_session_position(const struct hw_bdh_session *session);
/* Takes tokens (below vocab; a larger one is taken modulo vocab) and, unless logits is NULL, fills
 * logits [vocab] for what follows the last. Many at once are cheaper than one by one, to the same
 * values, bit by bit. */
void hw_bdh_session_feed(struct hw_bdh_session *session, const uint32_t *tokens, size_t count,
                         float *logits);
/* One token. */
void hw_bdh_session_step(struct hw_bdh_session *session, uint32_t token, float *logits);

#endif
