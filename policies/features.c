/* policies/features.c - hashing the n-grams of a text, at a few nanoseconds each.
 *
 * The text is first written out in lower case with one space between words, so that the n-grams of
 * " word " are plain loads of four bytes. Nothing is looked up by string: two n-grams that meet in
 * a bucket share a weight, which costs next to nothing at 2^16 buckets. */
#include "policies/features.h"

#include <string.h>

#include "policies/kinds.h"
#include "policies/words.h"

#define FAR_WORDS 4
#define NEAR_KINDS 2
#define STEM_BYTES 5
#define SALT_STEM 0xd6e8feb86659fd93u
#define SALT_WORD 0x9ae16a3b2f90404fu
#define SALT_PAIR 0xc949d7c7509e6557u
#define SALT_FAR 0xff51afd7ed558ccdu
#define SALT_FIRST 0x2545f4914f6cdd1du
#define SALT_KINDS 0xa24baed4963ee407u
#define SALT_GRAM3 0x8ebc6af09c88c6e3u
#define SALT_GRAM4 0x589965cc75374cc3u
#define MULTIPLIER 0x9fb21c651e98df25u

/* Both halves of the window, each word with a space on either side, and room to load 4 bytes. */
#define LINE_BYTES (2 * HW_FEATURE_WINDOW + 16)

struct sink {
    uint64_t seen[(1u << HW_FEATURE_BITS_MAX) / 64]; /* a bit a bucket */
    const struct hw_kinds *kinds;
    uint16_t *out;
    size_t count;
    uint32_t shift, kinds_end;
    const char *rows;
    size_t stride;
};

static inline uint64_t
mix(uint64_t value)
{
    value *= MULTIPLIER;
    value ^= value >> 32;
    return value * MULTIPLIER;
}

static inline void
emit_bucket(struct sink *sink, uint32_t bucket)
{
    uint64_t *word = &sink->seen[bucket / 64], bit = 1ull << (bucket % 64);

    __builtin_prefetch(sink->rows + bucket * sink->stride);
    sink->out[sink->count] = (uint16_t)bucket;
    sink->count += (*word & bit) == 0;
    *word |= bit;
}

static inline void
emit(struct sink *sink, uint64_t hash)
{
    uint32_t bucket = (uint32_t)(mix(hash) >> sink->shift);
    emit_bucket(sink, bucket + (bucket < sink->kinds_end ? sink->kinds_end : 0));
}

/* What stands at p and how many bytes it has: *c is 0 for a separator, 1 for a mark that is a word
 * of its own, else the byte to read. Curly apostrophes are apostrophes. */
static inline size_t
next_byte(const uint8_t *p, const uint8_t *end, uint8_t *c)
{
    *c = *p == '\'' ? '\'' : hw_word_class[*p];
    if (*c < 0xc2)
        return 1;
    size_t wide = hw_words_wide_separator(p, end);
    if (wide == 0)
        return 1;
    *c = wide == 3 && p[1] == 0x80 && p[2] == 0x99 ? '\'' : 0;
    return wide;
}

/* Writes the part out as " word word ? word " and returns its length. */
static size_t
normalise(const char *text, size_t len, uint8_t *line)
{
    const uint8_t *p = (const uint8_t *)text, *end = p + len;
    size_t n = 0;

    line[n++] = ' ';
    while (p < end) {
        uint8_t c;
        const uint8_t *at = p;
        p += next_byte(p, end, &c);
        if (c > 1) {
            line[n++] = c;
            continue;
        }
        if (line[n - 1] != ' ')
            line[n++] = ' ';
        if (c == 1) {
            line[n++] = *at;
            line[n++] = ' ';
        }
    }
    if (line[n - 1] != ' ')
        line[n++] = ' ';
    memset(line + n, 0, 8);
    return n;
}

