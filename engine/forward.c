/* engine/forward.c - one token through all layers, doing only what active neurons need.
 *
 * The encoder is dense: it must be run to know who fires. After relu a quarter of the neurons are
 * left (trained models), so the rest works on index lists: the state's rows of the pairs that RoPE
 * mixes, encoder_v's rows of neurons with a > 0, the decoder's of those with a * b > 0. For that
 * encoder_v is transposed, its row beside the decoder's. D is padded to whole vectors with zeros,
 * N to whole panels: no loop has a remainder.
 *
 * Several known tokens (a prompt) go through layer by layer and head by head together: one head's
 * weights and state stay in the second-level cache while all tokens of the chunk pass. Each value
 * comes from the same operations in the same order as token by token. */
#include "engine/forward.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/kernels.h"
#include "engine/rope.h"

#define LN_EPS 1e-5
#define CHUNK 16u /* tokens that pass together */

struct hw_bdh_engine {
    struct hw_bdh_config conf;
    const struct hw_kernels *kernels;
    size_t width;       /* D padded to HW_LANES */
    size_t head_panels; /* panels of one head's N */
    size_t vocab_panels;
    float *encoder; /* [H][head_panels][D][HW_PANEL] */
    float *neurons; /* [H][N][2][width]: encoder_v's column, decoder's row */
    float *embed;   /* [V][width], layer-normed: no token needs it otherwise */
    float *lm_head; /* [vocab_panels][D][HW_PANEL] */
    float *freqs;   /* [N] */
};

struct hw_bdh_session {
    const struct hw_bdh_engine *engine;
    uint64_t position;
    float *state; /* [n_layer][H][N][width] */
    size_t state_floats;
    /* scratch of one chunk */
    float *cosines, *sines; /* [CHUNK][N] */
    float *x, *z;           /* [CHUNK][width] */
    float *fired;           /* [CHUNK][head_panels * HW_PANEL]: a of one head, before relu */
    /* scratch of one token in one head */
    float *y;         /* [width] */
    uint32_t *rows;   /* [N] state rows with q != 0, then neurons with a * b > 0 */
    float *values;    /* [N] beside rows */
    uint32_t *active; /* [N] neurons with a > 0 */
    float *dots;      /* [N] beside active */
    float *logits;    /* [vocab_panels * HW_PANEL] */
};

static size_t
round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* Zeroed and vector-aligned. Large ones sit on huge pages where the system gives them: the state
 * is walked in jumps that would miss the TLB on each row otherwise. */
static void *
alloc_floats(size_t count)
{
    const size_t huge = (size_t)2 << 20;
    size_t bytes = count * sizeof(float);
    size_t align = bytes >= huge ? huge : 64;

    bytes = round_up(bytes, align);
    void *p = aligned_alloc(align, bytes == 0 ? align : bytes);
    if (p == NULL)
        return NULL;
    if (align == huge)
        madvise(p, bytes, MADV_HUGEPAGE);
    return memset(p, 0, bytes);
}

/* LN without affine, over n values; what is behind n stays. */
static void
layer_norm(float *v, size_t n)
{
    double mean = 0.0, variance = 0.0;

    for (size_t i = 0; i < n; i++)
        mean += (double)v[i];
    mean /= (double)n;
    for (size_t i = 0; i < n; i++) {
        double off = (double)v[i] - mean;
        variance += off * off;
    }
    double scale = 1.0 / sqrt(variance / (double)n + LN_EPS);
    for (size_t i = 0; i < n; i++)
        v[i] = (float)(((double)v[i] - mean) * scale);
}

/* matrix [inputs, outputs] row-major into panels of HW_PANEL outputs. */
static void
pack_panels(const float *matrix, size_t inputs, size_t outputs, float *panels)
{
    for (size_t o = 0; o < outputs; o++) {
        float *panel = panels + o / HW_PANEL * inputs * HW_PANEL + o % HW_PANEL;
        for (size_t i = 0; i < inputs; i++)
            panel[i * HW_PANEL] = matrix[i * outputs + o];
    }
}

