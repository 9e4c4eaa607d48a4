/* router/catalog_lists.c - /v1/models, /api/tags, /api/ps: the catalogue as OpenAI's and Ollama's
 * clients list it. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "router/api/dialect.h"
#include "router/catalog.h"
#include "router/endpoints.h"
#include "router/version.h"

/* Ours: where it lives. */
static void
add_backends(cJSON *json, const struct hw_catalog_entry *entry)
{
    cJSON *where = cJSON_AddArrayToObject(json, "backends");

    for (size_t i = 0; i < entry->backend_count; i++)
        cJSON_AddItemToArray(where, cJSON_CreateString(entry->backends[i]->name));
}

/* ---- OpenAI ---- */

static cJSON *
openai_model(const struct hw_gateway *gateway, const struct hw_catalog_entry *entry)
{
    cJSON *model = cJSON_CreateObject();

    cJSON_AddStringToObject(model, "id", entry->name);
    cJSON_AddStringToObject(model, "object", "model");
    cJSON_AddNumberToObject(model, "created", (double)(gateway->started_ms / 1000));
    cJSON_AddStringToObject(model, "owned_by",
                            entry->backend_count > 0 ? entry->backends[0]->name : "hatchway");
    add_backends(model, entry);
    return model;
}

void
hw_catalog_models(struct hw_loop *loop, struct hw_http_stream *stream)
{
    struct hw_http_slice path = hw_http_stream_request(stream)->path;
    size_t prefix = strlen("/v1/models/");
    struct hw_catalog catalog;

    hw_catalog_collect(loop->plan, &catalog);
    if (path.len <= prefix) {
        cJSON *root = cJSON_CreateObject();
        cJSON_AddStringToObject(root, "object", "list");
        cJSON *list = cJSON_AddArrayToObject(root, "data");
        for (size_t i = 0; i < catalog.count; i++)
            cJSON_AddItemToArray(list, openai_model(loop->gateway, &catalog.entries[i]));
        hw_catalog_respond_json(stream, root);
    } else {
        const struct hw_catalog_entry *found =
            hw_catalog_find(&catalog, path.p + prefix, path.len - prefix);
        if (found != NULL)
            hw_catalog_respond_json(stream, openai_model(loop->gateway, found));
        else
            hw_catalog_respond_error(loop, stream, 404,
                                     "there is no such model; GET /v1/models lists them");
    }
    hw_catalog_release(&catalog);
}

/* ---- Ollama ---- */

/* The first local worker of an entry that has said what it runs. */
bool
hw_catalog_worker(struct hw_loop *loop, const struct hw_catalog_entry *entry,
                  struct hw_worker_info *info)
{
    for (size_t i = 0; i < entry->backend_count; i++) {
        const struct hw_conf_backend *backend = entry->backends[i];
        if (backend->kind == HW_KIND_BDH && backend->url == NULL &&
            hw_workers_info(loop->gateway->supervisor, backend->name, info) && info->known)
            return true;
    }
    return false;
}

bool
hw_catalog_is_bdh(const struct hw_catalog_entry *entry)
{
    return entry->backend_count > 0 && entry->backends[0]->kind == HW_KIND_BDH;
}

