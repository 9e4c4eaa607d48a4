/* policies/kinds.c - see kinds.h: a table of 32 KiB, one probe for most words. */
#include "policies/kinds.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "hatchway/assert.h"

#define SLOTS 4096u /* at most half of them are taken */
#define WORD_MAX 20 /* bytes of the longest word, its ending too */

struct slot {
    uint32_t tag; /* hash of the word; 0: free */
    uint8_t kinds[HW_KINDS_OF_A_WORD + 1];
};

static struct slot slots[SLOTS]; /* written once, under `once` */
static uint32_t edition;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static uint32_t
hash_of(const uint8_t *word, size_t len)
{
    uint32_t hash = 0x811c9dc5u;

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ word[i]) * 0x01000193u;
    hash ^= hash >> 15;
    return hash | 1;
}

static struct slot *
slot_of(uint32_t tag)
{
    uint32_t at = tag >> 1 & (SLOTS - 1);

    while (slots[at].tag != 0 && slots[at].tag != tag)
        at = (at + 1) & (SLOTS - 1);
    return &slots[at];
}

static void
place(const uint8_t *word, size_t len, uint8_t kind)
{
    uint32_t tag = hash_of(word, len);
    struct slot *slot = slot_of(tag);
    size_t i = 0;

    HW_ASSERT(len <= WORD_MAX);
    slot->tag = tag;
    while (slot->kinds[i] != 0)
        i++;
    HW_ASSERT(i < HW_KINDS_OF_A_WORD);
    slot->kinds[i] = kind;
}

static void
read_lists(void)
{
    const uint8_t *p = (const uint8_t *)hw_kinds_words;
    unsigned kind = 1;

    edition = hash_of(p, strlen(hw_kinds_words));
    while (*p != '\0') {
        size_t len = strcspn((const char *)p, " \n");
        HW_ASSERT(kind < HW_KINDS);
        place(p, len, (uint8_t)kind);
        p += len;
        kind += *p == '\n';
        p += *p != '\0';
    }
}

void
hw_kinds_prepare(void)
{
    pthread_once(&once, read_lists);
}

uint32_t
hw_kinds_edition(void)
{
    return edition;
}

static bool
look_up(const uint8_t *word, size_t len, uint8_t *kinds)
{
    const struct slot *slot = slot_of(hash_of(word, len));

    memcpy(kinds, slot->kinds, HW_KINDS_OF_A_WORD);
    return slot->tag != 0;
}

static bool
is_number(const uint8_t *word, size_t len)
{
    while (len > 0 && word[len - 1] >= '0' && word[len - 1] <= '9')
        len--;
    return len == 0;
}

/* "playing", "making", "running". */
static bool
look_up_ing(const uint8_t *word, size_t stem, uint8_t *kinds)
{
    uint8_t with_e[WORD_MAX];

    if (look_up(word, stem, kinds))
        return true;
    memcpy(with_e, word, stem);
    with_e[stem] = 'e';
    return look_up(with_e, stem + 1, kinds) ||
           (word[stem - 1] == word[stem - 2] && look_up(word, stem - 1, kinds));
}

static bool
look_up_without_ending(const uint8_t *word, size_t len, uint8_t *kinds)
{
    const uint8_t *end = word + len;

    if (len > 3 && end[-1] == 's')
        return look_up(word, len - 1, kinds) ||
               (len > 4 && (end[-2] == 'e' || end[-2] == '\'') && look_up(word, len - 2, kinds));
    if (len > 5 && memcmp(end - 3, "ing", 3) == 0)
        return look_up_ing(word, len - 3, kinds);
    if (len > 4 && memcmp(end - 2, "ed", 2) == 0)
        return look_up(word, len - 2, kinds) || look_up(word, len - 1, kinds);
    return false;
}

void
hw_kinds_of(const uint8_t *word, size_t len, uint8_t kinds[static HW_KINDS_OF_A_WORD])
{
    static const uint8_t number[] = "seven";

    if (len <= WORD_MAX && (look_up(word, len, kinds) || look_up_without_ending(word, len, kinds)))
        return;
    if (is_number(word, len))
        look_up(number, sizeof(number) - 1, kinds);
    else
        memset(kinds, 0, HW_KINDS_OF_A_WORD);
}