static void
pack(struct hw_bdh_engine *e, const struct hw_bdh_model *model)
{
    size_t d = e->conf.n_embd, n = e->conf.n_neuron, v = e->conf.vocab;

    for (size_t h = 0; h < e->conf.n_head; h++) {
        pack_panels(model->encoder + h * d * n, d, n,
                    e->encoder + h * e->head_panels * d * HW_PANEL);
        for (size_t i = 0; i < n; i++) {
            float *row = e->neurons + (h * n + i) * 2 * e->width;
            for (size_t j = 0; j < d; j++)
                row[j] = model->encoder_v[(h * d + j) * n + i];
            memcpy(row + e->width, model->decoder + (h * n + i) * d, d * sizeof(float));
        }
    }
    for (size_t token = 0; token < v; token++) {
        float *row = e->embed + token * e->width;
        memcpy(row, model->embed + token * d, d * sizeof(float));
        layer_norm(row, d);
    }
    pack_panels(model->lm_head, d, v, e->lm_head);
    memcpy(e->freqs, model->freqs, n * sizeof(float));
}

int
hw_bdh_engine_create(const struct hw_bdh_model *model, struct hw_bdh_engine **out,
                     struct hw_err *err)
{
    struct hw_bdh_engine *e = calloc(1, sizeof(*e));
    if (e == NULL)
        return hw_err_set(err, HW_ENOMEM, "no memory for an engine");
    e->conf = model->conf;
    e->kernels = hw_kernels_pick();
    size_t d = e->conf.n_embd, hn = (size_t)e->conf.n_head * e->conf.n_neuron;
    e->width = round_up(d, HW_LANES);
    e->head_panels = round_up(e->conf.n_neuron, HW_PANEL) / HW_PANEL;
    e->vocab_panels = round_up(e->conf.vocab, HW_PANEL) / HW_PANEL;
    e->encoder = alloc_floats(e->conf.n_head * e->head_panels * d * HW_PANEL);
    e->neurons = alloc_floats(hn * 2 * e->width);
    e->embed = alloc_floats(e->conf.vocab * e->width);
    e->lm_head = alloc_floats(e->vocab_panels * d * HW_PANEL);
    e->freqs = alloc_floats(e->conf.n_neuron);
    if (e->encoder == NULL || e->neurons == NULL || e->embed == NULL || e->lm_head == NULL ||
        e->freqs == NULL) {
        hw_bdh_engine_destroy(&e);
        return hw_err_set(err, HW_ENOMEM, "no memory for the weights of %s", model->name);
    }
    pack(e, model);
    *out = e;
    return 0;
}

void
hw_bdh_engine_destroy(struct hw_bdh_engine **engine)
{
    struct hw_bdh_engine *e = *engine;

    if (e == NULL)
        return;
    free(e->encoder);
    free(e->neurons);
    free(e->embed);
    free(e->lm_head);
    free(e->freqs);
    free(e);
    *engine = NULL;
}

const struct hw_bdh_config *
hw_bdh_engine_config(const struct hw_bdh_engine *engine)
{
    return &engine->conf;
}

const char *
hw_bdh_engine_kernels(const struct hw_bdh_engine *engine)
{
    return engine->kernels->name;
}

/* n_layer comes from the configuration alone: a small hostile file may ask for any state, and an
 * overcommitting system would promise it. */
static size_t
physical_bytes(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);

    return pages > 0 && page > 0 ? (size_t)pages * (size_t)page : SIZE_MAX;
}

