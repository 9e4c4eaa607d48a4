/* config/when.c - the conditions of a route.
 *
 * One table serves a route's `when` and, for `any`, `all` and `not`, the conditions within it. What
 * can be prepared is prepared here: patterns are compiled, header names lower-cased, hours counted
 * in minutes. */
#include <ctype.h>
#include <string.h>

#include "config/pattern.h"
#include "config/scalar.h"
#include "config/sections.h"
#include "config/snapshot_private.h"
#include "config/zone.h"

#define TEXT_BYTES 128
#define ENTRIES_MAX 256
#define HEADERS_MAX 16
#define REGEX_MAX 32
#define REGEX_BYTES 512
#define NESTED_MAX 32

const char *const hw_dialect_words[] = {"openai", "ollama", "anthropic", "bdh", NULL};

static hw_setter set_nested;

/* Sets the list, unless one of its words is none of key->words. */
static void
set_known_texts(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
                void *field)
{
    size_t errors_before = load->diags->errors;
    uint32_t mask = 0;
    hw_set_words(load, node, key, &mask);
    if (load->diags->errors == errors_before)
        hw_set_texts(load, node, key, field);
}

static void
add_agent(struct hw_load *load, const struct hw_node *entry, const struct hw_key *key, void *field)
{
    struct hw_conf_list *list = field;
    const char *const *words = hw_agent_words(load);
    (void)key;
    if (hw_scalar_word(entry->text, words) < 0)
        hw_conf_report_unknown(load, entry, "agent", words);
    else
        list->items[list->count++] = hw_conf_arena_strdup(load->arena, entry->text);
}

static void
set_agents(struct hw_load *load, const struct hw_node *node, const struct hw_key *key, void *field)
{
    hw_start_list(load, node, key, field);
    hw_each_entry(load, node, key, field, add_agent);
}

static void
set_range(struct hw_load *load, const struct hw_node *node, const struct hw_key *key, void *field)
{
    static const char example[] = "a range such as \">8192\", \"<=100\" or \"10..20\"";
    (void)key;
    if (hw_want_scalar(load, node, example) && !hw_scalar_range(node->text, field))
        hw_conf_report(load, node, "expected %s, got '%s'", example, hw_conf_shown(node->raw));
}

static void
set_wanted(struct hw_load *load, const struct hw_node *node, const struct hw_key *key, void *field)
{
    size_t errors_before = load->diags->errors;
    bool value = false;
    hw_set_bool(load, node, key, &value);
    if (load->diags->errors == errors_before)
        *(enum hw_wanted *)field = value ? HW_WANTED_TRUE : HW_WANTED_FALSE;
}

static void
set_difficult(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
              void *field)
{
    if (load->snapshot->difficulty.outcome_count == 0)
        hw_conf_report(load, node,
                       "what is difficult is learned from recorded outcomes: write "
                       "difficulty: { examples_file: FILE }");
    set_wanted(load, node, key, field);
}

static void
set_hours(struct hw_load *load, const struct hw_node *node, const struct hw_key *key, void *field)
{
    struct hw_conf_when *when = field;
    struct hw_conf_windows windows = {0};
    hw_set_windows(load, node, key, &windows);
    when->hours = windows.items;
    when->hours_count = windows.count;
}

/* --- headers --- */

static void
set_headers(struct hw_load *load, const struct hw_node *node, const struct hw_key *key, void *field)
{
    static const struct hw_key values = {
        .name = "header", .max = ENTRIES_MAX, .item_max = TEXT_BYTES};
    struct hw_conf_when *when = field;
    if (!hw_want_named(load, node, key->max, "headers"))
        return;
    when->header = hw_conf_arena_array(load->arena, node->count, sizeof(*when->header));
    for (const struct hw_node *entry = node->first; entry != NULL; entry = entry->next) {
        struct hw_conf_header *header = &when->header[when->header_count++];
        size_t mark = hw_conf_path_push(load, entry->key, 0);
        header->name = hw_conf_arena_strdup(load->arena, entry->key);
        for (char *p = header->name; *p != '\0'; p++)
            *p = (char)tolower((unsigned char)*p);
        if (!hw_conf_is_header_name(header->name))
            hw_conf_report_key(load, entry, "expected a header's name such as x-team, got '%s'",
                               hw_conf_shown(entry->key));
        else if (hw_conf_header_is_secret(header->name))
            hw_conf_report_key(load, entry, "'%s' is a secret: it cannot be a condition",
                               header->name);
        else
            hw_set_texts(load, entry, &values, &header->values);
        if (header->values.count == 0 && load->diags->errors == 0)
            hw_conf_report_key(load, entry, "list the values, or write \"*\" for any");
        hw_conf_path_pop(load, mark);
    }
}

