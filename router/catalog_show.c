/* router/catalog_show.c - /api/show: what is known here of one model, and what only the backend
 * that has it can tell. */
#include <stdio.h>
#include <string.h>

#include "policies/rank.h"
#include "router/api/json.h"
#include "router/catalog.h"
#include "router/endpoints.h"
#include "router/passage.h"

static cJSON *
show(struct hw_loop *loop, const struct hw_catalog_entry *entry)
{
    struct hw_worker_info info;
    bool known = hw_catalog_worker(loop, entry, &info);
    cJSON *root = cJSON_CreateObject();

    cJSON_AddStringToObject(root, "modelfile", "");
    cJSON_AddStringToObject(root, "parameters", "");
    cJSON_AddStringToObject(root, "template", "");
    hw_catalog_add_details(root, entry, known ? &info : NULL);
    cJSON *facts = cJSON_AddObjectToObject(root, "model_info");
    if (hw_catalog_is_bdh(entry))
        cJSON_AddStringToObject(facts, "general.architecture", "bdh");
    if (known)
        cJSON_AddNumberToObject(facts, "general.parameter_count", (double)info.hello.param_count);
    bool embeds = entry->found != NULL && hw_found_embeds(entry->found);
    if (entry->found != NULL && entry->found->family[0] != '\0')
        cJSON_AddStringToObject(facts, "general.architecture", entry->found->family);
    cJSON *capabilities = cJSON_AddArrayToObject(root, "capabilities");
    cJSON_AddItemToArray(capabilities, cJSON_CreateString(embeds ? "embedding" : "completion"));
    if (!hw_catalog_is_bdh(entry) && !embeds)
        cJSON_AddItemToArray(capabilities, cJSON_CreateString("tools"));
    hw_catalog_add_time(root, "modified_at", loop->gateway->started_ms);
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
    struct hw_catalog catalog;
    struct hw_json root, more;
    struct hw_json_iter iter;
    struct hw_buf text;

    hw_catalog_collect(loop->plan, &catalog);
    const struct hw_catalog_entry *entry = hw_catalog_find(&catalog, end->note, strlen(end->note));
    if (entry == NULL) {
        hw_catalog_respond_error(loop, stream, 404,
                                 "this model has just gone; GET /api/tags lists them");
    } else if (end->status != 200 ||
               hw_json_validate(end->body->data, end->body->len, &limits, &root, NULL) != 0 ||
               root.type != HW_JSON_OBJECT) {
        hw_catalog_respond_json(stream, show(loop, entry));
    } else {
        hw_json_iter_init(&iter, &root);
        bool empty = !hw_json_next(&iter, NULL, &more);
        hw_buf_init(&text, root.len + 4096);
        hw_buf_puts(&text, "{\"backends\":[");
        for (size_t i = 0; i < entry->backend_count; i++)
            hw_buf_printf(&text, "%s\"%s\"", i > 0 ? "," : "", entry->backends[i]->name);
        hw_buf_puts(&text, empty ? "]" : "],");
        hw_buf_append(&text, root.p + 1, root.len - 1);
        hw_catalog_respond(stream, 200, text.data, text.len);
        hw_buf_free(&text);
    }
    hw_catalog_release(&catalog);
}

/* An Ollama that was found to have it, and is up, tells the rest (template, parameters, licence).
 * False: there is none. */
static bool
ask_to_show(struct hw_loop *loop, struct hw_http_stream *stream, const struct hw_catalog *catalog,
            const struct hw_catalog_entry *entry)
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
    struct hw_catalog catalog;
    char name[256], message[320];

    int rc = asked_name(loop, hw_http_stream_request(stream)->body, name, sizeof(name), &err);
    if (rc != 0) {
        hw_catalog_respond_error(loop, stream, rc == HW_ELIMIT ? 413 : 400, err.msg);
        return;
    }
    hw_catalog_collect(loop->plan, &catalog);
    const struct hw_catalog_entry *entry = hw_catalog_find(&catalog, name, strlen(name));
    if (entry == NULL) {
        snprintf(message, sizeof(message), "model '%s' not found; GET /api/tags lists them", name);
        hw_catalog_respond_error(loop, stream, 404, message);
    } else if (!ask_to_show(loop, stream, &catalog, entry)) {
        hw_catalog_respond_json(stream, show(loop, entry));
    }
    hw_catalog_release(&catalog);
}
