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
    uint8_t kinds[HW_KINDS_OF_A_WORD], count;
};

struct hw_kinds {
    struct slot slots[SLOTS];
};

static uint32_t
tag_of(uint32_t hash)
{
    return hash | 1;
}

static size_t
home_of(uint32_t tag)
{
    return tag >> 1 & (SLOTS - 1);
}

static size_t
slot_of(const struct hw_kinds *kinds, uint32_t tag)
{
    size_t at = home_of(tag);

    while (kinds->slots[at].tag != 0 && kinds->slots[at].tag != tag)
        at = (at + 1) & (SLOTS - 1);
    return at;
}

static void
place(struct hw_kinds *kinds, const char *text, size_t len, uint8_t kind)
{
    uint8_t word[WORD_MAX + HW_WORD_PADDING] = {0};

    HW_ASSERT(len <= WORD_MAX);
    memcpy(word, text, len);
    uint32_t tag = tag_of(hw_word_hash(word, len));
    struct slot *slot = &kinds->slots[slot_of(kinds, tag)];
    HW_ASSERT(slot->count < HW_KINDS_OF_A_WORD);
    slot->tag = tag;
    slot->kinds[slot->count++] = kind;
}

static void
read_lists(struct hw_kinds *kinds)
{
    const char *p = hw_kinds_words;
    unsigned kind = 1;

    while (*p != '\0') {
        size_t len = strcspn(p, " \n");
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

static size_t
look_up(const struct hw_kinds *kinds, uint32_t hash, uint8_t out[static HW_KINDS_OF_A_WORD])
{
    const struct slot *slot = &kinds->slots[slot_of(kinds, tag_of(hash))];

    memcpy(out, slot->kinds, HW_KINDS_OF_A_WORD);
    return slot->count;
}

static size_t
look_up_word(const struct hw_kinds *kinds, const uint8_t *word, size_t len, uint8_t *out)
{
    return look_up(kinds, hw_word_hash(word, len), out);
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
static size_t
look_up_ing(const struct hw_kinds *kinds, const uint8_t *word, size_t stem, uint8_t *out)
{
    uint8_t with_e[WORD_MAX + HW_WORD_PADDING] = {0};
    size_t count = look_up_word(kinds, word, stem, out);

    if (count > 0)
        return count;
    memcpy(with_e, word, stem);
    with_e[stem] = 'e';
    count = look_up_word(kinds, with_e, stem + 1, out);
    if (count == 0 && word[stem - 1] == word[stem - 2])
        count = look_up_word(kinds, word, stem - 1, out);
    return count;
}

static size_t
look_up_without_ending(const struct hw_kinds *kinds, const uint8_t *word, size_t len, uint8_t *out)
{
    const uint8_t *end = word + len;
    size_t count = 0;

    if (len > 3 && end[-1] == 's') {
        count = look_up_word(kinds, word, len - 1, out);
        if (count == 0 && len > 4 && (end[-2] == 'e' || end[-2] == '\''))
            count = look_up_word(kinds, word, len - 2, out);
    } else if (len > 5 && memcmp(end - 3, "ing", 3) == 0) {
        count = look_up_ing(kinds, word, len - 3, out);
    } else if (len > 4 && memcmp(end - 2, "ed", 2) == 0) {
        count = look_up_word(kinds, word, len - 2, out);
        if (count == 0)
            count = look_up_word(kinds, word, len - 1, out);
    }
    return count;
}

void
hw_kinds_prefetch(const struct hw_kinds *kinds, const uint8_t *word, size_t len, uint32_t hash)
{
    __builtin_prefetch(&kinds->slots[home_of(tag_of(hash))]);
    if (len <= 3)
        return;
    /* Where the word without its ending would be, had it the ending of its last letter. */
    size_t ending = word[len - 1] == 'g' ? 3 : word[len - 1] == 'd' ? 2 : 1;
    __builtin_prefetch(&kinds->slots[home_of(tag_of(hw_word_hash(word, len - ending)))]);
}

size_t
hw_kinds_of(const struct hw_kinds *kinds, const uint8_t *word, size_t len, uint32_t hash,
            uint8_t out[static HW_KINDS_OF_A_WORD])
{
    static const uint8_t number[5 + HW_WORD_PADDING] = "seven";
    size_t count = 0;

    if (len <= WORD_MAX) {
        count = look_up(kinds, hash, out);
        if (count == 0)
            count = look_up_without_ending(kinds, word, len, out);
    }
    if (count == 0 && is_number(word, len))
        count = look_up_word(kinds, number, 5, out);
    return count;
}
