/* router/backend_call.h - a call to a backend beside queries: probes, looks at its models, what
 * operators ask of it. Its prefix and our credentials are put in here, in one place. */
#ifndef HW_ROUTER_BACKEND_CALL_H
#define HW_ROUTER_BACKEND_CALL_H

#include "config/snapshot.h"
#include "router/http/client.h"

struct hw_backend_call {
    const struct hw_conf_backend *conf;
    const char *method;
    const char *path;     /* behind the backend's own prefix */
    struct hw_body *body; /* JSON; NULL: none. A reference is taken */
    const char *text;     /* instead of body; copied. NULL: none */
    uint32_t connect_ms, first_byte_ms, idle_ms;
    uint64_t max_response_bytes;
};

/* As hw_client_send. */
int hw_backend_call_send(struct hw_client *client, const struct hw_backend_call *ask,
                         const struct hw_call_events *events, void *ctx, struct hw_call **out,
                         struct hw_err *err);

#endif
