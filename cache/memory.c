/* cache/memory.c - the embedded store: shards of S3-FIFO queues.
 *
 * Eviction is S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023).
 * New entries enter a small queue, a tenth of the shard; those asked for again before they reach
 * its end move on to the main queue, the others leave and only their fingerprint stays for a while:
 * who comes back soon goes to the main queue at once. So a flood of queries asked once each (a
 * batch job, a crawler) passes through the small queue and leaves the hot answers alone. And a hit
 * only raises a two-bit counter instead of moving a node in a list, which keeps the time under the
 * shard's mutex to a look-up.
 *
 * A key is a cryptographic hash already: its bytes choose the shard and the bucket as they are.
 * The budget covers everything: entries, nodes, malloc's own headers, buckets and fingerprints.
 * Each shard keeps to its part of it under its own mutex, so the sum holds at any moment. */
#include "cache/memory.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"

#define SHARDS_MAX 64u
#define SHARD_BYTES_MIN                                                                            \
    (UINT64_C(4) << 20)       /* so that an eighth of a shard holds any usual answer */
#define BYTES_PER_BUCKET 512u /* buckets and fingerprints are sized by the budget */
#define BYTES_PER_GHOST 1024u
#define MALLOC_OVERHEAD 32u /* two allocations an entry, rounding included */
#define SMALL_SHARE 10u     /* the small queue's part of a shard: one tenth */
#define HITS_MAX 3u

enum queue { QUEUE_SMALL, QUEUE_MAIN, QUEUE_COUNT };

struct node {
    struct hw_cache_key key;
    struct hw_cache_entry *entry;
    struct node *chain;         /* next in the bucket */
    struct node *newer, *older; /* neighbours in the queue */
    uint64_t charge;            /* bytes counted for it */
    uint8_t queue;
    uint8_t hits; /* since it entered its queue, at most HITS_MAX */
};

struct fifo {
    struct node *newest, *oldest;
    uint64_t bytes;
};

struct shard {
    pthread_mutex_t mutex;
    struct node **buckets;
    uint64_t bucket_mask;
    uint32_t *ghosts; /* fingerprints of evicted keys, direct-mapped; 0: none */
    uint64_t ghost_mask;
    struct fifo fifos[QUEUE_COUNT];
    uint64_t fixed_bytes; /* buckets, ghosts, this struct */
    uint64_t max_bytes;   /* of the fixed ones and the queues together */
    uint64_t entries, evictions, expirations;
} __attribute__((aligned(64)));

struct hw_cache_memory {
    uint32_t shard_count; /* a power of two */
    struct shard *shards;
};

static uint64_t
key_word(const struct hw_cache_key *key, size_t at)
{
    uint64_t word;

    memcpy(&word, key->bytes + at, sizeof(word));
    return word;
}

static struct shard *
shard_of(const struct hw_cache_memory *memory, const struct hw_cache_key *key)
{
    return &memory->shards[key_word(key, 0) & (memory->shard_count - 1)];
}

static uint64_t
shard_bytes(const struct shard *shard)
{
    return shard->fixed_bytes + shard->fifos[QUEUE_SMALL].bytes + shard->fifos[QUEUE_MAIN].bytes;
}

static uint64_t
charge_of(const struct hw_cache_entry *entry)
{
    return sizeof(struct node) + sizeof(*entry) + MALLOC_OVERHEAD + entry->len;
}

static void
fifo_push(struct shard *shard, struct node *node, enum queue queue)
{
    struct fifo *fifo = &shard->fifos[queue];

    node->queue = (uint8_t)queue;
    node->newer = NULL;
    node->older = fifo->newest;
    if (fifo->newest != NULL)
        fifo->newest->newer = node;
    else
        fifo->oldest = node;
    fifo->newest = node;
    fifo->bytes += node->charge;
}

static void
fifo_remove(struct shard *shard, struct node *node)
{
    struct fifo *fifo = &shard->fifos[node->queue];

    if (node->newer != NULL)
        node->newer->older = node->older;
    else
        fifo->newest = node->older;
    if (node->older != NULL)
        node->older->newer = node->newer;
    else
        fifo->oldest = node->newer;
    HW_ASSERT(fifo->bytes >= node->charge);
    fifo->bytes -= node->charge;
}