int
hw_bdh_session_create(const struct hw_bdh_engine *engine, struct hw_bdh_session **out,
                      struct hw_err *err)
{
    size_t n = engine->conf.n_neuron;
    struct hw_bdh_session *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return hw_err_set(err, HW_ENOMEM, "no memory for a session");
    s->engine = engine;
    s->state_floats = (size_t)engine->conf.n_layer * engine->conf.n_head * n * engine->width;
    if (s->state_floats * sizeof(float) > physical_bytes()) {
        free(s);
        return hw_err_set(err, HW_ELIMIT, "a session's state of %zu bytes is more than the memory",
                          hw_bdh_state_bytes(&engine->conf));
    }
    s->state = alloc_floats(s->state_floats);
    s->cosines = alloc_floats(CHUNK * n);
    s->sines = alloc_floats(CHUNK * n);
    s->x = alloc_floats(CHUNK * engine->width);
    s->z = alloc_floats(CHUNK * engine->width);
    s->fired = alloc_floats(CHUNK * engine->head_panels * HW_PANEL);
    s->y = alloc_floats(engine->width);
    s->rows = alloc_floats(n);
    s->values = alloc_floats(n);
    s->active = alloc_floats(n);
    s->dots = alloc_floats(n);
    s->logits = alloc_floats(engine->vocab_panels * HW_PANEL);
    if (s->state == NULL || s->cosines == NULL || s->sines == NULL || s->x == NULL ||
        s->y == NULL || s->z == NULL || s->fired == NULL || s->rows == NULL || s->values == NULL ||
        s->active == NULL || s->dots == NULL || s->logits == NULL) {
        hw_bdh_session_destroy(&s);
        return hw_err_set(err, HW_ENOMEM, "no memory for a session's state of %zu bytes",
                          hw_bdh_state_bytes(&engine->conf));
    }
    *out = s;
    return 0;
}

void
hw_bdh_session_reset(struct hw_bdh_session *session)
{
    memset(session->state, 0, session->state_floats * sizeof(float));
    session->position = 0;
}

void
hw_bdh_session_destroy(struct hw_bdh_session **session)
{
    struct hw_bdh_session *s = *session;

    if (s == NULL)
        return;
    free(s->state);
    free(s->cosines);
    free(s->sines);
    free(s->x);
    free(s->y);
    free(s->z);
    free(s->fired);
    free(s->rows);
    free(s->values);
    free(s->active);
    free(s->dots);
    free(s->logits);
    free(s);
    *session = NULL;
}

uint64_t
hw_bdh_session_position(const struct hw_bdh_session *session)
{
    return session->position;
}

/* Token `token` of the chunk: its encoder outputs in the head at hand. */
static float *
fired_of(const struct hw_bdh_session *s, size_t token)
{
    return s->fired + token * s->engine->head_panels * HW_PANEL;
}

/* relu and RoPE of one token, a pair at a time, leaving two lists: state rows with their q, and
 * neurons that fire. Writes are unconditional and the counters move by comparison: the outcome is a
 * coin toss that no branch predictor learns. Returns the number of rows, the neurons in
 * *active_count. */
static size_t
list_fired(struct hw_bdh_session *s, size_t token, size_t *active_count)
{
    size_t n = s->engine->conf.n_neuron, rows = 0, active = 0;
    const float *fired = fired_of(s, token);
    const float *cosines = s->cosines + token * n, *sines = s->sines + token * n;

    for (size_t i = 0; i < n; i += 2) {
        float even = fired[i] > 0.0f ? fired[i] : 0.0f;
        float odd = fired[i + 1] > 0.0f ? fired[i + 1] : 0.0f;
        float q_even = even * cosines[i] - odd * sines[i];
        float q_odd = odd * cosines[i + 1] + even * sines[i + 1];
        s->rows[rows] = (uint32_t)i;
        s->values[rows] = q_even;
        rows += q_even != 0.0f;
        s->rows[rows] = (uint32_t)i + 1;
        s->values[rows] = q_odd;
        rows += q_odd != 0.0f;
        s->active[active] = (uint32_t)i;
        active += even > 0.0f;
        s->active[active] = (uint32_t)i + 1;
        active += odd > 0.0f;
    }
    *active_count = active;
    return rows;
}

/* Of the active neurons, those with a * b > 0, into rows and values. */
static size_t
list_gated(struct hw_bdh_session *s, size_t token, size_t active_count)
{
    const float *fired = fired_of(s, token);
    size_t gated = 0;

    for (size_t k = 0; k < active_count; k++) {
        uint32_t neuron = s->active[k];
        float product = fired[neuron] * s->dots[k];
        s->rows[gated] = neuron;
        s->values[gated] = product;
        gated += product > 0.0f;
    }
    return gated;
}

