/* engine/forward.c - sessions: their memory, and by what text they are known. */
#include "engine/forward.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/forward_parts.h"

/* n_layer comes from the configuration alone: a small hostile file may ask for any state, and an
 * overcommitting system would promise it. */
static size_t
physical_bytes(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);

    return pages > 0 && page > 0 ? (size_t)pages * (size_t)page : SIZE_MAX;
}

static bool
alloc_scratch(const struct hw_bdh_engine *e, struct hw_scratch *s)
{
    size_t list = e->head_width + HW_LANES;

    s->cosines = hw_bdh_alloc(HW_BLOCK * e->head_width, sizeof(float));
    s->sines = hw_bdh_alloc(HW_BLOCK * e->head_width, sizeof(float));
    s->x = hw_bdh_alloc(HW_BLOCK * e->width, sizeof(float));
    s->z = hw_bdh_alloc(HW_BLOCK * e->width, sizeof(float));
    s->encoded = hw_bdh_alloc(HW_BLOCK * e->head_width, sizeof(float));
    s->bytes = hw_bdh_alloc((HW_BLOCK + 1) * e->row_bytes, 1);
    s->x_parts = hw_bdh_alloc(e->width, sizeof(float));
    s->y = hw_bdh_alloc(HW_BLOCK * e->width, sizeof(float));
    s->asks[0].words = hw_bdh_alloc(HW_BLOCK * e->head_width / 2, sizeof(uint32_t));
    s->asks[0].sums = hw_bdh_alloc(HW_BLOCK * e->width, sizeof(uint32_t));
    s->q8[0].bytes = hw_bdh_alloc(HW_BLOCK * e->head_width, 1);
    s->q = hw_bdh_alloc(e->head_width, sizeof(float));
    s->room.q = hw_bdh_alloc(HW_BLOCK8 * HW_FOLD_STRIDE, sizeof(uint32_t));
    s->room.values = hw_bdh_alloc(HW_BLOCK8 * e->width, sizeof(uint32_t));
    s->room.sums = hw_bdh_alloc(2 * e->width, sizeof(float));
    s->dots = hw_bdh_alloc(list, sizeof(float));
    s->maybe = hw_bdh_alloc(list, sizeof(uint32_t));
    s->maybe_a = hw_bdh_alloc(list, sizeof(float));
    s->open = hw_bdh_alloc(list, sizeof(uint32_t));
    s->c = hw_bdh_alloc(list, sizeof(float));
    s->logits = hw_bdh_alloc(e->vocab_panels * HW_PANEL, sizeof(float));
    if (s->bytes != NULL) {
        for (size_t i = 0; i < HW_BLOCK; i++)
            s->inputs[i].bytes = s->bytes + i * e->row_bytes;
        s->asked.bytes = s->bytes + HW_BLOCK * e->row_bytes;
    }
    bool asks = s->asks[0].words != NULL && s->asks[0].sums != NULL && s->q8[0].bytes != NULL;
    for (size_t i = 1; i < HW_BLOCK && asks; i++) {
        s->asks[i] = (struct hw_asked8){.words = s->asks[0].words + i * e->head_width / 2,
                                        .sums = s->asks[0].sums + i * e->width};
        s->q8[i].bytes = s->q8[0].bytes + i * e->head_width;
    }
    bool lists = true;
    for (struct hw_fired *f = s->fired; f < s->fired + HW_BLOCK; f++) {
        f->pairs = hw_bdh_alloc(list, sizeof(uint32_t));
        f->active = hw_bdh_alloc(list, sizeof(uint32_t));
        f->a = hw_bdh_alloc(list, sizeof(float));
        lists = lists && f->pairs != NULL && f->active != NULL && f->a != NULL;
    }
    return lists && s->cosines != NULL && s->sines != NULL && s->x != NULL && s->z != NULL &&
           s->encoded != NULL && s->bytes != NULL && s->x_parts != NULL && s->y != NULL && asks &&
           s->q != NULL && s->room.q != NULL && s->room.values != NULL && s->room.sums != NULL &&
           s->dots != NULL && s->maybe != NULL && s->maybe_a != NULL && s->open != NULL &&
           s->c != NULL && s->logits != NULL;
}

static void
free_scratch(struct hw_scratch *s)
{
    free(s->cosines);
    free(s->sines);
    free(s->x);
    free(s->z);
    free(s->encoded);
    free(s->bytes);
    free(s->x_parts);
    free(s->y);
    free(s->asks[0].words);
    free(s->asks[0].sums);
    free(s->q8[0].bytes);
    free(s->q);
    free(s->room.q);
    free(s->room.values);
    free(s->room.sums);
    for (struct hw_fired *f = s->fired; f < s->fired + HW_BLOCK; f++) {
        free(f->pairs);
        free(f->active);
        free(f->a);
    }
    free(s->dots);
    free(s->maybe);
    free(s->maybe_a);
    free(s->open);
    free(s->c);
    free(s->logits);
}

/* The parts of a session's memory, in their order; each a multiple of 64 bytes. */
struct parts {
    size_t state, scales, q, q_scales, x, touched;
};

