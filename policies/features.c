/* policies/features.c - hashing the n-grams of a text, at a nanosecond or two each.
 *
 * The text is first written out in lower case with one space between words, so that the n-grams of
 * " word " are plain loads of four bytes. Then each sort of n-gram is hashed in a loop of its own,
 * without a branch, which the compiler turns into vectors; last, what the text has more than once
 * is left out and the rows of the rest are fetched. Nothing is looked up by string: two n-grams
 * that meet in a bucket share a weight, which costs next to nothing at 2^16 buckets.
 *
 * Cold, a text costs the lines of memory that its rows lie on. So what is found together lies
 * together: four buckets are a line (where a row has 16 bytes), and a run of 4 bytes is on the line
 * of the first 3 of them, two neighbours unordered on the line of the same two in order. */
#include "policies/features.h"

#include <string.h>

#include "policies/kinds.h"
#include "policies/learn_private.h"
#include "policies/words.h"

#define FAR_WORDS 3
#define NEAR_KINDS 2
#define STEM_BYTES 5
#define KINDS_END (1u << HW_FEATURE_KIND_BITS)
#define LINE_BUCKETS 4u
#define SALT_STEM 0xd6e8feb8u
#define SALT_WORD 0x9ae16a3bu
#define SALT_PAIR 0xc949d7c7u
#define SALT_FAR 0xff51afd7u
#define SALT_FIRST 0x2545f491u
#define SALT_KINDS 0xa24baed4u
#define SALT_GRAM3 0x8ebc6af0u
#define SALT_GRAM4 0x589965ccu

/* Words, or bytes where runs begin, are hashed so many at a time: what lies behind the last of them
 * is read, hashed and written too, and then written over. */
#define LANES 8
#define KINDS_MAX (LANES * HW_KINDS_OF_A_WORD + LANES) /* of as many words */

/* A text as " word word ? word ". */
struct line {
    uint8_t bytes[2 * HW_FEATURE_WINDOW + 1 + 2 * LANES + HW_WORD_PADDING];
    uint16_t spaces[HW_FEATURE_WINDOW + 2]; /* word i is between spaces[i] and spaces[i + 1] */
    size_t len, words;
};

/* LANES words of a line, and what is still known of those before. */
struct batch {
    uint32_t hashes[FAR_WORDS + LANES + FAR_WORDS]; /* those before, the newest last; the words */
    size_t before, count;
    uint8_t near[NEAR_KINDS]; /* kinds, the newest first */
};

typedef uint32_t lanes __attribute__((vector_size(4 * LANES)));
typedef uint16_t lanes16 __attribute__((vector_size(2 * LANES)));
typedef uint8_t lanes8 __attribute__((vector_size(LANES)));

/* A hash of its value in place of each: 32 bits are enough to choose one of 2^16 buckets by. */
HW_LEARN_INLINE void
mix(lanes *values)
{
    lanes v = *values * 0x9e3779b1u;
    v = (v ^ v >> 15) * 0x85ebca77u;
    *values = v ^ v >> 13;
}

/* A bucket in place of each. The first ones are the kinds' own. */
HW_LEARN_INLINE void
to_buckets(lanes *values)
{
    mix(values);
    *values >>= 32 - HW_FEATURE_BITS_MAX;
    *values += (lanes)(*values < KINDS_END) & KINDS_END;
}

/* A bucket in place of each, one of the other three on the line of `beside`. */
HW_LEARN_INLINE void
to_buckets_beside(lanes *values, const lanes *beside)
{
    mix(values);
    lanes further = 1 + ((*values >> 16) * (LINE_BUCKETS - 1) >> 16);
    *values = (*beside & ~(LINE_BUCKETS - 1)) | ((*beside + further) & (LINE_BUCKETS - 1));
}

/* --- the line --- */

/* Punctuation and space in UTF-8, and marks, which are words of their own: what `normalise` cannot
 * do without a branch. Curly apostrophes are apostrophes. Returns how many bytes were read. */
