/* policies/found.c - see found.h. */
#include "policies/found.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "hatchway/assert.h"

/* A cold model is read from disk and put into its device's memory: a gigabyte a second and a second
 * for the rest, as Ollama's load_duration tells on the fleet's NVMe drives, give or take two. */
#define LOAD_BYTES_MS 1e6
#define LOAD_START_MS 1000
#define LOAD_UNKNOWN_BYTES 5e9 /* about 8 billion parameters in 4 bits */

struct hw_found *
hw_found_create(size_t count)
{
    struct hw_found *found = hw_xcalloc(1, sizeof(*found) + count * sizeof(struct hw_found_model));

    atomic_init(&found->refs, 1);
    found->count = count;
    return found;
}

struct hw_found *
hw_found_ref(struct hw_found *found)
{
    atomic_fetch_add_explicit(&found->refs, 1, memory_order_relaxed);
    return found;
}

void
hw_found_unref(struct hw_found *found)
{
    if (found == NULL)
        return;
    unsigned before = atomic_fetch_sub_explicit(&found->refs, 1, memory_order_acq_rel);
    HW_ASSERT(before > 0);
    if (before == 1)
        free(found);
}

bool
hw_same_model_name(const char *a, const char *b)
{
    size_t a_len = strlen(a), b_len = strlen(b);
    const char *longer = a_len > b_len ? a : b;
    size_t shorter = a_len > b_len ? b_len : a_len;

    if (strncasecmp(a, b, shorter) != 0)
        return false;
    return a_len == b_len || (shorter > 0 && strcasecmp(longer + shorter, ":latest") == 0);
}

const struct hw_found_model *
hw_found_by_name(const struct hw_found *found, const char *name)
{
    for (size_t i = 0; found != NULL && i < found->count; i++)
        if (strcmp(found->models[i].name, name) == 0)
            return &found->models[i];
    for (size_t i = 0; found != NULL && i < found->count; i++)
        if (hw_same_model_name(found->models[i].name, name))
            return &found->models[i];
    return NULL;
}

const struct hw_found_model *
hw_found_by_digest(const struct hw_found *found, const char *digest)
{
    for (size_t i = 0; found != NULL && *digest != '\0' && i < found->count; i++)
        if (strcmp(found->models[i].digest, digest) == 0)
            return &found->models[i];
    return NULL;
}

bool
hw_found_embeds(const struct hw_found_model *model)
{
    return strcasestr(model->family, "bert") != NULL || strcasestr(model->name, "embed") != NULL;
}

const struct hw_found_model *
hw_found_first(const struct hw_found *found, bool embeds)
{
    const struct hw_found_model *best = NULL;
    int best_rank = -1;

    for (size_t i = 0; found != NULL && i < found->count; i++) {
        const struct hw_found_model *model = &found->models[i];
        int rank = (hw_found_embeds(model) == embeds ? 2 : 0) + (model->loaded ? 1 : 0);
        if (rank > best_rank) {
            best = model;
            best_rank = rank;
        }
    }
    return best;
}

double
hw_found_load_ms(const struct hw_found *found, const struct hw_found_model *model)
{
    if (found == NULL || !found->loaded_known || model == NULL || model->loaded)
        return 0;
    return LOAD_START_MS +
           (model->size > 0 ? (double)model->size : LOAD_UNKNOWN_BYTES) / LOAD_BYTES_MS;
}

uint64_t
hw_found_identity(const struct hw_found *found)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (size_t i = 0; i < found->count; i++) {
        const char *const texts[] = {found->models[i].name, found->models[i].digest};
        for (size_t t = 0; t < 2; t++)
            for (const char *p = texts[t];; p++) {
                hash = (hash ^ (uint8_t)*p) * 0x100000001b3u;
                if (*p == '\0')
                    break;
            }
    }
    return hash | 1;
}
