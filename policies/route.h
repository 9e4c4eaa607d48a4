/* policies/route.h - the first route whose conditions hold. Pure. */
#ifndef HW_POLICIES_ROUTE_H
#define HW_POLICIES_ROUTE_H

#include "config/snapshot.h"
#include "policies/classify.h"

/* Index into snapshot->routes, or -1 when none matches. */
int hw_route_match(const struct hw_snapshot *snapshot, const struct hw_traits *traits);
/* Why route i does not match, for `hatchway route` ("role is email, wants trading or legal");
 * returns true (why untouched) when it does. */
bool hw_route_explain(const struct hw_snapshot *snapshot, size_t i, const struct hw_traits *traits,
                      char *why, size_t size);

#define HW_ROUTE_UNKNOWN (-2)
/* The same for a query of which not all is known (traits->unknown): the route that matches whatever
 * the rest may be, or HW_ROUTE_UNKNOWN, and *missing says what it hangs on. */
int hw_route_match_known(const struct hw_snapshot *snapshot, const struct hw_traits *traits,
                         uint32_t *missing);

#endif
