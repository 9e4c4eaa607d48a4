/* engine/turns.h - how many sessions step together, and for how long.
 *
 * Sessions that step together share the reading of weights, but each has a state of its own, and
 * reads near half of it for a token. As long as those states stay in the cache between two tokens,
 * more together are cheaper; beyond that each token fetches its state from memory, which costs more
 * than the weights do. So as many go together as fit, and stay for a turn: the state comes from
 * memory once in HW_TURN tokens. Where not even one state fits, all go together. */
#ifndef HW_ENGINE_TURNS_H
#define HW_ENGINE_TURNS_H

#include <stddef.h>

/* Tokens of each session of a group, before the next group's turn: enough that the first one, whose
 * state comes from memory, is a few hundredths of them. */
#define HW_TURN 64u

/* How many of `sessions` step together: 1 .. sessions (0 for none). cache_bytes: what the states
 * may fill, 0 when nobody knows. */
size_t hw_turn_sessions(size_t sessions, size_t state_bytes, size_t cache_bytes);
/* The last-level cache of this processor in bytes, 0 when the system does not say. */
size_t hw_turn_cache_bytes(void);

#endif
