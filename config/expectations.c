/* config/expectations.c - see expectations.h. Read by tables like a configuration's; whether the
 * policy has what is named is for those who know the policy. */
#include "config/expectations.h"

#include <stdlib.h>
#include <string.h>

#include "config/diag.h"
#include "config/sections.h"
#include "hatchway/assert.h"

#define TEXT_MAX (256u * 1024u)
#define NAMES_MAX 64
#define HEADERS_MAX 64
#define SUFFIX ".test.yaml"

/* What a person may paste: several lines, to the letter. */
static void
set_long_text(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
              void *field)
{
    if (node->kind == HW_NODE_MAP || node->kind == HW_NODE_LIST) {
        hw_conf_report(load, node, "write it as text: between quotes, or in a block behind |");
        return;
    }
    if (!hw_want_scalar(load, node, "a text"))
        return;
    if (strlen(node->text) > key->max)
        hw_conf_report(load, node, "at most %u bytes, got %zu", TEXT_MAX, strlen(node->text));
    else
        *(char **)field = hw_conf_arena_strdup(load->arena, node->text);
}

static void
add_name(struct hw_load *load, const struct hw_node *entry, const struct hw_key *key, void *field)
{
    struct hw_expected_names *names = field;
    (void)key;
    if (*entry->text == '\0') {
        hw_conf_report(load, entry, "this text is empty");
        return;
    }
    names->items[names->count++] =
        (struct hw_expected_name){.text = hw_conf_arena_strdup(load->arena, entry->text),
                                  .line = entry->line,
                                  .column = entry->column};
}

static void
set_names(struct hw_load *load, const struct hw_node *node, const struct hw_key *key, void *field)
{
    struct hw_expected_names *names = field;
    names->items = hw_conf_arena_array(load->arena, key->max, sizeof(*names->items));
    hw_each_entry(load, node, key, field, add_name);
}

static void
set_headers(struct hw_load *load, const struct hw_node *node, const struct hw_key *key, void *field)
{
    struct hw_expectation *item = field;
    if (!hw_want_named(load, node, key->max, "headers"))
        return;
    item->headers = hw_conf_arena_array(load->arena, node->count, sizeof(*item->headers));
    for (const struct hw_node *entry = node->first; entry != NULL; entry = entry->next)
        if (hw_want_scalar(load, entry, "a text"))
            item->headers[item->header_count++] =
                (struct hw_expected_pair){hw_conf_arena_strdup(load->arena, entry->key),
                                          hw_conf_arena_strdup(load->arena, entry->text)};
}

static void
set_tokens(struct hw_load *load, const struct hw_node *node, const struct hw_key *key, void *field)
{
    struct hw_key count = *key;
    uint32_t tokens = 0;
    size_t errors_before = load->diags->errors;
    count.size = sizeof(tokens);
    hw_set_count(load, node, &count, &tokens);
    if (load->diags->errors == errors_before)
        *(int64_t *)field = tokens;
}

static void
set_cache(struct hw_load *load, const struct hw_node *node, const struct hw_key *key, void *field)
{
    size_t errors_before = load->diags->errors;
    bool kept = false;
    hw_set_bool(load, node, key, &kept);
    if (load->diags->errors == errors_before)
        *(enum hw_expect_cache *)field = kept ? HW_EXPECT_CACHE_YES : HW_EXPECT_CACHE_NO;
}

static const struct hw_key keys_not[] = {
    {"route", set_names, HW_FIELD(hw_expect, route), .max = NAMES_MAX},
    {"role", set_names, HW_FIELD(hw_expect, role), .max = NAMES_MAX},
    {"backend", set_names, HW_FIELD(hw_expect, backend), .max = NAMES_MAX},
    {.name = NULL},
};

/* `expect` fills the expectation itself, so that its offsets are those of hw_expectation. */
static const struct hw_key keys_expect[] = {
    {"route", set_names, HW_FIELD(hw_expectation, expect.route), .max = NAMES_MAX},
    {"role", set_names, HW_FIELD(hw_expectation, expect.role), .max = NAMES_MAX},
    {"backend", set_names, HW_FIELD(hw_expectation, expect.backend), .max = NAMES_MAX},
    {"not", hw_set_section, HW_FIELD(hw_expectation, not_expect), .keys = keys_not},
    {"cache", set_cache, HW_FIELD(hw_expectation, cache)},
    {.name = NULL},
};

static const struct hw_key keys_item[] = {
    {"query", set_long_text, HW_FIELD(hw_expectation, query), .max = TEXT_MAX},
    {"body", set_long_text, HW_FIELD(hw_expectation, body), .max = TEXT_MAX},
    {"model", hw_set_text, HW_FIELD(hw_expectation, model), .max = 256},
    {"role", hw_set_text, HW_FIELD(hw_expectation, role), .max = 64},
    {"agent", hw_set_text, HW_FIELD(hw_expectation, agent), .max = 64},
    {"lane", hw_set_text, HW_FIELD(hw_expectation, lane), .max = 64},
    {"dialect", hw_set_text, HW_FIELD(hw_expectation, dialect), .max = 64},
    {"path", hw_set_text, HW_FIELD(hw_expectation, path), .max = 256},
    {"headers", set_headers, .offset = 0, .max = HEADERS_MAX},
    {"at", hw_set_text, HW_FIELD(hw_expectation, at), .max = 64},
    {"tokens", set_tokens, HW_FIELD(hw_expectation, tokens), .max = UINT32_MAX},
    {"down", set_names, HW_FIELD(hw_expectation, down), .max = NAMES_MAX},
    {"expect", hw_set_section, .offset = 0, .keys = keys_expect, .required = true},
    {.name = NULL},
};

