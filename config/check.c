/* config/check.c - what one section alone cannot tell. */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/fit.h"
#include "config/sections.h"

#define ALIAS_HOPS_MAX 8
#define GIB (1024.0 * 1024 * 1024)

static void
check_listen(struct hw_load *load, const struct hw_node *root)
{
    const struct hw_snapshot *snapshot = load->snapshot;
    const struct hw_node *listen = hw_node_find(root, "listen");
    if (snapshot->listen_loopback || snapshot->agent_count > 0 || listen == NULL ||
        snapshot->listen_host == NULL)
        return;
    hw_conf_report(
        load, listen,
        "listen: %s can be reached from other machines, and without agents anyone may ask: "
        "list agents with keys, or listen on 127.0.0.1:%u",
        hw_conf_shown(snapshot->listen_host), snapshot->listen_port);
}

static void
check_backends_there(struct hw_load *load, const struct hw_node *root)
{
    const struct hw_node *backends = hw_node_find(root, "backends");
    if (load->snapshot->backend_count > 0 ||
        (backends != NULL && backends->kind != HW_NODE_NULL && backends->count > 0) ||
        (backends == NULL && load->diags->errors > 0)) /* misspelt, perhaps */
        return;
    hw_conf_report(
        load, backends != NULL ? backends : root,
        "there are no backends, so nothing could answer: list at least one under backends:");
}

static const struct hw_conf_alias *
find_alias(const struct hw_snapshot *snapshot, const char *name)
{
    for (size_t i = 0; i < snapshot->alias_count; i++)
        if (strcmp(snapshot->aliases[i].name, name) == 0)
            return &snapshot->aliases[i];
    return NULL;
}

/* Everything that an alias may stand for. */
static const char *const *
target_words(struct hw_load *load)
{
    const struct hw_snapshot *snapshot = load->snapshot;
    size_t most = 2 + snapshot->role_count + snapshot->alias_count;
    for (size_t i = 0; i < snapshot->backend_count; i++)
        most += 1 + snapshot->backends[i].models.count;
    const char **words = hw_conf_arena_array(load->arena, most, sizeof(*words));
    size_t count = 0;
    for (size_t i = 0; i < snapshot->role_count; i++)
        words[count++] = snapshot->roles[i].name;
    for (size_t i = 0; i < snapshot->backend_count; i++) {
        const struct hw_conf_backend *backend = &snapshot->backends[i];
        for (size_t j = 0; j < backend->models.count; j++)
            words[count++] = backend->models.items[j];
        if (backend->name != NULL)
            words[count++] = backend->name;
    }
    for (size_t i = 0; i < snapshot->alias_count; i++)
        words[count++] = snapshot->aliases[i].name;
    words[count] = "auto";
    return words;
}

static bool
is_target(const struct hw_snapshot *snapshot, const char *const *words, const char *text)
{
    for (; *words != NULL; words++)
        if (strcmp(*words, text) == 0)
            return true;
    for (size_t i = 0; i < snapshot->backend_count; i++)
        if (hw_conf_has_model(&snapshot->backends[i], text))
            return true;
    return false;
}

static void
check_aliases(struct hw_load *load, const struct hw_node *root)
{
    const struct hw_snapshot *snapshot = load->snapshot;
    const struct hw_node *aliases = hw_node_find(root, "aliases");
    bool circle[HW_MAX_ALIASES] = {false}; /* told of the first alias that leads into it */
    if (snapshot->alias_count == 0 || aliases == NULL)
        return;
    const char *const *words = target_words(load);
    size_t mark = hw_conf_path_push(load, "aliases", 0);
    for (size_t i = 0; i < snapshot->alias_count; i++) {
        const struct hw_conf_alias *alias = &snapshot->aliases[i];
        const struct hw_node *node = hw_node_at(aliases, i);
        if (alias->target == NULL)
            continue;
        if (!is_target(snapshot, words, alias->target)) {
            hw_conf_report_unknown(load, node, "role, model or backend", words);
            continue;
        }
        int hops = 0;
        while (alias != NULL && alias->target != NULL && ++hops <= ALIAS_HOPS_MAX &&
               !circle[alias - snapshot->aliases])
            alias = find_alias(snapshot, alias->target);
        circle[i] = hops > 0 && alias != NULL && alias->target != NULL;
        if (hops > ALIAS_HOPS_MAX)
            hw_conf_report(load, node,
                           "alias '%s' leads through more than %d aliases, perhaps in a circle",
                           hw_conf_shown(snapshot->aliases[i].name), ALIAS_HOPS_MAX);
    }
    hw_conf_path_pop(load, mark);
}

static bool
names_any(const struct hw_snapshot *snapshot, const struct hw_conf_selector *selector)
{
    if (selector->role_same) /* only a backend that has the role already */
        return false;
    for (size_t i = 0; i < snapshot->backend_count; i++)
        if (hw_conf_is_named_by(selector, &snapshot->backends[i], i))
            return true;
    return false;
}

