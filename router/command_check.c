/* router/command_check.c - `hatchway check`: mistakes, warnings, and what fits where. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/fit.h"
#include "config/load.h"
#include "hatchway/assert.h"
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
    "models are read.\n"
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
             double *parameters)
{
    struct hw_err err;
    bool good = true;

    for (size_t i = 0; i < snapshot->backend_count; i++) {
        const struct hw_conf_backend *backend = &snapshot->backends[i];
        parameters[i] = 0;
        if (backend->model == NULL || read_model(backend->model, &parameters[i], &err) == 0)
            continue;
        fprintf(stderr, "hatchway: %s:%u:%u: error: backends[%zu].model: this is no model: %s\n",
                file, backend->line, backend->column, i, err.msg);
        good = false;
    }
    return good;
}

/* Those that do not fit have been warned of already, but for local models, which only we read. */
static void
tell_fits(const char *file, const struct hw_snapshot *snapshot, const double *parameters)
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
            !hw_fit_compute(snapshot, backend, strrchr(backend->model, '/') + 1, parameters[i],
                            &fit))
            continue;
        hw_fit_tell(&fit, text, sizeof(text));
        if (fit.fits)
            printf("%s: %s\n", backend->name, text);
        else
            fprintf(stderr, "hatchway: %s:%u:%u: warning: backends[%zu].model: %s\n", file,
                    backend->line, backend->column, i, text);
    }
}

int
hw_command_check(int argc, char **argv, hw_model_reader *read_model)
{
    struct hw_snapshot *snapshot = NULL;
    struct hw_diags diags = {0};
    double *parameters = NULL;
    char text[640];

    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(check_help, stdout);
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "--schema") == 0)
        return print_schema();
    if (argc != 2 || argv[1][0] == '-') {
        fputs(check_help, stderr);
        return 2;
    }
    bool good = hw_config_load(argv[1], &snapshot, &diags) == 0;
    for (size_t i = 0; i < diags.count; i++) {
        hw_diag_format(&diags.items[i], argv[1], text, sizeof(text));
        fprintf(stderr, "hatchway: %s\n", text);
    }
    if (good) {
        parameters = hw_xcalloc(snapshot->backend_count + 1, sizeof(*parameters));
        good = check_models(argv[1], snapshot, read_model, parameters);
    }
    if (good) {
        tell_fits(argv[1], snapshot, parameters);
        printf("%s: ok (%zu backends, %zu roles, %zu routes)\n", argv[1], snapshot->backend_count,
               snapshot->role_count, snapshot->route_count);
    }
    free(parameters);
    hw_diags_free(&diags);
    hw_snapshot_unref(snapshot);
    return good ? 0 : 1;
}
