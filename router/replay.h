/* router/replay.h - a recorded query through a policy: the same classify, match and rank as in the
 * gateway, on a fleet that exists on paper.
 *
 * The fleet: every backend is well and as fast as the log measured it (or its prior, when the log
 * says nothing of it); what was sent to it keeps it busy for as long as ranking expects. So two
 * policies can be compared on one log, and the same log gives the same answer every time. */
#ifndef HW_ROUTER_REPLAY_H
#define HW_ROUTER_REPLAY_H

#include "policies/rank.h"
#include "policies/replay.h"
#include "policies/stats.h"
#include "router/record.h"

/* --- what the log measured --- */

struct hw_figure {
    char name[65]; /* of the backend */
    struct hw_speed speed;
};

#define HW_FIGURES_MAX 1024
struct hw_figures {
    struct hw_figure *items;
    size_t count;
};

/* Learns from a record; the backend's prior comes from the first of these policies that has it. */
void hw_figures_learn(struct hw_figures *figures, const struct hw_record *record,
                      const struct hw_snapshot *const *snapshots, size_t snapshot_count);
const struct hw_figure *hw_figures_find(const struct hw_figures *figures, const char *backend);
void hw_figures_free(struct hw_figures *figures);

/* --- one policy --- */

enum hw_replay_end {
    HW_REPLAY_SENT,
    HW_REPLAY_HIT,      /* answered from the cache, as it was */
    HW_REPLAY_NOBODY,   /* a route, but no backend could take it: 503 */
    HW_REPLAY_NO_ROUTE, /* 404 */
    HW_REPLAY_NO_AGENT, /* 401: it has no agent of that name */
    HW_REPLAY_NO_MODEL, /* 404 */
    HW_REPLAY_NO_ROLE,  /* 400: the header names no role of it */
    HW_REPLAY_UNKNOWN,  /* the log does not tell enough */
    HW_REPLAY_END_COUNT
};
extern const char *const hw_replay_end_names[HW_REPLAY_END_COUNT];

struct hw_replayed {
    enum hw_replay_end end;
    uint32_t missing; /* with UNKNOWN: HW_UNKNOWN_* */
    int role;         /* -1: none; not with UNKNOWN_ROLE */
    bool role_known;
    int route;         /* -1: none */
    enum hw_lane lane; /* that the route left it in */
    int backend;       /* -1: none */
    int idle_backend;  /* that an idle fleet would have taken */
    double latency_ms; /* expected; of a hit as measured */
};

/* What a policy's backend got to do. */
struct hw_replay_load {
    uint64_t queries;
    double busy_ms; /* of work, on one query at a time */
    double share;   /* of what it can do in the log's time; from hw_player_finish on */
    uint32_t peak_inflight;
    double mean_ms, p99_ms; /* of the queries that it got; from hw_player_finish on */
};

struct hw_player;
/* snapshot and figures must outlive it. */
int hw_player_create(const struct hw_snapshot *snapshot, const struct hw_figures *figures,
                     struct hw_player **out, struct hw_err *err);
void hw_player_destroy(struct hw_player **player);
/* Decides. Records in the order of their time. */
void hw_player_decide(struct hw_player *player, const struct hw_record *record,
                      struct hw_replayed *out);
/* Puts the query onto the fleet that hw_player_decide chose. */
void hw_player_send(struct hw_player *player, const struct hw_record *record,
                    const struct hw_replayed *replayed);
/* When all have been sent. loads: backend_count of them, good as long as the player; *all: of the
 * queries of all backends and the cache. */
const struct hw_replay_load *hw_player_finish(struct hw_player *player, struct hw_replay_load *all);

#endif
