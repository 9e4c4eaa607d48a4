/* router/catalog.h - which models can be asked for, as OpenAI's and Ollama's clients look for them.
 *
 * One list for all: auto, roles, aliases and backends' models, listed or found, each once, with the
 * backends where it lives. */
#ifndef HW_ROUTER_CATALOG_H
#define HW_ROUTER_CATALOG_H

#include <cjson/cJSON.h>

#include "router/gateway.h"

struct hw_catalog_entry {
    char name[256];
    const struct hw_conf_backend *backends[8]; /* none: the policy decides */
    size_t backend_count;
    const struct hw_found_model *found; /* as the first backend that tells has it, else NULL */
    bool loaded;                        /* somewhere */
};

struct hw_catalog {
    struct hw_catalog_entry *entries;
    size_t count;
    size_t view_count;
    struct hw_backend_view *views; /* hold what was found */
};

/* What the plan's backends have now. To be released. */
void hw_catalog_collect(const struct hw_plan *plan, struct hw_catalog *catalog);
void hw_catalog_release(struct hw_catalog *catalog);
/* By its name or as another spelling of it; NULL: there is none. */
const struct hw_catalog_entry *hw_catalog_find(const struct hw_catalog *catalog, const char *name,
                                               size_t len);

/* catalog_lists.c: what Ollama's dialect tells of a model. */
bool hw_catalog_is_bdh(const struct hw_catalog_entry *entry);
/* False: no local worker has it, or none has said hello. */
bool hw_catalog_worker(struct hw_loop *loop, const struct hw_catalog_entry *entry,
                       struct hw_worker_info *info);
/* info: NULL where there is none. */
void hw_catalog_add_details(cJSON *json, const struct hw_catalog_entry *entry,
                            const struct hw_worker_info *info);
void hw_catalog_add_time(cJSON *json, const char *name, uint64_t ms);

void hw_catalog_respond(struct hw_http_stream *stream, int status, const char *body, size_t len);
/* In the shape of the path's dialect. */
void hw_catalog_respond_error(struct hw_loop *loop, struct hw_http_stream *stream, int status,
                              const char *message);
/* Deletes json. */
void hw_catalog_respond_json(struct hw_http_stream *stream, cJSON *json);

#endif
