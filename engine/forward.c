/* engine/forward.c - tokens through all layers, doing only what active neurons need.
 *
 * The encoder is dense: it must be run to know who fires. After relu a quarter of the neurons are
 * left (trained models), so the rest works on index lists: the state's rows of the pairs that RoPE
 * mixes, encoder_v's rows of neurons with a > 0, the decoder's of those with a * b > 0.
 *
 * Several tokens (of a prompt, or one of each of several sessions) go through layer by layer and
 * head by head together: one head's weights stay in the second-level cache, and of a prompt its
 * state too, while all tokens of the chunk pass. Each value comes from the same operations in the
 * same order as token by token. */
#include "engine/forward.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/forward_parts.h"
#include "engine/rope.h"

#define CHUNK 16u /* tokens that pass together */
#define HISTORY_BYTES 32u
#define RECENT 16u /* tokens kept as they are: nearly every other text is told by them alone */

/* What the tokens of a chunk need on their way; its first session lends it. */
struct scratch {
    float *cosines, *sines; /* [CHUNK][head_width] */
    float *x, *z;           /* [CHUNK][width] */
    float *encoded;         /* [CHUNK][head_width]: one head's encoder outputs, before relu */
    int8_t *high, *low;     /* [CHUNK][width]: x in fast */
    float *scales;          /* [CHUNK] */
    uint64_t positions[CHUNK];
    /* of one token in one head */
    float *y;              /* [width] */
    struct hw_fired fired; /* [head_width] each */
    float *dots;           /* [head_width] beside fired.active */
    float *logits;         /* [vocab_panels * HW_PANEL] */
};

struct hw_bdh_session {
    const struct hw_bdh_engine *engine;
    uint64_t position;
    void *state; /* [n_layer][H][N][width], float or in fast bf16 */
    size_t state_bytes;
    crypto_generichash_state history; /* of all tokens taken, two bytes each */
    uint16_t recent[RECENT];          /* token t at t % RECENT */
    uint64_t *profile;                /* [HW_BDH_STAGES] or NULL */
    uint64_t marked_ns;
    struct scratch scratch;
};

/* A chunk on its way: token i belongs to owners[i]. */
struct pass {
    const struct hw_bdh_engine *engine;
    struct hw_bdh_session *lender;
    struct scratch *scratch;
    size_t count;
    struct hw_bdh_session *owners[CHUNK];
};

/* n_layer comes from the configuration alone: a small hostile file may ask for any state, and an
 * overcommitting system would promise it. */
static size_t
physical_bytes(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);

    return pages > 0 && page > 0 ? (size_t)pages * (size_t)page : SIZE_MAX;
}

static bool
alloc_scratch(const struct hw_bdh_engine *e, struct scratch *s)
{
    size_t list = e->head_width + HW_LANES;

    s->cosines = hw_bdh_alloc(CHUNK * e->head_width, sizeof(float));
    s->sines = hw_bdh_alloc(CHUNK * e->head_width, sizeof(float));
    s->x = hw_bdh_alloc(CHUNK * e->width, sizeof(float));
    s->z = hw_bdh_alloc(CHUNK * e->width, sizeof(float));
    s->encoded = hw_bdh_alloc(CHUNK * e->head_width, sizeof(float));
    s->high = hw_bdh_alloc(CHUNK * e->width, 1);
    s->low = hw_bdh_alloc(CHUNK * e->width, 1);
    s->scales = hw_bdh_alloc(CHUNK, sizeof(float));
    s->y = hw_bdh_alloc(e->width, sizeof(float));
    s->fired.rows = hw_bdh_alloc(list, sizeof(uint32_t));
    s->fired.q = hw_bdh_alloc(list, sizeof(float));
    s->fired.active = hw_bdh_alloc(list, sizeof(uint32_t));
    s->fired.a = hw_bdh_alloc(list, sizeof(float));
    s->dots = hw_bdh_alloc(list, sizeof(float));
    s->logits = hw_bdh_alloc(e->vocab_panels * HW_PANEL, sizeof(float));
    return s->cosines != NULL && s->sines != NULL && s->x != NULL && s->z != NULL &&
           s->encoded != NULL && s->high != NULL && s->low != NULL && s->scales != NULL &&
           s->y != NULL && s->fired.rows != NULL && s->fired.q != NULL && s->fired.active != NULL &&
           s->fired.a != NULL && s->dots != NULL && s->logits != NULL;
}

static void
free_scratch(struct scratch *s)
{
    free(s->cosines);
    free(s->sines);
    free(s->x);
    free(s->z);
    free(s->encoded);
    free(s->high);
    free(s->low);
    free(s->scales);
    free(s->y);
    free(s->fired.rows);
    free(s->fired.q);
    free(s->fired.active);
    free(s->fired.a);
    free(s->dots);
    free(s->logits);
}

size_t
hw_bdh_engine_state_bytes(const struct hw_bdh_engine *e)
{
    size_t value_bytes = e->precision == HW_BDH_FAST ? sizeof(uint16_t) : sizeof(float);

    return (size_t)e->conf.n_layer * e->conf.n_head * e->conf.n_neuron * e->width * value_bytes;
}

