/* router/discover.h - which models backends have, and which they have loaded.
 *
 * Loop 0 asks on its own: Ollama GET /api/tags and /api/ps, OpenAI (another Hatchway too) GET
 * /v1/models. What was found last stays until something else is found; a backend that does not
 * answer is the probes' business. Where `models` are listed in the configuration they stand, and
 * only what is loaded is learned. */
#ifndef HW_ROUTER_DISCOVER_H
#define HW_ROUTER_DISCOVER_H

#include "router/gateway.h"

struct hw_discover;

struct hw_discover *hw_discover_create(struct hw_loop *loop); /* loop 0 */
/* Asks those whose turn it is. */
void hw_discover_tick(struct hw_discover *discover);
/* Before the loop's client is closed. */
void hw_discover_destroy(struct hw_discover **discover);

/* Any loop. What a plan's backends were found to have is put into views, with a reference each that
 * hw_discover_release takes back. */
void hw_discover_view(const struct hw_plan *plan, struct hw_backend_view *views);
void hw_discover_release(struct hw_backend_view *views, size_t count);
/* hw_resolve_model, and where it knows of none what was found. */
enum hw_model_meaning hw_discover_resolve(const struct hw_plan *plan, const char *model, int *role);
/* Some backend that has to be asked for its models has not been, as when the gateway just began. */
bool hw_discover_is_early(const struct hw_plan *plan);
/* The nearest names of everything that could have been asked for, as a hint behind "there is no
 * such model; ". */
void hw_discover_suggest(const struct hw_plan *plan, const char *asked, char *out, size_t size);

#endif
