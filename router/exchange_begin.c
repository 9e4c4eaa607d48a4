/* router/exchange_begin.c - from an HTTP request to a classified, routed and ranked query. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/load.h"
#include "hatchway/assert.h"
#include "policies/route.h"
#include "router/auth.h"
#include "router/discover.h"
#include "router/exchange_private.h"
#include "router/health.h"
#include "router/loop.h"
#include "router/question.h"

/* What is passed on into logs and to backends: visible ASCII without quotes. */
static bool
copy_token(const struct hw_http_slice *value, char *out, size_t size)
{
    if (value == NULL || value->len == 0 || value->len >= size)
        return false;
    for (size_t i = 0; i < value->len; i++) {
        char c = value->p[i];
        if (c <= ' ' || c > '~' || c == '"' || c == '\\')
            return false;
    }
    memcpy(out, value->p, value->len);
    out[value->len] = '\0';
    return true;
}

/* What this start of the process is called, and a number: "0123456789abcdef-00002a". */
static void
make_request_id(struct hw_exchange *ex)
{
    static _Atomic uint64_t counter;
    uint64_t number = atomic_fetch_add_explicit(&counter, 1, memory_order_relaxed) + 1;
    const char *boot_id = ex->loop->gateway->boot_id;
    size_t len = strlen(boot_id);
    int digits = 6;

    while (digits < 16 && number >> (4 * digits) != 0)
        digits++;
    memcpy(ex->request_id, boot_id, len);
    ex->request_id[len++] = '-';
    while (digits-- > 0)
        ex->request_id[len++] = "0123456789abcdef"[number >> (4 * digits) & 15];
    ex->request_id[len] = '\0';
}

static void
take_ids(struct hw_exchange *ex)
{
    const struct hw_http_head *head = &ex->request->head;

    if (!copy_token(hw_http_head_find(head, "x-request-id"), ex->request_id,
                    sizeof(ex->request_id)))
        make_request_id(ex);
    if (!copy_token(hw_http_head_find(head, "traceparent"), ex->traceparent,
                    sizeof(ex->traceparent)))
        ex->traceparent[0] = '\0';
}

/* An index into words, or -1. */
static int
word_index(const struct hw_http_slice *value, const char *const *words)
{
    for (int i = 0; value != NULL && words[i] != NULL; i++)
        if (hw_http_slice_is(value, words[i]))
            return i;
    return -1;
}

static const char *
find_header(void *ctx, const char *name, size_t *len)
{
    const struct hw_http_slice *value = hw_http_head_find(ctx, name);

    if (value == NULL)
        return NULL;
    *len = value->len;
    return value->p;
}

static void
fill_traits(struct hw_exchange *ex)
{
    const struct hw_snapshot *snapshot = ex->plan->snapshot;
    const struct hw_http_head *head = &ex->request->head;
    struct hw_traits *traits = &ex->traits;

    hw_query_traits(&ex->query, &ex->arena, traits);
    traits->prompt_tokens = hw_tokens_asked(hw_backends_tokens(ex->plan->registry), snapshot,
                                            ex->query.model, ex->query.prompt_bytes);
    traits->agent = ex->agent >= 0 ? snapshot->agents[ex->agent].name : NULL;
    traits->path = ex->path;
    traits->header = find_header;
    traits->header_ctx = (void *)(uintptr_t)head; /* only read */
    traits->now_s = (int64_t)time(NULL);
}

/* The agent's lane, or the one it asks for. False: answered. */
static bool
read_lane(struct hw_exchange *ex)
{
    const struct hw_http_slice *asked = hw_http_head_find(&ex->request->head, "x-hatchway-lane");
    struct hw_traits *traits = &ex->traits;

    if (ex->agent >= 0) {
        traits->lane = ex->plan->snapshot->agents[ex->agent].lane;
        traits->has_lane = true;
    }
    int lane = word_index(asked, hw_lane_names);
    if (lane >= 0) {
        traits->lane = (enum hw_lane)lane;
        traits->has_lane = true;
    }
    hw_exchange_note_request(ex, lane >= 0);
    if (asked == NULL || lane >= 0)
        return true;
    hw_exchange_reply_error(ex, 400, NULL,
                            "x-hatchway-lane must be realtime, interactive or background");
    return false;
}

/* Reads `model` and x-hatchway-role. False: answered. */
static bool
resolve_model(struct hw_exchange *ex)
{
    const struct hw_snapshot *snapshot = ex->plan->snapshot;
    const struct hw_http_slice *role = hw_http_head_find(&ex->request->head, "x-hatchway-role");
    char hint[512];

    /* traits.model stays as the agent wrote it: routes match on that, and hw_rank resolves it. */
    if (hw_discover_resolve(ex->plan, ex->query.model, &ex->traits.asked_role) ==
        HW_MODEL_UNKNOWN) {
        if (hw_discover_is_early(ex->plan)) {
            hw_exchange_reply_error(ex, 503, "model",
                                    "nobody knows yet who has '%.128s': the backends are being "
                                    "asked for their models",
                                    ex->query.model);
            return false;
        }
        hw_discover_suggest(ex->plan, ex->query.model, hint, sizeof(hint));
        hw_exchange_reply_error(ex, 404, "model", "there is no model '%.128s' here; %s",
                                ex->query.model, hint);
        return false;
    }
    if (role != NULL) {
        int index = hw_snapshot_role(snapshot, role->p, role->len);
        if (index < 0) {
            hw_exchange_reply_error(ex, 400, NULL, "x-hatchway-role names no role of the policy");
            return false;
        }
        ex->traits.asked_role = index;
    }
    return true;
}