int
hw_bdh_session_create(const struct hw_bdh_engine *engine, struct hw_bdh_session **out,
                      struct hw_err *err)
{
    struct hw_bdh_session *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return hw_err_set(err, HW_ENOMEM, "no memory for a session");
    s->engine = engine;
    s->state_bytes = hw_bdh_engine_state_bytes(engine);
    if (s->state_bytes > physical_bytes()) {
        free(s);
        return hw_err_set(err, HW_ELIMIT, "a session's state of %zu bytes is more than the memory",
                          hw_bdh_engine_state_bytes(engine));
    }
    s->state = hw_bdh_alloc(s->state_bytes, 1);
    if (s->state == NULL || !alloc_scratch(engine, &s->scratch)) {
        hw_bdh_session_destroy(&s);
        return hw_err_set(err, HW_ENOMEM, "no memory for a session's state of %zu bytes",
                          hw_bdh_engine_state_bytes(engine));
    }
    crypto_generichash_init(&s->history, NULL, 0, HISTORY_BYTES);
    *out = s;
    return 0;
}

void
hw_bdh_session_reset(struct hw_bdh_session *session)
{
    crypto_generichash_init(&session->history, NULL, 0, HISTORY_BYTES);
    memset(session->state, 0, session->state_bytes);
    session->position = 0;
}

void
hw_bdh_session_destroy(struct hw_bdh_session **session)
{
    struct hw_bdh_session *s = *session;

    if (s == NULL)
        return;
    free(s->state);
    free_scratch(&s->scratch);
    free(s);
    *session = NULL;
}

uint64_t
hw_bdh_session_position(const struct hw_bdh_session *session)
{
    return session->position;
}

/* --- history --- */

static void
note_token(crypto_generichash_state *history, uint32_t token)
{
    const uint8_t bytes[2] = {(uint8_t)token, (uint8_t)(token >> 8)};

    crypto_generichash_update(history, bytes, sizeof(bytes));
}

bool
hw_bdh_session_continues(const struct hw_bdh_session *session, const void *text, size_t len)
{
    const uint8_t *bytes = text;
    crypto_generichash_state given, taken = session->history;
    uint8_t a[HISTORY_BYTES], b[HISTORY_BYTES];

    if (session->position == 0 || session->position >= len)
        return false;
    for (size_t i = session->position; i > 0 && i + RECENT > session->position; i--)
        if (session->recent[(i - 1) % RECENT] != bytes[i - 1] % session->engine->conf.vocab)
            return false;
    crypto_generichash_init(&given, NULL, 0, HISTORY_BYTES);
    for (size_t i = 0; i < session->position; i++)
        note_token(&given, bytes[i] % session->engine->conf.vocab);
    crypto_generichash_final(&given, a, sizeof(a));
    crypto_generichash_final(&taken, b, sizeof(b));
    return memcmp(a, b, sizeof(a)) == 0;
}

/* --- profile --- */

static uint64_t
now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void
hw_bdh_session_profile(struct hw_bdh_session *session, uint64_t ns[HW_BDH_STAGES])
{
    session->profile = ns;
    session->marked_ns = now_ns();
}

/* What went by since the last mark was this stage. */
static inline void
mark(const struct pass *p, enum hw_bdh_stage stage)
{
    if (p->lender->profile == NULL)
        return;
    uint64_t now = now_ns();
    p->lender->profile[stage] += now - p->lender->marked_ns;
    p->lender->marked_ns = now;
}

/* --- the forward pass --- */

/* All tokens of the chunk through one head's encoder. */
static void
encode(const struct pass *p, size_t head)
{
    const struct hw_bdh_engine *e = p->engine;
    const struct scratch *s = p->scratch;

    if (e->precision == HW_BDH_F32) {
        e->kernels->dense(e->encoder + head * e->head_width * e->conf.n_embd, e->head_panels,
                          e->conf.n_embd, s->x, e->width, p->count, s->encoded, e->head_width);
        return;
    }
    const struct hw_panels8 weights = {
        .panels = e->encoder8 + head * e->head_width * e->groups * 4,
        .scales = e->scales8 + head * e->head_width,
        .sums = e->sums8 + head * e->head_width,
        .panel_count = e->head_panels,
        .groups = e->groups,
    };
    for (size_t i = 0; i < p->count; i++) {
        const struct hw_input8 x = {s->high + i * e->width, s->low + i * e->width, s->scales[i]};
        e->kernels->dense8(&weights, &x, s->encoded + i * e->head_width);
    }
}

/* Reads y from the state of one layer's head and adds the token to it. What bf16 rounds away is
 * drawn by place and position: the same again, whoever else is in the batch. */
static void
attend(const struct pass *p, size_t place, size_t token)
{
    const struct hw_bdh_engine *e = p->engine;
    const struct hw_bdh_session *owner = p->owners[token];
    struct scratch *s = p->scratch;
    struct hw_fired *f = &s->fired;
    size_t first = place * e->conf.n_neuron * e->width;
    const float *x = s->x + token * e->width;

    if (e->precision == HW_BDH_F32) {
        e->kernels->attend((float *)owner->state + first, e->width, f->rows, f->q, f->row_count, x,
                           s->y);
        return;
    }
    uint64_t seed = (s->positions[token] * e->conf.n_layer * e->conf.n_head + place) *
                    UINT64_C(0x9e3779b97f4a7c15);
    e->kernels->attend16((uint16_t *)owner->state + first, e->width, f->rows, f->q, f->row_count, x,
                         s->y, (uint32_t)(seed >> 32));
}

