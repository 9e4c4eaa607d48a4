/* policies/models.c - what the `model` of a query means.
 *
 * Agents write a model, a role, an alias or a backend into the same field. Backends spell models in
 * their own way: a BDH checkpoint is asked for by its file's stem, or as plain "bdh", and Ollama
 * reads "mistral" as "mistral:latest". */
#include <stdio.h>
#include <string.h>

#include "policies/rank.h"

#define MAX_ALIAS_HOPS 8

static const char *
base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static size_t
stem_length(const char *base)
{
    const char *dot = strrchr(base, '.');
    return dot != NULL && dot != base ? (size_t)(dot - base) : strlen(base);
}

const char *
hw_backend_model(const struct hw_conf_backend *backend, const char *model)
{
    for (size_t i = 0; i < backend->models.count; i++) {
        const char *item = backend->models.items[i];
        if (strcmp(item, model) == 0 ||
            (backend->kind == HW_KIND_OLLAMA && hw_same_model_name(item, model)))
            return item;
    }
    if (backend->kind != HW_KIND_BDH)
        return NULL;
    if (strcmp(model, "bdh") == 0)
        return "bdh";
    if (backend->model == NULL)
        return NULL;
    const char *base = base_name(backend->model);
    size_t stem = stem_length(base);
    bool same =
        strcmp(base, model) == 0 || (strncmp(base, model, stem) == 0 && model[stem] == '\0');
    return same ? base : NULL;
}

const char *
hw_view_model(const struct hw_conf_backend *backend, const struct hw_found *found,
              const char *model, const char *digest)
{
    const char *listed = hw_backend_model(backend, model);

    if (listed != NULL || backend->models.count > 0)
        return listed;
    const struct hw_found_model *here = hw_found_by_name(found, model);
    if (here == NULL)
        here = hw_found_by_digest(found, digest);
    return here != NULL ? here->name : NULL;
}

size_t
hw_backend_model_name(const struct hw_conf_backend *backend, char *out, size_t size)
{
    const char *name = "";
    size_t len = 0;

    if (backend->models.count > 0) {
        name = backend->models.items[0];
        len = strlen(name);
    } else if (backend->kind == HW_KIND_BDH) {
        name = backend->model != NULL ? base_name(backend->model) : "bdh";
        len = stem_length(name);
    }
    int n = snprintf(out, size, "%.*s", (int)len, name);
    return n < 0 ? 0 : (size_t)n;
}

static const char *
alias_target(const struct hw_snapshot *snapshot, const char *name)
{
    for (size_t i = 0; i < snapshot->alias_count; i++) {
        if (strcmp(snapshot->aliases[i].name, name) == 0)
            return snapshot->aliases[i].target;
    }
    return NULL;
}

const char *
hw_resolve_alias(const struct hw_snapshot *snapshot, const char *model)
{
    const char *target;

    for (int hops = 0; (target = alias_target(snapshot, model)) != NULL; hops++) {
        if (hops == MAX_ALIAS_HOPS)
            return NULL;
        model = target;
    }
    return model;
}

static bool
is_auto(const char *model)
{
    return model == NULL || model[0] == '\0' || strcmp(model, "auto") == 0;
}

enum hw_model_meaning
hw_resolve_model(const struct hw_snapshot *snapshot, const char *model, int *role,
                 const char **resolved)
{
    *role = -1;
    *resolved = NULL;
    if (is_auto(model))
        return HW_MODEL_AUTO;
    model = hw_resolve_alias(snapshot, model);
    if (model == NULL)
        return HW_MODEL_UNKNOWN;
    if (is_auto(model))
        return HW_MODEL_AUTO;
    for (size_t i = 0; i < snapshot->role_count; i++) {
        if (strcmp(snapshot->roles[i].name, model) == 0) {
            *role = (int)i;
            return HW_MODEL_ROLE;
        }
    }
    for (size_t i = 0; i < snapshot->backend_count; i++) {
        *resolved = hw_backend_model(&snapshot->backends[i], model);
        if (*resolved != NULL)
            return HW_MODEL_MODEL;
    }
    for (size_t i = 0; i < snapshot->backend_count; i++) {
        if (strcmp(snapshot->backends[i].name, model) == 0) {
            *resolved = snapshot->backends[i].name;
            return HW_MODEL_BACKEND;
        }
    }
    return HW_MODEL_UNKNOWN;
}
