/* policies/kinds.h - kinds of words: "monday" and "friday" are days. Private to policies.
 *
 * Few examples show few words. That a word is of a kind which the examples did show tells what to
 * make of it, so kinds are features beside the n-grams (policies/features.h): with 5 to 20 examples
 * a class they are worth three to five points of accuracy, with hundreds nothing. English only;
 * other languages simply have none. */
#ifndef HW_POLICIES_KINDS_H
#define HW_POLICIES_KINDS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HW_KINDS 256 /* ids are below it, and above 0 */
#define HW_KINDS_OF_A_WORD 3

/* A line a kind, words apart by a space. */
extern const char hw_kinds_words[];

/* The lists as a table: every model has its own, which is only read. NULL: no memory. */
struct hw_kinds;
struct hw_kinds *hw_kinds_create(void); /* to be given to free() */

/* All functions below read a word in lower case, and HW_WORD_PADDING bytes behind it, whatever they
 * are. */
#define HW_WORD_PADDING 8

/* What a word is known by. */
static inline uint32_t
hw_word_hash(const uint8_t *word, size_t len)
{
    const uint64_t multiplier = 0x9fb21c651e98df25u;
    uint64_t hash = len * multiplier, eight;

    for (;;) {
        memcpy(&eight, word, sizeof(eight));
        if (len <= sizeof(eight))
            break;
        hash = (hash ^ eight) * multiplier;
        hash ^= hash >> 32;
        word += sizeof(eight);
        len -= sizeof(eight);
    }
    hash = (hash ^ (len > 0 ? eight & UINT64_MAX >> (64 - 8 * len) : 0)) * multiplier;
    return (uint32_t)(hash >> 32);
}

/* Starts to fetch what hw_kinds_of will read. hash is the word's. */
void hw_kinds_prefetch(const struct hw_kinds *kinds, const uint8_t *word, size_t len,
                       uint32_t hash);
/* The kinds of a word, 0 behind the last; returns how many. Regular endings are seen through
 * ("songs", "playing"); a number is of the kind of "seven". */
size_t hw_kinds_of(const struct hw_kinds *kinds, const uint8_t *word, size_t len, uint32_t hash,
                   uint8_t out[static HW_KINDS_OF_A_WORD]);

#endif