static struct node **
bucket_of(const struct shard *shard, const struct hw_cache_key *key)
{
    return &shard->buckets[key_word(key, 8) & shard->bucket_mask];
}

static struct node *
find(const struct shard *shard, const struct hw_cache_key *key)
{
    struct node *node = *bucket_of(shard, key);

    while (node != NULL && memcmp(&node->key, key, sizeof(*key)) != 0)
        node = node->chain;
    return node;
}

static void
drop(struct shard *shard, struct node *node)
{
    struct node **link = bucket_of(shard, &node->key);

    while (*link != node)
        link = &(*link)->chain;
    *link = node->chain;
    fifo_remove(shard, node);
    shard->entries--;
    hw_cache_entry_unref(node->entry);
    free(node);
}

/* Never 0, which means "none" in the table. */
static uint32_t
fingerprint(const struct hw_cache_key *key)
{
    return (uint32_t)key_word(key, 16) | 1;
}

static uint32_t *
ghost_of(const struct shard *shard, const struct hw_cache_key *key)
{
    return &shard->ghosts[key_word(key, 24) & shard->ghost_mask];
}

static void
evict_from_small(struct shard *shard)
{
    struct node *node = shard->fifos[QUEUE_SMALL].oldest;

    if (node->hits > 0) { /* an answer asked for twice is likely to be asked for again */
        fifo_remove(shard, node);
        node->hits = 0;
        fifo_push(shard, node, QUEUE_MAIN);
        return;
    }
    *ghost_of(shard, &node->key) = fingerprint(&node->key);
    drop(shard, node);
    shard->evictions++;
}

static void
evict_from_main(struct shard *shard)
{
    struct node *node = shard->fifos[QUEUE_MAIN].oldest;

    if (node->hits > 0) { /* once more around, with less credit: ends after HITS_MAX rounds */
        fifo_remove(shard, node);
        node->hits--;
        fifo_push(shard, node, QUEUE_MAIN);
        return;
    }
    drop(shard, node);
    shard->evictions++;
}

static void
make_room(struct shard *shard, uint64_t need)
{
    uint64_t small_share = shard->max_bytes / SMALL_SHARE;

    while (shard_bytes(shard) + need > shard->max_bytes) {
        const struct fifo *small = &shard->fifos[QUEUE_SMALL];
        if (small->oldest != NULL &&
            (small->bytes > small_share || shard->fifos[QUEUE_MAIN].oldest == NULL))
            evict_from_small(shard);
        else if (shard->fifos[QUEUE_MAIN].oldest != NULL)
            evict_from_main(shard);
        else
            return; /* empty: `need` is at most an eighth, so it fits now */
    }
}

static uint64_t
power_of_two_at_least(uint64_t value)
{
    uint64_t power = 16;

    while (power < value)
        power *= 2;
    return power;
}

static bool
shard_init(struct shard *shard, uint64_t max_bytes)
{
    uint64_t buckets = power_of_two_at_least(max_bytes / BYTES_PER_BUCKET);
    uint64_t ghosts = power_of_two_at_least(max_bytes / BYTES_PER_GHOST);

    if (pthread_mutex_init(&shard->mutex, NULL) != 0)
        return false;
    shard->max_bytes = max_bytes;
    shard->bucket_mask = buckets - 1;
    shard->ghost_mask = ghosts - 1;
    shard->buckets = calloc(buckets, sizeof(*shard->buckets));
    shard->ghosts = calloc(ghosts, sizeof(*shard->ghosts));
    shard->fixed_bytes =
        sizeof(*shard) + buckets * sizeof(*shard->buckets) + ghosts * sizeof(*shard->ghosts);
    if (shard->buckets != NULL && shard->ghosts != NULL)
        return true;
    free(shard->buckets);
    free(shard->ghosts);
    pthread_mutex_destroy(&shard->mutex);
    return false;
}

static void
shard_destroy(struct shard *shard)
{
    for (int queue = 0; queue < QUEUE_COUNT; queue++) {
        while (shard->fifos[queue].oldest != NULL)
            drop(shard, shard->fifos[queue].oldest);
    }
    free(shard->buckets);
    free(shard->ghosts);
    pthread_mutex_destroy(&shard->mutex);
}

