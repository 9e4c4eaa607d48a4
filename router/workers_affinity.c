/* router/workers_affinity.c - a set-associative table of hashes. Two conversations that begin
 * alike, as far as the samples tell, share an entry: then one of them may be read again somewhere,
 * no more. The hash has a key of this process, so that nobody can aim at another one's entries. */
#include "router/workers_affinity.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"

#define SETS 512u /* some 1000 conversations: many more than workers keep states of */
#define WAYS 4u
#define MAX_TURNS 4u /* that are looked at for the first user's */
#define NAME_BYTES 64u
#define HEAD_BYTES 256u
#define TAIL_BYTES 64u

/* A query this long is worth one place in a worker's batch: about what an answer costs. */
#define BYTES_A_PLACE 512u
#define MAX_MARGIN 2u

struct entry {
    uint64_t key, slot; /* slot 0: empty */
    uint64_t used;
};

struct hw_affinity {
    uv_mutex_t mutex;
    uint8_t hash_key[crypto_shorthash_KEYBYTES];
    uint64_t clock;
    struct entry *entries; /* [SETS * WAYS]; NULL before the first note */
};

struct hw_affinity *
hw_affinity_create(void)
{
    struct hw_affinity *affinity = hw_xcalloc(1, sizeof(*affinity));

    HW_ASSERT(uv_mutex_init(&affinity->mutex) == 0);
    randombytes_buf(affinity->hash_key, sizeof(affinity->hash_key));
    return affinity;
}

void
hw_affinity_destroy(struct hw_affinity **affinity)
{
    if (*affinity == NULL)
        return;
    uv_mutex_destroy(&(*affinity)->mutex);
    free((*affinity)->entries);
    free(*affinity);
    *affinity = NULL;
}

/* --- the key --------------------------------------------------------------------------------- */

struct sample {
    uint8_t bytes[NAME_BYTES + MAX_TURNS * (2 + sizeof(size_t) + HEAD_BYTES + TAIL_BYTES)];
    size_t len;
};

static void
add(struct sample *sample, const void *bytes, size_t len)
{
    memcpy(sample->bytes + sample->len, bytes, len);
    sample->len += len;
}

static void
add_head(struct sample *sample, const struct hw_worker_turn *turn)
{
    uint8_t role = (uint8_t)turn->role;

    add(sample, &role, 1);
    if (turn->len > 0)
        add(sample, turn->bytes, turn->len < HEAD_BYTES ? turn->len : HEAD_BYTES);
}

static void
add_end(struct sample *sample, const struct hw_worker_turn *turn)
{
    size_t tail = turn->len < TAIL_BYTES ? turn->len : TAIL_BYTES;

    add(sample, &turn->len, sizeof(turn->len));
    if (tail > 0)
        add(sample, turn->bytes + turn->len - tail, tail);
}

static uint64_t
hash(const struct hw_affinity *affinity, const struct sample *sample)
{
    uint64_t value;

    _Static_assert(crypto_shorthash_BYTES == sizeof(value), "a hash is 64 bits");
    crypto_shorthash((uint8_t *)&value, sample->bytes, sample->len, affinity->hash_key);
    return value;
}

struct hw_affinity_key
hw_affinity_key(const struct hw_affinity *affinity, const struct hw_worker_ask *ask)
{
    struct sample sample = {.len = 0};
    struct hw_affinity_key key;
    size_t last = 0;

    while (last + 1 < ask->turn_count && last + 1 < MAX_TURNS &&
           ask->turns[last].role != HW_FRAME_ROLE_USER)
        last++;
    add(&sample, ask->backend, strnlen(ask->backend, NAME_BYTES));
    for (size_t i = 0; i < last; i++) {
        add_head(&sample, &ask->turns[i]);
        add_end(&sample, &ask->turns[i]);
    }
    if (ask->turn_count > 0)
        add_head(&sample, &ask->turns[last]);
    key.begun = hash(affinity, &sample);
    if (ask->turn_count > 0)
        add_end(&sample, &ask->turns[last]);
    key.exact = hash(affinity, &sample);
    return key;
}

uint32_t
hw_affinity_margin(const struct hw_worker_ask *ask)
{
    size_t places = 0;

    for (size_t i = 0, bytes = 0; i < ask->turn_count && places < MAX_MARGIN; i++) {
        bytes += ask->turns[i].len;
        places = bytes / BYTES_A_PLACE;
    }
    return places < MAX_MARGIN ? (uint32_t)places : MAX_MARGIN;
}

uint64_t
hw_affinity_rank(const struct hw_affinity_key *key, uint64_t slot)
{
    uint64_t x = key->exact ^ slot * UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ x >> 32) * UINT64_C(0xd6e8feb86659fd93);
    x = (x ^ x >> 32) * UINT64_C(0xd6e8feb86659fd93);
    return x ^ x >> 32;
}

/* --- the table: with the mutex held ---------------------------------------------------------- */

/* Its entry, or the one to be overwritten. */
static struct entry *
place_of(struct hw_affinity *affinity, uint64_t key, bool *found)
{
    struct entry *set = affinity->entries + key % SETS * WAYS, *oldest = set;

    *found = false;
    for (struct entry *entry = set; entry < set + WAYS; entry++) {
        if (entry->slot != 0 && entry->key == key) {
            *found = true;
            return entry;
        }
        if (entry->used < oldest->used)
            oldest = entry;
    }
    return oldest;
}

static uint64_t
find_one(struct hw_affinity *affinity, uint64_t key)
{
    bool found;
    const struct entry *entry = place_of(affinity, key, &found);

    return found ? entry->slot : 0;
}

static void
note_one(struct hw_affinity *affinity, uint64_t key, uint64_t slot)
{
    bool found;

    *place_of(affinity, key, &found) =
        (struct entry){.key = key, .slot = slot, .used = ++affinity->clock};
}

uint64_t
hw_affinity_find(struct hw_affinity *affinity, const struct hw_affinity_key *key)
{
    uint64_t slot = 0;

    uv_mutex_lock(&affinity->mutex);
    if (affinity->entries != NULL)
        slot = find_one(affinity, key->exact);
    if (affinity->entries != NULL && slot == 0)
        slot = find_one(affinity, key->begun);
    uv_mutex_unlock(&affinity->mutex);
    return slot;
}

void
hw_affinity_note(struct hw_affinity *affinity, const struct hw_affinity_key *key, uint64_t slot)
{
    uv_mutex_lock(&affinity->mutex);
    if (affinity->entries == NULL)
        affinity->entries = hw_xcalloc((size_t)SETS * WAYS, sizeof(*affinity->entries));
    note_one(affinity, key->exact, slot);
    note_one(affinity, key->begun, slot);
    uv_mutex_unlock(&affinity->mutex);
}
