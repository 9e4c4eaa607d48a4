/* router/command_serve.c - `hatchway serve` and `hatchway check`. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "config/load.h"
#include "router/commands.h"
#include "router/gateway.h"

static const char serve_help[] =
    "usage: hatchway serve [-c FILE]\n"
    "\n"
    "Serves the configuration FILE (default: config/hatchway.yaml) until SIGTERM or Ctrl-C, which\n"
    "drains: running answers are finished. SIGHUP reloads FILE; a bad file changes nothing.\n"
    "\n"
    "  -c, --config FILE   the YAML to serve\n"
    "  -h, --help          this text\n"
    "\n"
    "HATCHWAY_TRACE=exchange (or all) prints what each query does.\n";

static const char check_help[] =
    "usage: hatchway check FILE\n"
    "       hatchway check --schema\n"
    "\n"
    "Reads the configuration FILE and names every mistake as FILE:LINE:COLUMN with what to write\n"
    "instead; warns of what is no mistake but hardly meant. Exit status 0: it can be served\n"
    "(warnings are no mistakes); 1: it cannot.\n"
    "\n"
    "  --schema     print the JSON Schema of a configuration, for editors (it is also in\n"
    "               config/hatchway.schema.json)\n";

int
hw_command_serve(int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *path = "config/hatchway.yaml";
    int option;

    optind = 1;
    while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
        if (option == 'c') {
            path = optarg;
        } else if (option == 'h') {
            fputs(serve_help, stdout);
            return 0;
        } else {
            fputs(serve_help, stderr);
            return 2;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "hatchway: serve takes no argument '%s'; the file goes behind -c\n",
                argv[optind]);
        return 2;
    }
    return hw_gateway_run(path);
}

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

int
hw_command_check(int argc, char **argv)
{
    struct hw_snapshot *snapshot = NULL;
    struct hw_diags diags = {0};
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
    int rc = hw_config_load(argv[1], &snapshot, &diags);
    for (size_t i = 0; i < diags.count; i++) {
        hw_diag_format(&diags.items[i], argv[1], text, sizeof(text));
        fprintf(stderr, "hatchway: %s\n", text);
    }
    if (rc == 0)
        printf("%s: ok (%zu backends, %zu roles, %zu routes)\n", argv[1], snapshot->backend_count,
               snapshot->role_count, snapshot->route_count);
    hw_diags_free(&diags);
    hw_snapshot_unref(snapshot);
    return rc == 0 ? 0 : 1;
}
