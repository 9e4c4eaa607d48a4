/* engine/forward_pass.c - tokens through all layers, doing only what active neurons need.
 *
 * The encoder is dense: it must be run to know who fires (for one token in f32, in bytes first:
 * forward_screen.c). After relu a quarter of the neurons are left (trained models), so the rest
 * works on index lists: the state's rows of the pairs that RoPE mixes, encoder_v's rows of neurons
 * with a > 0, the decoder's of those with a * b > 0.
 *
 * Several tokens (of a prompt, or one of each of several sessions) go through layer by layer and
 * head by head together: one head's weights stay in the second-level cache, and of a prompt its
 * state too, while all of them pass.
 *
 * A token reads the state but does not write to it: its q and x are kept, those behind it ask them
 * directly, and once in a block of positions (16; in fast 32) all are added at a go. That is the
 * same sum, and moves the state in and out once a block. Blocks end at multiples of their length,
 * so each value comes from the same operations in the same order however the tokens come: one by
 * one, in pieces of a prompt, or beside other sessions. Decay (forward_fade.c) changes neither:
 * what a token leaves is made larger and what is read smaller, each token by its position. */
#include <string.h>

#include "engine/forward_parts.h"
#include "engine/rope.h"

/* Tokens on their way: i belongs to owners[i] and is its slots[i]-th of a block. */
struct pass {
    const struct hw_bdh_engine *engine;
    struct hw_bdh_session *lender;
    struct hw_scratch *scratch;
    size_t count;
    struct hw_bdh_session *owners[HW_BLOCK];
    size_t slots[HW_BLOCK];
    bool screened; /* one alone: several share the reading of all the encoder's weights */
    struct hw_fade fades[HW_BLOCK]; /* set only under decay */
};

/* What went by since the last mark was this stage. */
static inline void
mark(const struct pass *p, enum hw_bdh_stage stage)
{
    if (p->lender->profile == NULL)
        return;
    uint64_t now = hw_bdh_now_ns();
    p->lender->profile[stage] += now - p->lender->marked_ns;
    p->lender->marked_ns = now;
}

/* All tokens through one head's encoder. */
static void
encode(const struct pass *p, size_t head)
{
    const struct hw_bdh_engine *e = p->engine;
    struct hw_scratch *s = p->scratch;

    if (p->screened) {
        hw_bdh_screen_encode(e, s, head);
        return;
    }
    if (e->precision == HW_BDH_F32) {
        e->kernels->dense(e->encoder + head * e->head_width * e->conf.n_embd, e->head_panels,
                          e->conf.n_embd, s->x, e->width, p->count, s->encoded, e->head_width);
        return;
    }
    const struct hw_panels8 weights = hw_bdh_encoder8(e, head);
    e->kernels->dense8(&weights, s->inputs, p->count, s->encoded, e->head_width);
}

/* Where one layer's head of a session is: its state, its tokens' q. */
struct place {
    size_t at; /* layer * H + head */
    float *state, *q;
    uint32_t *state8;
    uint8_t *q8;
    float *scales, *q_scales;
    float *x;
    uint32_t *touched;
};

static struct place
find_place(const struct hw_bdh_session *owner, size_t layer, size_t head)
{
    const struct hw_bdh_engine *e = owner->engine;
    size_t at = layer * e->conf.n_head + head;
    size_t rows = at * e->conf.n_neuron * e->width, q = at * e->block * e->head_width;

    return (struct place){
        .at = at,
        .state = (float *)owner->state + rows,
        .q = (float *)owner->q + q,
        .state8 = (uint32_t *)owner->state + rows / 4,
        .q8 = (uint8_t *)owner->q + q,
        .scales = owner->scales + at * e->head_width / 2,
        .q_scales = owner->q_scales + at * e->block,
        .x = owner->x + layer * e->block * e->width,
        .touched = owner->touched + at * e->head_width / 2,
    };
}

/* Who fires, and what is asked of the state. */
static void
list(const struct pass *p, size_t token, const struct place *place, size_t n)
{
    const struct hw_bdh_engine *e = p->engine;
    const struct hw_scratch *s = p->scratch;
    struct hw_fired *fired = &p->scratch->fired[token];
    size_t at = token * e->head_width, slot = p->slots[token];

    fired->touched = place->touched;
    fired->bit = UINT32_C(1) << slot;
    if (slot == 0)
        memset(place->touched, 0, e->head_width / 2 * sizeof(place->touched[0]));
    if (e->precision == HW_BDH_F32) {
        e->kernels->list(s->encoded + at, s->cosines + at, s->sines + at, NULL, n,
                         place->q + slot * e->head_width, fired);
        return;
    }
    e->kernels->list(s->encoded + at, s->cosines + at, s->sines + at,
                     e->row_scales8 + place->at % e->conf.n_head * e->head_width, n, s->q, fired);
    e->kernels->ask8(s->q, place->scales, e->head_width, &p->scratch->asks[token],
                     &p->scratch->q8[token], place->q8 + slot * e->head_width);
    place->q_scales[slot] = s->q8[token].scale;
}