void
hw_catalog_add_time(cJSON *json, const char *name, uint64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm = {0};
    char text[40];

    gmtime_r(&seconds, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    cJSON_AddStringToObject(json, name, text);
}

/* What is not known of a model that runs elsewhere is empty, as Ollama leaves it. */
void
hw_catalog_add_details(cJSON *json, const struct hw_catalog_entry *entry,
                       const struct hw_worker_info *info)
{
    cJSON *details = cJSON_AddObjectToObject(json, "details");
    char size[32] = "";

    if (info != NULL)
        snprintf(size, sizeof(size), "%.1fM", (double)info->hello.param_count / 1e6);
    const struct hw_found_model *found = entry->found;
    const char *format = found != NULL ? found->format : info != NULL ? "safetensors" : "";
    cJSON_AddStringToObject(details, "parent_model", "");
    cJSON_AddStringToObject(details, "format", format);
    cJSON_AddStringToObject(details, "family",
                            found != NULL              ? found->family
                            : hw_catalog_is_bdh(entry) ? "bdh"
                                                       : "");
    cJSON_AddNullToObject(details, "families");
    cJSON_AddStringToObject(details, "parameter_size",
                            found != NULL ? found->parameter_size : size);
    cJSON_AddStringToObject(details, "quantization_level",
                            found != NULL ? found->quantization : "");
    add_backends(json, entry);
}

static cJSON *
ollama_model(struct hw_loop *loop, const struct hw_catalog_entry *entry)
{
    struct hw_worker_info info;
    bool known = hw_catalog_worker(loop, entry, &info);
    cJSON *model = cJSON_CreateObject();
    char digest[65] = "";

    for (size_t i = 0; known && i < sizeof(info.hello.digest); i++)
        snprintf(digest + 2 * i, 3, "%02x", info.hello.digest[i]);
    cJSON_AddStringToObject(model, "name", entry->name);
    cJSON_AddStringToObject(model, "model", entry->name);
    const struct hw_found_model *found = entry->found;
    if (found != NULL && found->modified[0] != '\0')
        cJSON_AddStringToObject(model, "modified_at", found->modified);
    else
        hw_catalog_add_time(model, "modified_at", loop->gateway->started_ms);
    cJSON_AddNumberToObject(model, "size", found != NULL ? (double)found->size : 0);
    cJSON_AddStringToObject(model, "digest", found != NULL ? found->digest : digest);
    hw_catalog_add_details(model, entry, known ? &info : NULL);
    return model;
}

void
hw_catalog_tags(struct hw_loop *loop, struct hw_http_stream *stream)
{
    cJSON *root = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(root, "models");
    struct hw_catalog catalog;

    hw_catalog_collect(loop->plan, &catalog);
    for (size_t i = 0; i < catalog.count; i++)
        cJSON_AddItemToArray(list, ollama_model(loop, &catalog.entries[i]));
    hw_catalog_release(&catalog);
    hw_catalog_respond_json(stream, root);
}

/* One of the found models that is loaded somewhere: as the first such backend tells. */
static void
add_loaded(struct hw_loop *loop, const struct hw_catalog *catalog,
           const struct hw_catalog_entry *entry, cJSON *list)
{
    for (size_t i = 0; i < catalog->view_count; i++) {
        const struct hw_found_model *model = hw_found_by_name(catalog->views[i].found, entry->name);
        if (model == NULL || !model->loaded)
            continue;
        cJSON *json = ollama_model(loop, entry);
        cJSON_AddStringToObject(json, "expires_at", model->expires);
        cJSON_AddNumberToObject(json, "size_vram", (double)model->size_vram);
        cJSON_AddNumberToObject(json, "context_length", model->context);
        cJSON_AddItemToArray(list, json);
        return;
    }
}

/* What is loaded: the models of local workers, which stay, and what backends tell. */
void
hw_catalog_ps(struct hw_loop *loop, struct hw_http_stream *stream)
{
    cJSON *root = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(root, "models");
    struct hw_worker_info info;
    struct hw_catalog catalog;

    hw_catalog_collect(loop->plan, &catalog);
    for (size_t i = 0; i < catalog.count; i++) {
        if (catalog.entries[i].loaded)
            add_loaded(loop, &catalog, &catalog.entries[i], list);
        if (!hw_catalog_worker(loop, &catalog.entries[i], &info) || info.up == 0)
            continue;
        cJSON *model = ollama_model(loop, &catalog.entries[i]);
        cJSON_AddStringToObject(model, "expires_at", "9999-12-31T23:59:59Z");
        cJSON_AddNumberToObject(model, "size_vram", 0);
        cJSON_AddItemToArray(list, model);
    }
    hw_catalog_release(&catalog);
    hw_catalog_respond_json(stream, root);
}

void
hw_catalog_version(struct hw_loop *loop, struct hw_http_stream *stream)
{
    static const char body[] = "{\"version\":\"" HW_VERSION "\"}";

    (void)loop;
    hw_catalog_respond(stream, 200, body, sizeof(body) - 1);
}
