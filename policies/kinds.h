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

#define HW_KINDS 256 /* ids are below it, and above 0 */
#define HW_KINDS_OF_A_WORD 3

/* A line a kind, words apart by a space. */
extern const char hw_kinds_words[];

/* Reads the lists once; to be called before the functions below, by any thread, any number of
 * times. */
void hw_kinds_prepare(void);
/* The kinds of a word in lower case, 0 behind the last. Regular endings are seen through ("songs",
 * "playing"); a number is of the kind of "seven". */
void hw_kinds_of(const uint8_t *word, size_t len, uint8_t kinds[static HW_KINDS_OF_A_WORD]);
/* Tells one edition of the lists from another. */
uint32_t hw_kinds_edition(void);

#endif