static size_t
read_rare(struct line *line, const uint8_t *p, const uint8_t *end)
{
    size_t wide = *p >= 0xc2 ? hw_words_wide_separator(p, end) : 0;
    bool after_space = line->bytes[line->len - 1] == ' ';

    if (*p >= 0xc2 && (wide == 0 || (wide == 3 && p[1] == 0x80 && p[2] == 0x99))) {
        line->bytes[line->len++] = wide == 0 ? *p : '\'';
        return wide == 0 ? 1 : wide;
    }
    if (!after_space) {
        line->spaces[++line->words] = (uint16_t)line->len;
        line->bytes[line->len++] = ' ';
    }
    if (wide != 0)
        return wide;
    line->bytes[line->len++] = *p;
    line->spaces[++line->words] = (uint16_t)line->len;
    line->bytes[line->len++] = ' ';
    return 1;
}

static void
normalise(struct line *line, const char *text, size_t len)
{
    const uint8_t *p = (const uint8_t *)text, *end = p + len;

    line->bytes[0] = ' ';
    line->len = 1;
    line->spaces[0] = 0;
    line->words = 0;
    while (p < end) {
        size_t n = line->len, words = line->words;
        uint8_t last = line->bytes[n - 1];
        for (; p < end; p++) {
            uint8_t c = hw_word_class[*p];
            if (c == 1 || c >= 0xc2)
                break;
            c = *p == '\'' ? '\'' : c == 0 ? ' ' : c;
            line->bytes[n] = c;
            line->spaces[words + 1] = (uint16_t)n;
            words += c == ' ' && last != ' ';
            n += c != ' ' || last != ' ';
            last = c;
        }
        line->len = n;
        line->words = words;
        if (p < end)
            p += read_rare(line, p, end);
    }
    if (line->bytes[line->len - 1] != ' ') {
        line->spaces[++line->words] = (uint16_t)line->len;
        line->bytes[line->len++] = ' ';
    }
    memset(line->bytes + line->len, 0, 2 * LANES + HW_WORD_PADDING);
}

static inline const uint8_t *
word_at(const struct line *line, size_t i, size_t *len)
{
    *len = line->spaces[i + 1] - line->spaces[i] - 1u;
    return line->bytes + line->spaces[i] + 1;
}

/* --- the buckets --- */

/* Writes LANES buckets, of which `count` count. */
HW_LEARN_INLINE uint16_t *
put(const lanes *buckets, size_t count, uint16_t *out)
{
    lanes16 narrow = __builtin_convertvector(*buckets, lanes16);
    memcpy(out, &narrow, sizeof(narrow));
    return out + count;
}

HW_LEARN_INLINE uint16_t *
put_words(const struct batch *batch, uint16_t *out)
{
    lanes words, firsts;

    memcpy(&words, batch->hashes + FAR_WORDS, sizeof(words));
    firsts = words ^ SALT_FIRST;
    words ^= SALT_WORD;
    to_buckets(&words);
    out = put(&words, batch->count, out);
    if (batch->before > 0)
        return out;
    to_buckets(&firsts);
    return put(&firsts, 1, out);
}

/* Pairs of words up to FAR_WORDS apart in any order, and of neighbours in theirs. */
HW_LEARN_INLINE uint16_t *
put_pairs(const struct batch *batch, uint16_t *out)
{
    for (size_t apart = 1; apart <= FAR_WORDS; apart++) {
        size_t from = apart > batch->before ? apart - batch->before : 0;
        if (from >= batch->count)
            break;
        lanes earlier, later;
        memcpy(&later, batch->hashes + FAR_WORDS + from, sizeof(later));
        memcpy(&earlier, batch->hashes + FAR_WORDS + from - apart, sizeof(earlier));
        lanes any = (earlier + later) ^ SALT_FAR, ordered = (earlier * 3 + later) ^ SALT_PAIR;
        to_buckets(&any);
        out = put(&any, batch->count - from, out);
        if (apart > 1)
            continue;
        to_buckets_beside(&ordered, &any);
        out = put(&ordered, batch->count - from, out);
    }
    return out;
}

