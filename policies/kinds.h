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

/* The lists as a table: every model has its own, which is only read. NULL: no memory. */
struct hw_kinds;
struct hw_kinds *hw_kinds_create(void); /* to be given to free() */
/* The kinds of a word in lower case, 0 behind the last. Regular endings are seen through ("songs",
 * "playing"); a number is of the kind of "seven". */
void hw_kinds_of(const struct hw_kinds *kinds, const uint8_t *word, size_t len,
                 uint8_t out[static HW_KINDS_OF_A_WORD]);

#endif
