/* config/setters.c - how a value of each type gets into its field. */
#include <inttypes.h>
#include <string.h>

#include "config/scalar.h"
#include "config/schema.h"
#include "hatchway/assert.h"

static void
store_unsigned(const struct hw_key *key, void *field, uint64_t n)
{
    if (key->size == sizeof(uint64_t))
        *(uint64_t *)field = n;
    else if (key->size == sizeof(uint32_t))
        *(uint32_t *)field = (uint32_t)n;
    else
        HW_ASSERT(false);
}

/* The upper bound of a number: the table's, or what the field can hold. */
static uint64_t
upper_bound(const struct hw_key *key)
{
    if (key->max != 0)
        return key->max;
    return key->size == sizeof(uint64_t) ? UINT64_MAX : UINT32_MAX;
}

void
hw_set_count(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
             void *field)
{
    uint64_t n;
    if (!hw_want_scalar(load, node, "a number such as 4"))
        return;
    if (!hw_scalar_uint(node->text, &n))
        hw_conf_report(load, node, "expected a whole number such as 4, got '%s'",
                       hw_conf_shown(node->raw));
    else if (n < key->min || n > upper_bound(key))
        hw_conf_report(load, node, "must be between %" PRIu64 " and %" PRIu64 ", got '%s'",
                       key->min, upper_bound(key), hw_conf_shown(node->raw));
    else
        store_unsigned(key, field, n);
}

void
hw_set_duration(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
                void *field)
{
    static const char example[] = "a duration such as 250ms, 30s, 10m or 1h";
    uint64_t ms;
    if (!hw_want_scalar(load, node, example))
        return;
    if (!hw_scalar_duration(node->text, &ms))
        hw_conf_report(load, node, "expected %s, got '%s'", example, hw_conf_shown(node->raw));
    else if (ms < key->min || ms > upper_bound(key))
        hw_conf_report(load, node, "must be between %" PRIu64 "ms and %" PRIu64 "s, got '%s'",
                       key->min, upper_bound(key) / 1000, hw_conf_shown(node->raw));
    else
        store_unsigned(key, field, ms);
}

void
hw_set_size(struct hw_load *load, const struct hw_node *node, const struct hw_key *key, void *field)
{
    static const char example[] = "a size such as 64KiB or 256MiB";
    uint64_t bytes;
    if (!hw_want_scalar(load, node, example))
        return;
    if (!hw_scalar_size(node->text, &bytes))
        hw_conf_report(load, node, "expected %s, got '%s'", example, hw_conf_shown(node->raw));
    else if (bytes < key->min || bytes > upper_bound(key))
        hw_conf_report(load, node, "must be between %" PRIu64 " and %" PRIu64 " bytes, got '%s'",
                       key->min, upper_bound(key), hw_conf_shown(node->raw));
    else
        store_unsigned(key, field, bytes);
}

void
hw_set_int(struct hw_load *load, const struct hw_node *node, const struct hw_key *key, void *field)
{
    int n;
    int max = (int)key->max;
    if (!hw_want_scalar(load, node, "a number such as 1"))
        return;
    if (!hw_scalar_int(node->text, &n) || n > max || n < -max)
        hw_conf_report(load, node, "expected a whole number from -%d to %d, got '%s'", max, max,
                       hw_conf_shown(node->raw));
    else
        *(int *)field = n;
}

void
hw_set_decimal(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
               void *field)
{
    double n;
    if (!hw_want_scalar(load, node, "a number such as 0.15"))
        return;
    if (!hw_scalar_decimal(node->text, &n) || n > (double)key->max)
        hw_conf_report(load, node, "expected a number such as 0.15, at most %" PRIu64 ", got '%s'",
                       key->max, hw_conf_shown(node->raw));
    else
        *(double *)field = n;
}

void
hw_set_bool(struct hw_load *load, const struct hw_node *node, const struct hw_key *key, void *field)
{
    (void)key;
    if (!hw_want_scalar(load, node, "true or false"))
        return;
    if (!hw_scalar_bool(node->text, field))
        hw_conf_report(load, node, "expected true or false, got '%s'", hw_conf_shown(node->raw));
}

void
hw_set_word(struct hw_load *load, const struct hw_node *node, const struct hw_key *key, void *field)
{
    if (!hw_want_scalar(load, node, "a single word"))
        return;
    int i = hw_scalar_word(node->text, key->words);
    if (i < 0)
        hw_conf_report_unknown(load, node, key->name, key->words);
    else
        *(unsigned *)field = (unsigned)i;
}

static void
add_word(struct hw_load *load, const struct hw_node *entry, const struct hw_key *key, void *field)
{
    int i = hw_scalar_word(entry->text, key->words);
    if (i < 0)
        hw_conf_report_unknown(load, entry, key->name, key->words);
    else
        *(uint32_t *)field |= 1u << i;
}

void
hw_set_words(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
             void *field)
{
    hw_each_entry(load, node, key, field, add_word);
}

/* Control characters would break a header, a log line or a terminal. */
static bool
check_text(struct hw_load *load, const struct hw_node *node, uint64_t max, bool many_lines)
{
    size_t len = strlen(node->text);
    if (strspn(node->text, " \t\r\n") == len) {
        hw_conf_report(load, node, "this text is empty");
        return false;
    }
    if (len > max) {
        hw_conf_report(load, node, "at most %" PRIu64 " bytes, got %zu", max, len);
        return false;
    }
    for (const char *at = node->text; *at != '\0'; at++) {
        if (((unsigned char)*at >= ' ' && *at != 0x7f) ||
            (many_lines && strchr("\t\r\n", *at) != NULL))
            continue;
        hw_conf_report(load, node, "this text has a control character or a line break in it");
        return false;
    }
    return true;
}

