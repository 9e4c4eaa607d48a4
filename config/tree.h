/* config/tree.h - YAML text as a tree of nodes that know where they stood. Private to config/.
 *
 * Anchors, aliases and tags are refused (so nothing can expand), ${NAME} is replaced in values. */
#ifndef HW_CONFIG_TREE_H
#define HW_CONFIG_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/arena.h"
#include "config/load.h"

#define HW_YAML_BYTES_MAX (1024 * 1024)
#define HW_YAML_DEPTH_MAX 12
#define HW_YAML_MAP_KEYS_MAX 1024

enum hw_node_kind {
    HW_NODE_NULL, /* nothing written, ~ or null */
    HW_NODE_SCALAR,
    HW_NODE_LIST,
    HW_NODE_MAP,
    HW_NODE_BAD, /* already reported: whoever meets it says nothing */
};

struct hw_node {
    enum hw_node_kind kind;
    uint32_t line, column; /* from 1 */
    const char *raw;       /* scalar: as in the file, ${NAME} and all; safe to show */
    const char *text;      /* scalar: after ${NAME}; never NULL there */
    bool from_env;         /* text has something of the environment in it */
    const char *key;       /* member of a mapping: its key, else NULL */
    uint32_t key_line, key_column;
    struct hw_node *first; /* children of a list or mapping */
    struct hw_node *next;
    size_t count;
};

/* The root of the only document, or NULL after reporting into diags. An empty document is an empty
 * mapping. Nodes live in arena. */
struct hw_node *hw_tree_parse(struct hw_conf_arena *arena, const char *yaml, size_t len,
                              struct hw_diags *diags);
/* The member `key` of a mapping, or NULL. */
const struct hw_node *hw_node_find(const struct hw_node *map, const char *key);
/* The i-th child, which must exist. */
const struct hw_node *hw_node_at(const struct hw_node *list, size_t i);

#endif
