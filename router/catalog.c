/* router/catalog.c - which models can be asked for, as OpenAI's and Ollama's clients look for them.
 *
 * One list for all: auto, roles, aliases and backends' models, listed or found, each once, with the
 * backends where it lives. /api/show asks one of them for what only it knows. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hatchway/assert.h"
#include "policies/rank.h"
#include "router/discover.h"
#include "router/api/dialect.h"
#include "router/api/json.h"
#include "router/endpoints.h"
#include "router/passage.h"
#include "router/version.h"

struct entry {
    char name[256];
    const struct hw_conf_backend *backends[8]; /* none: the policy decides */
    size_t backend_count;
    const struct hw_found_model *found; /* as the first backend that tells has it, else NULL */
    bool loaded;                        /* somewhere */
};

struct catalog {
    struct entry *entries;
    size_t count;
    size_t view_count;
    struct hw_backend_view *views; /* hold what was found */
};

static void
respond(struct hw_http_stream *stream, int status, const char *body, size_t len)
{
    struct hw_http_field field = {"content-type", "application/json", 16};
    hw_http_respond(stream, status, &field, 1, body, len);
}

static void
respond_json(struct hw_http_stream *stream, cJSON *json)
{
    char *text = cJSON_PrintUnformatted(json);

    if (text != NULL)
        respond(stream, 200, text, strlen(text));
    else
        respond(stream, 503, "{}", 2);
    free(text);
    cJSON_Delete(json);
}

static void
respond_error(struct hw_loop *loop, struct hw_http_stream *stream, int status, const char *message)
{
    struct hw_buf body;
    const char *type;

    hw_buf_init(&body, 4096);
    hw_endpoints_error(loop, status, message, hw_http_stream_request(stream)->path, &body, &type);
    respond(stream, status, body.data, body.len);
    hw_buf_free(&body);
}

/* ---- the list ---- */

static void
add(struct catalog *catalog, const char *name, const struct hw_conf_backend *backend,
    const struct hw_found_model *found)
{
    struct entry *entry = catalog->entries;

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
add_backend(struct catalog *catalog, const struct hw_conf_backend *backend,
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

static void
release(struct catalog *catalog)
{
    hw_discover_release(catalog->views, catalog->view_count);
    free(catalog->views);
    free(catalog->entries);
}

static void
collect(const struct hw_plan *plan, struct catalog *catalog)
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
    catalog->entries = hw_xcalloc(most, sizeof(struct entry));
    catalog->count = 0;
    add(catalog, "auto", NULL, NULL);
    for (size_t i = 0; i < snapshot->role_count; i++)
        add(catalog, snapshot->roles[i].name, NULL, NULL);
    for (size_t i = 0; i < snapshot->alias_count; i++)
        add(catalog, snapshot->aliases[i].name, NULL, NULL);
    for (size_t i = 0; i < snapshot->backend_count; i++)
        add_backend(catalog, &snapshot->backends[i], catalog->views[i].found);
}

static const struct entry *
find(const struct catalog *catalog, const char *name, size_t len)
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

/* Ours: where it lives. */
static void
add_backends(cJSON *json, const struct entry *entry)
{
    cJSON *where = cJSON_AddArrayToObject(json, "backends");

    for (size_t i = 0; i < entry->backend_count; i++)
        cJSON_AddItemToArray(where, cJSON_CreateString(entry->backends[i]->name));
}

/* ---- OpenAI ---- */

static cJSON *
openai_model(const struct hw_gateway *gateway, const struct entry *entry)
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
    struct catalog catalog;

    collect(loop->plan, &catalog);
    if (path.len <= prefix) {
        cJSON *root = cJSON_CreateObject();
        cJSON_AddStringToObject(root, "object", "list");
        cJSON *list = cJSON_AddArrayToObject(root, "data");
        for (size_t i = 0; i < catalog.count; i++)
            cJSON_AddItemToArray(list, openai_model(loop->gateway, &catalog.entries[i]));
        respond_json(stream, root);
    } else {
        const struct entry *found = find(&catalog, path.p + prefix, path.len - prefix);
        if (found != NULL)
            respond_json(stream, openai_model(loop->gateway, found));
        else
            respond_error(loop, stream, 404, "there is no such model; GET /v1/models lists them");
    }
    release(&catalog);
}

/* ---- Ollama ---- */

/* The first local worker of an entry that has said what it runs. */
static bool
worker_of(struct hw_loop *loop, const struct entry *entry, struct hw_worker_info *info)
{
    for (size_t i = 0; i < entry->backend_count; i++) {
        const struct hw_conf_backend *backend = entry->backends[i];
        if (backend->kind == HW_KIND_BDH && backend->url == NULL &&
            hw_workers_info(loop->gateway->supervisor, backend->name, info) && info->known)
            return true;
    }
    return false;
}

