/* policies/digest.h - what of a policy decides a query's role, as a number. Pure.
 *
 * Two policies with the same digests classify every text alike, so a replay that has no text may
 * keep the role that the log tells. */
#ifndef HW_POLICIES_DIGEST_H
#define HW_POLICIES_DIGEST_H

#include <stdint.h>

#include "config/snapshot.h"

/* Of the roles' names and keywords, in their order. 0: no role has keywords. */
uint64_t hw_keywords_digest(const struct hw_snapshot *snapshot);
/* Of everything that the learned classifier is taught by, and of how it reads. 0: nothing is
 * learned. Reads all examples: for when a policy loads. */
uint64_t hw_learned_digest(const struct hw_snapshot *snapshot);

#endif