HW_LEARN_INLINE void
load_bytes(const uint8_t *p, lanes *out)
{
    lanes8 bytes;

    memcpy(&bytes, p, sizeof(bytes));
    *out = __builtin_convertvector(bytes, lanes);
}

/* The runs of 3 and 4 bytes inside " word ", whose first space is at p, in turn. */
HW_LEARN_INLINE uint16_t *
put_runs(const uint8_t *p, size_t len, uint16_t *out)
{
    for (size_t at = 0; at < len; at += LANES, p += LANES) {
        lanes a, b, c, d;
        load_bytes(p, &a);
        load_bytes(p + 1, &b);
        load_bytes(p + 2, &c);
        load_bytes(p + 3, &d);
        lanes three = a | b << 8 | c << 16, four = three | d << 24;
        three ^= SALT_GRAM3;
        four ^= SALT_GRAM4;
        to_buckets(&three);
        to_buckets_beside(&four, &three);
        three |= four << 16;
        memcpy(out + 2 * at, &three, sizeof(three));
    }
    return out + 2 * len - 1;
}

/* The kinds of words, and those of each word with those before: "some day", "an order to remove".
 * before[..][i] are the kinds before the word that found[i] is of. */
HW_LEARN_INLINE uint16_t *
put_kinds(const uint8_t *found, const uint8_t (*before)[KINDS_MAX], size_t count, uint16_t *out)
{
    for (size_t at = 0; at < count; at += LANES) {
        size_t here = count - at < LANES ? count - at : LANES;
        lanes kinds;
        load_bytes(found + at, &kinds);
        lanes mixed = kinds, own = kinds * (KINDS_END / HW_KINDS);
        mix(&mixed);
        out = put(&own, here, out);
        for (size_t near = 0; near < NEAR_KINDS; near++) {
            lanes others;
            load_bytes(before[near] + at, &others);
            lanes pairs = others;
            mix(&pairs);
            pairs = (pairs + mixed) ^ SALT_KINDS;
            to_buckets(&pairs);
            for (size_t i = 0; i < here; i++) {
                *out = (uint16_t)pairs[i];
                out += others[i] != 0 && others[i] != kinds[i];
            }
        }
    }
    return out;
}

/* What is told word by word: beginnings, runs of bytes, kinds. */
HW_LEARN_INLINE uint16_t *
put_insides(const struct line *line, size_t first, const struct hw_kinds *kinds,
            struct batch *batch, uint16_t *out)
{
    uint8_t found[KINDS_MAX], before[NEAR_KINDS][KINDS_MAX];
    lanes stems = {0};
    size_t count = 0, inside = 0;

    for (size_t i = 0; i < batch->count; i++) {
        size_t len, of_word;
        const uint8_t *word = word_at(line, first + i, &len);
        if (hw_word_class[*word] == 1)
            continue;
        stems[inside++] = hw_word_hash(word, STEM_BYTES) ^ SALT_STEM;
        inside -= len < STEM_BYTES;
        out = put_runs(word - 1, len, out);
        of_word = hw_kinds_of(kinds, word, len, batch->hashes[FAR_WORDS + i], found + count);
        for (size_t near = 0; near < NEAR_KINDS; near++)
            memset(before[near] + count, batch->near[near], HW_KINDS_OF_A_WORD);
        for (size_t k = 0; k < of_word; k++) {
            memmove(batch->near + 1, batch->near, NEAR_KINDS - 1);
            batch->near[0] = found[count++];
        }
    }
    to_buckets(&stems);
    return put_kinds(found, before, count, put(&stems, inside, out));
}