void
hw_set_text(struct hw_load *load, const struct hw_node *node, const struct hw_key *key, void *field)
{
    if (hw_want_scalar(load, node, "a text") && check_text(load, node, key->max, false))
        *(char **)field = hw_conf_arena_strdup(load->arena, node->text);
}

bool
hw_check_name(struct hw_load *load, const struct hw_node *node, const char *text, bool at_key)
{
    struct hw_node where = *node;
    if (at_key) {
        where.line = node->key_line;
        where.column = node->key_column;
    }
    if (!hw_scalar_is_name(text))
        hw_conf_report(load, &where, "a name has 1 to 64 of A-Z a-z 0-9 . _ : / -, got '%s'",
                       hw_conf_shown(at_key ? text : node->raw));
    else if (strcmp(text, "auto") == 0)
        hw_conf_report(load, &where, "the name 'auto' is taken: it means that the policy decides");
    else
        return true;
    return false;
}

void
hw_set_name(struct hw_load *load, const struct hw_node *node, const struct hw_key *key, void *field)
{
    (void)key;
    if (!hw_want_scalar(load, node, "a name"))
        return;
    hw_check_name(load, node, node->text, false);
    /* Kept even when it is wrong, so that what refers to it is not called wrong as well. */
    *(char **)field = hw_conf_arena_strdup(load->arena, node->text);
}

void
hw_each_entry(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
              void *field, hw_entry_cb *one)
{
    if (node->kind == HW_NODE_SCALAR) {
        one(load, node, key, field);
        return;
    }
    if (!hw_want_list(load, node, key->max))
        return;
    size_t i = 0;
    for (const struct hw_node *entry = node->first; entry != NULL; entry = entry->next, i++) {
        size_t mark = hw_conf_path_push(load, NULL, i);
        if (hw_want_scalar(load, entry, "a text"))
            one(load, entry, key, field);
        hw_conf_path_pop(load, mark);
    }
}

void
hw_start_list(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
              struct hw_conf_list *list)
{
    size_t count = node->kind == HW_NODE_LIST ? node->count : 1;
    if (count > key->max) /* hw_each_entry will refuse it */
        count = 0;
    *list = (struct hw_conf_list){.items = hw_conf_arena_array(load->arena, count, sizeof(char *))};
}

static void
add_text(struct hw_load *load, const struct hw_node *entry, const struct hw_key *key, void *field)
{
    struct hw_conf_list *list = field;
    if (!check_text(load, entry, key->item_max, key->item_max > 256))
        return;
    list->items[list->count++] = hw_conf_arena_strdup(load->arena, entry->text);
}

void
hw_set_texts(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
             void *field)
{
    hw_start_list(load, node, key, field);
    hw_each_entry(load, node, key, field, add_text);
}

void
hw_set_percent(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
               void *field)
{
    double share;
    if (!hw_want_scalar(load, node, "a percentage such as 2%"))
        return;
    if (!hw_scalar_percent(node->text, &share))
        hw_conf_report(load, node, "expected a percentage such as 2%%, got '%s'",
                       hw_conf_shown(node->raw));
    else if (share * 100 > (double)key->max)
        hw_conf_report(load, node, "must be between 0%% and %u%%, got '%s'", (unsigned)key->max,
                       hw_conf_shown(node->raw));
    else
        *(double *)field = share;
}

void
hw_set_section(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
               void *field)
{
    hw_schema_read(load, node, key->keys, field);
}

/* A mapping none of whose values was given up when the tree was built. */
static bool
is_whole(const struct hw_node *map)
{
    for (const struct hw_node *node = map->first; node != NULL; node = node->next)
        if (node->kind == HW_NODE_BAD)
            return false;
    return map->kind == HW_NODE_MAP;
}

static void
read_record(struct hw_load *load, const struct hw_node *map, const struct hw_records *records,
            void *item)
{
    size_t errors_before = load->diags->errors;
    hw_schema_defaults(load, records->keys, item);
    if (records->begin != NULL)
        records->begin(load, item);
    hw_schema_read(load, map, records->keys, item);
    if (records->end != NULL && is_whole(map) && load->diags->errors == errors_before)
        records->end(load, map, item);
}

/* items[i]'s name must differ from those before it. */
static void
check_duplicate(struct hw_load *load, const struct hw_node *map, const struct hw_records *records,
                const char *items, size_t i)
{
    const char *name = *(char *const *)(const void *)(items + i * records->item_size);
    if (name == NULL)
        return;
    for (size_t j = 0; j < i; j++) {
        const char *other = *(char *const *)(const void *)(items + j * records->item_size);
        if (other != NULL && strcmp(name, other) == 0) {
            hw_conf_report(load, hw_node_find(map, "name"),
                           "a %s named '%s' exists already, as [%zu]", records->what,
                           hw_conf_shown(name), j);
            return;
        }
    }
}

void
hw_set_records(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
               void *field)
{
    const struct hw_records *records = key->records;
    if (!hw_want_list(load, node, key->max) || node->count == 0)
        return;
    char *items = hw_conf_arena_array(load->arena, node->count, records->item_size);
    /* The count grows with the reading, so that a record sees only complete ones before it. */
    size_t *count = (size_t *)(void *)((char *)load->snapshot + records->count_offset);
    *(void **)field = items;
    *count = 0;
    for (const struct hw_node *map = node->first; map != NULL; map = map->next) {
        size_t mark = hw_conf_path_push(load, NULL, *count);
        read_record(load, map, records, items + *count * records->item_size);
        check_duplicate(load, map, records, items, *count);
        (*count)++;
        hw_conf_path_pop(load, mark);
    }
}
