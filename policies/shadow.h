/* policies/shadow.h - whether a query is copied, and who may be sent the copy. Pure.
 *
 * A route with `shadow` has copies of its queries sent to a backend that is being tried out; what
 * that answers nobody reads (router/shadow.h sends them). */
#ifndef HW_POLICIES_SHADOW_H
#define HW_POLICIES_SHADOW_H

#include "policies/rank.h"

/* Is this one of the share? dice: random. */
bool hw_shadow_chosen(const struct hw_conf_shadow *shadow, uint64_t dice);
/* hw_rank for a copy of a query of input->route, which has a shadow; its query goes to backend
 * `asked`. Out beside those that no query would be sent to: `asked` itself, and whoever's breaker
 * waits for a trial, which is not a copy's to make. */
size_t hw_shadow_rank(const struct hw_rank_input *input, uint32_t asked, struct hw_candidate *out);

#endif
