/* bench/policy_yaml.h - a policy of any size, written as its author would have written it. */
#ifndef HW_BENCH_POLICY_YAML_H
#define HW_BENCH_POLICY_YAML_H

#include <stddef.h>

#include "config/snapshot.h"
#include "hatchway/err.h"

struct hw_bench_policy {
    size_t routes, backends, roles;
    size_t examples;  /* of each role, as far as the file has them */
    const char *data; /* JSONL rows with text and label */
};

/* All routes but the last have conditions, of every kind that there is, which the bench's query
 * does not meet: matching tries them all. */
int hw_bench_policy_load(const struct hw_bench_policy *wanted, struct hw_snapshot **out,
                         struct hw_err *err);

#endif
