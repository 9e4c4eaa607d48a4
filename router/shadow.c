/* router/shadow.c - see shadow.h.
 *
 * The query that a copy follows may be over first, so it is read once more from the shared body,
 * into an arena of the copy's own: only those that are copied pay for that.
 *
 * Copies stand beside the admission: it does not see them, so that no query finds a backend full
 * for their sake. One is begun only where it fits beside the queries that run (on a device in the
 * part of background work), and gives way when a query takes that room: at once to one of its own
 * loop, to others at the next sweep. */
#include "router/shadow.h"

#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"
#include "policies/shadow.h"
#include "router/discover.h"
#include "router/exchange_private.h"
#include "router/health.h"
#include "router/loop.h"
#include "router/question.h"

/* An answer that does not end is cut off here, if it has not been by its time. */
#define OUTPUT_MAX_BYTES ((uint64_t)16 << 20)

struct hw_shadow {
    struct hw_shadow *next, *prev; /* loop->shadows */
    struct hw_loop *loop;
    struct hw_plan *plan;
    struct hw_plan_route *route; /* of the plan */
    const struct hw_conf_backend *conf;
    struct hw_arena arena;
    struct hw_query query;
    struct hw_attempt attempt;
    struct hw_room room;
    char request_id[129];
};

static void
count(struct hw_plan *plan, const char *route, const char *backend, const char *result)
{
    const char *labels[3] = {route, backend, result};
    hw_metric_add(hw_metric_child(plan->meters->shadows, labels), 1);
}

/* --- room ------------------------------------------------------------------------------------ */

static bool
fits_device(const struct hw_room *room, uint32_t copies)
{
    struct hw_device_view view;

    hw_device_view(room->device, &view);
    int share = hw_share_pick(room->device_conf, &view, HW_LANE_BACKGROUND, -1, room->idle);
    if (share >= 0)
        view.taken[share] += copies;
    view.inflight += copies;
    return share != HW_SHARE_NONE && hw_share_pick(room->device_conf, &view, HW_LANE_BACKGROUND, -1,
                                                   room->idle) != HW_SHARE_NONE;
}

static void
leave_room(const struct hw_room *room)
{
    atomic_fetch_sub(&room->backend->copies, 1);
    if (room->device != NULL)
        atomic_fetch_sub(&room->device->copies, 1);
}

static bool
take_room(const struct hw_room *room)
{
    uint32_t here = atomic_fetch_add(&room->backend->copies, 1) +
                    atomic_load_explicit(&room->backend->inflight, memory_order_relaxed);
    uint32_t copies = room->device != NULL ? atomic_fetch_add(&room->device->copies, 1) : 0;

    if ((room->limit == 0 || here < room->limit) &&
        (room->device == NULL || fits_device(room, copies)))
        return true;
    leave_room(room);
    return false;
}

/* Queries have come since that need the room. */
static bool
is_in_the_way(const struct hw_room *room)
{
    uint32_t here = atomic_load_explicit(&room->backend->inflight, memory_order_relaxed);
    uint32_t there = room->device != NULL
                         ? atomic_load_explicit(&room->device->inflight, memory_order_relaxed)
                         : 0;

    if (room->idle && here + there > 0)
        return true;
    if (room->limit != 0 && here + atomic_load(&room->backend->copies) > room->limit)
        return true;
    return room->device != NULL && room->device_conf->max_inflight != 0 &&
           there + atomic_load(&room->device->copies) > room->device_conf->max_inflight;
}

/* --- its end --------------------------------------------------------------------------------- */

