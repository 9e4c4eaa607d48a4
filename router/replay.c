/* router/replay.c - see replay.h: what a policy decides on a record. The fleet is in
 * replay_fleet.c. */
#include "router/replay.h"

#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"
#include "policies/route.h"
#include "router/replay_private.h"

const char *const hw_replay_end_names[HW_REPLAY_END_COUNT] = {
    "sent",          "cache hit",    "no backend", "no route", "no agent of that name",
    "no such model", "no such role", "not known",
};

int
hw_player_create(const struct hw_snapshot *snapshot, const struct hw_figures *figures,
                 struct hw_player **out, struct hw_err *err)
{
    struct hw_player *player = hw_xcalloc(1, sizeof(*player));
    int rc = hw_classifier_create(snapshot, &player->classifier, err);

    if (rc != 0) {
        free(player);
        return rc;
    }
    hw_replay_policy_init(&player->policy, snapshot, player->classifier);
    player->snapshot = snapshot;
    player->candidates = hw_xcalloc(snapshot->backend_count + 1, sizeof(*player->candidates));
    hw_fleet_init(&player->fleet, snapshot, figures);
    *out = player;
    return 0;
}

void
hw_player_destroy(struct hw_player **player)
{
    if (*player == NULL)
        return;
    hw_classifier_destroy(&(*player)->classifier);
    hw_fleet_free(&(*player)->fleet);
    free((*player)->candidates);
    free(*player);
    *player = NULL;
}

/* --- from a record to traits ----------------------------------------------------------------- */

static const char *
find_header(void *ctx, const char *name, size_t *len)
{
    const struct hw_record *record = ctx;

    for (size_t i = 0; i < record->header_count; i++)
        if (strcmp(record->headers[i].name, name) == 0) {
            *len = record->headers[i].len;
            return record->headers[i].value;
        }
    return hw_header_unknown;
}

static const struct hw_conf_agent *
find_agent(const struct hw_snapshot *snapshot, const char *name)
{
    for (size_t i = 0; name != NULL && i < snapshot->agent_count; i++)
        if (strcmp(snapshot->agents[i].name, name) == 0)
            return &snapshot->agents[i];
    return NULL;
}

/* Who asks and, when no header said it, in which lane. False: this policy would not let them in. */
static bool
fill_agent(const struct hw_snapshot *snapshot, const struct hw_record *record,
           struct hw_traits *traits)
{
    const struct hw_conf_agent *agent = find_agent(snapshot, record->agent);

    traits->lane = record->lane_from != HW_LANE_FROM_NOBODY ? record->lane : HW_LANE_INTERACTIVE;
    traits->has_lane = record->lane_from != HW_LANE_FROM_NOBODY;
    if (snapshot->agent_count == 0) { /* nobody is told apart */
        if (record->lane_from == HW_LANE_FROM_AGENT) {
            traits->lane = HW_LANE_INTERACTIVE;
            traits->has_lane = false;
        }
        return true;
    }
    if (record->agent_hidden) { /* whose lane is taken for what it was */
        traits->unknown |= HW_UNKNOWN_AGENT;
        return true;
    }
    if (agent == NULL)
        return false;
    traits->agent = agent->name;
    if (record->lane_from != HW_LANE_FROM_HEADER) {
        traits->lane = agent->lane;
        traits->has_lane = true;
    }
    return true;
}

static enum hw_replay_end
fill_traits(const struct hw_snapshot *snapshot, const struct hw_record *record,
            struct hw_traits *traits)
{
    const char *resolved;

    *traits = (struct hw_traits){.dialect = record->dialect,
                                 .model = record->model,
                                 .text = record->text,
                                 .text_len = record->text_len,
                                 .prompt_bytes = record->prompt_bytes,
                                 .prompt_tokens = record->prompt_tokens,
                                 .max_tokens = record->max_tokens,
                                 .wants_tools = record->tools,
                                 .wants_images = record->images,
                                 .wants_json = record->json,
                                 .stream = record->stream,
                                 .embeds = record->embeds,
                                 .path = record->path,
                                 .header = find_header,
                                 .header_ctx = (void *)(uintptr_t)record, /* only read */
                                 .now_s = (int64_t)(record->time_ms / 1000),
                                 .asked_role = -1,
                                 .unknown = record->text == NULL ? HW_UNKNOWN_TEXT : 0,
                                 .role = -1};
    if (!fill_agent(snapshot, record, traits))
        return HW_REPLAY_NO_AGENT;
    if (hw_resolve_model(snapshot, record->model, &traits->asked_role, &resolved) ==
        HW_MODEL_UNKNOWN) {
        traits->unknown |= hw_snapshot_discovers(snapshot) ? HW_UNKNOWN_MODEL : 0;
        return traits->unknown & HW_UNKNOWN_MODEL ? HW_REPLAY_UNKNOWN : HW_REPLAY_NO_MODEL;
    }
    if (record->role_source != HW_ROLE_BY_HEADER || record->asked_role == NULL)
        return HW_REPLAY_SENT;
    traits->asked_role = hw_snapshot_role(snapshot, record->asked_role, strlen(record->asked_role));
    return traits->asked_role >= 0 ? HW_REPLAY_SENT : HW_REPLAY_NO_ROLE;
}

static void
classify(const struct hw_player *player, const struct hw_record *record, struct hw_traits *traits)
{
    struct hw_told told = {.role = record->role,
                           .source = record->role_source,
                           .confidence = record->confidence,
                           .keywords_digest = record->keywords_digest,
                           .learned_digest = record->learned_digest,
                           .features = record->features,
                           .feature_count = record->feature_count};

    hw_replay_classify(&player->policy, &told, traits);
}

