/* Loading YAML text in tests; the messages of the last load, one a line. */
#ifndef TESTS_CONFIG_HELP_H
#define TESTS_CONFIG_HELP_H

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "config/load.h"

static char messages[65536];

/* The snapshot, or NULL; `messages` tells. */
static inline struct hw_snapshot *
load_len(const char *yaml, size_t len)
{
    struct hw_snapshot *snapshot = NULL;
    struct hw_diags diags;
    size_t used = 0;
    int rc = hw_config_parse("/etc/hw/t.yaml", yaml, len, &snapshot, &diags);
    messages[0] = '\0';
    for (size_t i = 0; i < diags.count && used + 700 < sizeof(messages); i++) {
        char line[600];
        hw_diag_format(&diags.items[i], "t.yaml", line, sizeof(line));
        used += (size_t)snprintf(messages + used, sizeof(messages) - used, "%s\n", line);
    }
    assert_int_equal(rc == 0, diags.errors == 0);
    assert_int_equal(rc == 0, snapshot != NULL);
    hw_diags_free(&diags);
    return snapshot;
}

static inline struct hw_snapshot *
load(const char *yaml)
{
    return load_len(yaml, strlen(yaml));
}

/* Two backends and two roles to build on. */
#define BASE                                                                                       \
    "backends:\n"                                                                                  \
    "  - { name: a, kind: ollama, url: \"http://127.0.0.1:11434\", models: [m1], general: true "   \
    "}\n"                                                                                          \
    "  - { name: b, kind: bdh, url: \"http://10.0.0.2:8010\", device: mps, roles: [red] }\n"       \
    "roles: { red: { keywords: [rot] }, blue: }\n"
/* The first line behind it. */
#define BASE_LINES 5

#endif