static bool
expects_something(const struct hw_expectation *item)
{
    return item->expect.route.count + item->expect.role.count + item->expect.backend.count +
                   item->not_expect.route.count + item->not_expect.role.count +
                   item->not_expect.backend.count >
               0 ||
           item->cache != HW_EXPECT_CACHE_ANY;
}

static void
read_item(struct hw_load *load, const struct hw_node *map, struct hw_expectation *item)
{
    size_t errors_before = load->diags->errors;
    *item = (struct hw_expectation){.tokens = -1, .line = map->line, .column = map->column};
    hw_schema_read(load, map, keys_item, item);
    if (load->diags->errors > errors_before)
        return;
    if ((item->query == NULL) == (item->body == NULL))
        hw_conf_report(load, map, "write query, the text that is asked, or body, a whole request");
    else if (!expects_something(item))
        hw_conf_report(load, map,
                       "nothing is expected of it: name a route, role, backend or cache");
}

static void
set_items(struct hw_load *load, const struct hw_node *node, const struct hw_key *key, void *field)
{
    struct hw_expectations *all = field;
    if (!hw_want_list(load, node, key->max))
        return;
    all->items = hw_conf_arena_array(load->arena, node->count, sizeof(*all->items));
    for (const struct hw_node *map = node->first; map != NULL; map = map->next) {
        size_t mark = hw_conf_path_push(load, NULL, all->count);
        read_item(load, map, &all->items[all->count++]);
        hw_conf_path_pop(load, mark);
    }
}

static void
set_policy(struct hw_load *load, const struct hw_node *node, const struct hw_key *key, void *field)
{
    char *text = NULL;
    hw_set_text(load, node, key, &text);
    if (text != NULL)
        *(char **)field = hw_resolve_path(load, text);
}

static const struct hw_key keys_top[] = {
    {"policy", set_policy, HW_FIELD(hw_expectations, policy), .max = 1024},
    {"at", hw_set_text, HW_FIELD(hw_expectations, at), .max = 64},
    {"queries", set_items, .offset = 0, .max = HW_MAX_EXPECTATIONS, .required = true},
    {.name = NULL},
};

/* fleet.test.yaml stands beside fleet.yaml. */
static void
find_policy(struct hw_load *load, const char *path, const struct hw_node *root,
            struct hw_expectations *out)
{
    size_t len = strlen(path), suffix = strlen(SUFFIX);
    if (out->policy != NULL || load->diags->errors > 0)
        return;
    if (len <= suffix || strcmp(path + len - suffix, SUFFIX) != 0) {
        hw_conf_report(load, root,
                       "the key 'policy' is missing: the configuration, unless this file is called "
                       "as it is with .test before .yaml");
        return;
    }
    out->policy = hw_conf_arena_strndup(load->arena, path, len - strlen(".test.yaml") + 5);
    memcpy(out->policy + len - suffix, ".yaml", 6);
}

int
hw_expectations_parse(const char *path, const char *yaml, size_t len, struct hw_expectations **out,
                      struct hw_diags *diags)
{
    struct hw_conf_arena *arena = hw_xcalloc(1, sizeof(*arena));
    struct hw_expectations *all = hw_conf_arena_alloc(arena, sizeof(*all));
    struct hw_load load = {.arena = arena, .diags = diags};

    *diags = (struct hw_diags){0};
    all->arena = arena;
    load.folder = hw_folder_of(arena, path);
    const struct hw_node *root = NULL;
    if (len > HW_YAML_BYTES_MAX)
        hw_diags_addf(diags, false, 0, 0, "the file has more than %d bytes", HW_YAML_BYTES_MAX);
    else
        root = hw_tree_parse(arena, yaml, len, diags);
    if (root != NULL) {
        hw_schema_read(&load, root, keys_top, all);
        find_policy(&load, path, root, all);
        if (all->count == 0 && diags->errors == 0)
            hw_conf_report(&load, root, "there are no queries");
    }
    hw_diags_finish(diags);
    if (diags->errors > 0) {
        hw_expectations_free(&all);
        return HW_EINVAL;
    }
    *out = all;
    return 0;
}

int
hw_expectations_load(const char *path, struct hw_expectations **out, struct hw_diags *diags)
{
    size_t len;
    char *yaml = hw_read_yaml(path, &len, diags);

    if (yaml == NULL)
        return HW_EIO;
    int rc = hw_expectations_parse(path, yaml, len, out, diags);
    free(yaml);
    return rc;
}

void
hw_expectations_free(struct hw_expectations **expectations)
{
    if (*expectations == NULL)
        return;
    struct hw_conf_arena *arena = (*expectations)->arena;
    *expectations = NULL;
    hw_conf_arena_free(arena);
    free(arena);
}
