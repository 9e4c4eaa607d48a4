/* router/check_roles.h - what `hatchway check` warns of in what roles are taught. Private to it. */
#ifndef HW_ROUTER_CHECK_ROLES_H
#define HW_ROUTER_CHECK_ROLES_H

#include <stdio.h>

#include "config/snapshot.h"

/* "hatchway: FILE:LINE:COLUMN: warning: ..." to out: of roles with too few examples to be learned,
 * of examples that stand in two roles, of roles that are taken for each other (by cross-validation,
 * where that is quick). */
void hw_check_roles(const char *file, const struct hw_snapshot *snapshot, FILE *out);

#endif
