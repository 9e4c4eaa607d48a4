/* policies/features.h - a text as a set of hashed n-grams. Private to policies.
 *
 * Read are words, their first five bytes, which one is the first, pairs of neighbours, unordered
 * pairs of words up to six apart, and the runs of 3 and 4 bytes inside " word " (runs of 2 were
 * measured: they cost a third of the time and some accuracy). Each is hashed, with a salt of its
 * kind, to one of 2^bits buckets; a bucket is listed once however often the text has it. Of a long
 * text the first 512 bytes and the last 255 are read: what a query is about stands at its beginning
 * or its end. */
#ifndef HW_POLICIES_FEATURES_H
#define HW_POLICIES_FEATURES_H

#include <stddef.h>
#include <stdint.h>

/* Raised when the same text comes to have other buckets: decision logs keep them. */
#define HW_FEATURES_VERSION 1
#define HW_FEATURE_BITS_MIN 6
#define HW_FEATURE_BITS_MAX 16
#define HW_FEATURE_WINDOW 768
#define HW_FEATURE_HEAD 512
#define HW_FEATURE_TAIL 255
/* The worst text is "a?b!c?": 17 n-grams for two bytes. */
#define HW_FEATURES_MAX (9 * HW_FEATURE_WINDOW)

/* Buckets of text in out, which has room for HW_FEATURES_MAX; returns how many. rows may be NULL;
 * else rows + bucket * stride is prefetched as soon as a bucket is known. */
size_t hw_features(const char *text, size_t len, uint32_t bits, const void *rows, size_t stride,
                   uint16_t *out);

#endif