struct hw_cache_memory *
hw_cache_memory_create(uint64_t max_bytes)
{
    struct hw_cache_memory *memory = hw_xcalloc(1, sizeof(*memory));
    uint32_t wanted = 1;

    while (wanted < SHARDS_MAX && max_bytes / (wanted * 2) >= SHARD_BYTES_MIN)
        wanted *= 2;
    memory->shards = aligned_alloc(_Alignof(struct shard), wanted * sizeof(struct shard));
    if (memory->shards == NULL) {
        free(memory);
        return NULL;
    }
    memset(memory->shards, 0, wanted * sizeof(struct shard));
    while (memory->shard_count < wanted) {
        if (!shard_init(&memory->shards[memory->shard_count], max_bytes / wanted)) {
            hw_cache_memory_destroy(&memory);
            return NULL;
        }
        memory->shard_count++;
    }
    return memory;
}

void
hw_cache_memory_destroy(struct hw_cache_memory **memory)
{
    struct hw_cache_memory *m = *memory;

    if (m == NULL)
        return;
    for (uint32_t i = 0; i < m->shard_count; i++)
        shard_destroy(&m->shards[i]);
    free(m->shards);
    free(m);
    *memory = NULL;
}

struct hw_cache_entry *
hw_cache_memory_get(struct hw_cache_memory *memory, const struct hw_cache_key *key, uint64_t now_ms)
{
    struct shard *shard = shard_of(memory, key);
    struct hw_cache_entry *entry = NULL;

    pthread_mutex_lock(&shard->mutex);
    struct node *node = find(shard, key);
    if (node != NULL && node->entry->expires_ms <= now_ms) {
        drop(shard, node);
        shard->expirations++;
    } else if (node != NULL) {
        if (node->hits < HITS_MAX)
            node->hits++;
        entry = hw_cache_entry_ref(node->entry);
    }
    pthread_mutex_unlock(&shard->mutex);
    return entry;
}

/* The shard's mutex is held, the key is not in it; `node` is the caller's empty one. */
static void
insert(struct shard *shard, struct node *node, enum queue queue)
{
    struct node **bucket = bucket_of(shard, &node->key);

    make_room(shard, node->charge);
    node->chain = *bucket;
    *bucket = node;
    fifo_push(shard, node, queue);
    shard->entries++;
}

void
hw_cache_memory_put(struct hw_cache_memory *memory, const struct hw_cache_key *key,
                    struct hw_cache_entry *entry)
{
    struct shard *shard = shard_of(memory, key);
    uint64_t charge = charge_of(entry);
    bool keep = charge <= shard->max_bytes / 8 && shard->fixed_bytes <= shard->max_bytes / 2;
    struct node *node = keep ? malloc(sizeof(*node)) : NULL;
    enum queue queue = QUEUE_SMALL;
    uint8_t hits = 0;

    pthread_mutex_lock(&shard->mutex);
    struct node *old = find(shard, key);
    if (old != NULL) { /* goes even when the new one is not kept: it is stale */
        queue = old->queue == QUEUE_MAIN ? QUEUE_MAIN : QUEUE_SMALL;
        hits = old->hits;
        drop(shard, old);
    }
    if (node != NULL) {
        uint32_t *ghost = ghost_of(shard, key);
        if (*ghost == fingerprint(key)) {
            queue = QUEUE_MAIN;
            *ghost = 0;
        }
        *node = (struct node){.key = *key, .charge = charge, .hits = hits};
        node->entry = hw_cache_entry_ref(entry);
        insert(shard, node, queue);
    }
    pthread_mutex_unlock(&shard->mutex);
}

void
hw_cache_memory_stats(struct hw_cache_memory *memory, struct hw_cache_memory_stats *stats)
{
    *stats = (struct hw_cache_memory_stats){0};
    for (uint32_t i = 0; i < memory->shard_count; i++) {
        struct shard *shard = &memory->shards[i];
        pthread_mutex_lock(&shard->mutex);
        stats->entries += shard->entries;
        stats->bytes += shard_bytes(shard);
        stats->evictions += shard->evictions;
        stats->expirations += shard->expirations;
        pthread_mutex_unlock(&shard->mutex);
    }
}