static void
end(struct hw_shadow *shadow, const char *result, const char *why)
{
    struct hw_loop *loop = shadow->loop;

    if (hw_trace_on("shadow"))
        hw_trace("shadow", "%s copy to %s: %s %s", shadow->request_id, shadow->conf->name, result,
                 why);
    count(shadow->plan, shadow->route->label, shadow->conf->name, result);
    hw_attempt_cancel(&shadow->attempt);
    if (shadow->prev != NULL)
        shadow->prev->next = shadow->next;
    else
        loop->shadows = shadow->next;
    if (shadow->next != NULL)
        shadow->next->prev = shadow->prev;
    leave_room(&shadow->room);
    atomic_fetch_sub(&shadow->route->shadows, 1);
    hw_body_unref(shadow->query.body);
    hw_arena_free(&shadow->arena);
    hw_plan_unref(shadow->plan);
    free(shadow);
}

static void
on_raw(void *ctx, const char *bytes, size_t len)
{
    (void)ctx;
    (void)bytes;
    (void)len;
}

static void
on_event(void *ctx, const struct hw_event *event)
{
    (void)ctx;
    (void)event;
}

static void
observe(const struct hw_shadow *shadow)
{
    const struct hw_meters *meters = shadow->plan->meters;
    const struct hw_attempt *attempt = &shadow->attempt;
    const char *labels[2] = {shadow->route->label, shadow->conf->name};

    hw_histogram_observe_us(hw_histogram_child(meters->shadow_duration, labels),
                            (attempt->finished_ns - attempt->sent_ns) / 1000);
    if (attempt->first_ns > attempt->sent_ns)
        hw_histogram_observe_us(hw_histogram_child(meters->shadow_first, labels),
                                (attempt->first_ns - attempt->sent_ns) / 1000);
}

static void
on_end(void *ctx, const struct hw_attempt_end *how)
{
    struct hw_shadow *shadow = ctx;

    if (how->result == HW_ATTEMPT_OK)
        observe(shadow);
    end(shadow, hw_attempt_result_names[how->result], how->message);
}

static const struct hw_attempt_events events = {on_raw, on_event, on_end};

/* --- its beginning --------------------------------------------------------------------------- */

/* As the exchange has it, but in memory of our own. */
static bool
read_query(struct hw_shadow *shadow, const struct hw_query *query)
{
    const struct hw_conf_limits *limits = &shadow->plan->snapshot->limits;
    const struct hw_json_limits json = {limits->json_depth, limits->json_nodes};
    struct hw_err err;

    int rc = query->dialect->parse(query->body, &json, &shadow->arena, &shadow->query, &err);
    shadow->query.dialect = query->dialect;
    shadow->query.body = rc == 0 ? hw_body_ref(query->body) : NULL;
    return rc == 0;
}

/* Among the candidates as they are now the first with room, which is taken. False: there is none.
 */
static bool
choose(struct hw_exchange *ex, struct hw_candidate *out, struct hw_room *room)
{
    const struct hw_snapshot *snapshot = ex->plan->snapshot;
    size_t total = snapshot->backend_count;
    struct hw_backend_view *views = hw_xcalloc(total + 1, sizeof(*views));
    struct hw_device_view *devices = hw_xcalloc(snapshot->device_count + 1, sizeof(*devices));
    struct hw_candidate *candidates = hw_xcalloc(total + 1, sizeof(*candidates));
    bool chosen = false;

    struct hw_rank_input input = hw_exchange_rank_input(ex, views, devices);
    if (ex->route_conf->shadow.to.by == HW_BY_AFFINITY)
        input.conversation = hw_query_conversation(&ex->query, ex->agent);
    size_t found = hw_shadow_rank(&input, ex->current->backend, candidates);
    for (size_t i = 0; i < found && !chosen; i++) {
        *out = candidates[i];
        *room = hw_exchange_room(ex->plan, out);
        chosen = take_room(room);
    }
    /* A found model's name lives no longer than what was found. */
    if (chosen && out->model != NULL && views[out->backend].found != NULL)
        out->model = hw_arena_copy(&ex->arena, out->model, strlen(out->model));
    hw_discover_release(views, total);
    free(views);
    free(devices);
    free(candidates);
    return chosen;
}