/* --- regular expressions --- */

static void
add_regex(struct hw_load *load, const struct hw_node *entry, const struct hw_key *key, void *field)
{
    struct hw_conf_when *when = field;
    struct hw_conf_regex *regex = &when->regex[when->regex_count];
    struct hw_node where = *entry;
    struct hw_err err;
    size_t at = 0;
    if (strlen(entry->text) > key->item_max) {
        hw_conf_report(load, entry, "at most %d bytes, got %zu", REGEX_BYTES, strlen(entry->text));
        return;
    }
    if (hw_pattern_compile(entry->text, &load->snapshot->priv->patterns, &at, &err) != 0) {
        hw_conf_report(load, &where, "this is no regular expression: %s, at character %zu of '%s'",
                       err.msg, at + 1, hw_conf_shown(entry->raw));
        return;
    }
    regex->pattern = load->snapshot->priv->patterns;
    regex->text = hw_conf_arena_strdup(load->arena, entry->text);
    when->regex_count++;
}

static void
set_regex(struct hw_load *load, const struct hw_node *node, const struct hw_key *key, void *field)
{
    struct hw_conf_when *when = field;
    when->regex = hw_conf_arena_array(load->arena, key->max, sizeof(*when->regex));
    hw_each_entry(load, node, key, field, add_regex);
}

/* --- the table --- */

const struct hw_key hw_keys_when[] = {
    {"role", hw_set_role_mask, HW_FIELD(hw_conf_when, role_mask), .max = HW_MAX_ROLES},
    {"lane", hw_set_words, HW_FIELD(hw_conf_when, lane_mask), .max = HW_LANE_COUNT,
     .words = hw_lane_names},
    {"agent", set_agents, HW_FIELD(hw_conf_when, agent), .max = ENTRIES_MAX},
    {"model", hw_set_texts, HW_FIELD(hw_conf_when, model), .max = ENTRIES_MAX,
     .item_max = TEXT_BYTES},
    {"dialect", set_known_texts, HW_FIELD(hw_conf_when, dialect), .max = 4, .item_max = TEXT_BYTES,
     .words = hw_dialect_words},
    {"path", hw_set_texts, HW_FIELD(hw_conf_when, path), .max = ENTRIES_MAX,
     .item_max = TEXT_BYTES},
    {"header", set_headers, .offset = 0, .max = HEADERS_MAX, .shape = HW_SHAPE_NAMED_LISTS},
    {"keyword", hw_set_keywords, HW_FIELD(hw_conf_when, keyword), .max = ENTRIES_MAX},
    {"regex", set_regex, .offset = 0, .max = REGEX_MAX, .item_max = REGEX_BYTES},
    {"prompt_tokens", set_range, HW_FIELD(hw_conf_when, prompt_tokens), .shape = HW_SHAPE_RANGE},
    {"tools", set_wanted, HW_FIELD(hw_conf_when, tools), .shape = HW_SHAPE_BOOL},
    {"images", set_wanted, HW_FIELD(hw_conf_when, images), .shape = HW_SHAPE_BOOL},
    {"json", set_wanted, HW_FIELD(hw_conf_when, json), .shape = HW_SHAPE_BOOL},
    {"stream", set_wanted, HW_FIELD(hw_conf_when, stream), .shape = HW_SHAPE_BOOL},
    {"difficult", set_difficult, HW_FIELD(hw_conf_when, difficult), .shape = HW_SHAPE_BOOL},
    {"hours", set_hours, .offset = 0},
    {"days", hw_set_words, HW_FIELD(hw_conf_when, days_mask), .max = 7, .words = hw_day_names},
    {"all", set_nested, .offset = 0, .max = NESTED_MAX, .keys = hw_keys_when,
     .shape = HW_SHAPE_SECTIONS},
    {"any", set_nested, .offset = 0, .max = NESTED_MAX, .keys = hw_keys_when,
     .shape = HW_SHAPE_SECTIONS},
    {"not", set_nested, .offset = 0, .max = NESTED_MAX, .keys = hw_keys_when,
     .shape = HW_SHAPE_SECTIONS},
    {.name = NULL},
};