/* One token in one head of one layer: moves the head's state on and, where the output is wanted,
 * adds its share to the token's z. */
static void
pass_token(struct hw_bdh_session *s, size_t layer, size_t head, size_t token, bool wanted)
{
    const struct hw_bdh_engine *e = s->engine;
    const struct hw_kernels *kernels = e->kernels;
    size_t n = e->conf.n_neuron, width = e->width, active;
    float *state = s->state + (layer * e->conf.n_head + head) * n * width;
    const float *neurons = e->neurons + head * n * 2 * width;

    size_t rows = list_fired(s, token, &active);
    memset(s->y, 0, width * sizeof(float));
    kernels->attend(state, width, s->rows, s->values, rows, s->x + token * width, s->y);
    if (!wanted)
        return;
    layer_norm(s->y, e->conf.n_embd);
    kernels->dots(neurons, 2 * width, width, s->active, active, s->y, s->dots);
    size_t gated = list_gated(s, token, active);
    kernels->combine(neurons + width, 2 * width, width, s->rows, s->values, gated,
                     s->z + token * width);
}

/* All tokens of a chunk through one layer; those from `wanted_from` on get an output. */
static void
pass_layer(struct hw_bdh_session *s, size_t layer, size_t count, size_t wanted_from)
{
    const struct hw_bdh_engine *e = s->engine;
    size_t d = e->conf.n_embd, width = e->width;

    memset(s->z, 0, count * width * sizeof(float));
    for (size_t head = 0; head < e->conf.n_head; head++) {
        const float *encoder = e->encoder + head * e->head_panels * d * HW_PANEL;
        for (size_t i = 0; i < count; i++)
            e->kernels->dense(encoder, e->head_panels, d, s->x + i * width, fired_of(s, i));
        for (size_t i = 0; i < count; i++)
            pass_token(s, layer, head, i, i >= wanted_from);
    }
    for (size_t i = wanted_from; i < count; i++) {
        float *x = s->x + i * width, *z = s->z + i * width;
        layer_norm(z, d);
        for (size_t j = 0; j < d; j++)
            x[j] += z[j];
        layer_norm(x, d);
    }
}

static void
feed_chunk(struct hw_bdh_session *s, const uint32_t *tokens, size_t count, float *logits)
{
    const struct hw_bdh_engine *e = s->engine;
    size_t n = e->conf.n_neuron, width = e->width;

    for (size_t i = 0; i < count; i++) {
        hw_rope_angles(e->freqs, n, s->position + i, s->cosines + i * n, s->sines + i * n);
        memcpy(s->x + i * width, e->embed + tokens[i] % e->conf.vocab * width,
               width * sizeof(float));
    }
    for (size_t layer = 0; layer + 1 < e->conf.n_layer; layer++)
        pass_layer(s, layer, count, 0);
    /* The last layer's outputs serve the logits alone; its state must move on all the same. */
    pass_layer(s, e->conf.n_layer - 1, count, logits != NULL ? count - 1 : count);
    s->position += count;
    if (logits == NULL)
        return;
    e->kernels->dense(e->lm_head, e->vocab_panels, e->conf.n_embd, s->x + (count - 1) * width,
                      s->logits);
    memcpy(logits, s->logits, e->conf.vocab * sizeof(float));
}

void
hw_bdh_session_feed(struct hw_bdh_session *session, const uint32_t *tokens, size_t count,
                    float *logits)
{
    for (size_t done = 0, n; done < count; done += n) {
        n = count - done < CHUNK ? count - done : CHUNK;
        feed_chunk(session, tokens + done, n, done + n == count ? logits : NULL);
    }
}

void
hw_bdh_session_step(struct hw_bdh_session *session, uint32_t token, float *logits)
{
    feed_chunk(session, &token, 1, logits);
}