/* Adds to z what the head's neurons say about y. */
static void
answer(const struct pass *p, size_t head, float *z)
{
    const struct hw_bdh_engine *e = p->engine;
    const struct hw_kernels *kernels = e->kernels;
    struct scratch *s = p->scratch;
    struct hw_fired *f = &s->fired;
    size_t stride = 2 * e->width, first = head * e->conf.n_neuron * stride;

    if (e->precision == HW_BDH_F32)
        kernels->dots(e->neurons + first, stride, e->width, f->active, f->active_count, s->y,
                      s->dots);
    else
        kernels->dots16(e->neurons16 + first, stride, e->width, f->active, f->active_count, s->y,
                        s->dots);
    size_t gated = kernels->gate(f->active, f->a, s->dots, f->active_count, f->rows, f->q);
    if (e->precision == HW_BDH_F32)
        kernels->combine(e->neurons + first + e->width, stride, e->width, f->rows, f->q, gated, z);
    else
        kernels->combine16(e->neurons16 + first + e->width, stride, e->width, f->rows, f->q, gated,
                           z);
}

/* One token in one head of one layer: moves the head's state on and, where the output is wanted,
 * adds its share to the token's z. */
static void
pass_token(const struct pass *p, size_t layer, size_t head, size_t token, bool wanted)
{
    const struct hw_bdh_engine *e = p->engine;
    struct scratch *s = p->scratch;
    struct hw_fired *f = &s->fired;
    size_t n = e->conf.n_neuron, at = token * e->head_width;

    e->kernels->list(s->encoded + at, s->cosines + at, s->sines + at,
                     (n + HW_LANES - 1) / HW_LANES * HW_LANES, f);
    mark(p, HW_BDH_STAGE_LISTS);
    memset(s->y, 0, e->width * sizeof(float));
    attend(p, layer * e->conf.n_head + head, token);
    mark(p, HW_BDH_STAGE_STATE);
    if (!wanted)
        return;
    e->kernels->norm(s->y, e->conf.n_embd);
    mark(p, HW_BDH_STAGE_NORMS);
    answer(p, head, s->z + token * e->width);
    mark(p, HW_BDH_STAGE_GATHERS);
}

/* All tokens through one layer; those from `wanted_from` on get an output. */
static void
pass_layer(const struct pass *p, size_t layer, size_t wanted_from)
{
    const struct hw_bdh_engine *e = p->engine;
    struct scratch *s = p->scratch;
    size_t d = e->conf.n_embd, width = e->width;

    memset(s->z, 0, p->count * width * sizeof(float));
    for (size_t i = 0; e->precision == HW_BDH_FAST && i < p->count; i++) {
        struct hw_input8 x = {s->high + i * width, s->low + i * width, 0.0f};
        e->kernels->quantise(s->x + i * width, width, &x);
        s->scales[i] = x.scale;
    }
    for (size_t head = 0; head < e->conf.n_head; head++) {
        encode(p, head);
        mark(p, HW_BDH_STAGE_ENCODER);
        for (size_t i = 0; i < p->count; i++)
            pass_token(p, layer, head, i, i >= wanted_from);
    }
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
 * alone: tokens before `wanted_from` go without, though their states move on. */
static void
pass_all(struct pass *p, const uint32_t *tokens, size_t wanted_from)
{
    const struct hw_bdh_engine *e = p->engine;
    struct scratch *s = p->scratch;

    if (p->lender->profile != NULL)
        p->lender->marked_ns = now_ns();
    for (size_t i = 0; i < p->count; i++) {
        hw_rope_angles(e->freqs, e->conf.n_neuron, p->owners[i]->position,
                       s->cosines + i * e->head_width, s->sines + i * e->head_width);
        uint32_t token = tokens[i] % e->conf.vocab;
        p->owners[i]->recent[s->positions[i] % RECENT] = (uint16_t)token;
        note_token(&p->owners[i]->history, token);
        memcpy(s->x + i * e->width, e->embed + token * e->width, e->width * sizeof(float));
        s->positions[i] = p->owners[i]->position++;
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
    struct scratch *s = p->scratch;

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

    for (size_t i = 0; i < CHUNK; i++)
        p.owners[i] = session;
    for (size_t done = 0; done < count; done += p.count) {
        p.count = count - done < CHUNK ? count - done : CHUNK;
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
        p.count = count - done < CHUNK ? count - done : CHUNK;
        memcpy(p.owners, sessions + done, p.count * sizeof(p.owners[0]));
        pass_all(&p, tokens + done, 0);
        for (size_t i = 0; i < p.count; i++)
            if (logits[done + i] != NULL)
                put_logits(&p, i, logits[done + i]);
        done += p.count;
    }
}
