/* config/expectations.h - what a policy is expected to do, written beside it (`hatchway policy
 * test`): queries, and where each should go. YAML; every mistake has a file:line:column. */
#ifndef HW_CONFIG_EXPECTATIONS_H
#define HW_CONFIG_EXPECTATIONS_H

#include "config/load.h"

#define HW_MAX_EXPECTATIONS 4096

/* A name of the policy as the file says it, and where. */
struct hw_expected_name {
    char *text;
    uint32_t line, column;
};

struct hw_expected_names {
    struct hw_expected_name *items;
    size_t count; /* 0: nothing is expected */
};

struct hw_expected_pair {
    char *name, *value;
};

/* Alternatives in each: one of them must be it. */
struct hw_expect {
    struct hw_expected_names route, role, backend;
};

enum hw_expect_cache { HW_EXPECT_CACHE_ANY, HW_EXPECT_CACHE_NO, HW_EXPECT_CACHE_YES };

struct hw_expectation {
    char *query, *body; /* one of them */
    char *model, *role, *agent, *lane, *dialect, *path, *at;
    struct hw_expected_pair *headers;
    size_t header_count;
    int64_t tokens;                /* -1: estimated */
    struct hw_expected_names down; /* backends that are out meanwhile */
    struct hw_expect expect;
    struct hw_expect not_expect; /* `not` within expect */
    enum hw_expect_cache cache;
    uint32_t line, column;
};

struct hw_expectations {
    char *policy; /* the configuration's path */
    char *at;     /* for those that do not say; NULL: now */
    struct hw_expectation *items;
    size_t count;
    struct hw_conf_arena *arena; /* all of the above lives in it */
};

/* As hw_config_load: on 0 the caller owns *out. */
int hw_expectations_load(const char *path, struct hw_expectations **out, struct hw_diags *diags);
/* The same from memory; path names it and resolves `policy`. For fuzzing. */
int hw_expectations_parse(const char *path, const char *yaml, size_t len,
                          struct hw_expectations **out, struct hw_diags *diags);
void hw_expectations_free(struct hw_expectations **expectations); /* NULL-safe, nulls it */

#endif