/* What the state says to tokens from .. to of one session. One alone had better read all of it
 * where no cache holds it, so that it comes from memory, and more than half is wanted anyway. */
static void
read_state(const struct pass *p, const struct place *place, size_t from, size_t to)
{
    const struct hw_bdh_engine *e = p->engine;
    const struct hw_kernels *kernels = e->kernels;
    struct hw_scratch *s = p->scratch;
    struct hw_reader readers[HW_BLOCK];
    size_t pairs = e->conf.n_neuron / 2, count = to - from;

    for (size_t i = 0; i < count; i++)
        readers[i] = (struct hw_reader){
            .fired = &s->fired[from + i],
            .q = place->q + p->slots[from + i] * e->head_width,
            .asked = &s->asks[from + i],
            .y = s->y + (from + i) * e->width,
        };
    bool whole = e->streams && count == 1 && 2 * readers[0].fired->pair_count > pairs;
    if (e->precision == HW_BDH_F32 && whole)
        kernels->scan(place->state, e->width, pairs, readers[0].q, readers[0].y);
    else if (e->precision == HW_BDH_F32)
        kernels->read(place->state, e->width, pairs, readers, count);
    else if (whole)
        kernels->scan8(place->state8, e->width, pairs, readers);
    else
        kernels->read8(place->state8, e->width, pairs, readers, count);
}

/* In bytes: what the tokens of the block say to one of them. */
static void
recall8(const struct pass *p, const struct place *place, size_t token, float *y)
{
    static const uint32_t in_order[HW_BLOCK8] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10,
                                                 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
                                                 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
    const struct hw_bdh_engine *e = p->engine;
    size_t before = p->slots[token];
    float scores[HW_BLOCK8 + 3];

    e->kernels->dots8(place->q8, e->head_width, in_order, before, &p->scratch->q8[token], scores);
    for (size_t i = 0; i < before; i++)
        scores[i] *= place->q_scales[i];
    e->kernels->combine(place->x, e->width, e->width, in_order, scores, before, y);
}

/* y of tokens from .. to of one session: what the state says, and what the tokens do that it does
 * not hold yet. */
static void
attend(const struct pass *p, const struct place *place, size_t from, size_t to, size_t n)
{
    const struct hw_bdh_engine *e = p->engine;
    float *y = p->scratch->y + from * e->width;

    memset(y, 0, (to - from) * e->width * sizeof(float));
    read_state(p, place, from, to);
    for (size_t i = from; i < to; i++, y += e->width) {
        if (e->precision == HW_BDH_F32)
            e->kernels->recall(place->q, e->head_width, n, p->slots[i], place->x, e->width, y);
        else
            recall8(p, place, i, y);
        if (e->fading != 0.0)
            for (size_t j = 0; j < e->width; j++)
                y[j] *= p->fades[i].reading;
    }
}

/* A full block goes into the state. What bytes round away is drawn by place and position: the same
 * again, whoever else is in the batch. */
static void
fold(const struct pass *p, const struct hw_bdh_session *owner, const struct place *place)
{
    const struct hw_bdh_engine *e = p->engine;
    size_t pairs = e->conf.n_neuron / 2;
    bool steps = e->fading != 0.0 && hw_bdh_fade_steps(e, owner->position);

    if (e->precision == HW_BDH_F32) {
        e->kernels->fold(place->state, e->width, pairs, place->touched, place->q, e->head_width,
                         place->x);
        if (steps)
            hw_bdh_fade_values(place->state, e->conf.n_neuron * e->width);
        return;
    }
    uint64_t seed = (owner->position * e->conf.n_layer * e->conf.n_head + place->at) *
                    UINT64_C(0x9e3779b97f4a7c15);
    const struct hw_block8 block = {.q = place->q8,
                                    .stride = e->head_width,
                                    .scales = place->q_scales,
                                    .x = place->x,
                                    .touched = place->touched};
    e->kernels->fold8(place->state8, place->scales, e->width, pairs, &block, (uint32_t)(seed >> 32),
                      &p->scratch->room);
    if (steps)
        hw_bdh_fade_values(place->scales, pairs);
}

