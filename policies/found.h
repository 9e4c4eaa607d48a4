/* policies/found.h - the models that a backend was found to have, and which of them are loaded.
 *
 * Written once by whoever asked the backend (router/discover.h), then only read, by any thread,
 * under a reference count. The text is a peer's: bounded and checked when it was read. */
#ifndef HW_POLICIES_FOUND_H
#define HW_POLICIES_FOUND_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HW_MAX_FOUND_MODELS = 512, HW_MAX_FOUND_NAME = 128 };

/* Texts are "" where the backend said nothing. */
struct hw_found_model {
    char name[HW_MAX_FOUND_NAME + 1]; /* as the backend spells it */
    char digest[80];                  /* two names with one digest are one model */
    char family[40], parameter_size[24], quantization[24], format[24], modified[48];
    uint64_t size; /* bytes; 0: unknown */
    bool loaded;
    char expires[48];
    uint64_t size_vram;
    uint32_t context; /* tokens it was loaded with; 0: unknown */
};

struct hw_found {
    atomic_uint refs;
    bool loaded_known; /* the backend tells what it has loaded */
    size_t count;
    struct hw_found_model models[];
};

/* For count models, all of them empty; one reference for the caller. */
struct hw_found *hw_found_create(size_t count);
struct hw_found *hw_found_ref(struct hw_found *found);
void hw_found_unref(struct hw_found *found); /* NULL-safe */

/* Are these one model's names? ":latest" may be left out, case does not count. */
bool hw_same_model_name(const char *a, const char *b);
/* By name: spelt the same, else meant the same; NULL: none. found may be NULL. */
const struct hw_found_model *hw_found_by_name(const struct hw_found *found, const char *name);
/* By a digest that is not empty. */
const struct hw_found_model *hw_found_by_digest(const struct hw_found *found, const char *digest);
/* What a query that names none is answered by: a loaded model before others, one that writes before
 * one that embeds, or the other way round; NULL: there is none. */
const struct hw_found_model *hw_found_first(const struct hw_found *found, bool embeds);
/* A model for vectors, as its family or its name tells. */
bool hw_found_embeds(const struct hw_found_model *model);
/* Milliseconds before it can begin, when it is known not to be loaded: by its size. */
double hw_found_load_ms(const struct hw_found *found, const struct hw_found_model *model);
/* Of names and digests: changes when another model may answer. Never 0. */
uint64_t hw_found_identity(const struct hw_found *found);

#endif
