/* router/auth.h - who asks: API keys (kept as SHA-256 only) and the operations' door. */
#ifndef HW_ROUTER_AUTH_H
#define HW_ROUTER_AUTH_H

#include <stdbool.h>

#include "config/snapshot.h"
#include "router/http/server.h"

/* `Authorization: Bearer KEY` or `x-api-key: KEY`. Returns true when the query may go on; *agent is
 * the agent's index, or -1 where the configuration names none (then everybody may ask). */
bool hw_auth_agent(const struct hw_snapshot *snapshot, const struct hw_http_request *request,
                   int *agent);
/* What a refused agent is told: whether a key came, never how near it was. */
const char *hw_auth_complaint(const struct hw_http_request *request);
/* /hatchway/...: from loopback and not sent by a web page of another origin, or with the admin key.
 */
bool hw_auth_operator(const struct hw_snapshot *snapshot, const struct hw_http_request *request);

#endif