static bool
is_bdh(const struct entry *entry)
{
    return entry->backend_count > 0 && entry->backends[0]->kind == HW_KIND_BDH;
}

static void
add_time(cJSON *json, const char *name, uint64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm = {0};
    char text[40];

    gmtime_r(&seconds, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    cJSON_AddStringToObject(json, name, text);
}

/* What is not known of a model that runs elsewhere is empty, as Ollama leaves it. */
static void
add_details(cJSON *json, const struct entry *entry, const struct hw_worker_info *info)
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
                            found != NULL   ? found->family
                            : is_bdh(entry) ? "bdh"
                                            : "");
    cJSON_AddNullToObject(details, "families");
    cJSON_AddStringToObject(details, "parameter_size",
                            found != NULL ? found->parameter_size : size);
    cJSON_AddStringToObject(details, "quantization_level",
                            found != NULL ? found->quantization : "");
    add_backends(json, entry);
}

static cJSON *
ollama_model(struct hw_loop *loop, const struct entry *entry)
{
    struct hw_worker_info info;
    bool known = worker_of(loop, entry, &info);
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
        add_time(model, "modified_at", loop->gateway->started_ms);
    cJSON_AddNumberToObject(model, "size", found != NULL ? (double)found->size : 0);
    cJSON_AddStringToObject(model, "digest", found != NULL ? found->digest : digest);
    add_details(model, entry, known ? &info : NULL);
    return model;
}

void
hw_catalog_tags(struct hw_loop *loop, struct hw_http_stream *stream)
{
    cJSON *root = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(root, "models");
    struct catalog catalog;

    collect(loop->plan, &catalog);
    for (size_t i = 0; i < catalog.count; i++)
        cJSON_AddItemToArray(list, ollama_model(loop, &catalog.entries[i]));
    release(&catalog);
    respond_json(stream, root);
}

/* One of the found models that is loaded somewhere: as the first such backend tells. */
static void
add_loaded(struct hw_loop *loop, const struct catalog *catalog, const struct entry *entry,
           cJSON *list)
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
    struct catalog catalog;

    collect(loop->plan, &catalog);
    for (size_t i = 0; i < catalog.count; i++) {
        if (catalog.entries[i].loaded)
            add_loaded(loop, &catalog, &catalog.entries[i], list);
        if (!worker_of(loop, &catalog.entries[i], &info) || info.up == 0)
            continue;
        cJSON *model = ollama_model(loop, &catalog.entries[i]);
        cJSON_AddStringToObject(model, "expires_at", "9999-12-31T23:59:59Z");
        cJSON_AddNumberToObject(model, "size_vram", 0);
        cJSON_AddItemToArray(list, model);
    }
    release(&catalog);
    respond_json(stream, root);
}

static cJSON *
show(struct hw_loop *loop, const struct entry *entry)
{
    struct hw_worker_info info;
    bool known = worker_of(loop, entry, &info);
    cJSON *root = cJSON_CreateObject();

    cJSON_AddStringToObject(root, "modelfile", "");
    cJSON_AddStringToObject(root, "parameters", "");
    cJSON_AddStringToObject(root, "template", "");
    add_details(root, entry, known ? &info : NULL);
    cJSON *facts = cJSON_AddObjectToObject(root, "model_info");
    if (is_bdh(entry))
        cJSON_AddStringToObject(facts, "general.architecture", "bdh");
    if (known)
        cJSON_AddNumberToObject(facts, "general.parameter_count", (double)info.hello.param_count);
    bool embeds = entry->found != NULL && hw_found_embeds(entry->found);
    if (entry->found != NULL && entry->found->family[0] != '\0')
        cJSON_AddStringToObject(facts, "general.architecture", entry->found->family);
    cJSON *capabilities = cJSON_AddArrayToObject(root, "capabilities");
    cJSON_AddItemToArray(capabilities, cJSON_CreateString(embeds ? "embedding" : "completion"));
    if (!is_bdh(entry) && !embeds)
        cJSON_AddItemToArray(capabilities, cJSON_CreateString("tools"));
    add_time(root, "modified_at", loop->gateway->started_ms);
    return root;
}

/* The name that a body asks for, decoded into out; HW_EINVAL with what is wrong with it. */
static int
asked_name(struct hw_loop *loop, const struct hw_body *body, char *out, size_t size,
           struct hw_err *err)
{
    const struct hw_conf_limits *limits = &loop->plan->snapshot->limits;
    struct hw_json_limits json = {limits->json_depth, limits->json_nodes};
    struct hw_json root, name;

