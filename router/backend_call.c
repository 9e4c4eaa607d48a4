/* router/backend_call.c - see backend_call.h. */
#include "router/backend_call.h"

#include <stdio.h>
#include <string.h>

int
hw_backend_call_send(struct hw_client *client, const struct hw_backend_call *ask,
                     const struct hw_call_events *events, void *ctx, struct hw_call **out,
                     struct hw_err *err)
{
    const struct hw_conf_backend *conf = ask->conf;
    char path[512], bearer[1024];
    struct hw_http_field fields[2];
    size_t n = 0;

    snprintf(path, sizeof(path), "%s%s", conf->path, ask->path);
    if (ask->body != NULL || ask->text != NULL)
        fields[n++] = (struct hw_http_field){"content-type", "application/json", 16};
    if (conf->api_key != NULL) {
        int len = snprintf(bearer, sizeof(bearer), "Bearer %s", conf->api_key);
        fields[n++] = (struct hw_http_field){"authorization", bearer, (size_t)len};
    }
    struct hw_call_request request = {
        .https = conf->https,
        .host = conf->host,
        .port = conf->port,
        .method = ask->method,
        .path = path,
        .fields = fields,
        .field_count = n,
        .body = ask->body,
        .connect_ms = ask->connect_ms,
        .first_byte_ms = ask->first_byte_ms,
        .idle_ms = ask->idle_ms,
        .max_response_bytes = ask->max_response_bytes,
    };
    if (ask->body != NULL)
        request.segments[request.segment_count++] =
            (struct hw_call_segment){ask->body->bytes, ask->body->len};
    else if (ask->text != NULL)
        request.segments[request.segment_count++] =
            (struct hw_call_segment){ask->text, strlen(ask->text)};
    int rc = hw_client_send(client, &request, events, ctx, out, err);
    if (conf->api_key != NULL)
        explicit_bzero(bearer, sizeof(bearer));
    return rc;
}
