/* policies/words.h - the words of a text, as keywords see them. Private to policies.
 *
 * Letters, digits and bytes above 0x7f form words, read as ASCII lower case; each of ? ! $ % + # is
 * a word of its own (so that "c++", "c#" and "$" can be keywords); everything else separates, the
 * apostrophe too ("market's" has the word market), and so does the general punctuation of Unicode
 * (curly quotes, dashes, no-break space), which sticks to words in what people paste. */
#ifndef HW_POLICIES_WORDS_H
#define HW_POLICIES_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hw_words {
    const uint8_t *at, *end;
};

struct hw_word {
    uint64_t hash; /* of the lower-cased bytes; never 0 */
    const uint8_t *text;
    size_t len;
};

static inline void
hw_words_init(struct hw_words *words, const char *text, size_t len)
{
    words->at = (const uint8_t *)text;
    words->end = words->at + len;
}

/* Length of the punctuation or space at p that is written in UTF-8; 0: none there. */
static inline size_t
hw_words_wide_separator(const uint8_t *p, const uint8_t *end)
{
    size_t left = (size_t)(end - p);
    if (p[0] == 0xc2 && left >= 2 && (p[1] <= 0xa9 || p[1] == 0xab || p[1] == 0xbb || p[1] == 0xbf))
        return 2; /* no-break space, guillemets, inverted marks */
    if (p[0] == 0xe2 && left >= 3 && (p[1] == 0x80 || p[1] == 0x81))
        return 3; /* U+2000..U+207F: spaces, dashes, quotes, ellipsis */
    if (p[0] == 0xe3 && left >= 3 && p[1] == 0x80 && p[2] <= 0x9f)
        return 3; /* U+3000..U+301F: CJK space, stops and brackets */
    return 0;
}

/* 0 separates, 1 is a word of its own, else the byte in lower case. */
extern const uint8_t hw_word_class[256];

/* The next word; false at the end. */
static inline bool
hw_words_next(struct hw_words *words, struct hw_word *word)
{
    const uint8_t *p = words->at, *end = words->end;
    uint64_t hash = 0xcbf29ce484222325u;
    uint8_t c = 0;

    while (p < end) {
        c = hw_word_class[*p];
        size_t wide = c >= 0xc2 ? hw_words_wide_separator(p, end) : 0;
        if (c != 0 && wide == 0)
            break;
        p += wide != 0 ? wide : 1;
    }
    if (p >= end) {
        words->at = end;
        return false;
    }
    word->text = p;
    if (c == 1) {
        hash = (hash ^ *p) * 0x100000001b3u;
        p++;
    } else {
        while (p < end && (c = hw_word_class[*p]) > 1) {
            if (c >= 0xc2 && hw_words_wide_separator(p, end) != 0)
                break;
            hash = (hash ^ c) * 0x100000001b3u;
            p++;
        }
    }
    word->len = (size_t)(p - word->text);
    word->hash = hash | 1;
    words->at = p;
    return true;
}

/* Which words a text has, to pass quickly over the many keywords that it has not. */
#define HW_SIEVE_BITS 16384u
struct hw_sieve {
    uint64_t bits[HW_SIEVE_BITS / 64];
};
void hw_sieve_fill(struct hw_sieve *sieve, const char *text, size_t len);
/* False: the text has not even the keyword's first word; true: it must be searched for. */
bool hw_sieve_may_have(const struct hw_sieve *sieve, const char *keyword);

#endif
