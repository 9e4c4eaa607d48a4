/* config/schema.c - reading mappings by tables of keys, and saying what is wrong with them. */
#include "config/schema.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "config/scalar.h"
#include "hatchway/assert.h"

#define SHOWN_BYTES 48
#define KEYS_MAX 64 /* of a table, for guesses */
/* So few are listed even beside a guess: the word nearest to 'gpu' is 'cpu'. */
#define FEW_WORDS 4

size_t
hw_conf_path_push(struct hw_load *load, const char *name, size_t i)
{
    size_t mark = load->path_len;
    size_t room = sizeof(load->path) - mark;
    int n = name != NULL ? snprintf(load->path + mark, room, "%s%s", mark > 0 ? "." : "",
                                    hw_conf_shown(name))
                         : snprintf(load->path + mark, room, "[%zu]", i);
    if (n > 0)
        load->path_len = mark + ((size_t)n < room ? (size_t)n : room - 1);
    return mark;
}

void
hw_conf_path_pop(struct hw_load *load, size_t mark)
{
    load->path_len = mark;
    load->path[mark] = '\0';
}

const char *
hw_conf_shown(const char *text)
{
    static _Thread_local char slots[4][SHOWN_BYTES + 4];
    static _Thread_local unsigned next;
    char *out = slots[next++ % 4];
    size_t i = 0;
    for (; text[i] != '\0' && i < SHOWN_BYTES; i++)
        out[i] = iscntrl((unsigned char)text[i]) ? '?' : text[i];
    if (text[i] != '\0') {
        while (i > 0 && ((unsigned char)text[i] & 0xc0) == 0x80) /* not within a character */
            i--;
        memcpy(out + i, "...", 3);
        i += 3;
    }
    out[i] = '\0';
    return out;
}

static void __attribute__((format(printf, 5, 0)))
add(struct hw_load *load, bool warning, uint32_t line, uint32_t column, const char *fmt, va_list ap)
{
    char msg[sizeof(((struct hw_diag *)0)->msg)];
    size_t used = 0;
    if (load->path_len > 0)
        used = (size_t)snprintf(msg, sizeof(msg), "%s: ", load->path);
    vsnprintf(msg + used, sizeof(msg) - used, fmt, ap);
    hw_diags_addf(load->diags, warning, line, column, "%s", msg);
}

void
hw_conf_report(struct hw_load *load, const struct hw_node *node, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add(load, false, node->line, node->column, fmt, ap);
    va_end(ap);
}

void
hw_conf_report_key(struct hw_load *load, const struct hw_node *node, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add(load, false, node->key_line, node->key_column, fmt, ap);
    va_end(ap);
}

void
hw_conf_warn(struct hw_load *load, const struct hw_node *node, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add(load, true, node->line, node->column, fmt, ap);
    va_end(ap);
}

/* "a, b, c" of words, cut with ", ..." when there is no room. */
static void
join_words(const char *const *words, char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    for (; *words != NULL; words++) {
        size_t need = strlen(*words) + 2;
        if (used + need + 6 > size) {
            snprintf(out + used, size - used, ", ...");
            return;
        }
        used += (size_t)snprintf(out + used, size - used, "%s%s", used > 0 ? ", " : "", *words);
    }
}

/* Costs too much to be sought for mistakes that nobody will read. */
static const char *
nearest(const struct hw_load *load, const char *text, const char *const *words)
{
    return load->diags->errors < HW_DIAGS_MAX ? hw_nearest_word(text, words) : NULL;
}

void
hw_conf_report_unknown(struct hw_load *load, const struct hw_node *node, const char *what,
                       const char *const *words)
{
    const char *near = nearest(load, node->text, words);
    const char *shown = hw_conf_shown(node->raw);
    size_t count = 0;
    while (words[count] != NULL)
        count++;
    char all[160];
    join_words(words, all, sizeof(all));
    if (near != NULL && count <= FEW_WORDS)
        hw_conf_report(load, node, "unknown %s '%s'; did you mean '%s'? (known: %s)", what, shown,
                       near, all);
    else if (near != NULL)
        hw_conf_report(load, node, "unknown %s '%s'; did you mean '%s'?", what, shown, near);
    else if (count == 0)
        hw_conf_report(load, node, "unknown %s '%s'; none is configured", what, shown);
    else
        hw_conf_report(load, node, "unknown %s '%s'; known: %s", what, shown, all);
}

static const char *
kind_words(const struct hw_node *node)
{
    switch (node->kind) {
    case HW_NODE_LIST:
        return "a list";
    case HW_NODE_MAP:
        return "a mapping";
    case HW_NODE_NULL:
        return "nothing";
    default:
        return "a plain value";
    }
}

