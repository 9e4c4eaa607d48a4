/* policies/learn_roles.h - the learned classifier of a policy's roles. Private to policies. */
#ifndef HW_POLICIES_LEARN_ROLES_H
#define HW_POLICIES_LEARN_ROLES_H

#include "config/snapshot.h"
#include "policies/difficulty.h"
#include "policies/learn.h"

/* A role with fewer examples is left to its keywords. */
#define HW_LEARN_ROLE_EXAMPLES 5

/* Does a text have a keyword, so that the learned classifier will never be asked? */
typedef bool hw_learn_told(const void *ctx, const char *text, size_t len);

/* Learns from the examples of all roles that have enough of them. *out stays NULL when the policy
 * switches it off or fewer than two roles have enough: there is nothing to tell apart. roles, with
 * room for HW_MAX_ROLES, says which role each class of the model is. */
int hw_learn_roles(const struct hw_snapshot *snapshot, hw_learn_told *told, const void *ctx,
                   struct hw_learned **out, int *roles, struct hw_err *err);

/* What it learns from. On 0 the caller owns *out, which may have fewer than two classes. */
int hw_learn_role_examples(const struct hw_snapshot *snapshot, hw_learn_told *told, const void *ctx,
                           struct hw_examples **out, int *roles, struct hw_err *err);

/* *out stays NULL where the policy records no outcomes. */
int hw_learn_difficulty(const struct hw_snapshot *snapshot, struct hw_difficulty **out,
                        struct hw_err *err);

#endif
