/* engine/forward.h - BDH token by token, in constant memory.
 *
 * The recurrent form: each layer and head keeps S [N, D]; a token reads y = q . S and then adds
 * q (outer) x. An engine holds the weights repacked for that, is read-only after its creation and
 * shared by all sessions (and threads); a session is one conversation and belongs to one thread. */
#ifndef HW_ENGINE_FORWARD_H
#define HW_ENGINE_FORWARD_H

#include "engine/model.h"

struct hw_bdh_engine;  /* opaque; layout in forward_parts.h */
struct hw_bdh_session; /* opaque; layout in forward_parts.h */

/* FAST: encoder, encoder_v, decoder and the state in int8. docs/engine.md has what it costs and
 * gains. */
enum hw_bdh_precision { HW_BDH_F32, HW_BDH_FAST };

/* Copies what it needs: the model may be destroyed after. On 0 the caller owns *out. */
int hw_bdh_engine_create(const struct hw_bdh_model *model, struct hw_bdh_engine **out,
                         struct hw_err *err); /* in F32 */
int hw_bdh_engine_create_as(const struct hw_bdh_model *model, enum hw_bdh_precision precision,
                            struct hw_bdh_engine **out, struct hw_err *err);
/* NULL-safe, nulls it; every session must be gone. */
void hw_bdh_engine_destroy(struct hw_bdh_engine **engine);
const struct hw_bdh_config *hw_bdh_engine_config(const struct hw_bdh_engine *engine);
/* The instruction set its loops use: "avx512-vnni", "avx512", "avx2" or "base". */
const char *hw_bdh_engine_kernels(const struct hw_bdh_engine *engine);

/* Bytes of one session's state in the engine's precision. */
size_t hw_bdh_engine_state_bytes(const struct hw_bdh_engine *engine);

/* A session at position 0; about hw_bdh_engine_state_bytes of memory. On 0 the caller owns *out. */
int hw_bdh_session_create(const struct hw_bdh_engine *engine, struct hw_bdh_session **out,
                          struct hw_err *err);
/* Back to position 0, as new. */
void hw_bdh_session_reset(struct hw_bdh_session *session);
/* Brings the state into the cache, in one stream: for a session whose turn has come (turns.h). */
void hw_bdh_session_fetch(const struct hw_bdh_session *session);
void hw_bdh_session_destroy(struct hw_bdh_session **session); /* NULL-safe, nulls it */
uint64_t hw_bdh_session_position(const struct hw_bdh_session *session);
/* Whether what it has taken since position 0 are the first bytes of this text, and the text goes on
 * behind them: then only the rest need be fed, to the same bits. Told by a 256-bit hash of its
 * tokens; no text is kept. */
bool hw_bdh_session_continues(const struct hw_bdh_session *session, const void *text, size_t len);
/* Takes tokens (below vocab; a larger one is taken modulo vocab) and, unless logits is NULL, fills
 * logits [vocab] for what follows the last. Many at once are cheaper than one by one, to the same
 * values, bit by bit. */
void hw_bdh_session_feed(struct hw_bdh_session *session, const uint32_t *tokens, size_t count,
                         float *logits);
/* One token. */
void hw_bdh_session_step(struct hw_bdh_session *session, uint32_t token, float *logits);
/* One token in each of several sessions of one engine and thread, none of them twice; logits[i] as
 * in hw_bdh_session_step. Cheaper than one by one: weights are read once for all. Same bits. */
void hw_bdh_sessions_step(struct hw_bdh_session *const *sessions, const uint32_t *tokens,
                          size_t count, float *const *logits);

/* Where a token's time goes. */
enum hw_bdh_stage {
    HW_BDH_STAGE_ROPE,    /* angles, and the embedding's row */
    HW_BDH_STAGE_ENCODER, /* who fires */
    HW_BDH_STAGE_LISTS,   /* relu, RoPE, index lists */
    HW_BDH_STAGE_STATE,   /* attention and its update */
    HW_BDH_STAGE_GATHERS, /* encoder_v, decoder */
    HW_BDH_STAGE_NORMS,
    HW_BDH_STAGE_HEAD, /* lm_head */
    HW_BDH_STAGES,
};
/* Adds nanoseconds of the session's later steps, by stage; NULL stops it. In a batch the first
 * session's counts. */
void hw_bdh_session_profile(struct hw_bdh_session *session, uint64_t ns[HW_BDH_STAGES]);

#endif