static struct parts
measure_parts(const struct hw_bdh_engine *e)
{
    size_t places = (size_t)e->conf.n_layer * e->conf.n_head;
    bool fast = e->precision == HW_BDH_FAST;

    return (struct parts){
        .state = places * e->conf.n_neuron * e->width * (fast ? sizeof(int8_t) : sizeof(float)),
        .scales = fast ? places * e->head_width / 2 * sizeof(float) : 0,
        .q = places * e->block * e->head_width * (fast ? sizeof(uint8_t) : sizeof(float)),
        .q_scales = fast ? places * e->block * sizeof(float) : 0,
        .x = e->conf.n_layer * e->block * e->width * sizeof(float),
        .touched = places * e->head_width / 2 * sizeof(uint32_t),
    };
}

size_t
hw_bdh_engine_state_bytes(const struct hw_bdh_engine *e)
{
    struct parts parts = measure_parts(e);

    return parts.state + parts.scales + parts.q + parts.q_scales + parts.x + parts.touched;
}

int
hw_bdh_session_create(const struct hw_bdh_engine *engine, struct hw_bdh_session **out,
                      struct hw_err *err)
{
    struct hw_bdh_session *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return hw_err_set(err, HW_ENOMEM, "no memory for a session");
    s->engine = engine;
    s->memory_bytes = hw_bdh_engine_state_bytes(engine);
    if (s->memory_bytes > physical_bytes()) {
        free(s);
        return hw_err_set(err, HW_ELIMIT, "a session's state of %zu bytes is more than the memory",
                          hw_bdh_engine_state_bytes(engine));
    }
    s->memory = hw_bdh_alloc(s->memory_bytes, 1);
    if (s->memory == NULL || !alloc_scratch(engine, &s->scratch)) {
        hw_bdh_session_destroy(&s);
        return hw_err_set(err, HW_ENOMEM, "no memory for a session's state of %zu bytes",
                          hw_bdh_engine_state_bytes(engine));
    }
    struct parts parts = measure_parts(engine);
    s->state = s->memory;
    s->scales = (float *)((char *)s->memory + parts.state);
    s->q = (char *)s->scales + parts.scales;
    s->q_scales = (float *)((char *)s->q + parts.q);
    s->x = (float *)((char *)s->q_scales + parts.q_scales);
    s->touched = (uint32_t *)((char *)s->x + parts.x);
    *out = s;
    return 0;
}

void
hw_bdh_session_reset(struct hw_bdh_session *session)
{
    session->history = (struct hw_history){0};
    memset(session->memory, 0, session->memory_bytes);
    session->position = 0;
}

void
hw_bdh_session_destroy(struct hw_bdh_session **session)
{
    struct hw_bdh_session *s = *session;

    if (s == NULL)
        return;
    free(s->memory);
    free_scratch(&s->scratch);
    free(s);
    *session = NULL;
}

void
hw_bdh_session_fetch(const struct hw_bdh_session *session)
{
    const char *memory = session->memory;

    for (size_t at = 0; at < session->memory_bytes; at += 64)
        __builtin_prefetch(memory + at, 0, 2);
}

uint64_t
hw_bdh_session_position(const struct hw_bdh_session *session)
{
    return session->position;
}

/* --- history --- */

void
hw_history_note(struct hw_history *history, uint64_t position, uint32_t token)
{
    uint8_t link[HW_HISTORY_BYTES + sizeof(history->recent)];

    history->recent[position % HW_HISTORY_RECENT] = (uint16_t)token;
    if ((position + 1) % HW_HISTORY_RECENT != 0)
        return;
    memcpy(link, history->chain, HW_HISTORY_BYTES);
    memcpy(link + HW_HISTORY_BYTES, history->recent, sizeof(history->recent));
    crypto_generichash(history->chain, HW_HISTORY_BYTES, link, sizeof(link), NULL, 0);
}

bool
hw_history_same(const struct hw_history *a, const struct hw_history *b, uint64_t position)
{
    return memcmp(a->chain, b->chain, sizeof(a->chain)) == 0 &&
           memcmp(a->recent, b->recent, position % HW_HISTORY_RECENT * sizeof(a->recent[0])) == 0;
}

void
hw_bdh_session_note(struct hw_bdh_session *session, uint32_t token)
{
    hw_history_note(&session->history, session->position++, token);
}

bool
hw_bdh_session_continues(const struct hw_bdh_session *session, const void *text, size_t len)
{
    const uint8_t *bytes = text;
    struct hw_history given = {0};

    if (session->position == 0 || session->position >= len)
        return false;
    for (size_t i = session->position; i > 0 && i + HW_HISTORY_RECENT > session->position; i--)
        if (session->history.recent[(i - 1) % HW_HISTORY_RECENT] !=
            bytes[i - 1] % session->engine->conf.vocab)
            return false; /* as with nearly every other text */
    for (uint64_t i = 0; i < session->position; i++)
        hw_history_note(&given, i, bytes[i] % session->engine->conf.vocab);
    return hw_history_same(&given, &session->history, session->position);
}

/* --- profile --- */

uint64_t
hw_bdh_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void
hw_bdh_session_profile(struct hw_bdh_session *session, uint64_t ns[HW_BDH_STAGES])
{
    session->profile = ns;
    session->marked_ns = hw_bdh_now_ns();
}
