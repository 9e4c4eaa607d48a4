/* policies/features.h - a text as a set of hashed n-grams. Private to policies.
 *
 * Read are words, their first five bytes, which one is the first, pairs of neighbours, unordered
 * pairs of words up to four apart, the kinds of words (kinds.h) and unordered pairs of near ones,
 * and the runs of 3 and 4 bytes inside " word " (runs of 2 were measured: they cost a third of the
 * time and some accuracy). Each is hashed, with a salt of its sort, to one of 2^bits buckets; a
 * bucket is listed once however often the text has it. Of a long text the first 427 bytes and the
 * last 212 are read: what a query is about stands at its beginning or its end. */
#ifndef HW_POLICIES_FEATURES_H
#define HW_POLICIES_FEATURES_H

#include <stddef.h>
#include <stdint.h>

#include "policies/kinds.h"

/* Raised when the same text comes to have other buckets: decision logs keep them. */
#define HW_FEATURES_VERSION 3
#define HW_FEATURE_BITS_MIN 10
#define HW_FEATURE_BITS_MAX 16
#define HW_FEATURE_WINDOW 640
#define HW_FEATURE_HEAD 427
#define HW_FEATURE_TAIL 212
/* The worst text is "a?b!c?": of two bytes a word with a kind has 17 at most, a mark 6. */
#define HW_FEATURES_MAX (12 * HW_FEATURE_WINDOW)

/* The first buckets are the kinds' own. Like all buckets, those of fewer bits are the beginnings of
 * those of more. */
#define HW_FEATURE_KIND_BITS 10 /* of HW_FEATURE_BITS_MAX: the first 1/64 of them */
static inline uint32_t
hw_features_kinds_end(uint32_t bits)
{
    return 1u << (bits - (HW_FEATURE_BITS_MAX - HW_FEATURE_KIND_BITS));
}

/* Buckets of text in out, which has room for HW_FEATURES_MAX; returns how many. rows may be NULL;
 * else rows + bucket * stride is prefetched as soon as a bucket is known. Behind the buckets more
 * may be written, within that room. */
size_t hw_features(const struct hw_kinds *kinds, const char *text, size_t len, uint32_t bits,
                   const void *rows, size_t stride, uint16_t *out);

#endif