static struct hw_shadow *
create(struct hw_exchange *ex, const struct hw_candidate *candidate, const struct hw_room *room)
{
    struct hw_shadow *shadow = hw_xcalloc(1, sizeof(*shadow));
    struct hw_loop *loop = ex->loop;

    shadow->loop = loop;
    shadow->plan = hw_plan_ref(ex->plan);
    shadow->route = &ex->plan->routes[ex->route];
    shadow->conf = &ex->plan->snapshot->backends[candidate->backend];
    shadow->room = *room;
    memcpy(shadow->request_id, ex->request_id, sizeof(shadow->request_id));
    hw_arena_init(&shadow->arena, ex->arena.max);
    shadow->next = loop->shadows;
    if (shadow->next != NULL)
        shadow->next->prev = shadow;
    loop->shadows = shadow;
    return shadow;
}

static void
send_copy(struct hw_exchange *ex, const struct hw_candidate *candidate, const struct hw_room *room)
{
    struct hw_shadow *shadow = create(ex, candidate, room);
    struct hw_attempt_request request = {
        .query = &shadow->query,
        .conf = shadow->conf,
        .model = hw_exchange_model(candidate, shadow->conf),
        .request_id = shadow->request_id,
        .traceparent = ex->traceparent[0] != '\0' ? ex->traceparent : NULL,
    };
    struct hw_attempt_end how;

    if (!read_query(shadow, &ex->query))
        end(shadow, "skipped", "no memory for it");
    else if (hw_attempt_start(&shadow->attempt, shadow->loop, &request, &events, shadow, &how) != 0)
        end(shadow, hw_attempt_result_names[how.result], how.message);
    else
        ex->shadow = shadow->conf->name;
}

void
hw_shadow_cast(struct hw_exchange *ex)
{
    const struct hw_conf_shadow *conf = &ex->route_conf->shadow;
    struct hw_plan_route *route = &ex->plan->routes[ex->route];
    struct hw_candidate candidate;
    struct hw_room room;

    if (ex->loop->draining || !hw_shadow_chosen(conf, hw_loop_dice(ex->loop)))
        return;
    if (atomic_fetch_add(&route->shadows, 1) >= conf->max_inflight ||
        !choose(ex, &candidate, &room)) {
        atomic_fetch_sub(&route->shadows, 1);
        count(ex->plan, route->label, "none", "skipped");
        return;
    }
    send_copy(ex, &candidate, &room);
}

/* --- while it runs --------------------------------------------------------------------------- */

void
hw_shadow_give_way(struct hw_loop *loop)
{
    struct hw_shadow *next;

    for (struct hw_shadow *shadow = loop->shadows; shadow != NULL; shadow = next) {
        next = shadow->next;
        if (is_in_the_way(&shadow->room))
            end(shadow, "yielded", "");
    }
}

void
hw_shadow_sweep(struct hw_loop *loop)
{
    uint64_t now_ns = uv_hrtime();
    struct hw_shadow *next;

    for (struct hw_shadow *shadow = loop->shadows; shadow != NULL; shadow = next) {
        uint64_t total_ns = (uint64_t)shadow->plan->snapshot->timeouts.total * 1000000u;
        uint64_t sent_ns = shadow->attempt.sent_ns;
        next = shadow->next;
        if (is_in_the_way(&shadow->room))
            end(shadow, "yielded", "");
        else if (now_ns > sent_ns && now_ns - sent_ns > total_ns)
            end(shadow, hw_attempt_result_names[HW_ATTEMPT_TIMEOUT], "its time was up");
        else if (shadow->attempt.output_bytes > OUTPUT_MAX_BYTES)
            end(shadow, hw_attempt_result_names[HW_ATTEMPT_BROKEN], "its answer does not end");
        else
            hw_attempt_sweep(&shadow->attempt, now_ns); /* may end it */
    }
}

void
hw_shadow_cancel_all(struct hw_loop *loop)
{
    while (loop->shadows != NULL)
        end(loop->shadows, hw_attempt_result_names[HW_ATTEMPT_CANCELLED], "");
}
