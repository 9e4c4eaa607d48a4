/* router/health.h - who could be asked now, and why not.
 *
 * Two sources: what queries met (the breaker, router/backend.h), and probes, which loop 0 sends on
 * its own: Ollama GET /api/version, OpenAI GET /v1/models, a BDH node only has to accept a
 * connection (it may be busy with an answer). Probes take no slot, teach no speed and are counted
 * apart: they are never load. A local worker needs none, its supervisor knows. */
#ifndef HW_ROUTER_HEALTH_H
#define HW_ROUTER_HEALTH_H

#include "router/gateway.h"

struct hw_health;

struct hw_health *hw_health_create(struct hw_loop *loop); /* loop 0 */
/* Sends the probes that are due. */
void hw_health_tick(struct hw_health *health);
/* Before the loop's client is closed: no probe is left. */
void hw_health_destroy(struct hw_health **health);

/* Any loop: what is known of a plan's backends and devices now, as ranking wants it. */
void hw_health_views(struct hw_loop *loop, const struct hw_plan *plan,
                     struct hw_backend_view *views, struct hw_device_view *devices);

enum hw_out_reason {
    HW_OUT_REASON_WORKER,
    HW_OUT_REASON_PROBE,
    HW_OUT_REASON_BREAKER,
    HW_OUT_REASON_COUNT
};
extern const char *const hw_out_reason_names[HW_OUT_REASON_COUNT];
/* Why no query would be sent there now, in words; false: nothing stands against it. */
bool hw_health_out(struct hw_loop *loop, const struct hw_plan *plan, size_t i,
                   enum hw_out_reason *reason, char *why, size_t size);

#endif
