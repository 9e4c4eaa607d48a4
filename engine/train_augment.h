/* engine/train_augment.h - asks a question in another way, so that phrasings nobody wrote down are
 * understood too. */
#ifndef HW_ENGINE_TRAIN_AUGMENT_H
#define HW_ENGINE_TRAIN_AUGMENT_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/train_rng.h"

enum { HW_TRAIN_QUESTION_MAX = 512 }; /* bytes of a question with its NUL; longer ones are kept */

/* Writes a changed question (another opening, words left out, a slip of the keys, other case or
 * punctuation; sometimes none of these) into out. */
void hw_train_augment(const char *question, struct hw_train_rng *rng,
                      char out[HW_TRAIN_QUESTION_MAX]);
/* The beginning of one phrasing and the end of another of the same question, cut between words. */
void hw_train_splice(const char *one, const char *other, struct hw_train_rng *rng,
                     char out[HW_TRAIN_QUESTION_MAX]);
/* Whether all of part's letters and digits stand in text one behind the other, whatever the case
 * and what lies between. False for a part without any. */
bool hw_train_holds_question(const char *text, const char *part);

#endif