static inline uint32_t
load4(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* The n-grams of " word ", which begins at p and has len bytes with its spaces. */
static inline void
emit_grams(struct sink *sink, const uint8_t *p, size_t len)
{
    for (size_t i = 0; i + 4 <= len; i++) {
        uint32_t four = load4(p + i);
        emit(sink, SALT_GRAM3 + (four & 0xffffff));
        emit(sink, SALT_GRAM4 + four);
    }
    emit(sink, SALT_GRAM3 + (load4(p + len - 3) & 0xffffff));
}

static inline uint64_t
hash_word(const uint8_t *word, size_t len)
{
    uint64_t hash = len;

    for (; len >= 4; word += 4, len -= 4)
        hash = (hash ^ load4(word)) * MULTIPLIER;
    if (len > 0)
        hash = (hash ^ (load4(word) & (0xffffffffu >> (32 - 8 * len)))) * MULTIPLIER;
    return hash ^ hash >> 29;
}

/* The kinds of a word, and with those of the words before: "some day", "an order to remove". */
static inline void
emit_kinds(struct sink *sink, const uint8_t *word, size_t len, uint8_t near[static NEAR_KINDS])
{
    uint8_t kinds[HW_KINDS_OF_A_WORD], before[NEAR_KINDS];

    hw_kinds_of(sink->kinds, word, len, kinds);
    memcpy(before, near, NEAR_KINDS);
    for (size_t k = 0; k < HW_KINDS_OF_A_WORD && kinds[k] != 0; k++) {
        uint64_t own = kinds[k] * MULTIPLIER;
        emit_bucket(sink, kinds[k] * sink->kinds_end / HW_KINDS);
        for (size_t i = 0; i < NEAR_KINDS && before[i] != 0; i++)
            if (before[i] != kinds[k])
                emit(sink, SALT_KINDS ^ (own + before[i] * MULTIPLIER));
        memmove(near + 1, near, NEAR_KINDS - 1);
        near[0] = kinds[k];
    }
}

static void
read_part(struct sink *sink, const char *text, size_t len)
{
    uint8_t line[LINE_BYTES];
    uint64_t last[FAR_WORDS] = {0}; /* the newest first */
    uint8_t near[NEAR_KINDS] = {0}; /* kinds, the newest first */
    size_t known = 0;
    size_t n = normalise(text, len, line);

    for (size_t at = 1; at < n;) {
        size_t end = at;
        while (line[end] != ' ')
            end++;
        uint64_t hash = hash_word(line + at, end - at);
        emit(sink, SALT_WORD ^ hash);
        if (end - at >= STEM_BYTES)
            emit(sink, SALT_STEM ^ hash_word(line + at, STEM_BYTES));
        emit(sink, known > 0 ? SALT_PAIR ^ (last[0] * 3 + hash) : SALT_FIRST ^ hash);
        for (size_t i = 0; i < known; i++)
            emit(sink, SALT_FAR ^ (last[i] + hash));
        if (hw_word_class[line[at]] != 1) {
            emit_kinds(sink, line + at, end - at, near);
            emit_grams(sink, line + at - 1, end - at + 2);
        }
        memmove(last + 1, last, sizeof(last) - sizeof(last[0]));
        last[0] = hash;
        known += known < FAR_WORDS;
        at = end + 1;
    }
}

size_t
hw_features(const struct hw_kinds *kinds, const char *text, size_t len, uint32_t bits,
            const void *rows, size_t stride, uint16_t *out)
{
    struct sink sink;

    memset(sink.seen, 0, ((size_t)1 << bits) / 8);
    sink.kinds = kinds;
    sink.out = out;
    sink.count = 0;
    sink.shift = 64 - bits;
    sink.kinds_end = hw_features_kinds_end(bits);
    sink.rows = rows;
    sink.stride = rows != NULL ? stride : 0;
    if (len <= HW_FEATURE_WINDOW) {
        read_part(&sink, text, len);
    } else {
        read_part(&sink, text, HW_FEATURE_HEAD);
        read_part(&sink, text + len - HW_FEATURE_TAIL, HW_FEATURE_TAIL);
    }
    return sink.count;
}
