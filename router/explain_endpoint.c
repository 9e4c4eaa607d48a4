/* router/explain_endpoint.c - POST /hatchway/explain: `hatchway route`, with what this gateway has
 * measured and knows of its backends' health. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hatchway/assert.h"
#include "router/api/json.h"
#include "router/arena.h"
#include "router/discover.h"
#include "router/endpoints.h"
#include "router/explain.h"
#include "router/health.h"
#include "router/question.h"

static int
read_texts(const struct hw_json *root, struct hw_arena *arena, struct hw_question *question,
           struct hw_err *err)
{
    const struct {
        const char *key;
        const char **out;
    } fields[] = {
        {"query", &question->text},      {"model", &question->model}, {"role", &question->role},
        {"agent", &question->agent},     {"lane", &question->lane},   {"path", &question->path},
        {"dialect", &question->dialect}, {"at", &question->at},
    };
    struct hw_json value;
    size_t len;

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (!hw_json_get(root, fields[i].key, &value) || value.type == HW_JSON_NULL)
            continue;
        if (value.type != HW_JSON_STRING)
            return hw_err_set(err, HW_EINVAL, "'%s' must be a string", fields[i].key);
        int rc = hw_json_string(&value, arena, fields[i].out, &len, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* {"x-team": "desk"} */
static int
read_headers(const struct hw_json *object, struct hw_arena *arena, struct hw_question *question,
             struct hw_err *err)
{
    struct hw_json_iter iter;
    struct hw_json key, value;

    if (object->type != HW_JSON_OBJECT)
        return hw_err_set(err, HW_EINVAL, "'headers' must be an object: {\"x-team\": \"desk\"}");
    hw_json_iter_init(&iter, object);
    while (hw_json_next(&iter, &key, &value)) {
        const char *name, *text;
        size_t name_len, text_len;
        if (value.type != HW_JSON_STRING)
            return hw_err_set(err, HW_EINVAL, "a header's value must be a string");
        int rc = hw_json_string(&key, arena, &name, &name_len, err);
        if (rc == 0)
            rc = hw_json_string(&value, arena, &text, &text_len, err);
        if (rc == 0)
            rc = hw_question_add_header(question, name, text, arena, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int
read_tokens(const struct hw_json *root, struct hw_question *question, struct hw_err *err)
{
    struct hw_json value;
    uint64_t tokens;

    if (!hw_json_get(root, "tokens", &value))
        return 0;
    if (!hw_json_uint(&value, &tokens))
        return hw_err_set(err, HW_EINVAL, "'tokens' must be a whole number");
    question->tokens = tokens < UINT32_MAX ? (int64_t)tokens : UINT32_MAX;
    return 0;
}

static int
read_question(struct hw_loop *loop, const struct hw_body *body, struct hw_arena *arena,
              struct hw_question *question, struct hw_err *err)
{
    const struct hw_conf_limits *limits = &loop->plan->snapshot->limits;
    struct hw_json_limits json = {limits->json_depth, limits->json_nodes};
    struct hw_json root, value;

    *question = (struct hw_question){.tokens = -1, .now_s = (int64_t)time(NULL)};
    if (body == NULL || body->len == 0)
        return hw_err_set(err, HW_EINVAL, "the request has no body; send {\"query\": \"...\"}");
    int rc = hw_json_validate(body->bytes, body->len, &json, &root, err);
    if (rc != 0)
        return rc;
    if (root.type != HW_JSON_OBJECT)
        return hw_err_set(err, HW_EINVAL, "the body must be an object: {\"query\": \"...\"}");
    rc = read_texts(&root, arena, question, err);
    if (rc == 0 && hw_json_get(&root, "body", &value)) {
        question->body = value.p;
        question->body_len = value.len;
    }
    if (rc == 0 && (question->text == NULL) == (question->body == NULL))
        rc = hw_err_set(err, HW_EINVAL,
                        "send 'query', the text that an agent would ask, or 'body', its whole "
                        "request as an object");
    if (rc == 0 && hw_json_get(&root, "headers", &value))
        rc = read_headers(&value, arena, question, err);
    return rc == 0 ? read_tokens(&root, question, err) : rc;
}

/* What `out` means in detail the gateway knows better than the ranking. */
static void
add_health(struct hw_loop *loop, cJSON *json)
{
    const struct hw_snapshot *snapshot = loop->plan->snapshot;
    cJSON *item;

    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(json, "excluded"))
    {
        const char *name = cJSON_GetObjectItemCaseSensitive(item, "backend")->valuestring;
        int i = hw_snapshot_backend(snapshot, name, strlen(name));
        enum hw_out_reason reason;
        char why[256];
        if (i >= 0 && hw_health_out(loop, loop->plan, (size_t)i, &reason, why, sizeof(why)))
            cJSON_AddStringToObject(item, "health", why);
    }
}

static bool
was_found(void *plan, const char *model)
{
    int role;
    return hw_discover_resolve(plan, model, &role) != HW_MODEL_UNKNOWN;
}

static cJSON *
explain(struct hw_loop *loop, struct hw_question *question, struct hw_arena *arena,
        struct hw_err *err)
{
    struct hw_plan *plan = loop->plan;
    struct hw_decision decision = {.snapshot = plan->snapshot};
    size_t count = plan->snapshot->backend_count;

    struct hw_asked asked;

    question->knows = was_found;
    question->knows_ctx = plan;
    question->ratios = hw_backends_tokens(plan->registry);
    if (hw_question_read(plan->snapshot, question, arena, &asked, err) != 0)
        return NULL;
    decision.traits = asked.traits;
    decision.conversation = asked.conversation;
    struct hw_backend_view *views = hw_xcalloc(count + 1, sizeof(*views));
    struct hw_device_view *devices = hw_xcalloc(plan->snapshot->device_count + 1, sizeof(*devices));
    hw_health_views(loop, plan, views, devices);
    hw_discover_view(plan, views);
    decision.views = views;
    decision.devices = devices;
    decision.tokens = hw_backends_tokens(plan->registry);
    hw_decide(plan->taught.classifier, &decision);
    cJSON *json = hw_decision_json(&decision);
    add_health(loop, json);
    hw_decision_free(&decision);
    hw_discover_release(views, count);
    free(views);
    free(devices);
    return json;
}

void
hw_operations_explain(struct hw_loop *loop, struct hw_http_stream *stream)
{
    struct hw_http_field field = {"content-type", "application/json", 16};
    struct hw_question question;
    struct hw_arena arena;
    struct hw_err err = {{0}};
    cJSON *json = NULL;

    hw_arena_init(&arena, (size_t)loop->plan->snapshot->limits.body * 3 + (1u << 20));
    if (read_question(loop, hw_http_stream_request(stream)->body, &arena, &question, &err) == 0)
        json = explain(loop, &question, &arena, &err);
    int status = json != NULL ? 200 : 400;
    if (json == NULL) {
        json = cJSON_CreateObject();
        cJSON_AddStringToObject(json, "error", err.msg);
    }
    char *text = cJSON_PrintUnformatted(json);
    hw_http_respond(stream, status, &field, 1, text != NULL ? text : "{}",
                    text != NULL ? strlen(text) : 2);
    free(text);
    cJSON_Delete(json);
    hw_arena_free(&arena);
}