/* Adds to a token's z what the head's neurons say about its y: in fast, */
static void
answer8(const struct pass *p, size_t head, size_t token)
{
    const struct hw_bdh_engine *e = p->engine;
    struct hw_scratch *s = p->scratch;
    const struct hw_fired *f = &s->fired[token];
    size_t width = e->width, first = head * e->conf.n_neuron * e->row_bytes;

    e->kernels->quantise(s->y + token * width, width, &s->asked);
    e->kernels->dots8(e->encoder_v8 + first, e->row_bytes, f->active, f->active_count, &s->asked,
                      s->dots);
    size_t open = e->kernels->gate(f->active, f->a, s->dots, f->active_count, s->open, s->c);
    e->kernels->combine8(e->decoder8 + first, e->row_bytes, width, s->open, s->c, open,
                         s->z + token * width);
}

/* and in f32. */
static void
answer(const struct pass *p, size_t head, size_t token)
{
    const struct hw_bdh_engine *e = p->engine;
    const struct hw_kernels *kernels = e->kernels;
    struct hw_scratch *s = p->scratch;
    size_t width = e->width, first = head * e->conf.n_neuron * width;
    size_t count = s->fired[token].active_count;
    const float *y = s->y + token * width, *a = s->fired[token].a;
    const uint32_t *active = s->fired[token].active;

    if (e->screens != NULL) {
        kernels->quantise(y, width, &s->asked);
        kernels->dots8(e->encoder_v8 + head * e->conf.n_neuron * e->row_bytes, e->row_bytes, active,
                       count, &s->asked, s->dots);
        float least = hw_bdh_screen_least(&e->screens[head], y, width, &s->asked);
        count = kernels->sift(active, a, s->dots, count, least, s->maybe, s->maybe_a);
        active = s->maybe;
        a = s->maybe_a;
    }
    hw_bdh_dots(e, e->neurons, 2 * first, 2 * width, active, count, y, s->dots);
    size_t open = kernels->gate(active, a, s->dots, count, s->open, s->c), at = 2 * first + width;
    if (e->narrow)
        kernels->combine16((const uint16_t *)e->neurons + at, 2 * width, width, s->open, s->c, open,
                           s->z + token * width);
    else
        kernels->combine((const float *)e->neurons + at, 2 * width, width, s->open, s->c, open,
                         s->z + token * width);
}

/* All tokens through one head of one layer: each leaves its q, and those from `wanted_from` on add
 * to their z. */
static void
pass_head(const struct pass *p, size_t layer, size_t head, size_t wanted_from)
{
    const struct hw_bdh_engine *e = p->engine;
    size_t n = (e->conf.n_neuron + 2 * HW_LANES - 1) / (2 * HW_LANES) * (2 * HW_LANES), to;

    encode(p, head);
    mark(p, HW_BDH_STAGE_ENCODER);
    for (size_t i = 0; i < p->count; i++) {
        const struct place place = find_place(p->owners[i], layer, head);
        list(p, i, &place, n);
    }
    mark(p, HW_BDH_STAGE_LISTS);
    for (size_t from = 0; from < p->count; from = to) {
        const struct place place = find_place(p->owners[from], layer, head);
        for (to = from + 1; to < p->count && p->owners[to] == p->owners[from];)
            to++;
        if (to > wanted_from)
            attend(p, &place, from < wanted_from ? wanted_from : from, to, n);
        if (p->slots[to - 1] == e->block - 1)
            fold(p, p->owners[from], &place);
    }
    mark(p, HW_BDH_STAGE_STATE);
    for (size_t i = wanted_from; i < p->count; i++)
        e->kernels->norm(p->scratch->y + i * e->width, e->conf.n_embd);
    mark(p, HW_BDH_STAGE_NORMS);
    for (size_t i = wanted_from; i < p->count; i++)
        if (e->precision == HW_BDH_F32)
            answer(p, head, i);
        else
            answer8(p, head, i);
    mark(p, HW_BDH_STAGE_GATHERS);
}

/* The layer's input waits with the token's q. */
static void
keep_x(const struct pass *p, size_t token, size_t layer)
{
    size_t width = p->engine->width;
    const float *x = p->scratch->x + token * width;
    float *kept = p->owners[token]->x + (layer * p->engine->block + p->slots[token]) * width;

    memcpy(kept, x, width * sizeof(float));
    if (p->engine->fading != 0.0)
        for (size_t j = 0; j < width; j++)
            kept[j] *= p->fades[token].writing;
}

