/* bench/policy_yaml.c - see policy_yaml.h. The examples are those of bench/data/classify, so that
 * learning has real sentences to learn from. */
#include "bench/policy_yaml.h"

#include <string.h>

#include "config/jsonl.h"
#include "config/load.h"
#include "hatchway/buf.h"

#define ROLES_MAX 13
#define YAML_MAX (1024u * 1024)

static const char *const role_names[ROLES_MAX] = {
    "alarm", "audio", "calendar", "datetime", "email",  "general", "iot",
    "lists", "music", "play",     "qa",       "social", "weather",
};

static void
add_backends(struct hw_buf *yaml, const struct hw_bench_policy *wanted)
{
    static const char *const devices[] = {"cuda", "cuda", "mps", "cpu"};

    hw_buf_printf(yaml, "backends:\n");
    for (size_t i = 0; i < wanted->backends; i++)
        hw_buf_printf(yaml,
                      "- { name: node%zu, kind: %s, url: \"http://127.0.0.1:%zu\", device: %s, "
                      "models: [\"model%zu:8b\"], roles: [%s], general: true, max_inflight: 4 }\n",
                      i, i % 3 == 2 ? "openai" : "ollama", 11000 + i, devices[i % 4], i % 5,
                      role_names[i % wanted->roles]);
}

/* A route that asks for a trait of the query, for its words, or for what came with it. */
static void
add_route(struct hw_buf *yaml, size_t i, const struct hw_bench_policy *wanted)
{
    const char *role = role_names[i % wanted->roles];

    hw_buf_printf(yaml, "- { name: route%zu, to: { device: cuda }, when: { ", i);
    switch (i % 16) {
    case 0:
        hw_buf_printf(yaml, "role: [%s], lane: realtime", role);
        break;
    case 1:
        hw_buf_printf(yaml, "model: [\"other%zu\", \"another%zu\"]", i, i);
        break;
    case 2:
        hw_buf_printf(yaml, "header: { x-team: team%zu }", i);
        break;
    case 3:
        hw_buf_printf(yaml, "prompt_tokens: \">%zu\"", 8192 + i);
        break;
    case 4:
        hw_buf_printf(yaml, "lane: background, hours: 22-06");
        break;
    case 5:
        hw_buf_printf(yaml, "keyword: [ledger%zu, quarterly report, escrow%zu]", i, i);
        break;
    case 6:
        hw_buf_printf(yaml, "tools: true, role: %s", role);
        break;
    case 7:
        hw_buf_printf(yaml, "days: [sat, sun], hours: 01:00-01:01");
        break;
    case 8:
        hw_buf_printf(yaml, "any: [ { header: { x-desk: \"%zu\" } }, { path: \"/api/v%zu/*\" } ]",
                      i, i);
        break;
    case 9:
        hw_buf_printf(yaml, "dialect: [ollama, anthropic]");
        break;
    case 10:
        hw_buf_printf(yaml, "regex: '\\bticket-%zu\\d+\\b'", i);
        break;
    case 11:
        hw_buf_printf(yaml, "images: true");
        break;
    case 12:
        hw_buf_printf(yaml, "not: { dialect: openai }");
        break;
    case 13:
        hw_buf_printf(yaml, "role: [%s], json: true", role);
        break;
    case 14:
        hw_buf_printf(yaml, "all: [ { path: \"/v1/*\" }, { prompt_tokens: \"9000..%zu\" } ]",
                      9000 + i);
        break;
    default:
        hw_buf_printf(yaml, "keyword: [invoice%zu]", i);
        break;
    }
    hw_buf_printf(yaml, " } }\n");
}

static void
add_text(struct hw_buf *yaml, const char *text)
{
    hw_buf_printf(yaml, "    - \"");
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\' || *text == '$')
            hw_buf_printf(yaml, "\\x%02x", (unsigned)*text);
        else
            hw_buf_append(yaml, text, 1);
    }
    hw_buf_printf(yaml, "\"\n");
}

static int
add_role(struct hw_buf *yaml, size_t role, const struct hw_bench_policy *wanted, struct hw_err *err)
{
    struct hw_jsonl *file;
    struct hw_jsonl_row row;
    size_t taken = 0;

    hw_buf_printf(yaml, "  %s:\n    keywords: [keyword%zu, another%zu]\n    examples:\n",
                  role_names[role], role, role);
    int rc = hw_jsonl_open(wanted->data, &file, err);
    if (rc != 0)
        return rc;
    while (taken < wanted->examples && (rc = hw_jsonl_next(file, &row, err)) == 1) {
        if (row.label == NULL || strcmp(row.label, role_names[role]) != 0)
            continue;
        add_text(yaml, row.text);
        taken++;
    }
    hw_jsonl_close(&file);
    return rc < 0 ? rc : 0;
}

int
hw_bench_policy_load(const struct hw_bench_policy *wanted, struct hw_snapshot **out,
                     struct hw_err *err)
{
    struct hw_buf yaml;
    struct hw_diags diags = {0};
    int rc = 0;

    if (wanted->roles > ROLES_MAX)
        return hw_err_set(err, HW_EINVAL, "at most %d roles, got %zu", ROLES_MAX, wanted->roles);
    hw_buf_init(&yaml, YAML_MAX);
    add_backends(&yaml, wanted);
    hw_buf_printf(&yaml, "roles:\n");
    for (size_t i = 0; rc == 0 && i < wanted->roles; i++)
        rc = add_role(&yaml, i, wanted, err);
    hw_buf_printf(&yaml, "routes:\n");
    for (size_t i = 0; i + 1 < wanted->routes; i++)
        add_route(&yaml, i, wanted);
    hw_buf_printf(&yaml, "- { name: default, to: { by: latency } }\n");
    if (rc == 0 && yaml.failed)
        rc = hw_err_set(err, HW_ELIMIT, "the policy has more than %u bytes", YAML_MAX);
    if (rc == 0)
        rc = hw_config_parse("bench.yaml", yaml.data, yaml.len, out, &diags);
    for (size_t i = 0; i < diags.count; i++)
        if (!diags.items[i].warning)
            rc = hw_err_set(err, HW_EINVAL, "bench.yaml:%u: %.200s", diags.items[i].line,
                            diags.items[i].msg);
    hw_diags_free(&diags);
    hw_buf_free(&yaml);
    return rc;
}
