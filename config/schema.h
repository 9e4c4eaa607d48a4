/* config/schema.h - tables of keys, and what reads YAML by them. Private to config/.
 *
 * A section is a struct of the snapshot and a table of struct hw_key: adding a key is one line in
 * its table. The same setter reads the default (written as YAML text in the table), so a default
 * cannot disagree with what a file may say. Setters report mistakes and leave the field alone. */
#ifndef HW_CONFIG_SCHEMA_H
#define HW_CONFIG_SCHEMA_H

#include <stddef.h>
#include <stdint.h>

#include "config/arena.h"
#include "config/diag.h"
#include "config/snapshot.h"
#include "config/tree.h"

#define HW_PERCENT_PATTERN "^[0-9][0-9.]*%$"
#define HW_MAX_BACKENDS 256
#define HW_MAX_ROUTES 1024
#define HW_MAX_AGENTS 4096
#define HW_MAX_ALIASES 256

/* One load under way. */
struct hw_load {
    struct hw_snapshot *snapshot;
    struct hw_conf_arena *arena; /* the snapshot's */
    struct hw_diags *diags;
    const char *folder; /* of the file; relative paths start here */
    char path[200];     /* of the key being read, e.g. backends[2].timeouts.idle */
    size_t path_len;
    /* NULL-terminated names for messages, made when first needed: their sections are read by then.
     */
    const char *const *role_words, *const *agent_words, *const *backend_words;
};

struct hw_key;
/* A function type, so that a setter's declaration is one word. */
typedef void hw_setter(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
                       void *field);

/* What may stand behind a key, for the JSON Schema (config/schema_json.c): told where the setter is
 * not one of those below. A setter with `keys` takes a section, any other one value or a list. */
enum hw_shape {
    HW_SHAPE_OF_SETTER,
    HW_SHAPE_SCALAR, /* one value: of `words`, or that fits `pattern` */
    HW_SHAPE_LIST,   /* such a value, or a list of them */
    HW_SHAPE_NUMBER,
    HW_SHAPE_BOOL,
    HW_SHAPE_DURATION,
    HW_SHAPE_SIZE,
    HW_SHAPE_NAME,
    HW_SHAPE_RANGE,
    HW_SHAPE_SECTION,
    HW_SHAPE_SECTIONS,        /* one by `keys`, or a list of them */
    HW_SHAPE_LIST_OR_SECTION, /* words, or a section by `keys` */
    HW_SHAPE_NAMED_SECTIONS,  /* a mapping from names to sections by `keys` */
    HW_SHAPE_NAMED_LISTS,     /* a mapping from names to a value or a list */
    HW_SHAPE_RECORDS,
};

struct hw_key {
    const char *name; /* NULL ends a table */
    hw_setter *set;
    size_t offset, size;  /* of the field in its struct */
    const char *fallback; /* the default as YAML would say it; NULL: all zero */
    bool required;
    uint64_t min, max;         /* numbers: bounds. Lists and maps: max entries. Texts: max bytes */
    uint32_t item_max;         /* lists: max bytes of an entry */
    const char *const *words;  /* hw_set_word and the like */
    const struct hw_key *keys; /* hw_set_section */
    const struct hw_records *records; /* hw_set_records */
    enum hw_shape shape;
    const char *pattern; /* a regular expression as JavaScript has them; NULL: any text */
};

/* Offset and size of a member, for a line of a table. */
#define HW_FIELD(type, member)                                                                     \
    .offset = offsetof(struct type, member), .size = sizeof(((struct type *)0)->member)

/* A list of mappings, read into an array whose elements begin with `char *name`. */
struct hw_records {
    const char *what; /* "backend", for messages */
    const struct hw_key *keys;
    size_t item_size;
    size_t count_offset; /* of the array's size_t count in struct hw_snapshot */
    /* Both may be NULL. begin: defaults that are not constants. end: what one key alone cannot
     * tell; called only when the record's keys were right. */
    void (*begin)(struct hw_load *load, void *item);
    void (*end)(struct hw_load *load, const struct hw_node *map, void *item);
};

void hw_schema_defaults(struct hw_load *load, const struct hw_key *keys, void *base);
void hw_schema_read(struct hw_load *load, const struct hw_node *map, const struct hw_key *keys,
                    void *base);

/* Keys that stand twice in a mapping. */
void hw_conf_report_duplicates(struct hw_load *load, const struct hw_node *map);

/* "PATH: message" at a node. */
void hw_conf_report(struct hw_load *load, const struct hw_node *node, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same at the key of a mapping's member. */
void hw_conf_report_key(struct hw_load *load, const struct hw_node *node, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void hw_conf_warn(struct hw_load *load, const struct hw_node *node, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* "PATH: unknown WHAT 'word'; did you mean ...": what it may be, among NULL-terminated words. */
void hw_conf_report_unknown(struct hw_load *load, const struct hw_node *node, const char *what,
                            const char *const *words);

/* Appends ".name" (or "[i]" when name is NULL) to the path; hw_conf_path_pop takes it off again. */
size_t hw_conf_path_push(struct hw_load *load, const char *name, size_t i);
void hw_conf_path_pop(struct hw_load *load, size_t mark);

/* False, after reporting what was wanted, unless node is of that kind. A NULL node (`key:` with
 * nothing behind it) is an empty list or map. */
bool hw_want_list(struct hw_load *load, const struct hw_node *node, uint64_t max);
bool hw_want_map(struct hw_load *load, const struct hw_node *node);
/* A map of at most max entries that the author names; those named twice are reported. */
bool hw_want_named(struct hw_load *load, const struct hw_node *node, uint64_t max,
                   const char *entries);
bool hw_want_scalar(struct hw_load *load, const struct hw_node *node, const char *example);
/* A node's text fit for a message: short, printable, secrets left as ${NAME}. Static storage,
 * good until the fourth next call of the same thread. */
const char *hw_conf_shown(const char *text);

/* A list that may be written as a single scalar: calls one for each entry with the path set. */
typedef void hw_entry_cb(struct hw_load *load, const struct hw_node *entry,
                         const struct hw_key *key, void *field);
/* Makes room in a struct hw_conf_list for the entries that hw_each_entry may call with. */
void hw_start_list(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
                   struct hw_conf_list *list);
void hw_each_entry(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
                   void *field, hw_entry_cb *one);

/* Setters. The field's size tells how wide the number is. */
hw_setter hw_set_count;    /* unsigned of 4 or 8 bytes */
hw_setter hw_set_duration; /* ms in 4 or 8 bytes */
hw_setter hw_set_size;     /* bytes in 4 or 8 bytes */
hw_setter hw_set_int;      /* int, |n| <= max */
hw_setter hw_set_decimal;  /* double, 0 to max */
hw_setter hw_set_percent;  /* double, a share: 0.02 for 2%; at most max% */
hw_setter hw_set_bool;
hw_setter hw_set_word;    /* enum: index into words */
hw_setter hw_set_words;   /* uint32_t mask of such */
hw_setter hw_set_text;    /* char *: not empty, at most max bytes, one line */
hw_setter hw_set_name;    /* char *: [A-Za-z0-9._:/-]{1,64} and not a reserved word */
hw_setter hw_set_texts;   /* struct hw_conf_list */
hw_setter hw_set_section; /* a struct by key->keys */
hw_setter hw_set_records; /* an array by key->records; the field is the enclosing struct */

/* Whether text may name something; else reports why not. */
bool hw_check_name(struct hw_load *load, const struct hw_node *node, const char *text, bool at_key);

#endif
