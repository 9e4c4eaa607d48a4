/* policies/kinds.c - see kinds.h: a table of 32 KiB, one probe for most words. */
#include "policies/kinds.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"

#define SLOTS 4096u /* at most half of them are taken */
#define WORD_MAX 20 /* bytes of the longest word, its ending too */

struct slot {
    uint32_t tag; /* hash of the word; 0: free */
    uint8_t kinds[HW_KINDS_OF_A_WORD + 1];
};

struct hw_kinds {
    struct slot slots[SLOTS];
};

static uint32_t
hash_of(const uint8_t *word, size_t len)
{
    uint32_t hash = 0x811c9dc5u;

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ word[i]) * 0x01000193u;
    hash ^= hash >> 15;
    return hash | 1;
}

static size_t
slot_of(const struct hw_kinds *kinds, uint32_t tag)
{
    uint32_t at = tag >> 1 & (SLOTS - 1);

    while (kinds->slots[at].tag != 0 && kinds->slots[at].tag != tag)
        at = (at + 1) & (SLOTS - 1);
    return at;
}

static void
place(struct hw_kinds *kinds, const uint8_t *word, size_t len, uint8_t kind)
{
    uint32_t tag = hash_of(word, len);
    struct slot *slot = &kinds->slots[slot_of(kinds, tag)];
    size_t i = 0;

    HW_ASSERT(len <= WORD_MAX);
    slot->tag = tag;
    while (slot->kinds[i] != 0)
        i++;
    HW_ASSERT(i < HW_KINDS_OF_A_WORD);
    slot->kinds[i] = kind;
}

static void
read_lists(struct hw_kinds *kinds)
{
    const uint8_t *p = (const uint8_t *)hw_kinds_words;
    unsigned kind = 1;

    while (*p != '\0') {
        size_t len = strcspn((const char *)p, " \n");
        HW_ASSERT(kind < HW_KINDS);
        place(kinds, p, len, (uint8_t)kind);
        p += len;
        kind += *p == '\n';
        p += *p != '\0';
    }
}

struct hw_kinds *
hw_kinds_create(void)
{
    struct hw_kinds *kinds = calloc(1, sizeof(*kinds));

    if (kinds != NULL)
        read_lists(kinds);
    return kinds;
}

static bool
look_up(const struct hw_kinds *kinds, const uint8_t *word, size_t len, uint8_t *out)
{
    const struct slot *slot = &kinds->slots[slot_of(kinds, hash_of(word, len))];

    memcpy(out, slot->kinds, HW_KINDS_OF_A_WORD);
    return slot->tag != 0;
}

static bool
is_number(const uint8_t *word, size_t len)
{
    size_t digits = 0;

    while (digits < len && word[digits] >= '0' && word[digits] <= '9')
        digits++;
    return len > 0 && digits == len;
}

/* "playing", "making", "running". */
static bool
look_up_ing(const struct hw_kinds *kinds, const uint8_t *word, size_t stem, uint8_t *out)
{
    uint8_t with_e[WORD_MAX];

    if (look_up(kinds, word, stem, out))
        return true;
    memcpy(with_e, word, stem);
    with_e[stem] = 'e';
    return look_up(kinds, with_e, stem + 1, out) ||
           (word[stem - 1] == word[stem - 2] && look_up(kinds, word, stem - 1, out));
}

static bool
look_up_without_ending(const struct hw_kinds *kinds, const uint8_t *word, size_t len, uint8_t *out)
{
    const uint8_t *end = word + len;

    if (len > 3 && end[-1] == 's')
        return look_up(kinds, word, len - 1, out) ||
               (len > 4 && (end[-2] == 'e' || end[-2] == '\'') &&
                look_up(kinds, word, len - 2, out));
    if (len > 5 && memcmp(end - 3, "ing", 3) == 0)
        return look_up_ing(kinds, word, len - 3, out);
    if (len > 4 && memcmp(end - 2, "ed", 2) == 0)
        return look_up(kinds, word, len - 2, out) || look_up(kinds, word, len - 1, out);
    return false;
}

void
hw_kinds_of(const struct hw_kinds *kinds, const uint8_t *word, size_t len,
            uint8_t out[static HW_KINDS_OF_A_WORD])
{
    static const uint8_t number[] = "seven";

    if (len <= WORD_MAX &&
        (look_up(kinds, word, len, out) || look_up_without_ending(kinds, word, len, out)))
        return;
    if (is_number(word, len))
        look_up(kinds, number, sizeof(number) - 1, out);
    else
        memset(out, 0, HW_KINDS_OF_A_WORD);
}
