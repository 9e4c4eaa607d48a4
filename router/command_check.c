/* router/command_check.c - `hatchway check`: mistakes, warnings, and what fits where. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/fit.h"
#include "config/load.h"
#include "config/reach.h"
#include "hatchway/assert.h"
#include "router/check_roles.h"
#include "router/commands.h"

static const char check_help[] =
    "usage: hatchway check FILE\n"
    "       hatchway check --schema\n"
    "\n"
    "Reads the configuration FILE and names every mistake as FILE:LINE:COLUMN with what to write\n"
    "instead; warns of what is no mistake but hardly meant. Exit status 0: it can be served\n"
    "(warnings are no mistakes); 1: it cannot.\n"
    "\n"
    "Of models whose size is known, on devices whose memory is known (devices:), it prints "
    "whether\n"
    "they fit: one device, split over several, or smaller specialists instead. The heads of local\n"
    "models are read; it warns where a route for long prompts (prompt_tokens: \">8192\") leads to "
    "one\n"
    "that was trained to hold less.\n"
    "\n"
    "Of roles it warns that have too few examples to be learned, that share an example, or that\n"
    "the classifier takes for each other (tried on up to 2,000 examples).\n"
    "\n"
    "  --schema     print the JSON Schema of a configuration, for editors (it is also in\n"
    "               config/hatchway.schema.json)\n";

static int
print_schema(void)
{
    struct hw_buf schema;

    hw_buf_init(&schema, 1u << 20);
    hw_config_schema(&schema);
    bool printed = !schema.failed && fwrite(schema.data, 1, schema.len, stdout) == schema.len;
    hw_buf_free(&schema);
    return printed ? 0 : 1;
}

/* Reads the heads of all local models. False: one is none. */
static bool
check_models(const char *file, const struct hw_snapshot *snapshot, hw_model_reader *read_model,
             struct hw_model_claims *claims)
{
    struct hw_err err;
    bool good = true;

    for (size_t i = 0; i < snapshot->backend_count; i++) {
        const struct hw_conf_backend *backend = &snapshot->backends[i];
        if (backend->model == NULL || read_model(backend->model, &claims[i], &err) == 0)
            continue;
        fprintf(stderr, "hatchway: %s:%u:%u: error: backends[%zu].model: this is no model: %s\n",
                file, backend->line, backend->column, i, err.msg);
        good = false;
    }
    return good;
}

/* Those that do not fit have been warned of already, but for local models, which only we read. */
static void
tell_fits(const char *file, const struct hw_snapshot *snapshot,
          const struct hw_model_claims *claims)
{
    struct hw_fit fit;
    char text[320];

    for (size_t i = 0; i < snapshot->backend_count; i++) {
        const struct hw_conf_backend *backend = &snapshot->backends[i];
        for (size_t j = 0; j < backend->models.count; j++) {
            if (!hw_fit_compute(snapshot, backend, backend->models.items[j], 0, &fit) || !fit.fits)
                continue;
            hw_fit_tell(&fit, text, sizeof(text));
            printf("%s: %s\n", backend->name, text);
        }
        if (backend->model == NULL ||
            !hw_fit_compute(snapshot, backend, strrchr(backend->model, '/') + 1,
                            claims[i].parameters, &fit))
            continue;
        hw_fit_tell(&fit, text, sizeof(text));
        if (fit.fits)
            printf("%s: %s\n", backend->name, text);
        else
            fprintf(stderr, "hatchway: %s:%u:%u: warning: backends[%zu].model: %s\n", file,
                    backend->line, backend->column, i, text);
    }
}

/* Routes count four bytes a token where the policy chooses; a local model counts bytes. */
static void
tell_context(const char *file, const struct hw_snapshot *snapshot, size_t r,
             const struct hw_conf_range *sent, const struct hw_conf_backend *backend,
             const struct hw_model_claims *claims)
{
    const struct hw_conf_route *route = &snapshot->routes[r];
    bool bounded = sent->max < UINT32_MAX;
    uint64_t tokens = bounded ? sent->max : sent->min < UINT32_MAX ? sent->min - 1 : UINT32_MAX;
    uint64_t bytes = 4 * tokens, trained = claims->trained_context;
    char prompts[96];

    if (backend->context > 0 && (backend->context < sent->min || backend->context <= trained))
        return; /* by its own word it gets nothing longer */
    snprintf(prompts, sizeof(prompts), "prompts of %s %" PRIu64 " tokens (%" PRIu64 " bytes)",
             bounded ? "up to" : "over", tokens, bytes);
    if (trained == 0)
        printf("%s: route '%s' sends it %s; its file does not say what context it was trained to "
               "hold (`hatchway bdh loss` shows how far it is good)\n",
               backend->name, route->name, prompts);
    else if (trained < bytes)
        fprintf(stderr,
                "hatchway: %s:%u:%u: warning: routes[%zu]: route '%s' sends %s to '%s', whose "
                "model was trained to hold %" PRIu64 " bytes: %s (train it with a larger --block, "
                "or keep longer prompts away with the backend's context: %" PRIu64 ")\n",
                file, route->line, route->column, r, route->name, prompts, backend->name, trained,
                claims->decays ? "what lies further back is forgotten"
                               : "beyond that its answers get worse",
                trained);
}

static void
tell_contexts(const char *file, const struct hw_snapshot *snapshot,
              const struct hw_model_claims *claims)
{
    struct hw_conf_range sent;

    for (size_t r = 0; r < snapshot->route_count; r++) {
        if (!hw_route_is_long(&snapshot->routes[r], &sent))
            continue;
        for (size_t i = 0; i < snapshot->backend_count; i++)
            if (snapshot->backends[i].model != NULL &&
                hw_route_leads_to(snapshot, &snapshot->routes[r], i))
                tell_context(file, snapshot, r, &sent, &snapshot->backends[i], &claims[i]);
    }
}

static const char *
plural(size_t count)
{
    return count == 1 ? "" : "s";
}

int
hw_command_check(int argc, char **argv, hw_model_reader *read_model)
{
    struct hw_snapshot *snapshot = NULL;
    struct hw_diags diags = {0};
    struct hw_model_claims *claims = NULL;
    char text[640];

    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(check_help, stdout);
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "--schema") == 0)
        return print_schema();
    if (argc != 2 || argv[1][0] == '-') {
        if (argc < 2)
            fputs("hatchway: check: which FILE?\n", stderr);
        else
            fprintf(stderr, "hatchway: check: %s: one FILE is needed, or --schema\n",
                    argv[argc - 1]);
        fputs(check_help, stderr);
        return 2;
    }
    bool good = hw_config_load(argv[1], &snapshot, &diags) == 0;
    for (size_t i = 0; i < diags.count; i++) {
        hw_diag_format(&diags.items[i], argv[1], text, sizeof(text));
        fprintf(stderr, "hatchway: %s\n", text);
    }
    if (good) {
        claims = hw_xcalloc(snapshot->backend_count + 1, sizeof(*claims));
        good = check_models(argv[1], snapshot, read_model, claims);
    }
    if (good) {
        tell_fits(argv[1], snapshot, claims);
        tell_contexts(argv[1], snapshot, claims);
        hw_check_roles(argv[1], snapshot, stderr);
        printf("%s: ok (%zu backend%s, %zu role%s, %zu route%s)\n", argv[1],
               snapshot->backend_count, plural(snapshot->backend_count), snapshot->role_count,
               plural(snapshot->role_count), snapshot->route_count, plural(snapshot->route_count));
    }
    free(claims);
    hw_diags_free(&diags);
    hw_snapshot_unref(snapshot);
    return good ? 0 : 1;
}
