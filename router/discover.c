/* router/discover.c - see discover.h. A look keeps the plan it began with, as a probe does. Ollama
 * is looked at in two steps, what it has and what of that it has loaded; the second may fail alone.
 */
#include "router/discover.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/load.h"
#include "hatchway/assert.h"
#include "router/api/model_list.h"
#include "router/backend_call.h"
#include "router/loop.h"

enum { MAX_LIST_BYTES = 2 << 20, MAX_LOOKS = 32 };

struct look {
    struct look *next, *prev;
    struct hw_discover *discover;
    struct hw_plan *plan;
    size_t backend;
    struct hw_call *call;
    int status; /* 0: no head yet */
    struct hw_buf body;
    struct hw_found *found; /* after the first step */
};

struct hw_discover {
    struct hw_loop *loop;
    struct look *looks; /* those under way */
    size_t count;
};

static void
free_look(struct look *look)
{
    struct hw_discover *discover = look->discover;

    if (look->prev != NULL)
        look->prev->next = look->next;
    else
        discover->looks = look->next;
    if (look->next != NULL)
        look->next->prev = look->prev;
    discover->count--;
    hw_buf_free(&look->body);
    hw_found_unref(look->found);
    hw_plan_unref(look->plan);
    free(look);
}

static const struct hw_conf_backend *
conf_of(const struct look *look)
{
    return &look->plan->snapshot->backends[look->backend];
}

static void
conclude(struct look *look, const char *why)
{
    struct hw_backend *backend = look->plan->backends[look->backend];
    bool news = atomic_load(&backend->model_digest) == 0;

    if (look->found != NULL && news)
        hw_log(HW_LOG_INFO, "backend %s has %zu models", backend->name, look->found->count);
    else if (look->found == NULL && !atomic_load(&backend->looked))
        hw_log(HW_LOG_WARN, "backend %s did not tell its models: %s", backend->name, why);
    hw_backend_looked(backend, look->found);
    look->found = NULL; /* handed over */
    free_look(look);
}

static void send_look(struct look *look, const char *behind);

static void
on_head(void *ctx, int status, const struct hw_http_head *head)
{
    struct look *look = ctx;

    (void)head;
    look->status = status;
}

static void
on_body(void *ctx, const char *bytes, size_t len)
{
    struct look *look = ctx;

    hw_buf_append(&look->body, bytes, len); /* the client bounds the response */
}

static void
on_done(void *ctx)
{
    struct look *look = ctx;
    const struct hw_conf_backend *conf = conf_of(look);
    bool good = look->status == 200 && !look->body.failed;
    struct hw_err err = {{0}};

    look->call = NULL; /* gone by contract */
    if (!good)
        hw_err_set(&err, HW_EIO, "status %d", look->status);
    if (look->found != NULL) { /* an Ollama too old to tell what is loaded is no failure */
        if (good)
            hw_model_list_read_loaded(look->body.data, look->body.len, look->found, &err);
        conclude(look, err.msg);
        return;
    }
    if (good)
        hw_model_list_read(conf->kind, look->body.data, look->body.len, &look->found, &err);
    hw_buf_clear(&look->body);
    if (look->found != NULL && conf->kind == HW_KIND_OLLAMA)
        send_look(look, "/api/ps");
    else
        conclude(look, err.msg);
}

static void
on_error(void *ctx, enum hw_call_failure failure, const struct hw_err *err)
{
    struct look *look = ctx;

    (void)failure;
    look->call = NULL;
    conclude(look, err->msg);
}

static const struct hw_call_events events = {on_head, on_body, on_done, on_error};

static void
send_look(struct look *look, const char *behind)
{
    const struct hw_conf_backend *conf = conf_of(look);
    uint32_t timeout_ms = look->plan->snapshot->discover.timeout;
    struct hw_err err = {{0}};
    struct hw_backend_call call = {
        .conf = conf,
        .method = "GET",
        .path = behind,
        .connect_ms = timeout_ms,
        .first_byte_ms = timeout_ms,
        .idle_ms = timeout_ms,
        .max_response_bytes = MAX_LIST_BYTES,
    };

    look->status = 0;
    int rc =
        hw_backend_call_send(look->discover->loop->client, &call, &events, look, &look->call, &err);
    if (rc != 0)
        conclude(look, err.msg);
}

static void
begin_look(struct hw_discover *discover, struct hw_plan *plan, size_t i)
{
    struct look *look = hw_xcalloc(1, sizeof(*look));
    bool ollama = plan->snapshot->backends[i].kind == HW_KIND_OLLAMA;

    *look = (struct look){
        .next = discover->looks, .discover = discover, .plan = hw_plan_ref(plan), .backend = i};
    if (look->next != NULL)
        look->next->prev = look;
    discover->looks = look;
    discover->count++;
    hw_buf_init(&look->body, MAX_LIST_BYTES);
    send_look(look, ollama ? "/api/tags" : "/v1/models");
}

/* ---- loop 0 ---- */

struct hw_discover *
hw_discover_create(struct hw_loop *loop)
{
    struct hw_discover *discover = hw_xcalloc(1, sizeof(*discover));

    discover->loop = loop;
    return discover;
}