static bool
is_present(const struct hw_conf_when *when)
{
    return when->role_mask != 0 || when->lane_mask != 0 || when->days_mask != 0 ||
           when->tools != HW_WANTED_ANY || when->images != HW_WANTED_ANY ||
           when->json != HW_WANTED_ANY || when->difficult != HW_WANTED_ANY ||
           when->stream != HW_WANTED_ANY || when->prompt_tokens.present || when->agent.count > 0 ||
           when->model.count > 0 || when->dialect.count > 0 || when->path.count > 0 ||
           when->keyword.count > 0 || when->hours_count > 0 || when->header_count > 0 ||
           when->regex_count > 0 || when->all_count > 0 || when->any_count > 0 ||
           when->none_count > 0;
}

/* How many of any, all and not the key being read stands in, by its path. */
static unsigned
depth_of(const struct hw_load *load)
{
    unsigned depth = 0;
    static const char *const words[] = {".any", ".all", ".not"};
    for (const char *p = load->path; (p = strchr(p, '.')) != NULL; p++)
        for (size_t i = 0; i < 3; i++)
            depth += strncmp(p, words[i], 4) == 0 && (p[4] == '[' || p[4] == '.' || p[4] == '\0');
    return depth;
}

static void
read_one(struct hw_load *load, const struct hw_node *map, struct hw_conf_when *when)
{
    size_t errors_before = load->diags->errors;
    hw_schema_read(load, map, hw_keys_when, when);
    when->present = is_present(when);
    if (!when->present && load->diags->errors == errors_before)
        hw_conf_report(load, map, "this condition is empty: it would hold for every query");
}

/* A list of conditions, or a single one. */
static void
set_nested(struct hw_load *load, const struct hw_node *node, const struct hw_key *key, void *field)
{
    struct hw_conf_when *when = field;
    bool single = node->kind == HW_NODE_MAP;
    size_t count = single ? 1 : node->count, i = 0;
    if (depth_of(load) > HW_WHEN_DEPTH_MAX) {
        hw_conf_report(load, node, "any, all and not nest at most %d deep", HW_WHEN_DEPTH_MAX);
        return;
    }
    if (!single && !hw_want_list(load, node, key->max))
        return;
    struct hw_conf_when *list = hw_conf_arena_array(load->arena, count + 1, sizeof(*list));
    if (single)
        read_one(load, node, &list[0]);
    for (const struct hw_node *map = single ? NULL : node->first; map != NULL; map = map->next) {
        size_t mark = hw_conf_path_push(load, NULL, i);
        read_one(load, map, &list[i++]);
        hw_conf_path_pop(load, mark);
    }
    if (strcmp(key->name, "any") == 0) {
        when->any = list;
        when->any_count = count;
    } else if (strcmp(key->name, "all") == 0) {
        when->all = list;
        when->all_count = count;
    } else {
        when->none = list;
        when->none_count = count;
    }
}

void
hw_set_when(struct hw_load *load, const struct hw_node *node, const struct hw_key *key, void *field)
{
    struct hw_conf_when *when = field;
    (void)key;
    hw_schema_read(load, node, hw_keys_when, when);
    /* `when: {}` or an empty list within holds for all queries, as if it were not there. */
    when->present = is_present(when);
}

void
hw_set_zone(struct hw_load *load, const struct hw_node *node, const struct hw_key *key, void *field)
{
    struct hw_err err;
    (void)key;
    if (!hw_want_scalar(load, node, "a time zone such as Europe/Berlin"))
        return;
    if (hw_zone_load(load->arena, node->text, field, &err) != 0)
        hw_conf_report(load, node, "%s, got '%s'", err.msg, hw_conf_shown(node->raw));
}