/* --- deciding -------------------------------------------------------------------------------- */

/* The same chances for the same query in every policy: splitmix64 of its time. */
static uint64_t
dice_of(const struct hw_record *record)
{
    uint64_t x = record->time_ms * 0x9e3779b97f4a7c15u + record->prompt_bytes;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return (x ^ x >> 31) | 1;
}

/* The backend that comes first; -1: none could take it. */
static int
first_backend(struct hw_player *player, const struct hw_record *record,
              const struct hw_traits *traits, int route, bool idle)
{
    struct hw_rank_input input = {.snapshot = player->snapshot,
                                  .route = &player->snapshot->routes[route],
                                  .traits = traits,
                                  .views = idle ? player->fleet.idle : player->fleet.views,
                                  .devices =
                                      idle ? player->fleet.idle_devices : player->fleet.devices,
                                  .dice = dice_of(record),
                                  .conversation = record->conversation};

    size_t count = hw_rank(&input, player->candidates);
    return count > 0 ? (int)player->candidates[0].backend : -1;
}

/* Where it would go on this fleet, whatever its role may be; false: that hangs on the role. */
static bool
rank(struct hw_player *player, const struct hw_record *record, struct hw_traits *traits, int route,
     bool idle, int *backend)
{
    int first = (traits->unknown & HW_UNKNOWN_ROLE) != 0 ? -1 : traits->role;
    int last = (traits->unknown & HW_UNKNOWN_ROLE) != 0 ? (int)player->snapshot->role_count - 1
                                                        : traits->role;

    for (int role = first; role <= last; role++) {
        traits->role = role;
        int found = first_backend(player, record, traits, route, idle);
        if (role > first && found != *backend)
            return false;
        *backend = found;
    }
    return true;
}

/* Would the answer still come from the cache? Repeats repeat under any policy that keeps answers;
 * whether they meet the same key after a change is the log's story, not this one's. */
static bool
still_hit(const struct hw_record *record, const struct hw_conf_route *route)
{
    bool hit = record->cache != NULL &&
               (strcmp(record->cache, "hit") == 0 || strcmp(record->cache, "join") == 0);

    return hit && (route->cache == HW_KEEP_ALL ||
                   (route->cache == HW_KEEP_DETERMINISTIC && record->deterministic));
}

static bool
hangs_on_conversation(const struct hw_conf_route *route, const struct hw_record *record)
{
    return record->conversation == 0 &&
           (route->to.by == HW_BY_AFFINITY ||
            (route->fallback.present && route->fallback.by == HW_BY_AFFINITY));
}

static void
decide_backend(struct hw_player *player, const struct hw_record *record, struct hw_traits *traits,
               struct hw_replayed *out)
{
    const struct hw_conf_route *route = &player->snapshot->routes[out->route];
    uint32_t unknown = traits->unknown;

    if (route->has_lane)
        traits->lane = route->lane;
    out->lane = traits->lane;
    if (hangs_on_conversation(route, record)) {
        out->end = HW_REPLAY_UNKNOWN;
        out->missing = HW_UNKNOWN_TEXT;
        return;
    }
    if (!rank(player, record, traits, out->route, true, &out->idle_backend) ||
        !rank(player, record, traits, out->route, false, &out->backend)) {
        out->end = HW_REPLAY_UNKNOWN;
        out->missing = unknown & HW_UNKNOWN_ROLE;
        return;
    }
    if (out->backend < 0)
        out->end = HW_REPLAY_NOBODY;
    else if (still_hit(record, route))
        out->end = HW_REPLAY_HIT;
    out->latency_ms = out->end == HW_REPLAY_SENT ? hw_fleet_latency_ms(&player->fleet, record,
                                                                       traits, (size_t)out->backend)
                                                 : (double)record->duration_us / 1000;
}

void
hw_player_decide(struct hw_player *player, const struct hw_record *record, struct hw_replayed *out)
{
    struct hw_traits traits;

    *out = (struct hw_replayed){.role = -1, .route = -1, .backend = -1, .idle_backend = -1};
    hw_fleet_advance(&player->fleet, record->time_ms);
    out->end = fill_traits(player->snapshot, record, &traits);
    if (out->end != HW_REPLAY_SENT) {
        out->missing = traits.unknown & HW_UNKNOWN_MODEL;
        return;
    }
    classify(player, record, &traits);
    out->role_known = (traits.unknown & HW_UNKNOWN_ROLE) == 0;
    out->role = traits.role;
    out->route = hw_route_match_known(player->snapshot, &traits, &out->missing);
    if (out->route == HW_ROUTE_UNKNOWN)
        out->end = HW_REPLAY_UNKNOWN;
    else if (out->route < 0)
        out->end = HW_REPLAY_NO_ROUTE;
    else
        decide_backend(player, record, &traits, out);
}

void
hw_player_send(struct hw_player *player, const struct hw_record *record,
               const struct hw_replayed *replayed)
{
    if (replayed->end == HW_REPLAY_SENT)
        hw_fleet_send(&player->fleet, record, replayed);
    else if (replayed->end == HW_REPLAY_HIT)
        hw_latencies_add(&player->fleet.all, replayed->latency_ms);
}

const struct hw_replay_load *
hw_player_finish(struct hw_player *player, struct hw_replay_load *all)
{
    return hw_fleet_finish(&player->fleet, all);
}
