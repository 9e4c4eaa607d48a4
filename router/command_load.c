/* router/command_load.c - a configuration for a command that only looks at it. */
#include <stdio.h>

#include "config/load.h"
#include "router/commands.h"

int
hw_command_load(const char *path, struct hw_snapshot **out)
{
    struct hw_diags diags = {0};
    char text[640];
    int rc = hw_config_load(path, out, &diags);

    for (size_t i = 0; i < diags.count && rc != 0; i++) { /* its warnings are for `check` */
        hw_diag_format(&diags.items[i], path, text, sizeof(text));
        fprintf(stderr, "hatchway: %s\n", text);
    }
    hw_diags_free(&diags);
    return rc;
}