/* Words first to first + LANES of the line, as far as there are. */
HW_LEARN_INLINE void
read_batch(const struct line *line, size_t first, const struct hw_kinds *kinds, struct batch *batch)
{
    memmove(batch->hashes, batch->hashes + LANES, FAR_WORDS * sizeof(batch->hashes[0]));
    batch->before = first < FAR_WORDS ? first : FAR_WORDS;
    batch->count = line->words - first < LANES ? line->words - first : LANES;
    for (size_t i = 0; i < batch->count; i++) {
        size_t len;
        const uint8_t *word = word_at(line, first + i, &len);
        uint32_t hash = hw_word_hash(word, len);
        hw_kinds_prefetch(kinds, word, len, hash);
        batch->hashes[FAR_WORDS + i] = hash;
    }
}

/* --- each bucket once --- */

struct sink {
    /* A bit a bucket. Neighbours are in different words: one does not wait for the other. */
    uint64_t seen[(1u << HW_FEATURE_BITS_MAX) / 64];
    uint16_t *out;
    size_t count;
    uint32_t shift, bits; /* ... 2^bits words */
    const char *rows;
    size_t stride, last_byte; /* of a row, where it is on another line than the first */
};

/* Takes what stands from sink->out + sink->count to end, in place. */
HW_LEARN_INLINE void
take(struct sink *sink, const uint16_t *end)
{
    uint16_t *out = sink->out + sink->count;
    const char *rows = sink->rows;
    size_t stride = sink->stride, last_byte = sink->last_byte;
    uint32_t shift = sink->shift, bits = sink->bits, mask = (1u << bits) - 1;

    for (const uint16_t *in = out; in < end; in++) {
        uint32_t bucket = (uint32_t)*in >> shift;
        uint64_t *word = &sink->seen[bucket & mask], seen = *word, bit = 1ull << (bucket >> bits);
        const char *row = rows + bucket * stride;
        *out = (uint16_t)bucket;
        out += (seen & bit) == 0;
        *word = seen | bit;
        __builtin_prefetch(row);
        if (last_byte > 0)
            __builtin_prefetch(row + last_byte);
    }
    sink->count = (size_t)(out - sink->out);
}

HW_LEARN_INLINE void
read_part(struct sink *sink, const struct hw_kinds *kinds, const char *text, size_t len)
{
    struct line line;
    struct batch batch = {.before = 0};

    normalise(&line, text, len);
    for (size_t first = 0; first < line.words; first += LANES) {
        uint16_t *end = sink->out + sink->count;
        read_batch(&line, first, kinds, &batch);
        end = put_pairs(&batch, put_words(&batch, end));
        take(sink, put_insides(&line, first, kinds, &batch, end));
    }
}

HW_LEARN_WIDE static void
read_part_wide(struct sink *sink, const struct hw_kinds *kinds, const char *text, size_t len)
{
    read_part(sink, kinds, text, len);
}

static void
read_part_base(struct sink *sink, const struct hw_kinds *kinds, const char *text, size_t len)
{
    read_part(sink, kinds, text, len);
}

size_t
hw_features(const struct hw_kinds *kinds, const char *text, size_t len, uint32_t bits,
            const void *rows, size_t stride, uint16_t *out)
{
    void (*read_text)(struct sink *, const struct hw_kinds *, const char *, size_t) =
        hw_learn_wide() ? read_part_wide : read_part_base;
    struct sink sink;

    memset(sink.seen, 0, ((size_t)1 << bits) / 8);
    sink.out = out;
    sink.count = 0;
    sink.shift = HW_FEATURE_BITS_MAX - bits;
    sink.bits = bits - 6;
    sink.rows = rows;
    sink.stride = rows != NULL ? stride : 0;
    sink.last_byte = sink.stride > 0 && 64 % sink.stride != 0 ? sink.stride - 1 : 0;
    if (len <= HW_FEATURE_WINDOW) {
        read_text(&sink, kinds, text, len);
    } else {
        read_text(&sink, kinds, text, HW_FEATURE_HEAD);
        read_text(&sink, kinds, text + len - HW_FEATURE_TAIL, HW_FEATURE_TAIL);
    }
    return sink.count;
}
