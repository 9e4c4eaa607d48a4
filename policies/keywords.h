/* policies/keywords.h - which roles' keywords does a text have?
 *
 * Pure. Compiled once from a snapshot and then only read, by any thread. Whole words, ASCII
 * case-insensitive, several words in a row allowed; of a long text its head and its tail are read.
 */
#ifndef HW_POLICIES_KEYWORDS_H
#define HW_POLICIES_KEYWORDS_H

#include <stdbool.h>
#include <stddef.h>

#include "config/snapshot.h"
#include "hatchway/err.h"

struct hw_keywords; /* opaque; layout in keywords.c */

struct hw_keyword_match {
    int role;            /* whose keywords weigh most; among equals the first of the file */
    float share;         /* of its keywords in the weight of all that are there, 0..1 */
    const char *keyword; /* the one that weighs most; lives as long as the keywords */
};

/* At most HW_MAX_ROLES roles. */
int hw_keywords_create(const struct hw_snapshot *snapshot, struct hw_keywords **out,
                       struct hw_err *err);
void hw_keywords_destroy(struct hw_keywords **keywords);
/* False: the text has none, and *out is untouched. */
bool hw_keywords_find(const struct hw_keywords *keywords, const char *text, size_t len,
                      struct hw_keyword_match *out);
/* The weight of each role's keywords in the text. */
void hw_keywords_weigh(const struct hw_keywords *keywords, const char *text, size_t len,
                       float weights[static HW_MAX_ROLES]);

#endif