/* All tokens through one layer; those from `wanted_from` on get an output. */
static void
pass_layer(const struct pass *p, size_t layer, size_t wanted_from)
{
    const struct hw_bdh_engine *e = p->engine;
    struct hw_scratch *s = p->scratch;
    size_t d = e->conf.n_embd, width = e->width;

    memset(s->z, 0, p->count * width * sizeof(float));
    for (size_t i = 0; i < p->count; i++) {
        keep_x(p, i, layer);
        if (e->precision == HW_BDH_FAST)
            e->kernels->quantise(s->x + i * width, width, &s->inputs[i]);
    }
    if (p->screened)
        hw_bdh_screen_take(e, s);
    for (size_t head = 0; head < e->conf.n_head; head++)
        pass_head(p, layer, head, wanted_from);
    for (size_t i = wanted_from; i < p->count; i++) {
        float *x = s->x + i * width, *z = s->z + i * width;
        e->kernels->norm(z, d);
        for (size_t j = 0; j < d; j++)
            x[j] += z[j];
        e->kernels->norm(x, d);
    }
    mark(p, HW_BDH_STAGE_NORMS);
}

/* Every token's embedding and angles; then all layers. Outputs of the last layer serve the logits
 * alone: tokens before `wanted_from` go without, though their sessions move on. */
static void
pass_all(struct pass *p, const uint32_t *tokens, size_t wanted_from)
{
    const struct hw_bdh_engine *e = p->engine;
    struct hw_scratch *s = p->scratch;

    if (p->lender->profile != NULL)
        p->lender->marked_ns = hw_bdh_now_ns();
    p->screened = p->count == 1 && hw_bdh_screen_pays(e, s);
    for (size_t i = 0; i < p->count; i++) {
        struct hw_bdh_session *owner = p->owners[i];
        uint32_t token = tokens[i] % e->conf.vocab;
        if (e->conf.wide_phases)
            hw_rope_angles_wide(e->freqs, e->conf.n_neuron, owner->position,
                                s->cosines + i * e->head_width, s->sines + i * e->head_width);
        else
            hw_rope_angles(e->freqs, e->conf.n_neuron, owner->position,
                           s->cosines + i * e->head_width, s->sines + i * e->head_width);
        if (e->fading != 0.0)
            p->fades[i] = hw_bdh_fade(e, owner->position);
        memcpy(s->x + i * e->width, e->embed + token * e->width, e->width * sizeof(float));
        p->slots[i] = owner->position % e->block;
        hw_bdh_session_note(owner, token);
    }
    mark(p, HW_BDH_STAGE_ROPE);
    for (size_t layer = 0; layer + 1 < e->conf.n_layer; layer++)
        pass_layer(p, layer, 0);
    pass_layer(p, e->conf.n_layer - 1, wanted_from);
}

static void
put_logits(const struct pass *p, size_t token, float *logits)
{
    const struct hw_bdh_engine *e = p->engine;
    struct hw_scratch *s = p->scratch;

    e->kernels->dense(e->lm_head, e->vocab_panels, e->conf.n_embd, s->x + token * e->width,
                      e->width, 1, s->logits, e->vocab_panels * HW_PANEL);
    memcpy(logits, s->logits, e->conf.vocab * sizeof(float));
    mark(p, HW_BDH_STAGE_HEAD);
}

void
hw_bdh_session_feed(struct hw_bdh_session *session, const uint32_t *tokens, size_t count,
                    float *logits)
{
    struct pass p = {.engine = session->engine, .lender = session, .scratch = &session->scratch};

    for (size_t i = 0; i < HW_BLOCK; i++)
        p.owners[i] = session;
    for (size_t done = 0; done < count; done += p.count) {
        size_t room = HW_BLOCK - session->position % HW_BLOCK;
        p.count = count - done < room ? count - done : room;
        bool last = done + p.count == count && logits != NULL;
        pass_all(&p, tokens + done, last ? p.count - 1 : p.count);
        if (last)
            put_logits(&p, p.count - 1, logits);
    }
}

void
hw_bdh_session_step(struct hw_bdh_session *session, uint32_t token, float *logits)
{
    hw_bdh_session_feed(session, &token, 1, logits);
}

void
hw_bdh_sessions_step(struct hw_bdh_session *const *sessions, const uint32_t *tokens, size_t count,
                     float *const *logits)
{
    for (size_t done = 0; done < count;) {
        struct pass p = {
            .engine = sessions[0]->engine, .lender = sessions[0], .scratch = &sessions[0]->scratch};
        p.count = count - done < HW_BLOCK ? count - done : HW_BLOCK;
        memcpy(p.owners, sessions + done, p.count * sizeof(p.owners[0]));
        pass_all(&p, tokens + done, 0);
        for (size_t i = 0; i < p.count; i++)
            if (logits[done + i] != NULL)
                put_logits(&p, i, logits[done + i]);
        done += p.count;
    }
}