    if (body == NULL || body->len == 0)
        return hw_err_set(err, HW_EINVAL, "the request has no body; send a JSON object");
    int rc = hw_json_validate(body->bytes, body->len, &json, &root, err);
    if (rc != 0)
        return rc;
    if (root.type != HW_JSON_OBJECT ||
        !(hw_json_get(&root, "model", &name) || hw_json_get(&root, "name", &name)) ||
        name.type != HW_JSON_STRING || name.len >= size)
        return hw_err_set(err, HW_EINVAL, "model must name a model that GET /api/tags lists");
    out[hw_json_decode(&name, out)] = '\0';
    return 0;
}

/* What the backend said, with where the model lives put before it; or what we know ourselves. */
static void
on_shown(struct hw_loop *loop, struct hw_http_stream *stream, const struct hw_passage_end *end)
{
    static const struct hw_json_limits limits = {.depth = 64, .nodes = 500000};
    struct catalog catalog;
    struct hw_json root, more;
    struct hw_json_iter iter;
    struct hw_buf text;

    collect(loop->plan, &catalog);
    const struct entry *entry = find(&catalog, end->note, strlen(end->note));
    if (entry == NULL) {
        respond_error(loop, stream, 404, "this model has just gone; GET /api/tags lists them");
    } else if (end->status != 200 ||
               hw_json_validate(end->body->data, end->body->len, &limits, &root, NULL) != 0 ||
               root.type != HW_JSON_OBJECT) {
        respond_json(stream, show(loop, entry));
    } else {
        hw_json_iter_init(&iter, &root);
        bool empty = !hw_json_next(&iter, NULL, &more);
        hw_buf_init(&text, root.len + 4096);
        hw_buf_puts(&text, "{\"backends\":[");
        for (size_t i = 0; i < entry->backend_count; i++)
            hw_buf_printf(&text, "%s\"%s\"", i > 0 ? "," : "", entry->backends[i]->name);
        hw_buf_puts(&text, empty ? "]" : "],");
        hw_buf_append(&text, root.p + 1, root.len - 1);
        respond(stream, 200, text.data, text.len);
        hw_buf_free(&text);
    }
    release(&catalog);
}

/* An Ollama that was found to have it, and is up, tells the rest (template, parameters, licence).
 * False: there is none. */
static bool
ask_to_show(struct hw_loop *loop, struct hw_http_stream *stream, const struct catalog *catalog,
            const struct entry *entry)
{
    const struct hw_snapshot *snapshot = loop->plan->snapshot;
    uint32_t timeout_ms = snapshot->discover.timeout;

    for (size_t i = 0; i < snapshot->backend_count; i++) {
        const struct hw_conf_backend *conf = &snapshot->backends[i];
        const struct hw_found_model *model = hw_found_by_name(catalog->views[i].found, entry->name);
        if (model == NULL || conf->kind != HW_KIND_OLLAMA || !hw_endpoint_backend_up(loop, i))
            continue;
        struct hw_passage passage = {.call = {.conf = conf,
                                              .method = "POST",
                                              .path = "/api/show",
                                              .connect_ms = timeout_ms,
                                              .first_byte_ms = timeout_ms,
                                              .idle_ms = timeout_ms},
                                     .whole = on_shown};
        struct hw_buf text;
        hw_buf_init(&text, 4096);
        hw_buf_puts(&text, "{\"model\":");
        hw_json_write_string(&text, model->name, strlen(model->name));
        hw_buf_puts(&text, "}");
        passage.call.text = text.data;
        snprintf(passage.note, sizeof(passage.note), "%s", entry->name);
        hw_passage_begin(loop, stream, &passage);
        hw_buf_free(&text);
        return true;
    }
    return false;
}

void
hw_catalog_show(struct hw_loop *loop, struct hw_http_stream *stream)
{
    struct hw_err err = {{0}};
    struct catalog catalog;
    char name[256], message[320];

    int rc = asked_name(loop, hw_http_stream_request(stream)->body, name, sizeof(name), &err);
    if (rc != 0) {
        respond_error(loop, stream, rc == HW_ELIMIT ? 413 : 400, err.msg);
        return;
    }
    collect(loop->plan, &catalog);
    const struct entry *entry = find(&catalog, name, strlen(name));
    if (entry == NULL) {
        snprintf(message, sizeof(message), "model '%s' not found; GET /api/tags lists them", name);
        respond_error(loop, stream, 404, message);
    } else if (!ask_to_show(loop, stream, &catalog, entry)) {
        respond_json(stream, show(loop, entry));
    }
    release(&catalog);
}

void
hw_catalog_version(struct hw_loop *loop, struct hw_http_stream *stream)
{
    static const char body[] = "{\"version\":\"" HW_VERSION "\"}";

    (void)loop;
    respond(stream, 200, body, sizeof(body) - 1);
}
