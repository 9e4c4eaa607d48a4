/* router/endpoints.h - which path is answered by whom; and the operations' own answers. */
#ifndef HW_ROUTER_ENDPOINTS_H
#define HW_ROUTER_ENDPOINTS_H

#include "router/gateway.h"

/* The server's handler: every request of a loop comes through here. */
void hw_endpoints_handle(void *loop, struct hw_http_stream *stream);
/* Bodies for errors that the server answers itself, in the shape of the path's dialect. */
void hw_endpoints_error(void *loop, int status, const char *what, struct hw_http_slice path,
                        struct hw_buf *body, const char **content_type);

/* A backend could be sent a query now: a worker is up, or the breaker is not open. */
bool hw_endpoint_backend_up(struct hw_loop *loop, size_t backend);

/* count_tokens.c */
void hw_endpoint_count_tokens(struct hw_loop *loop, struct hw_http_stream *stream);

/* catalog_lists.c */
void hw_catalog_models(struct hw_loop *loop, struct hw_http_stream *stream);  /* /v1/models */
void hw_catalog_tags(struct hw_loop *loop, struct hw_http_stream *stream);    /* /api/tags */
void hw_catalog_ps(struct hw_loop *loop, struct hw_http_stream *stream);      /* /api/ps */
void hw_catalog_version(struct hw_loop *loop, struct hw_http_stream *stream); /* /api/version */

/* catalog_show.c */
void hw_catalog_show(struct hw_loop *loop, struct hw_http_stream *stream); /* /api/show */

/* manage.c */
void hw_manage(struct hw_loop *loop, struct hw_http_stream *stream); /* /api/pull ... */

/* operations.c */
void hw_operations_health(struct hw_loop *loop, struct hw_http_stream *stream);
void hw_operations_ready(struct hw_loop *loop, struct hw_http_stream *stream);
void hw_operations_metrics(struct hw_loop *loop, struct hw_http_stream *stream);
void hw_operations_backends(struct hw_loop *loop, struct hw_http_stream *stream);

/* reload.c */
void hw_operations_reload(struct hw_loop *loop, struct hw_http_stream *stream);

/* explain_endpoint.c */
void hw_operations_explain(struct hw_loop *loop, struct hw_http_stream *stream);

#endif
