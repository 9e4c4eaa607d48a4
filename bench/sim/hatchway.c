/* bench/sim/hatchway.c - the gateway's own decisions: its policy code, and around it what the
 * router does with it: slots, the queue of waiting queries, breakers, probes, learning from
 * answers. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/sim/sim.h"
#include "config/load.h"
#include "hatchway/assert.h"
#include "hatchway/buf.h"
#include "policies/breaker.h"
#include "policies/rank.h"
#include "policies/route.h"
#include "policies/stats.h"

#define PROBES_FAILED 2 /* in a row, and it is down */

struct hatchway {
    struct hw_snapshot *snapshot;
    struct hw_speed speeds[SIM_PLACES_MAX];
    struct hw_breaker breakers[SIM_PLACES_MAX];
    double taught_ms[SIM_PLACES_MAX]; /* below 0: never */
    uint32_t probes_failed[SIM_PLACES_MAX];
    uint64_t back_ms[SIM_PLACES_MAX]; /* when a probe last brought it back; 0: never */
};

static void
write_policy(const struct sim *sim, struct hw_buf *yaml)
{
    hw_buf_printf(yaml, "backends:\n");
    for (size_t p = 0; p < sim->place_count; p++) {
        const struct sim_place *place = &sim->places[p];
        hw_buf_printf(yaml, "- { name: %s, kind: %s, url: \"http://127.0.0.1:%zu\", device: %s, ",
                      place->name, hw_kind_names[place->kind], 10000 + p,
                      hw_device_names[place->device]);
        if (place->model != NULL)
            hw_buf_printf(yaml, "models: [\"%s\"], ", place->model);
        if (place->backup)
            hw_buf_printf(yaml, "quality: -1, ");
        if (place->role != NULL)
            hw_buf_printf(yaml, "roles: [%s], ", place->role);
        hw_buf_printf(yaml, "general: %s, max_inflight: %u }\n",
                      place->role == NULL ? "true" : "false", place->slots);
    }
    hw_buf_printf(yaml, "%s",
                  sim->policy != NULL ? sim->policy
                                      : "routes:\n- { name: default, to: { by: latency } }\n");
}

static void *
create(struct sim *sim)
{
    struct hatchway *own = hw_xcalloc(1, sizeof(*own));
    struct hw_diags diags = {0};
    struct hw_buf yaml;

    hw_buf_init(&yaml, 1u << 16);
    write_policy(sim, &yaml);
    if (hw_config_parse("fleet.yaml", yaml.data, yaml.len, &own->snapshot, &diags) != 0) {
        fprintf(stderr, "simulate: the fleet's policy:%u: %s\n", diags.items[0].line,
                diags.items[0].msg);
        exit(1);
    }
    hw_diags_free(&diags);
    hw_buf_free(&yaml);
    for (size_t p = 0; p < sim->place_count; p++) {
        struct hw_backend_view prior = {0};
        hw_rank_prior(&own->snapshot->backends[p], &prior);
        hw_speed_init(&own->speeds[p], &prior);
        hw_breaker_init(&own->breakers[p]);
        own->taught_ms[p] = -1;
    }
    return own;
}

static void
destroy(void *pointer)
{
    struct hatchway *own = pointer;

    hw_snapshot_unref(own->snapshot);
    free(own);
}

static void
view(struct sim *sim, struct hatchway *own, size_t p, struct hw_backend_view *out)
{
    *out = (struct hw_backend_view){
        .up = own->probes_failed[p] < PROBES_FAILED,
        .breaker = hw_breaker_state(&own->breakers[p], (uint64_t)sim->now_ms),
        .inflight = sim->states[p].inflight,
        .ttft_ms = own->speeds[p].ttft_ms,
        .prefill_bytes_s = own->speeds[p].prefill_bytes_s,
        .decode_bytes_s = own->speeds[p].decode_bytes_s,
        .service_ms = own->speeds[p].service_ms,
        .answer_bytes = own->speeds[p].answer_bytes,
        .waiting = sim->states[p].waiting,
    };
    uint64_t back_ms =
        own->breakers[p].closed_ms > own->back_ms[p] ? own->breakers[p].closed_ms : own->back_ms[p];
    if (back_ms != 0) /* its slow start */
        out->recovered_ms = (uint64_t)sim->now_ms - back_ms + 1;
    if (own->taught_ms[p] >= 0)
        out->silent_ms = (uint64_t)(sim->now_ms - own->taught_ms[p]);
}

static int
choose(struct sim *sim, struct sim_query *query)
{
    struct hatchway *own = sim->own;
    struct hw_backend_view views[SIM_PLACES_MAX];
    struct hw_candidate candidates[SIM_PLACES_MAX];
    struct hw_traits traits = {
        .dialect = "openai",
        .model = "auto",
        .prompt_bytes = query->prompt_bytes,
        .prompt_tokens = hw_estimate_tokens(query->prompt_bytes),
        .asked_role = query->role,
        .role = query->role,
        .now_s = 1785585600 + (int64_t)(sim->now_ms / 1000),
    };

    for (size_t p = 0; p < sim->place_count; p++)
        view(sim, own, p, &views[p]);
    int route = hw_route_match(own->snapshot, &traits);
    HW_ASSERT(route >= 0);
    struct hw_rank_input input = {
        .snapshot = own->snapshot,
        .route = &own->snapshot->routes[route],
        .traits = &traits,
        .views = views,
        .dice = sim_dice_next(&sim->dice) | 1,
    };
    size_t count = hw_rank(&input, candidates);
    query->wait_for = 0;
    bool waits = false; /* for those worth it; else for all that are full */
    for (size_t i = 0; i < count; i++) {
        uint32_t p = candidates[i].backend;
        if ((query->avoid >> p & 1) != 0)
            continue;
        if (waits && !candidates[i].wait)
            break;
        waits = candidates[i].wait;
        if (candidates[i].full)
            query->wait_for |= 1u << p;
        else if (hw_breaker_take(&own->breakers[p], (uint64_t)sim->now_ms))
            return (int)p;
    }
    HW_ASSERT(query->wait_for != 0);
    return SIM_WAIT;
}

static void
ended(struct sim *sim, size_t p, const struct sim_query *query, bool ok, double first_ms,
      double total_ms)
{
    struct hatchway *own = sim->own;
    struct hw_speed_sample sample = {
        .prompt_bytes = query->prompt_bytes,
        .ttft_us = (uint64_t)(first_ms * 1000),
        .output_bytes = query->output_bytes,
        .decode_us = (uint64_t)((total_ms - first_ms) * 1000),
    };

    hw_breaker_result(&own->breakers[p], ok, (uint64_t)sim->now_ms);
    if (!ok)
        return;
    hw_speed_learn(&own->speeds[p], &sample);
    own->taught_ms[p] = sim->now_ms;
}

static void
probed(struct sim *sim, size_t p, bool well)
{
    struct hatchway *own = sim->own;

    if (well && own->probes_failed[p] >= PROBES_FAILED) {
        hw_breaker_hurry(&own->breakers[p], (uint64_t)sim->now_ms);
        own->back_ms[p] = (uint64_t)sim->now_ms;
    }
    own->probes_failed[p] = well ? 0 : own->probes_failed[p] + 1;
}

const struct sim_chooser sim_hatchway = {"hatchway", create, destroy, choose, ended, probed};
