/* router/workers_affinity.c - a set-associative table of hashes. Two queries that are alike as far
 * as the samples tell share an entry: then one of them may be read again somewhere, no more. The
 * hash has a key of this process, so that nobody can aim at another one's entries. */
#include "router/workers_affinity.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"

#define SETS 512u /* some 1000 queries and beginnings: many more than workers keep states of */
#define WAYS 4u
#define MAX_TURNS 4u /* that are looked at for the first user's */
#define NAME_BYTES 64u
#define BEGIN_BYTES 256u /* of the first user's turn */
#define END_BYTES 64u    /* of each turn: at either end */

/* To read so much is worth one place in a worker's batch: about what an answer costs. */
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
    struct entry entries[SETS * WAYS];
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
    free(*affinity);
    *affinity = NULL;
}

/* --- the key --------------------------------------------------------------------------------- */

/* Each hash goes into the next: what was hashed so far is one number. */
struct sample {
    uint8_t bytes[sizeof(uint64_t) + 1 + sizeof(size_t) + BEGIN_BYTES];
    size_t len;
};

_Static_assert(BEGIN_BYTES >= 2 * END_BYTES && BEGIN_BYTES >= NAME_BYTES, "a sample holds them");

static void
add(struct sample *sample, const void *bytes, size_t len)
{
    if (len > 0)
        memcpy(sample->bytes + sample->len, bytes, len);
    sample->len += len;
}

static uint64_t
hash(const struct hw_affinity *affinity, const struct sample *sample)
{
    uint64_t value;

    _Static_assert(crypto_shorthash_BYTES == sizeof(value), "a hash is 64 bits");
    crypto_shorthash((uint8_t *)&value, sample->bytes, sample->len, affinity->hash_key);
    return value;
}

static size_t
at_most(size_t len, size_t limit)
{
    return len < limit ? len : limit;
}

static uint64_t
hash_turn(const struct hw_affinity *affinity, uint64_t so_far, const struct hw_worker_turn *turn)
{
    struct sample sample = {.len = 0};
    uint8_t role = (uint8_t)turn->role;
    size_t end = at_most(turn->len, END_BYTES);

    add(&sample, &so_far, sizeof(so_far));
    add(&sample, &role, 1);
    add(&sample, &turn->len, sizeof(turn->len));
    add(&sample, turn->bytes, end);
    if (end > 0)
        add(&sample, turn->bytes + turn->len - end, end);
    return hash(affinity, &sample);
}

static uint64_t
hash_begun(const struct hw_affinity *affinity, uint64_t so_far, const struct hw_worker_turn *turn)
{
    struct sample sample = {.len = 0};
    uint8_t role = (uint8_t)~turn->role; /* no turn's own */

    add(&sample, &so_far, sizeof(so_far));
    add(&sample, &role, 1);
    add(&sample, turn->bytes, at_most(turn->len, BEGIN_BYTES));
    return hash(affinity, &sample);
}

static uint64_t
hash_name(const struct hw_affinity *affinity, const char *backend)
{
    struct sample sample = {.len = 0};

    add(&sample, backend, strnlen(backend, NAME_BYTES));
    return hash(affinity, &sample);
}

static size_t
first_user(const struct hw_worker_ask *ask)
{
    size_t i = 0;

    while (i + 1 < ask->turn_count && i + 1 < MAX_TURNS && ask->turns[i].role != HW_FRAME_ROLE_USER)
        i++;
    return i;
}

/* Before `end`: back over assistant's turns, or over all others. */
static size_t
back_over(const struct hw_worker_ask *ask, size_t end, bool assistants)
{
    while (end > 0 && (ask->turns[end - 1].role == HW_FRAME_ROLE_ASSISTANT) == assistants)
        end--;
    return end;
}

static uint32_t
worth(const struct hw_worker_ask *ask, size_t turn_count)
{
    size_t bytes = 0;

    for (size_t i = 0; i < turn_count && bytes < (size_t)MAX_MARGIN * BYTES_A_PLACE; i++)
        bytes += ask->turns[i].len;
    return (uint32_t)at_most(bytes / BYTES_A_PLACE, MAX_MARGIN);
}

/* The query before ended where the last answer begins. An answer that the agent has begun itself
 * (the last turn is the assistant's) belongs to the answer that comes, not to the query. */
struct hw_affinity_key
hw_affinity_key(const struct hw_affinity *affinity, const struct hw_worker_ask *ask)
{
    size_t begun = first_user(ask);
    size_t end = back_over(ask, ask->turn_count, true);
    size_t answered = back_over(ask, end, false);
    size_t before = back_over(ask, answered, true);
    uint64_t so_far = hash_name(affinity, ask->backend);
    struct hw_affinity_key key = {.whole = so_far, .begun = so_far};

    for (size_t i = 0; i < ask->turn_count; i++) {
        if (i == begun)
            key.begun = hash_begun(affinity, so_far, &ask->turns[i]);
        so_far = hash_turn(affinity, so_far, &ask->turns[i]);
        if (i + 1 == before)
            key.before = so_far;
        if (i + 1 == end || end == 0)
            key.whole = so_far;
    }
    if (before > 0)
        key.margin = worth(ask, answered);
    return key;
}

uint64_t
hw_affinity_rank(const struct hw_affinity_key *key, uint64_t slot)
{
    uint64_t x = key->whole ^ slot * UINT64_C(0x9e3779b97f4a7c15);

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
hw_affinity_find(struct hw_affinity *affinity, const struct hw_affinity_key *key, uint32_t *margin)
{
    uint64_t slot = 0;

    *margin = 0;
    uv_mutex_lock(&affinity->mutex);
    if (key->before != 0)
        slot = find_one(affinity, key->before);
    if (slot != 0)
        *margin = key->margin;
    else
        slot = find_one(affinity, key->begun);
    uv_mutex_unlock(&affinity->mutex);
    return slot;
}

/* The query before is moved if it is there, and not put there: examples that many queries begin
 * with look like a conversation, but nobody asked them. */
void
hw_affinity_note(struct hw_affinity *affinity, const struct hw_affinity_key *key, uint64_t slot)
{
    uv_mutex_lock(&affinity->mutex);
    if (key->before != 0 && find_one(affinity, key->before) != 0)
        note_one(affinity, key->before, slot);
    note_one(affinity, key->begun, slot);
    note_one(affinity, key->whole, slot);
    uv_mutex_unlock(&affinity->mutex);
}
