/* policies/words.c - the byte classes behind words.h, the search for one phrase, and the sieve.
 *
 * Words are compared by a 64-bit hash of their lower-cased bytes alone. Two words that collide can
 * only be forged, and all that a forger wins is a role for a query of his own, which he could
 * simply have asked for. */
#include "policies/words.h"

#include <string.h>

#include "policies/classify.h"

#define SELF(c) [c] = 1
#define KEEP(c) [c] = c
#define DIGITS                                                                                     \
    KEEP('0'), KEEP('1'), KEEP('2'), KEEP('3'), KEEP('4'), KEEP('5'), KEEP('6'), KEEP('7'),        \
        KEEP('8'), KEEP('9')
#define LETTER(up, low) [up] = low, [low] = low
#define HIGH4(c) [c] = c, [(c) + 1] = (c) + 1, [(c) + 2] = (c) + 2, [(c) + 3] = (c) + 3
#define HIGH16(c) HIGH4(c), HIGH4((c) + 4), HIGH4((c) + 8), HIGH4((c) + 12)

/* clang-format off */
const uint8_t hw_word_class[256] = {
    SELF('?'), SELF('!'), SELF('$'), SELF('%'), SELF('+'), SELF('#'), DIGITS,
    LETTER('A', 'a'), LETTER('B', 'b'), LETTER('C', 'c'), LETTER('D', 'd'), LETTER('E', 'e'),
    LETTER('F', 'f'), LETTER('G', 'g'), LETTER('H', 'h'), LETTER('I', 'i'), LETTER('J', 'j'),
    LETTER('K', 'k'), LETTER('L', 'l'), LETTER('M', 'm'), LETTER('N', 'n'), LETTER('O', 'o'),
    LETTER('P', 'p'), LETTER('Q', 'q'), LETTER('R', 'r'), LETTER('S', 's'), LETTER('T', 't'),
    LETTER('U', 'u'), LETTER('V', 'v'), LETTER('W', 'w'), LETTER('X', 'x'), LETTER('Y', 'y'),
    LETTER('Z', 'z'),
    HIGH16(0x80), HIGH16(0x90), HIGH16(0xa0), HIGH16(0xb0),
    HIGH16(0xc0), HIGH16(0xd0), HIGH16(0xe0), HIGH16(0xf0),
};
/* clang-format on */

/* Do the words behind `first` in text go on as `rest` does? */
static bool
phrase_goes_on(struct hw_words text, struct hw_words rest)
{
    struct hw_word want, have;

    while (hw_words_next(&rest, &want)) {
        if (!hw_words_next(&text, &have) || have.hash != want.hash)
            return false;
    }
    return true;
}

bool
hw_text_has_keyword(const char *text, size_t len, const char *keyword)
{
    struct hw_words words, phrase;
    struct hw_word first, word;

    hw_words_init(&phrase, keyword, strlen(keyword));
    if (!hw_words_next(&phrase, &first))
        return false; /* nothing but separators: no text has it */
    hw_words_init(&words, text, len);
    while (hw_words_next(&words, &word)) {
        if (word.hash == first.hash && phrase_goes_on(words, phrase))
            return true;
    }
    return false;
}

static uint32_t
sieve_bit(uint64_t hash)
{
    return (uint32_t)((hash * 0x9e3779b97f4a7c15u) >> 50) % HW_SIEVE_BITS;
}

void
hw_sieve_fill(struct hw_sieve *sieve, const char *text, size_t len)
{
    struct hw_words words;
    struct hw_word word;

    *sieve = (struct hw_sieve){{0}};
    hw_words_init(&words, text, len);
    while (hw_words_next(&words, &word)) {
        uint32_t bit = sieve_bit(word.hash);
        sieve->bits[bit / 64] |= UINT64_C(1) << bit % 64;
    }
}

bool
hw_sieve_may_have(const struct hw_sieve *sieve, const char *keyword)
{
    struct hw_words words;
    struct hw_word first;

    hw_words_init(&words, keyword, strlen(keyword));
    if (!hw_words_next(&words, &first))
        return false;
    uint32_t bit = sieve_bit(first.hash);
    return (sieve->bits[bit / 64] >> bit % 64 & 1) != 0;
}
