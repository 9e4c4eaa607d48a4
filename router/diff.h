/* router/diff.h - what an edit of a policy does to recorded queries: for `hatchway policy diff`. */
#ifndef HW_ROUTER_DIFF_H
#define HW_ROUTER_DIFF_H

#include <stdio.h>

#include "router/replay.h"

#define HW_DIFF_MOVES_MAX 1024
#define HW_DIFF_EXAMPLES 3
#define HW_DIFF_ROLES_MAX (HW_MAX_ROLES + 1) /* the last is none */

/* Where one policy sends a query. */
struct hw_diff_place {
    enum hw_replay_end end;
    int route, backend; /* of that policy; -1: none */
};

struct hw_diff_example {
    char request_id[40];
    char what[100]; /* the text's beginning where the log has it, else what is known of it */
};

/* Queries that went the same way from the same place. */
struct hw_diff_move {
    struct hw_diff_place from, to;
    bool
        by_load; /* both policies would have them in one place, but for what else they send there */
    uint64_t count;
    struct hw_diff_example examples[HW_DIFF_EXAMPLES];
    size_t example_count;
};

struct hw_diff {
    const struct hw_snapshot *old, *new;
    uint64_t queries, stayed, moved, displaced;
    uint64_t unknown, unknown_text, unknown_role, unknown_agent, unknown_header, unknown_model;
    uint64_t unreadable;
    char first_unreadable[600];
    uint64_t first_ms, last_ms;
    uint64_t compared, agreed;  /* with the route that the log tells */
    struct hw_diff_move *moves; /* HW_DIFF_MOVES_MAX of them; most frequent first after sorting */
    size_t move_count;
    uint64_t moves_beyond;                                /* queries of moves that found no room */
    uint32_t roles[HW_DIFF_ROLES_MAX][HW_DIFF_ROLES_MAX]; /* old to new, where they differ */
    const struct hw_replay_load *old_loads, *new_loads;
    struct hw_replay_load old_all, new_all;
    const struct hw_figures *figures;
};

void hw_diff_init(struct hw_diff *diff, const struct hw_snapshot *old,
                  const struct hw_snapshot *new);
void hw_diff_free(struct hw_diff *diff);
/* False: one of the policies' decisions is not known, so neither fleet gets the query. */
bool hw_diff_add(struct hw_diff *diff, const struct hw_record *record,
                 const struct hw_replayed *old, const struct hw_replayed *new);
void hw_diff_sort(struct hw_diff *diff);
/* "specialist -> redfin", "no route" */
void hw_diff_place_text(const struct hw_snapshot *snapshot, const struct hw_diff_place *place,
                        char *out, size_t size);

void hw_diff_print(const struct hw_diff *diff, FILE *out);      /* diff_print.c */
void hw_diff_print_json(const struct hw_diff *diff, FILE *out); /* the same */

#endif
