/* config/decisions.c - the decision log: where it goes and how much it tells.
 *
 * A log is worth replaying only when it has what conditions look at, so the headers that any route
 * names are gathered here and logged without being asked for. */
#include <ctype.h>
#include <string.h>

#include "config/scalar.h"
#include "config/sections.h"

#define MIB (1024u * 1024u)
#define HEADERS_MAX 64
#define HEADER_BYTES 64

const char *const hw_decision_text_names[] = {"none", "features", "full", NULL};
const char *const hw_decision_agents_names[] = {"all", "labelled", "none", NULL};

bool
hw_conf_header_is_secret(const char *name)
{
    static const char *const words[] = {
        "authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", NULL};
    return hw_scalar_word(name, words) >= 0;
}

bool
hw_conf_is_header_name(const char *text)
{
    size_t len = strlen(text);
    return len > 0 && len <= HEADER_BYTES &&
           strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-_") == len;
}

static void
set_file(struct hw_load *load, const struct hw_node *node, const struct hw_key *key, void *field)
{
    char *text = NULL;
    hw_set_text(load, node, key, &text);
    if (text != NULL)
        *(char **)field = hw_resolve_path(load, text);
}

static void
add_header(struct hw_load *load, const struct hw_node *entry, const struct hw_key *key, void *field)
{
    struct hw_conf_list *list = field;
    char *name = hw_conf_arena_strdup(load->arena, entry->text);
    (void)key;
    for (char *p = name; *p != '\0'; p++)
        *p = (char)tolower((unsigned char)*p);
    if (!hw_conf_is_header_name(name))
        hw_conf_report(load, entry, "expected a header's name such as x-team, got '%s'",
                       hw_conf_shown(entry->raw));
    else if (hw_conf_header_is_secret(name))
        hw_conf_report(load, entry, "'%s' is a secret: it is never logged", name);
    else
        list->items[list->count++] = name;
}

static void
set_headers(struct hw_load *load, const struct hw_node *node, const struct hw_key *key, void *field)
{
    hw_start_list(load, node, key, field);
    hw_each_entry(load, node, key, field, add_header);
}

const struct hw_key hw_keys_decisions[] = {
    {"file", set_file, HW_FIELD(hw_conf_decisions, file), .max = 1024, .shape = HW_SHAPE_SCALAR},
    {"text", hw_set_word, HW_FIELD(hw_conf_decisions, text), .words = hw_decision_text_names},
    {"agents", hw_set_word, HW_FIELD(hw_conf_decisions, agents), .words = hw_decision_agents_names},
    {"headers", set_headers, HW_FIELD(hw_conf_decisions, headers), .max = HEADERS_MAX},
    {"max_size", hw_set_size, HW_FIELD(hw_conf_decisions, max_size), .fallback = "64MiB",
     .min = MIB, .max = 1024ull * 1024 * MIB},
    {"keep", hw_set_count, HW_FIELD(hw_conf_decisions, keep), .fallback = "4", .max = 100},
    {.name = NULL},
};

/* --- what conditions look at --- */

static size_t
count_headers(const struct hw_conf_when *when)
{
    size_t count = when->header_count;
    for (size_t i = 0; i < when->all_count; i++)
        count += count_headers(&when->all[i]);
    for (size_t i = 0; i < when->any_count; i++)
        count += count_headers(&when->any[i]);
    for (size_t i = 0; i < when->none_count; i++)
        count += count_headers(&when->none[i]);
    return count;
}

static void
add_name(struct hw_conf_list *list, char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i], name) == 0)
            return;
    if (list->count < HEADERS_MAX) /* what is not logged cannot be replayed, and replay says so */
        list->items[list->count++] = name;
}

static void
add_headers(struct hw_conf_list *list, const struct hw_conf_when *when)
{
    for (size_t i = 0; i < when->header_count; i++)
        add_name(list, when->header[i].name);
    for (size_t i = 0; i < when->all_count; i++)
        add_headers(list, &when->all[i]);
    for (size_t i = 0; i < when->any_count; i++)
        add_headers(list, &when->any[i]);
    for (size_t i = 0; i < when->none_count; i++)
        add_headers(list, &when->none[i]);
}

void
hw_gather_decision_headers(struct hw_load *load)
{
    struct hw_snapshot *snapshot = load->snapshot;
    struct hw_conf_list asked = snapshot->decisions.headers, all = {0};
    size_t count = asked.count;

    for (size_t i = 0; i < snapshot->route_count; i++)
        count += count_headers(&snapshot->routes[i].when);
    all.items = hw_conf_arena_array(load->arena, count, sizeof(char *));
    for (size_t i = 0; i < asked.count; i++)
        add_name(&all, asked.items[i]);
    for (size_t i = 0; i < snapshot->route_count; i++)
        add_headers(&all, &snapshot->routes[i].when);
    snapshot->decisions.headers = all;
}