/* Roles whose queries a route takes to backends that need not have the role. */
static uint64_t
routed_roles(const struct hw_snapshot *snapshot)
{
    uint64_t mask = 0;
    for (size_t i = 0; i < snapshot->route_count; i++) {
        const struct hw_conf_route *route = &snapshot->routes[i];
        if (names_any(snapshot, &route->to) || names_any(snapshot, &route->overflow) ||
            names_any(snapshot, &route->fallback))
            mask |= route->when.role_mask != 0 ? route->when.role_mask : UINT64_MAX;
    }
    return mask;
}

static void
warn_about_roles(struct hw_load *load, const struct hw_node *root)
{
    const struct hw_snapshot *snapshot = load->snapshot;
    uint64_t served = routed_roles(snapshot);
    for (size_t i = 0; i < snapshot->backend_count; i++) {
        if (snapshot->backends[i].general)
            return;
        served |= snapshot->backends[i].role_mask;
    }
    for (size_t i = 0; i < snapshot->role_count; i++)
        if ((served >> i & 1) == 0)
            hw_conf_warn(load, hw_node_at(hw_node_find(root, "roles"), i),
                         "roles.%s: no backend serves this role and none is general",
                         snapshot->roles[i].name);
}

static void
warn_about_idle_backends(struct hw_load *load, const struct hw_node *root)
{
    const struct hw_snapshot *snapshot = load->snapshot;
    for (size_t i = 0; i < snapshot->backend_count; i++) {
        const struct hw_conf_backend *backend = &snapshot->backends[i];
        bool named = backend->general || backend->role_mask != 0 || backend->models.count > 0;
        for (size_t j = 0; j < snapshot->route_count && !named; j++)
            named = hw_conf_is_named_by(&snapshot->routes[j].to, backend, i) ||
                    hw_conf_is_named_by(&snapshot->routes[j].overflow, backend, i) ||
                    hw_conf_is_named_by(&snapshot->routes[j].fallback, backend, i) ||
                    hw_conf_is_named_by(&snapshot->routes[j].shadow.to, backend, i);
        if (!named)
            hw_conf_warn(
                load, hw_node_at(hw_node_find(root, "backends"), i),
                "backends[%zu]: nothing leads to '%s': give it roles, models, general: true, "
                "or a route that names it",
                i, backend->name);
    }
}

static void
warn_about_devices(struct hw_load *load, const struct hw_node *root)
{
    const struct hw_snapshot *snapshot = load->snapshot;
    struct hw_fit fit;
    char text[320];
    for (size_t i = 0; i < snapshot->backend_count; i++) {
        const struct hw_conf_backend *backend = &snapshot->backends[i];
        for (size_t j = 0; j < backend->models.count; j++) {
            if (!hw_fit_compute(snapshot, backend, backend->models.items[j], 0, &fit) || fit.fits)
                continue;
            hw_fit_tell(&fit, text, sizeof(text));
            hw_conf_warn(load, hw_node_at(hw_node_find(root, "backends"), i), "backends[%zu]: %s",
                         i, text);
        }
    }
}

/* Each worker holds its model in fp32; a checkpoint's file is that or half of it. */
static void
warn_about_memory(struct hw_load *load, const struct hw_node *root)
{
    const struct hw_snapshot *snapshot = load->snapshot;
    long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    double have = (double)pages * (double)page_bytes, need = 0;
    if (pages <= 0 || page_bytes <= 0)
        return;
    for (size_t i = 0; i < snapshot->backend_count; i++) {
        const struct hw_conf_backend *backend = &snapshot->backends[i];
        struct stat st;
        if (backend->model == NULL || stat(backend->model, &st) != 0)
            continue;
        need += (double)st.st_size * backend->workers;
        if (need <= have)
            continue;
        hw_conf_warn(load, hw_node_at(hw_node_find(root, "backends"), i),
                     "backends[%zu]: the local workers down to '%s' need %.1f GiB for their models "
                     "and this machine has %.1f GiB: fewer workers, or a smaller model",
                     i, backend->name, need / GIB, have / GIB);
        return;
    }
}

void
hw_check_all(struct hw_load *load, const struct hw_node *root)
{
    check_listen(load, root);
    check_backends_there(load, root);
    check_aliases(load, root);
    if (load->diags->errors > 0) /* half a configuration has many a loose end */
        return;
    hw_warn_about_routes(load, root);
    hw_warn_about_lanes(load, root);
    hw_warn_about_keywords(load, root);
    warn_about_roles(load, root);
    warn_about_idle_backends(load, root);
    warn_about_devices(load, root);
    warn_about_memory(load, root);
}
