/* config/imply.h - what conditions say of each other, for warnings. Pure. Private to config/.
 *
 * Sound and not complete: a yes is proven from the conditions as they are written, a no may only
 * mean that no proof was found (or that the steps were used up: lists of a hostile size). */
#ifndef HW_CONFIG_IMPLY_H
#define HW_CONFIG_IMPLY_H

#include "config/snapshot.h"

struct hw_imply {
    uint64_t steps_left; /* comparisons that may still be made */
};

/* Whatever matches `narrow` matches `wide`. */
bool hw_when_implies(struct hw_imply *imply, const struct hw_conf_when *narrow,
                     const struct hw_conf_when *wide);
/* Nothing matches both. */
bool hw_when_excludes(struct hw_imply *imply, const struct hw_conf_when *a,
                      const struct hw_conf_when *b);
/* Nothing at all matches. */
bool hw_when_impossible(struct hw_imply *imply, const struct hw_conf_when *when);

#endif