/* 1 or true. */
static bool
read_strict(struct hw_exchange *ex)
{
    const struct hw_http_slice *value = hw_http_head_find(&ex->request->head, "x-hatchway-strict");

    return value != NULL && (hw_http_slice_is(value, "1") || hw_http_slice_is(value, "true"));
}

static bool
parse_body(struct hw_exchange *ex)
{
    const struct hw_conf_limits *limits = &ex->plan->snapshot->limits;
    struct hw_json_limits json = {limits->json_depth, limits->json_nodes};
    const struct hw_dialect *dialect = ex->query.dialect;
    struct hw_err err = {{0}};

    if (ex->request->body == NULL || ex->request->body->len == 0) {
        hw_exchange_reply_error(ex, 400, NULL, "the request has no body; send a JSON object");
        return false;
    }
    int rc = dialect->parse(ex->request->body, &json, &ex->arena, &ex->query, &err);
    ex->query.dialect = dialect;
    if (rc == 0) {
        ex->query.body = hw_body_ref(ex->request->body);
        return true;
    }
    ex->query.body = NULL;
    hw_arena_explain(&ex->arena, &err);
    hw_exchange_reply_error(ex, rc == HW_ELIMIT ? 413 : 400, NULL, "%s", err.msg);
    return false;
}

static bool
match_route(struct hw_exchange *ex)
{
    const struct hw_snapshot *snapshot = ex->plan->snapshot;

    hw_classify(ex->plan->taught.classifier, &ex->traits);
    hw_plan_count_role(ex->plan, ex->traits.role);
    ex->route = hw_route_match(snapshot, &ex->traits);
    if (ex->route < 0) {
        hw_exchange_reply_error(ex, 404, NULL,
                                "no route of the policy matches this query; `hatchway route` "
                                "shows why, a last route without conditions catches all");
        return false;
    }
    ex->route_conf = &snapshot->routes[ex->route];
    ex->strict = ex->strict || ex->route_conf->strict;
    if (ex->route_conf->has_lane)
        ex->traits.lane = ex->route_conf->lane;
    return true;
}

/* A found model's name lives no longer than what was found. */
static bool
keep_models(struct hw_exchange *ex, struct hw_backend_view *views)
{
    size_t count = ex->plan->snapshot->backend_count;
    bool kept = true;

    for (size_t i = 0; i < count; i++) {
        struct hw_candidate *candidate = &ex->candidates[i];
        if (candidate->model == NULL || views[candidate->backend].found == NULL)
            continue;
        candidate->model = hw_arena_copy(&ex->arena, candidate->model, strlen(candidate->model));
        kept = kept && candidate->model != NULL;
    }
    hw_discover_release(views, count);
    if (!kept)
        hw_exchange_reply_error(ex, 503, NULL, "out of memory for this query");
    return kept;
}

struct hw_rank_input
hw_exchange_rank_input(struct hw_exchange *ex, struct hw_backend_view *views,
                       struct hw_device_view *devices)
{
    hw_health_views(ex->loop, ex->plan, views, devices);
    hw_discover_view(ex->plan, views);
    return (struct hw_rank_input){.snapshot = ex->plan->snapshot,
                                  .route = ex->route_conf,
                                  .traits = &ex->traits,
                                  .views = views,
                                  .devices = devices,
                                  .dice = hw_loop_dice(ex->loop),
                                  .tokens = hw_backends_tokens(ex->plan->registry)};
}

static bool
rank_candidates(struct hw_exchange *ex)
{
    const struct hw_snapshot *snapshot = ex->plan->snapshot;
    size_t count = snapshot->backend_count;
    struct hw_backend_view *views = hw_arena_alloc(&ex->arena, (count + 1) * sizeof(*views));

    ex->candidates = hw_arena_alloc(&ex->arena, (count + 1) * sizeof(*ex->candidates));
    struct hw_device_view *devices =
        hw_arena_alloc(&ex->arena, (snapshot->device_count + 1) * sizeof(*devices));
    ex->waiter.rooms = hw_arena_alloc(&ex->arena, (count + 1) * sizeof(*ex->waiter.rooms));
    if (views == NULL || ex->candidates == NULL || devices == NULL || ex->waiter.rooms == NULL) {
        hw_exchange_reply_error(ex, 503, NULL, "out of memory for this query");
        return false;
    }
    struct hw_rank_input input = hw_exchange_rank_input(ex, views, devices);
    if (ex->route_conf->to.by == HW_BY_AFFINITY || ex->route_conf->overflow.by == HW_BY_AFFINITY ||
        ex->route_conf->fallback.by == HW_BY_AFFINITY)
        input.conversation = hw_query_conversation(&ex->query, ex->agent);
    ex->candidate_count = hw_rank(&input, ex->candidates);
    ex->excluded_end = count;
    return keep_models(ex, views);
}

bool
hw_exchange_read_request(struct hw_exchange *ex)
{
    take_ids(ex);
    if (!hw_auth_agent(ex->plan->snapshot, ex->request, &ex->agent)) {
        hw_exchange_reply_error(ex, 401, NULL, "%s", hw_auth_complaint(ex->request));
        return false;
    }
    if (!parse_body(ex))
        return false;
    fill_traits(ex);
    ex->strict = read_strict(ex);
    ex->reply.query = &ex->query;
    ex->reply.id = ex->request_id;
    ex->reply.created_s = (uint64_t)time(NULL);
    if (!read_lane(ex) || !resolve_model(ex) || !match_route(ex))
        return false;
    if (ex->query.loads) { /* backends load a model when they are asked; there is nothing to say */
        ex->reply.model = ex->query.model;
        hw_exchange_reply_answer(ex, &ex->answer);
        return false;
    }
    if (!rank_candidates(ex))
        return false;
    hw_admission_count_query(ex->loop->gateway->admission,
                             ex->plan->snapshot->limits.retry_percent);
    return true;
}
