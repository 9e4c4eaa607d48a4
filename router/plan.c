/* router/plan.c - see plan.h. */
#include "router/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"
#include "policies/digest.h"

/* Bounded label values: statuses that Hatchway gives or passes on; any other counts as "other". */
static const int codes[HW_PLAN_CODES - 1] = {200, 400, 401, 403, 404, 405, 408, 409, 413,
                                             415, 422, 429, 499, 500, 502, 503, 504};
static const char *const dialects[HW_PLAN_DIALECTS] = {"openai", "ollama", "anthropic", "bdh"};

int
hw_plan_teach(const struct hw_snapshot *snapshot, struct hw_taught *out, struct hw_err *err)
{
    *out = (struct hw_taught){.classifier = NULL};
    if (snapshot->decisions.file != NULL) {
        out->keywords_digest = hw_keywords_digest(snapshot);
        out->learned_digest = hw_learned_digest(snapshot);
    }
    return hw_classifier_create(snapshot, &out->classifier, err);
}

void
hw_taught_free(struct hw_taught *taught)
{
    hw_classifier_destroy(&taught->classifier);
}

struct hw_plan *
hw_plan_create(struct hw_snapshot *snapshot, struct hw_taught *taught, struct hw_backends *registry,
               struct hw_meters *meters)
{
    struct hw_plan *plan = hw_xcalloc(1, sizeof(*plan));
    atomic_init(&plan->refs, 1);
    plan->snapshot = snapshot;
    plan->taught = *taught;
    *taught = (struct hw_taught){.classifier = NULL};
    plan->registry = registry;
    plan->meters = meters;
    plan->backends = hw_xcalloc(snapshot->backend_count + 1, sizeof(struct hw_backend *));
    for (size_t i = 0; i < snapshot->backend_count; i++)
        plan->backends[i] = hw_backends_get(registry, &snapshot->backends[i]);
    plan->devices = hw_xcalloc(snapshot->device_count + 1, sizeof(struct hw_shared_device *));
    for (size_t i = 0; i < snapshot->device_count; i++)
        plan->devices[i] = hw_backends_device(registry, &snapshot->devices[i]);
    plan->routes = hw_xcalloc(snapshot->route_count + 1, sizeof(struct hw_plan_route));
    for (size_t i = 0; i <= snapshot->route_count; i++) {
        const char *label = i < snapshot->route_count ? snapshot->routes[i].name : "none";
        plan->routes[i].label = label;
        plan->routes[i].duration = hw_histogram_child(meters->duration, &label);
    }
    plan->roles = hw_xcalloc(snapshot->role_count + 1, sizeof(struct hw_metric *));
    for (size_t i = 0; i <= snapshot->role_count; i++) {
        const char *label = i < snapshot->role_count ? snapshot->roles[i].name : "none";
        plan->roles[i] = hw_metric_child(meters->classified, &label);
    }
    return plan;
}

struct hw_plan *
hw_plan_ref(struct hw_plan *plan)
{
    atomic_fetch_add_explicit(&plan->refs, 1, memory_order_relaxed);
    return plan;
}

void
hw_plan_unref(struct hw_plan *plan)
{
    if (plan == NULL)
        return;
    unsigned before = atomic_fetch_sub_explicit(&plan->refs, 1, memory_order_acq_rel);
    HW_ASSERT(before > 0);
    if (before > 1)
        return;
    for (size_t i = 0; i < plan->snapshot->backend_count; i++)
        hw_backend_unref(plan->registry, plan->backends[i]);
    for (size_t i = 0; i < plan->snapshot->device_count; i++)
        hw_device_unref(plan->registry, plan->devices[i]);
    hw_taught_free(&plan->taught);
    hw_snapshot_unref(plan->snapshot);
    free(plan->backends);
    free(plan->devices);
    free(plan->routes);
    free(plan->roles);
    free(plan);
}

static size_t
code_slot(int status)
{
    size_t i = 0;
    while (i < HW_PLAN_CODES - 1 && codes[i] != status)
        i++;
    return i;
}

static struct hw_metric *
make_request_child(struct hw_plan *plan, const char *dialect, const char *route, size_t code)
{
    char text[8] = "other";
    if (code < HW_PLAN_CODES - 1)
        snprintf(text, sizeof(text), "%d", codes[code]);
    const char *labels[3] = {dialect, route, text};
    return hw_metric_child(plan->meters->requests, labels);
}

void
hw_plan_count_request(struct hw_plan *plan, const char *dialect, int route, int status,
                      uint64_t duration_us)
{
    size_t d = 0;
    size_t r = route >= 0 ? (size_t)route : plan->snapshot->route_count;
    size_t c = code_slot(status);
    while (d < HW_PLAN_DIALECTS - 1 && strcmp(dialect, dialects[d]) != 0)
        d++;
    struct hw_plan_route *counters = &plan->routes[r];
    struct hw_metric *metric =
        atomic_load_explicit(&counters->requests[d][c], memory_order_acquire);

    if (metric == NULL) { /* two loops may both make it: the registry gives both the same child */
        metric = make_request_child(plan, dialects[d], counters->label, c);
        atomic_store_explicit(&counters->requests[d][c], metric, memory_order_release);
    }
    hw_metric_add(metric, 1);
    hw_histogram_observe_us(counters->duration, duration_us);
}

void
hw_plan_count_role(struct hw_plan *plan, int role)
{
    size_t i = role >= 0 ? (size_t)role : plan->snapshot->role_count;
    hw_metric_add(plan->roles[i], 1);
}
