/* router/catalog.c - see catalog.h. */
#include "router/catalog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"
#include "policies/rank.h"
#include "router/discover.h"
#include "router/endpoints.h"

void
hw_catalog_respond(struct hw_http_stream *stream, int status, const char *body, size_t len)
{
    struct hw_http_field field = {"content-type", "application/json", 16};
    hw_http_respond(stream, status, &field, 1, body, len);
}

void
hw_catalog_respond_json(struct hw_http_stream *stream, cJSON *json)
{
    char *text = cJSON_PrintUnformatted(json);

    if (text != NULL)
        hw_catalog_respond(stream, 200, text, strlen(text));
    else
        hw_catalog_respond(stream, 503, "{}", 2);
    free(text);
    cJSON_Delete(json);
}

void
hw_catalog_respond_error(struct hw_loop *loop, struct hw_http_stream *stream, int status,
                         const char *message)
{
    struct hw_buf body;
    const char *type;

    hw_buf_init(&body, 4096);
    hw_endpoints_error(loop, status, message, hw_http_stream_request(stream)->path, &body, &type);
    hw_catalog_respond(stream, status, body.data, body.len);
    hw_buf_free(&body);
}

static void
add(struct hw_catalog *catalog, const char *name, const struct hw_conf_backend *backend,
    const struct hw_found_model *found)
{
    struct hw_catalog_entry *entry = catalog->entries;

    /* Backends spell one model's name in several ways. */
    while (
        entry < catalog->entries + catalog->count &&
        !(found != NULL ? hw_same_model_name(entry->name, name) : strcmp(entry->name, name) == 0))
        entry++;
    if (entry == catalog->entries + catalog->count) {
        catalog->count++;
        snprintf(entry->name, sizeof(entry->name), "%s", name);
    }
    if (backend != NULL &&
        entry->backend_count < sizeof(entry->backends) / sizeof(entry->backends[0]))
        entry->backends[entry->backend_count++] = backend;
    if (entry->found == NULL)
        entry->found = found;
    entry->loaded = entry->loaded || (found != NULL && found->loaded);
}

static void
add_backend(struct hw_catalog *catalog, const struct hw_conf_backend *backend,
            const struct hw_found *found)
{
    for (size_t j = 0; j < backend->models.count; j++) {
        const char *name = backend->models.items[j];
        add(catalog, name, backend, hw_found_by_name(found, name));
    }
    if (backend->models.count > 0)
        return;
    for (size_t j = 0; found != NULL && j < found->count; j++)
        add(catalog, found->models[j].name, backend, &found->models[j]);
    if (found == NULL) { /* a checkpoint is asked for by its file's stem */
        char name[128];
        bool told = hw_backend_model_name(backend, name, sizeof(name)) > 0;
        add(catalog, told ? name : backend->name, backend, NULL);
    }
}

void
hw_catalog_release(struct hw_catalog *catalog)
{
    hw_discover_release(catalog->views, catalog->view_count);
    free(catalog->views);
    free(catalog->entries);
}

void
hw_catalog_collect(const struct hw_plan *plan, struct hw_catalog *catalog)
{
    const struct hw_snapshot *snapshot = plan->snapshot;
    size_t most = 1 + snapshot->role_count + snapshot->alias_count;

    catalog->view_count = snapshot->backend_count;
    catalog->views = hw_xcalloc(snapshot->backend_count + 1, sizeof(*catalog->views));
    hw_discover_view(plan, catalog->views);
    for (size_t i = 0; i < snapshot->backend_count; i++) {
        const struct hw_found *found = catalog->views[i].found;
        most += snapshot->backends[i].models.count + 1 + (found != NULL ? found->count : 0);
    }
    catalog->entries = hw_xcalloc(most, sizeof(struct hw_catalog_entry));
    catalog->count = 0;
    add(catalog, "auto", NULL, NULL);
    for (size_t i = 0; i < snapshot->role_count; i++)
        add(catalog, snapshot->roles[i].name, NULL, NULL);
    for (size_t i = 0; i < snapshot->alias_count; i++)
        add(catalog, snapshot->aliases[i].name, NULL, NULL);
    for (size_t i = 0; i < snapshot->backend_count; i++)
        add_backend(catalog, &snapshot->backends[i], catalog->views[i].found);
}

const struct hw_catalog_entry *
hw_catalog_find(const struct hw_catalog *catalog, const char *name, size_t len)
{
    char text[256];

    if (len >= sizeof(text))
        return NULL;
    memcpy(text, name, len);
    text[len] = '\0';
    for (size_t i = 0; i < catalog->count; i++)
        if (strcmp(catalog->entries[i].name, text) == 0)
            return &catalog->entries[i];
    for (size_t i = 0; i < catalog->count; i++) /* Ollama's tools add ":latest" on their own */
        if (hw_same_model_name(catalog->entries[i].name, text))
            return &catalog->entries[i];
    return NULL;
}
