/* policies/classify_private.h - a classifier's parts, for classify.c and classify_explain.c. */
#ifndef HW_POLICIES_CLASSIFY_PRIVATE_H
#define HW_POLICIES_CLASSIFY_PRIVATE_H

#include "policies/classify.h"
#include "policies/difficulty.h"
#include "policies/kinds.h"
#include "policies/keywords.h"
#include "policies/learn.h"

struct hw_named_role {
    char *name;
    int role;
};

struct hw_classifier {
    size_t role_count;
    struct hw_keywords *keywords;
    struct hw_named_role *names; /* what `model` may say to mean a role */
    size_t name_count;
    struct hw_kinds *kinds;
    struct hw_learned *learned;      /* NULL: keywords only */
    int learned_roles[HW_MAX_ROLES]; /* of each of its classes */
    float least_confidence;
    struct hw_difficulty *difficulty; /* NULL: nothing is difficult */
    float difficult_from;             /* this rank on */
};

#endif