void
hw_discover_tick(struct hw_discover *discover)
{
    struct hw_plan *plan = discover->loop->plan;
    const struct hw_conf_discover *conf = &plan->snapshot->discover;
    uint64_t now_ms = uv_now(&discover->loop->uv);

    for (size_t i = 0; i < plan->snapshot->backend_count && discover->count < MAX_LOOKS; i++) {
        struct hw_backend *backend = plan->backends[i];
        if (!plan->snapshot->backends[i].discover || now_ms < backend->next_look_ms)
            continue;
        /* A tenth more or less, so that a fleet is not asked in one breath. Two steps at most. */
        backend->next_look_ms = now_ms + conf->interval - conf->interval / 10 +
                                hw_loop_dice(discover->loop) % (conf->interval / 5 + 1) +
                                2 * conf->timeout;
        begin_look(discover, plan, i);
    }
}

void
hw_discover_destroy(struct hw_discover **discover)
{
    if (*discover == NULL)
        return;
    while ((*discover)->looks != NULL) {
        struct look *look = (*discover)->looks;
        if (look->call != NULL)
            hw_call_cancel(look->call);
        free_look(look);
    }
    free(*discover);
    *discover = NULL;
}

/* ---- what is known ---- */

void
hw_discover_view(const struct hw_plan *plan, struct hw_backend_view *views)
{
    for (size_t i = 0; i < plan->snapshot->backend_count; i++)
        views[i].found =
            plan->snapshot->backends[i].discover ? hw_backend_found(plan->backends[i]) : NULL;
}

void
hw_discover_release(struct hw_backend_view *views, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        hw_found_unref(views[i].found);
        views[i].found = NULL;
    }
}

enum hw_model_meaning
hw_discover_resolve(const struct hw_plan *plan, const char *model, int *role)
{
    const struct hw_snapshot *snapshot = plan->snapshot;
    const char *resolved;
    enum hw_model_meaning meaning = hw_resolve_model(snapshot, model, role, &resolved);

    if (meaning != HW_MODEL_UNKNOWN)
        return meaning;
    const char *name = hw_resolve_alias(snapshot, model);
    for (size_t i = 0; name != NULL && i < snapshot->backend_count; i++) {
        const struct hw_conf_backend *conf = &snapshot->backends[i];
        if (!conf->discover || conf->models.count > 0)
            continue;
        struct hw_found *found = hw_backend_found(plan->backends[i]);
        bool here = hw_found_by_name(found, name) != NULL;
        hw_found_unref(found);
        if (here)
            return HW_MODEL_MODEL;
    }
    return HW_MODEL_UNKNOWN;
}

bool
hw_discover_is_early(const struct hw_plan *plan)
{
    for (size_t i = 0; i < plan->snapshot->backend_count; i++) {
        const struct hw_conf_backend *conf = &plan->snapshot->backends[i];
        if (conf->discover && conf->models.count == 0 && !atomic_load(&plan->backends[i]->looked))
            return true;
    }
    return false;
}

/* The words that the configuration knows, and the found models; as long as *views lives. */
static size_t
gather_words(const struct hw_plan *plan, const struct hw_backend_view *views, const char **words,
             size_t most)
{
    const struct hw_snapshot *snapshot = plan->snapshot;
    size_t n = 0;

    words[n++] = "auto";
    for (size_t i = 0; i < snapshot->role_count && n < most; i++)
        words[n++] = snapshot->roles[i].name;
    for (size_t i = 0; i < snapshot->alias_count && n < most; i++)
        words[n++] = snapshot->aliases[i].name;
    for (size_t i = 0; i < snapshot->backend_count; i++) {
        const struct hw_conf_backend *backend = &snapshot->backends[i];
        const struct hw_found *found = backend->models.count == 0 ? views[i].found : NULL;
        if (n < most)
            words[n++] = backend->name;
        for (size_t j = 0; j < backend->models.count && n < most; j++)
            words[n++] = backend->models.items[j];
        for (size_t j = 0; found != NULL && j < found->count && n < most; j++)
            words[n++] = found->models[j].name;
    }
    words[n] = NULL;
    return n;
}

/* Other tags of the same model: nearer in meaning than by letters. */
static bool
same_family(const char *a, const char *b)
{
    size_t len = strcspn(a, ":");

    return len > 2 && strcspn(b, ":") == len && strncasecmp(a, b, len) == 0;
}

void
hw_discover_suggest(const struct hw_plan *plan, const char *asked, char *out, size_t size)
{
    enum { MOST = 2000, SHOWN = 3 };
    size_t count = plan->snapshot->backend_count;
    const char **words = hw_xcalloc(MOST + 1, sizeof(*words));
    struct hw_backend_view *views = hw_xcalloc(count + 1, sizeof(*views));
    const char *shown[SHOWN];
    size_t n = 0;

    hw_discover_view(plan, views);
    size_t total = gather_words(plan, views, words, MOST);
    const char *near = hw_nearest_word(asked, words);
    if (near != NULL)
        shown[n++] = near;
    for (size_t i = 0; i < total && n < SHOWN; i++) {
        bool told = false;
        for (size_t j = 0; j < n; j++)
            told = told || strcmp(shown[j], words[i]) == 0;
        if (!told && same_family(asked, words[i]))
            shown[n++] = words[i];
    }
    if (n == 0)
        snprintf(out, size, "use \"auto\", or a name that GET /v1/models lists");
    else
        snprintf(out, size,
                 "did you mean '%.128s'%s%.128s%s%.128s%s? GET /v1/models lists what can be asked "
                 "for",
                 shown[0], n > 1 ? " or '" : "", n > 1 ? shown[1] : "", n > 2 ? "' or '" : "",
                 n > 2 ? shown[2] : "", n > 1 ? "'" : "");
    hw_discover_release(views, count);
    free(views);
    free(words);
}
