/* policies/tokens.c - see tokens.h.
 *
 * An open-addressed table that is only added to: a reader meets a key only when its row is there,
 * and a ratio is one word. So ranking reads without a lock while an answer teaches. */
#include "policies/tokens.h"

#include <ctype.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "hatchway/assert.h"
#include "policies/rank.h"

#define SLOTS (2 * HW_TOKEN_MODELS_MAX)
#define WINDOW 15           /* answers that a ratio stands on */
#define MIN_ESTIMATED 64    /* tokens: 256 bytes */
#define FEWEST_PER_1000 400 /* ten bytes a token: no tokenizer reads prose so well */
#define MOST_PER_1000 4000  /* a byte a token */

struct row {
    _Atomic uint64_t key; /* hash of the model's name; 0: free */
    _Atomic uint32_t per_1000;
    uint16_t window[WINDOW]; /* the learner's; the oldest is overwritten next */
    uint32_t reports;
};

struct hw_token_ratios {
    _Atomic uint32_t model_count;
    struct row rows[SLOTS];
};

struct hw_token_ratios *
hw_tokens_create(void)
{
    return hw_xcalloc(1, sizeof(struct hw_token_ratios));
}

void
hw_tokens_destroy(struct hw_token_ratios **ratios)
{
    free(*ratios);
    *ratios = NULL;
}

static uint64_t
key_of(const char *model)
{
    size_t len = strlen(model), tail = strlen(":latest");
    uint64_t hash = 0xcbf29ce484222325u;

    if (len > tail && strcasecmp(model + len - tail, ":latest") == 0)
        len -= tail;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (uint8_t)tolower((unsigned char)model[i])) * 0x100000001b3u;
    return hash | 1;
}

/* The model's row, or the free one where it would be: half of them always are. */
static size_t
row_of(const struct hw_token_ratios *ratios, uint64_t key)
{
    size_t at = (size_t)(key >> 32) % SLOTS;

    for (;;) {
        uint64_t there = atomic_load_explicit(&ratios->rows[at].key, memory_order_acquire);
        if (there == key || there == 0)
            return at;
        at = (at + 1) % SLOTS;
    }
}

/* Between two middle ones the higher: a prompt taken for too large finds another backend, one taken
 * for too small is cut. */
static uint32_t
median(const uint16_t *window, size_t count)
{
    uint16_t sorted[WINDOW];

    for (size_t i = 0; i < count; i++) {
        size_t at = i;
        for (; at > 0 && sorted[at - 1] > window[i]; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = window[i];
    }
    return sorted[count / 2];
}

void
hw_tokens_learn(struct hw_token_ratios *ratios, const char *model, uint32_t estimated,
                uint64_t reported)
{
    if (estimated < MIN_ESTIMATED)
        return;
    uint64_t most = (uint64_t)estimated * MOST_PER_1000 / 1000;
    uint64_t per_1000 = (reported < most ? reported : most) * 1000 / estimated;
    if (per_1000 < FEWEST_PER_1000)
        return;
    uint64_t key = key_of(model);
    struct row *row = &ratios->rows[row_of(ratios, key)];
    if (row->reports == 0) {
        if (atomic_load(&ratios->model_count) == HW_TOKEN_MODELS_MAX)
            return;
        atomic_fetch_add(&ratios->model_count, 1);
        atomic_store_explicit(&row->key, key, memory_order_release);
    }
    row->window[row->reports % WINDOW] = (uint16_t)per_1000;
    row->reports++;
    if (row->reports == 2 * WINDOW) /* only its rest and whether it is full matter: no overflow */
        row->reports = WINDOW;
    size_t count = row->reports < WINDOW ? row->reports : WINDOW;
    if (count >= HW_TOKEN_REPORTS_MIN)
        atomic_store_explicit(&row->per_1000, median(row->window, count), memory_order_relaxed);
}

uint32_t
hw_tokens_per_1000(const struct hw_token_ratios *ratios, const char *model)
{
    if (ratios == NULL || model == NULL ||
        atomic_load_explicit(&ratios->model_count, memory_order_relaxed) == 0)
        return 0;
    const struct row *row = &ratios->rows[row_of(ratios, key_of(model))];
    return atomic_load_explicit(&row->per_1000, memory_order_relaxed);
}

uint32_t
hw_tokens_corrected(const struct hw_token_ratios *ratios, const char *model, uint32_t estimated)
{
    uint32_t per_1000 = hw_tokens_per_1000(ratios, model);

    if (per_1000 == 0)
        return estimated;
    uint64_t corrected = ((uint64_t)estimated * per_1000 + 500) / 1000;
    return corrected > UINT32_MAX ? UINT32_MAX : (uint32_t)corrected;
}

uint32_t
hw_tokens_asked(const struct hw_token_ratios *ratios, const struct hw_snapshot *snapshot,
                const char *model, uint64_t prompt_bytes)
{
    uint32_t estimated = hw_estimate_tokens(prompt_bytes);

    if (ratios == NULL || model == NULL)
        return estimated;
    return hw_tokens_corrected(ratios, hw_resolve_alias(snapshot, model), estimated);
}

const char *
hw_tokens_model(const struct hw_conf_backend *backend, const char *model)
{
    if (model != NULL)
        return model;
    return backend->models.count > 0 ? backend->models.items[0] : backend->name;
}

uint64_t
hw_tokens_at(const struct hw_token_ratios *ratios, const struct hw_conf_backend *backend,
             const char *model, const struct hw_traits *traits)
{
    if (backend->kind == HW_KIND_BDH)
        return traits->prompt_bytes;
    if (traits->tokens_told || ratios == NULL)
        return traits->prompt_tokens;
    return hw_tokens_corrected(ratios, hw_tokens_model(backend, model),
                               hw_estimate_tokens(traits->prompt_bytes));
}

uint32_t
hw_estimate_tokens(uint64_t bytes)
{
    uint64_t tokens =
        bytes / 4 + (bytes % 4 != 0); /* English text under BPE: about four bytes each */
    return tokens > UINT32_MAX ? UINT32_MAX : (uint32_t)tokens;
}
