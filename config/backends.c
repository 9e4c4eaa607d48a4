/* config/backends.c - the places that can answer. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "config/address.h"
#include "config/fit.h"
#include "config/scalar.h"
#include "config/sections.h"

#define MODEL_BYTES 128
#define API_KEY_BYTES 1000

static void
set_model(struct hw_load *load, const struct hw_node *node, const struct hw_key *key, void *field)
{
    char *text = NULL;
    hw_set_text(load, node, key, &text);
    if (text != NULL)
        *(char **)field = hw_resolve_path(load, text);
}

static void
set_url(struct hw_load *load, const struct hw_node *node, const struct hw_key *key, void *field)
{
    struct hw_conf_backend *backend = field;
    struct hw_conf_url url;
    struct hw_err err;
    (void)key;
    if (!hw_want_scalar(load, node, "a url such as http://127.0.0.1:11434"))
        return;
    if (hw_conf_url_parse(load->arena, node->text, &url, &err) != 0) {
        hw_conf_report(load, node, "%s", err.msg);
        return;
    }
    backend->url = hw_conf_arena_strdup(load->arena, node->text);
    backend->https = url.https;
    backend->host = url.address.host;
    backend->port = url.address.port;
    backend->path = url.path;
    hw_check_egress(load, node, backend->host);
}

static void
set_api_key(struct hw_load *load, const struct hw_node *node, const struct hw_key *key, void *field)
{
    if (!hw_want_scalar(load, node, "${NAME} of a variable that holds the key"))
        return;
    size_t len = strlen(node->text);
    size_t fit = 0;
    while (node->text[fit] > ' ' && node->text[fit] < 0x7f)
        fit++;
    if (len == 0)
        hw_conf_report(load, node, "the key is empty%s",
                       node->from_env ? ": the variable is set, to nothing" : "");
    else if (len > key->max || fit != len)
        hw_conf_report(load, node,
                       "a key is at most %d characters of printable ASCII without blanks "
                       "(a line break at its end?)",
                       API_KEY_BYTES);
    else
        *(char **)field = hw_conf_arena_strdup(load->arena, node->text);
    if (!node->from_env)
        hw_conf_warn(load, node,
                     "a secret in clear: put it into the environment and write api_key: ${NAME}");
}

static void
set_backend_roles(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
                  void *field)
{
    struct hw_conf_backend *backend = field;
    size_t errors_before = load->diags->errors;
    hw_set_role_mask(load, node, key, &backend->role_mask);
    if (load->diags->errors == errors_before)
        hw_set_texts(load, node, key, &backend->roles);
}

static void
set_parameters(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
               void *field)
{
    double bits;
    (void)key;
    if (!hw_want_scalar(load, node, "a number of parameters such as 14B or 350M"))
        return;
    if (strcspn(node->text, "xX-_:/@ ") != strlen(node->text) ||
        !hw_fit_read_name(node->text, field, &bits))
        hw_conf_report(load, node, "expected a number of parameters such as 14B or 350M, got '%s'",
                       hw_conf_shown(node->raw));
}

static const struct hw_key keys_trial[] = {
    {"ask", hw_set_text, HW_FIELD(hw_conf_trial, ask), .required = true, .min = 1, .max = 4096},
    {"expect", hw_set_text, HW_FIELD(hw_conf_trial, expect), .min = 1, .max = 4096},
    {.name = NULL},
};

static const struct hw_key keys_backend[] = {
    {"name", hw_set_name, HW_FIELD(hw_conf_backend, name), .required = true},
    {"kind", hw_set_word, HW_FIELD(hw_conf_backend, kind), .required = true,
     .words = hw_kind_names},
    {"model", set_model, HW_FIELD(hw_conf_backend, model), .max = 1024, .shape = HW_SHAPE_SCALAR},
    {"url", set_url, .offset = 0, .shape = HW_SHAPE_SCALAR, .pattern = "^https?://"},
    {"device", hw_set_device, .offset = 0, .fallback = "cpu", .shape = HW_SHAPE_SCALAR},
    {"workers", hw_set_count, HW_FIELD(hw_conf_backend, workers), .min = 1, .max = 64},
    {"precision", hw_set_word, HW_FIELD(hw_conf_backend, precision), .fallback = "f32",
     .words = hw_precision_names},
    {"state_cache", hw_set_size, HW_FIELD(hw_conf_backend, state_cache), .fallback = "64MiB",
     .max = 1ull << 40},
    {"trial", hw_set_section, HW_FIELD(hw_conf_backend, trial), .keys = keys_trial},
    {"models", hw_set_texts, HW_FIELD(hw_conf_backend, models), .max = 64, .item_max = MODEL_BYTES},
    {"roles", set_backend_roles, .offset = 0, .max = HW_MAX_ROLES, .item_max = 64},
    {"general", hw_set_bool, HW_FIELD(hw_conf_backend, general)},
    {"quality", hw_set_int, HW_FIELD(hw_conf_backend, quality), .max = 1000},
    {"priority", hw_set_count, HW_FIELD(hw_conf_backend, priority), .max = 1000},
    {"discover", hw_set_bool, HW_FIELD(hw_conf_backend, discover), .fallback = "true"},
    {"manage", hw_set_words, HW_FIELD(hw_conf_backend, manage), .max = HW_MANAGE_COUNT,
     .words = hw_manage_names},
    {"probe", hw_set_bool, HW_FIELD(hw_conf_backend, probe), .fallback = "true"},
    {"weight", hw_set_count, HW_FIELD(hw_conf_backend, weight), .fallback = "1", .max = 10000},
    {"cost", hw_set_decimal, HW_FIELD(hw_conf_backend, cost), .max = 1000000},
    {"max_inflight", hw_set_count, HW_FIELD(hw_conf_backend, max_inflight), .max = 100000},
    {"context", hw_set_count, HW_FIELD(hw_conf_backend, context), .max = 100000000},
    {"parameters", set_parameters, HW_FIELD(hw_conf_backend, parameters), .shape = HW_SHAPE_SCALAR,
     .pattern = "^[0-9]+([.][0-9]+)?[bBmM]$"},
    {"bits", hw_set_count, HW_FIELD(hw_conf_backend, bits), .min = 1, .max = 32},
    {"split", hw_set_count, HW_FIELD(hw_conf_backend, split), .fallback = "1", .min = 1, .max = 64},
    {"api_key", set_api_key, HW_FIELD(hw_conf_backend, api_key), .max = API_KEY_BYTES,
     .shape = HW_SHAPE_SCALAR},
    {"lanes", hw_set_lanes, .offset = 0, .max = HW_LANE_COUNT, .words = hw_lane_names,
     .keys = hw_keys_lanes, .shape = HW_SHAPE_LIST_OR_SECTION},
    {"timeouts", hw_set_section, HW_FIELD(hw_conf_backend, timeouts), .keys = hw_keys_timeouts},
    {.name = NULL},
};

static void
begin_backend(struct hw_load *load, void *item)
{
    struct hw_conf_backend *backend = item;
    backend->timeouts = load->snapshot->timeouts;
}

/* Identity of a local checkpoint: another file under the same name may answer otherwise. */
static uint64_t
digest_file(uint64_t digest, const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return digest;
    digest = hw_conf_digest_number(digest, (uint64_t)st.st_size);
    digest = hw_conf_digest_number(digest, (uint64_t)st.st_mtim.tv_sec);
    return hw_conf_digest_number(digest, (uint64_t)st.st_mtim.tv_nsec);
}