bool
hw_want_scalar(struct hw_load *load, const struct hw_node *node, const char *example)
{
    if (node->kind == HW_NODE_SCALAR)
        return true;
    if (node->kind != HW_NODE_BAD)
        hw_conf_report(load, node, "expected %s, got %s", example, kind_words(node));
    return false;
}

bool
hw_want_list(struct hw_load *load, const struct hw_node *node, uint64_t max)
{
    if (node->kind == HW_NODE_BAD)
        return false;
    if (node->kind != HW_NODE_LIST && node->kind != HW_NODE_NULL) {
        hw_conf_report(load, node, "expected a list ([...] or lines that begin with -), got %s",
                       kind_words(node));
        return false;
    }
    if (node->count > max) {
        hw_conf_report(load, node, "at most %llu entries, got %zu", (unsigned long long)max,
                       node->count);
        return false;
    }
    return true;
}

bool
hw_want_map(struct hw_load *load, const struct hw_node *node)
{
    if (node->kind == HW_NODE_MAP || node->kind == HW_NODE_NULL)
        return true;
    if (node->kind != HW_NODE_BAD)
        hw_conf_report(load, node, "expected a mapping such as { key: value }, got %s",
                       kind_words(node));
    return false;
}

bool
hw_want_named(struct hw_load *load, const struct hw_node *node, uint64_t max, const char *entries)
{
    if (!hw_want_map(load, node))
        return false;
    if (node->count > max) {
        hw_conf_report(load, node, "at most %" PRIu64 " %s, got %zu", max, entries, node->count);
        return false;
    }
    hw_conf_report_duplicates(load, node);
    return true;
}

/* Returns the key that was probably meant, or NULL. */
static const char *
report_unknown_key(struct hw_load *load, const struct hw_node *node, const struct hw_key *keys)
{
    const char *words[KEYS_MAX + 1];
    size_t count = 0;
    for (; keys->name != NULL && count < KEYS_MAX; keys++)
        words[count++] = keys->name;
    words[count] = NULL;
    const char *near = nearest(load, node->key, words);
    char all[240];
    join_words(words, all, sizeof(all));
    if (near != NULL)
        hw_conf_report_key(load, node, "unknown key '%s'; did you mean '%s'?",
                           hw_conf_shown(node->key), near);
    else
        hw_conf_report_key(load, node, "unknown key '%s'; the keys here are %s",
                           hw_conf_shown(node->key), all);
    return near;
}

static const struct hw_key *
find_key(const struct hw_key *keys, const char *name)
{
    for (; keys->name != NULL; keys++)
        if (strcmp(keys->name, name) == 0)
            return keys;
    return NULL;
}

void
hw_conf_report_duplicates(struct hw_load *load, const struct hw_node *map)
{
    for (const struct hw_node *node = map->first; node != NULL; node = node->next) {
        const struct hw_node *first = hw_node_find(map, node->key);
        if (first != node)
            hw_conf_report_key(load, node, "duplicate key '%s'; the first is on line %u",
                               hw_conf_shown(node->key), first->key_line);
    }
}

void
hw_schema_defaults(struct hw_load *load, const struct hw_key *keys, void *base)
{
    for (; keys->name != NULL; keys++) {
        void *field = (char *)base + keys->offset;
        if (keys->set == hw_set_section)
            hw_schema_defaults(load, keys->keys, field);
        if (keys->fallback == NULL)
            continue;
        struct hw_node node = {
            .kind = HW_NODE_SCALAR, .raw = keys->fallback, .text = keys->fallback};
        keys->set(load, &node, keys, field);
    }
}

void
hw_schema_read(struct hw_load *load, const struct hw_node *map, const struct hw_key *keys,
               void *base)
{
    if (!hw_want_map(load, map))
        return;
    /* What is misspelt is read as what was meant, or a single typo would be reported again by
     * whatever misses the key, and by all that refer to what stands in it. */
    const struct hw_node *meant[KEYS_MAX] = {NULL};
    for (const struct hw_node *node = map->first; node != NULL; node = node->next) {
        if (find_key(keys, node->key) != NULL)
            continue;
        const char *near = report_unknown_key(load, node, keys);
        size_t i = near != NULL ? (size_t)(find_key(keys, near) - keys) : KEYS_MAX;
        if (i < KEYS_MAX && meant[i] == NULL)
            meant[i] = node;
    }
    hw_conf_report_duplicates(load, map);
    for (size_t i = 0; keys->name != NULL; keys++, i++) {
        const struct hw_node *node = hw_node_find(map, keys->name);
        if (node == NULL && i < KEYS_MAX)
            node = meant[i];
        if (node == NULL) {
            if (keys->required)
                hw_conf_report(load, map, "the key '%s' is missing", keys->name);
            continue;
        }
        size_t mark = hw_conf_path_push(load, keys->name, 0);
        keys->set(load, node, keys, (char *)base + keys->offset);
        hw_conf_path_pop(load, mark);
    }
}
