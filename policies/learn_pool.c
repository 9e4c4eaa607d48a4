/* policies/learn_pool.c - queries without labels, each once: see learn_self.h.
 *
 * Two texts with the same n-grams are the same to the classifier, so a hash of these tells what is
 * known already. */
#include <stdlib.h>

#include "hatchway/assert.h"
#include "policies/learn_private.h"
#include "policies/learn_self.h"

struct hw_learn_pool {
    struct hw_examples *examples; /* of no class */
    uint64_t *seen;               /* an open-addressed table; 0: free */
    size_t mask;
};

static uint64_t
hash_of(const uint16_t *features, size_t count)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (size_t i = 0; i < count; i++)
        hash = (hash ^ features[i]) * 0x100000001b3u;
    hash ^= hash >> 29;
    return hash | 1;
}

/* False: it was there before. */
static bool
see(struct hw_learn_pool *pool, const uint16_t *features, size_t count)
{
    uint64_t hash = hash_of(features, count);
    size_t at = (size_t)(hash >> 8) & pool->mask;

    for (; pool->seen[at] != 0; at = (at + 1) & pool->mask)
        if (pool->seen[at] == hash)
            return false;
    pool->seen[at] = hash;
    return true;
}

struct hw_learn_pool *
hw_learn_pool_create(const struct hw_examples *labelled)
{
    struct hw_learn_pool *pool = hw_xcalloc(1, sizeof(*pool));
    size_t slots = 16;

    while (slots < 2 * (labelled->count + HW_LEARN_POOL_MAX))
        slots *= 2;
    pool->examples = hw_examples_create(labelled->bits);
    pool->seen = hw_xcalloc(slots, sizeof(*pool->seen));
    pool->mask = slots - 1;
    for (size_t i = 0; i < labelled->count; i++)
        see(pool, labelled->features + labelled->starts[i],
            labelled->starts[i + 1] - labelled->starts[i]);
    return pool;
}

void
hw_learn_pool_destroy(struct hw_learn_pool **pool)
{
    if (*pool == NULL)
        return;
    hw_examples_destroy(&(*pool)->examples);
    free((*pool)->seen);
    free(*pool);
    *pool = NULL;
}

static int
add(struct hw_learn_pool *pool, const uint16_t *features, size_t count, struct hw_err *err)
{
    if (count == 0)
        return 0;
    if (pool->examples->count == HW_LEARN_POOL_MAX)
        return hw_err_set(err, HW_ELIMIT, "more than %d different queries", HW_LEARN_POOL_MAX);
    if (!see(pool, features, count))
        return 0;
    int rc = hw_examples_add_features(pool->examples, HW_LEARN_NONE, features, count, false, err);
    return rc == 0 ? 1 : rc;
}

int
hw_learn_pool_add(struct hw_learn_pool *pool, const char *text, size_t len, struct hw_err *err)
{
    uint16_t features[HW_FEATURES_MAX];
    size_t count =
        hw_features(pool->examples->kinds, text, len, pool->examples->bits, NULL, 0, features);

    return add(pool, features, count, err);
}

int
hw_learn_pool_add_buckets(struct hw_learn_pool *pool, const uint16_t *buckets, size_t count,
                          struct hw_err *err)
{
    uint16_t features[HW_FEATURES_MAX];

    return add(pool, features, hw_learn_fewer_bits(buckets, count, pool->examples->bits, features),
               err);
}

size_t
hw_learn_pool_count(const struct hw_learn_pool *pool)
{
    return pool->examples->count;
}

const struct hw_examples *
hw_learn_pool_examples(const struct hw_learn_pool *pool)
{
    return pool->examples;
}
