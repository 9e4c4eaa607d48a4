/* engine/worker_states.c - sessions, and what they have read.
 *
 * A session that is done stays as it is: the next turn of its conversation takes it and copies
 * nothing. Beside them, within a budget of its own, the cache has snapshots of places that other
 * prompts may share: where the last turn begins (the system prompt's end, or that of the
 * conversation so far), the prompt's last byte but one (the same question, asked again), in a long
 * prompt its first KiB, 4 KiB, 16 KiB and so on, and the end of an answer whose session is taken
 * for somebody else. Who goes on from a snapshot copies it and leaves it to others.
 *
 * A snapshot costs about as much as a few tokens do: one is made only where WORKER_WORTH_KEEPING
 * tokens or more lie behind the last one. */
#include <stdlib.h>
#include <string.h>

#include "engine/worker_parts.h"

#define WORKER_WORTH_KEEPING 128u
#define FIRST_CHUNK 1024u
#define CHUNK_FACTOR 4u

void
states_add_spare(struct worker *w, struct hw_bdh_session *session, uint64_t cached_at)
{
    w->spare[w->spare_count++] = (struct spare){.session = session, .cached_at = cached_at};
}

static struct spare
take_spare(struct worker *w, uint32_t at)
{
    struct spare spare = w->spare[at];

    w->spare_count--;
    memmove(w->spare + at, w->spare + at + 1, (w->spare_count - at) * sizeof(w->spare[0]));
    return spare;
}

/* The spare session that has read most of this prompt already, as a conversation's next turn begins
 * with all that went before: w->spare_count when there is none. */
static uint32_t
find_spare(const struct worker *w, const struct hw_buf *prompt)
{
    uint32_t found = w->spare_count;
    uint64_t longest = 0;

    for (uint32_t i = 0; i < w->spare_count; i++) {
        uint64_t position = hw_bdh_session_position(w->spare[i].session);
        if (position > longest &&
            hw_bdh_session_continues(w->spare[i].session, prompt->data, prompt->len)) {
            longest = position;
            found = i;
        }
    }
    return found;
}

/* Returns the position up to which the session's text is kept then. */
static uint64_t
keep(struct worker *w, const struct hw_bdh_session *session, uint64_t cached_at)
{
    struct hw_bdh_snapshot *snapshot = NULL;
    uint64_t position = hw_bdh_session_position(session);

    if (w->state_cache == NULL || position < cached_at + WORKER_WORTH_KEEPING ||
        hw_bdh_snapshot_take(session, &snapshot, NULL) != 0)
        return cached_at;
    hw_state_cache_put(w->state_cache, snapshot);
    return position;
}

/* One that has read nothing: spare_count when there is none. */
static uint32_t
find_fresh_spare(const struct worker *w)
{
    uint32_t i = 0;

    while (i < w->spare_count && hw_bdh_session_position(w->spare[i].session) > 0)
        i++;
    return i;
}

/* Sessions are made on first use, at most max_sessions, which --memory bounds; after that the one
 * that was left longest ago is used anew. What it holds is of no use to the taker. */
static struct hw_bdh_session *
take_any(struct worker *w, struct hw_err *err)
{
    struct hw_bdh_session *session = NULL;
    uint32_t fresh = find_fresh_spare(w);

    if (fresh < w->spare_count)
        return take_spare(w, fresh).session;
    if (w->session_count < w->hello.max_sessions &&
        hw_bdh_session_create(w->engine, &session, err) == 0) {
        w->session_count++;
    } else if (w->spare_count > 0) {
        struct spare spare = take_spare(w, 0);
        keep(w, spare.session, spare.cached_at);
        session = spare.session;
    }
    return session;
}

struct hw_bdh_session *
states_take(struct worker *w, struct stream *s, struct hw_err *err)
{
    const struct hw_buf *prompt = &s->prompt.text;
    struct hw_bdh_snapshot *snapshot =
        w->state_cache != NULL ? hw_state_cache_find(w->state_cache, prompt->data, prompt->len)
                               : NULL;
    uint64_t cached_at = snapshot != NULL ? hw_bdh_snapshot_position(snapshot) : 0;
    uint32_t spare = find_spare(w, prompt);
    struct hw_bdh_session *session;

    s->prompt_bytes = prompt->len;
    s->last_turn = s->prompt.turn_begin;
    s->cached_at = cached_at;
    if (spare < w->spare_count && hw_bdh_session_position(w->spare[spare].session) >= cached_at) {
        session = take_spare(w, spare).session;
    } else {
        session = take_any(w, err);
        if (session != NULL &&
            (snapshot == NULL || hw_bdh_session_restore(session, snapshot, NULL) != 0))
            hw_bdh_session_reset(session);
    }
    hw_bdh_snapshot_unref(&snapshot);
    return session;
}

/* The next place behind `at` whose state is worth keeping; UINT64_MAX when there is none. */
static uint64_t
next_place(const struct worker *w, const struct stream *s, uint64_t at)
{
    uint64_t places[3] = {s->last_turn, s->prompt_bytes - 1, FIRST_CHUNK};
    uint64_t from = s->cached_at + WORKER_WORTH_KEEPING, next = UINT64_MAX;

    if (w->state_cache == NULL)
        return next;
    while (places[2] <= at)
        places[2] *= CHUNK_FACTOR;
    for (int i = 0; i < 3; i++)
        if (places[i] > at && places[i] >= from && places[i] < next && places[i] < s->prompt_bytes)
            next = places[i];
    return next;
}

uint32_t
states_next(const struct worker *w, const struct stream *s)
{
    uint64_t at = hw_generation_prompt_tokens(s->generation);
    uint64_t left = next_place(w, s, at) - at;
    uint32_t n = WORKER_UNIT_PREFILL - (uint32_t)(at % WORKER_UNIT_PREFILL); /* a block's end */

    return left < n ? (uint32_t)left : n;
}

void
states_keep(struct worker *w, struct stream *s)
{
    uint64_t at = hw_bdh_session_position(s->session);

    if (next_place(w, s, at - 1) == at)
        s->cached_at = keep(w, s->session, s->cached_at);
}

uint64_t
states_bytes(const struct worker *w)
{
    uint64_t bytes = (uint64_t)w->session_count * hw_bdh_engine_state_bytes(w->engine);

    return bytes + (w->state_cache != NULL ? hw_state_cache_bytes(w->state_cache) : 0);
}

void
states_free(struct worker *w)
{
    while (w->spare_count > 0)
        hw_bdh_session_destroy(&w->spare[--w->spare_count].session);
    free(w->spare);
    hw_state_cache_destroy(&w->state_cache);
}
