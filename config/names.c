/* config/names.c - roles, agents and aliases: who asks, and what may be asked for. */
#include <ctype.h>
#include <string.h>

#include "config/sections.h"

#define KEYWORD_BYTES 64
#define KEYWORD_WORDS 16
#define EXAMPLE_BYTES 2000

/* How many words the classifier will see: runs of letters and digits, and ? ! $ % + # each alone.
 */
static size_t
count_words(const char *text)
{
    size_t count = 0;
    bool within = false;
    for (; *text != '\0'; text++) {
        bool alone = strchr("?!$%+#", *text) != NULL;
        bool letter = isalnum((unsigned char)*text) || (unsigned char)*text >= 0x80;
        count += alone || (letter && !within);
        within = letter;
    }
    return count;
}

static void
add_keyword(struct hw_load *load, const struct hw_node *entry, const struct hw_key *key,
            void *field)
{
    (void)key;
    struct hw_conf_list *list = field;
    size_t words = count_words(entry->text);
    if (strlen(entry->text) > KEYWORD_BYTES || words > KEYWORD_WORDS)
        hw_conf_report(load, entry, "a keyword has at most %d bytes and %d words, got '%s'",
                       KEYWORD_BYTES, KEYWORD_WORDS, hw_conf_shown(entry->raw));
    else if (words == 0)
        hw_conf_report(load, entry, "a keyword needs a letter or a digit, got '%s'",
                       hw_conf_shown(entry->raw));
    else
        list->items[list->count++] = hw_conf_arena_strdup(load->arena, entry->text);
}

void
hw_set_keywords(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
                void *field)
{
    hw_start_list(load, node, key, field);
    hw_each_entry(load, node, key, field, add_keyword);
}

const struct hw_key hw_keys_role[] = {
    {"description", hw_set_text, HW_FIELD(hw_conf_role, description), .max = 1000},
    {"keywords", hw_set_keywords, HW_FIELD(hw_conf_role, keywords), .max = 256},
    {"examples", hw_set_texts, HW_FIELD(hw_conf_role, examples), .max = 4096,
     .item_max = EXAMPLE_BYTES},
    /* Behind `examples`, to which it adds: tables are read in their own order. */
    {"examples_file", hw_set_examples_file, .offset = 0, .max = 1024, .shape = HW_SHAPE_SCALAR},
    {.name = NULL},
};

void
hw_set_roles(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
             void *field)
{
    struct hw_snapshot *snapshot = field;
    if (!hw_want_named(load, node, key->max, "roles"))
        return;
    snapshot->roles = hw_conf_arena_array(load->arena, node->count, sizeof(*snapshot->roles));
    for (const struct hw_node *map = node->first; map != NULL; map = map->next) {
        struct hw_conf_role *role = &snapshot->roles[snapshot->role_count];
        size_t mark = hw_conf_path_push(load, map->key, 0);
        hw_check_name(load, map, map->key, true);
        role->name = hw_conf_arena_strdup(load->arena, map->key);
        role->line = map->key_line;
        role->column = map->key_column;
        hw_schema_read(load, map, hw_keys_role, role);
        snapshot->role_count++;
        hw_conf_path_pop(load, mark);
    }
}

const char *const *
hw_role_words(struct hw_load *load)
{
    const struct hw_snapshot *snapshot = load->snapshot;
    if (load->role_words != NULL)
        return load->role_words;
    const char **words = hw_conf_arena_array(load->arena, snapshot->role_count + 1, sizeof(*words));
    for (size_t i = 0; i < snapshot->role_count; i++)
        words[i] = snapshot->roles[i].name;
    return load->role_words = words;
}

const char *const *
hw_agent_words(struct hw_load *load)
{
    const struct hw_snapshot *snapshot = load->snapshot;
    if (load->agent_words != NULL)
        return load->agent_words;
    const char **words =
        hw_conf_arena_array(load->arena, snapshot->agent_count + 1, sizeof(*words));
    size_t count = 0;
    for (size_t i = 0; i < snapshot->agent_count; i++)
        if (snapshot->agents[i].name != NULL)
            words[count++] = snapshot->agents[i].name;
    return load->agent_words = words;
}

static void
add_role(struct hw_load *load, const struct hw_node *entry, const struct hw_key *key, void *field)
{
    (void)key;
    int i = hw_snapshot_role(load->snapshot, entry->text, strlen(entry->text));
    if (i < 0)
        hw_conf_report_unknown(load, entry, "role", hw_role_words(load));
    else
        *(uint64_t *)field |= UINT64_C(1) << i;
}

void
hw_set_role_mask(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
                 void *field)
{
    hw_each_entry(load, node, key, field, add_role);
}

static const struct hw_key keys_agent[] = {
    {"name", hw_set_name, HW_FIELD(hw_conf_agent, name), .required = true},
    {"key", hw_set_key_hash, HW_FIELD(hw_conf_agent, key_sha256), .required = true,
     .shape = HW_SHAPE_SCALAR, .pattern = HW_KEY_HASH_PATTERN},
    {"lane", hw_set_word, HW_FIELD(hw_conf_agent, lane), .fallback = "interactive",
     .words = hw_lane_names},
    {"label", hw_set_bool, HW_FIELD(hw_conf_agent, label)},
    {.name = NULL},
};

static void
end_agent(struct hw_load *load, const struct hw_node *map, void *item)
{
    const struct hw_conf_agent *agent = item;
    for (size_t i = 0; i < load->snapshot->agent_count; i++) {
        const struct hw_conf_agent *other = &load->snapshot->agents[i];
        if (memcmp(other->key_sha256, agent->key_sha256, sizeof(agent->key_sha256)) == 0) {
            hw_conf_report(load, hw_node_find(map, "key"),
                           "agent '%s' has this key already: each agent needs its own",
                           hw_conf_shown(other->name));
            return;
        }
    }
}

const struct hw_records hw_records_agents = {
    .what = "agent",
    .keys = keys_agent,
    .item_size = sizeof(struct hw_conf_agent),
    .count_offset = offsetof(struct hw_snapshot, agent_count),
    .end = end_agent,
};

void
hw_set_aliases(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
               void *field)
{
    struct hw_snapshot *snapshot = field;
    if (!hw_want_named(load, node, key->max, "aliases"))
        return;
    snapshot->aliases = hw_conf_arena_array(load->arena, node->count, sizeof(*snapshot->aliases));
    for (const struct hw_node *entry = node->first; entry != NULL; entry = entry->next) {
        struct hw_conf_alias *alias = &snapshot->aliases[snapshot->alias_count++];
        size_t mark = hw_conf_path_push(load, entry->key, 0);
        hw_check_name(load, entry, entry->key, true);
        alias->name = hw_conf_arena_strdup(load->arena, entry->key);
        if (hw_want_scalar(load, entry, "a role, model or backend"))
            alias->target = hw_conf_arena_strdup(load->arena, entry->text);
        hw_conf_path_pop(load, mark);
    }
}
