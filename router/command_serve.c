/* router/command_serve.c - `hatchway serve`. */
#include <getopt.h>
#include <malloc.h>
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

/* A query of megabytes in memory of its own, gone with it. By default glibc keeps more and more on
 * its heap once such memory was freed, where growing means copying and holes stay. */
static void
give_large_memory_back(void)
{
    enum { LARGE_BYTES = 512 * 1024 };

    mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
}

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
    give_large_memory_back();
    return hw_gateway_run(path);
}