uint64_t
hw_backend_digest(const struct hw_conf_backend *backend)
{
    uint64_t digest = hw_conf_digest_number(HW_CONF_DIGEST_START, backend->kind);
    digest = hw_conf_digest_text(digest, backend->url);
    digest = hw_conf_digest_text(digest, backend->model);
    digest = hw_conf_digest_number(digest, backend->precision);
    if (backend->model != NULL)
        digest = digest_file(digest, backend->model);
    for (size_t i = 0; i < backend->models.count; i++)
        digest = hw_conf_digest_text(digest, backend->models.items[i]);
    return digest;
}

/* A local worker's checkpoint must be there now: better said here than by a worker's death. */
static void
check_model_file(struct hw_load *load, const struct hw_node *node, const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        hw_conf_report(load, node, "no model file at %.200s (%s)", path, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        hw_conf_report(load, node, "%.200s is not a file", path);
}

static void
end_bdh(struct hw_load *load, const struct hw_node *map, struct hw_conf_backend *backend)
{
    const struct hw_node *model = hw_node_find(map, "model");
    if (model == NULL && backend->url == NULL) {
        hw_conf_report(
            load, map,
            "a bdh backend needs model: FILE (a worker on this machine) or url: http://... "
            "(a BDH node)");
        return;
    }
    if (model != NULL && backend->url != NULL) {
        hw_conf_report_key(
            load, model,
            "a bdh backend has model (a worker on this machine) or url (a BDH node), not "
            "both");
        return;
    }
    if (model != NULL) {
        backend->line = model->line;
        backend->column = model->column;
        check_model_file(load, model, backend->model);
    }
}

/* Base urls of OpenAI's dialect are usually given with the /v1 that each of its paths begins with.
 */
static void
strip_version(struct hw_conf_backend *backend)
{
    size_t len = strlen(backend->path);
    if (len >= 3 && strcmp(backend->path + len - 3, "/v1") == 0)
        backend->path[len - 3] = '\0';
}

static void
end_remote(struct hw_load *load, const struct hw_node *map, struct hw_conf_backend *backend)
{
    const struct hw_node *model = hw_node_find(map, "model");
    if (model != NULL)
        hw_conf_report_key(
            load, model, "'model' is the checkpoint of a local bdh worker: write models: [\"%s\"]",
            hw_conf_shown(model->raw));
    if (backend->url == NULL)
        hw_conf_report(load, map, "kind %s needs a url, as in http://127.0.0.1:11434",
                       hw_kind_names[backend->kind]);
    if (backend->kind == HW_KIND_OPENAI && backend->url != NULL)
        strip_version(backend);
    if (backend->kind == HW_KIND_OLLAMA && backend->models.count == 0 && !backend->discover)
        hw_conf_warn(
            load, map,
            "no models listed: only queries that name a model themselves can be sent here");
}

static void
end_backend(struct hw_load *load, const struct hw_node *map, void *item)
{
    struct hw_conf_backend *backend = item;
    const struct hw_node *workers = hw_node_find(map, "workers");
    const struct hw_node *discover = hw_node_find(map, "discover");
    const struct hw_node *manage = hw_node_find(map, "manage");
    if (manage != NULL && backend->kind != HW_KIND_OLLAMA)
        hw_conf_report_key(load, manage, "only an ollama backend's models can be managed");
    if (discover != NULL && backend->discover && backend->kind == HW_KIND_BDH)
        hw_conf_report_key(load, discover,
                           "a bdh backend has one model: there are none to discover");
    backend->discover =
        backend->discover && backend->kind != HW_KIND_BDH && load->snapshot->discover.interval > 0;
    if (backend->kind == HW_KIND_BDH)
        end_bdh(load, map, backend);
    else
        end_remote(load, map, backend);
    if (workers != NULL && backend->url != NULL)
        hw_conf_report_key(load, workers,
                           "'workers' counts the processes of a local bdh model; a url has none");
    const struct hw_node *state_cache = hw_node_find(map, "state_cache");
    if (state_cache != NULL && backend->url != NULL)
        hw_conf_report_key(load, state_cache,
                           "'state_cache' is that of a local bdh model's workers; a url has none");
    const struct hw_node *precision = hw_node_find(map, "precision");
    if (precision != NULL && backend->url != NULL)
        hw_conf_report_key(load, precision,
                           "'precision' is that of a local bdh model; a url has none");
    const struct hw_node *trial = hw_node_find(map, "trial");
    if (trial != NULL && backend->url != NULL)
        hw_conf_report_key(load, trial, "'trial' is that of a local bdh model; a url has none");
    if (backend->url == NULL && backend->workers == 0)
        backend->workers = 1;
    backend->digest = hw_backend_digest(backend);
}

const struct hw_records hw_records_backends = {
    .what = "backend",
    .keys = keys_backend,
    .item_size = sizeof(struct hw_conf_backend),
    .count_offset = offsetof(struct hw_snapshot, backend_count),
    .begin = begin_backend,
    .end = end_backend,
};

static bool
is_with_tag(const char *model, const char *plain)
{
    size_t len = strlen(plain);
    return strncmp(model, plain, len) == 0 && strcmp(model + len, ":latest") == 0;
}

/* A local checkpoint goes by its file's name, with or without what follows the last dot. */
static bool
is_file_of(const char *path, const char *model)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash != NULL ? slash + 1 : path;
    const char *dot = strrchr(base, '.');
    size_t stem = dot != NULL ? (size_t)(dot - base) : strlen(base);
    return strcmp(base, model) == 0 || (strlen(model) == stem && memcmp(base, model, stem) == 0);
}

bool
hw_conf_has_model(const struct hw_conf_backend *backend, const char *model)
{
    for (size_t i = 0; i < backend->models.count; i++) {
        const char *item = backend->models.items[i];
        if (strcmp(item, model) == 0)
            return true;
        if (backend->kind == HW_KIND_OLLAMA &&
            (is_with_tag(item, model) || is_with_tag(model, item)))
            return true;
    }
    if (backend->kind != HW_KIND_BDH) /* nobody can tell before it was asked */
        return backend->discover && backend->models.count == 0;
    return strcmp(model, "bdh") == 0 ||
           (backend->model != NULL && is_file_of(backend->model, model));
}

const char *const *
hw_backend_words(struct hw_load *load)
{
    const struct hw_snapshot *snapshot = load->snapshot;
    if (load->backend_words != NULL)
        return load->backend_words;
    const char **words =
        hw_conf_arena_array(load->arena, snapshot->backend_count + 1, sizeof(*words));
    size_t count = 0;
    for (size_t i = 0; i < snapshot->backend_count; i++)
        if (snapshot->backends[i].name != NULL)
            words[count++] = snapshot->backends[i].name;
    return load->backend_words = words;
}
