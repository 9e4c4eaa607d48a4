/* engine/pickle.h - reads a pickle as data: what it would call is written down, never called.
 *
 * A pickle is a program for a small stack machine. This one knows the opcodes that checkpoints
 * need; classes and functions stay names (GLOBAL), their calls become CALL nodes holding function,
 * arguments, and what was set on the result. A file that calls into the operating system or the
 * interpreter is refused outright: it is no checkpoint. */
#ifndef HW_ENGINE_PICKLE_H
#define HW_ENGINE_PICKLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hatchway/err.h"

#define HW_PICKLE_MAX_BYTES (1u << 20)
#define HW_PICKLE_MAX_MEMO 65536u
#define HW_PICKLE_MAX_DEPTH 64u

enum hw_pickle_kind {
    HW_PICKLE_UNSET = 0,
    HW_PICKLE_NONE,
    HW_PICKLE_BOOL,    /* integer */
    HW_PICKLE_INTEGER, /* integer */
    HW_PICKLE_FLOAT,   /* number */
    HW_PICKLE_STRING,  /* text, length; not NUL-terminated */
    /* with a node: */
    HW_PICKLE_TUPLE,      /* items */
    HW_PICKLE_LIST,       /* items */
    HW_PICKLE_DICT,       /* items: key, value, key, value, ... */
    HW_PICKLE_GLOBAL,     /* items: module, name */
    HW_PICKLE_CALL,       /* function, argument; items as LIST or DICT: what was put into it */
    HW_PICKLE_PERSISTENT, /* argument: the persistent id */
};

struct hw_pickle_node;

struct hw_pickle_value {
    enum hw_pickle_kind kind;
    uint32_t length;
    union {
        int64_t integer;
        double number;
        const char *text;
        struct hw_pickle_node *node;
    };
};

struct hw_pickle_node {
    struct hw_pickle_value *items;
    size_t count, room;
    struct hw_pickle_value function, argument, state;
    uint32_t depth;
    struct hw_pickle_node *next; /* of all nodes, for freeing */
};

struct hw_pickle; /* opaque; layout in pickle.c; owns every node */

/* bytes must outlive the pickle: strings point into it. On 0 the caller owns *out. */
int hw_pickle_parse(const uint8_t *bytes, size_t len, struct hw_pickle **out, struct hw_err *err);
void hw_pickle_destroy(struct hw_pickle **pickle); /* NULL-safe, nulls it */
const struct hw_pickle_value *hw_pickle_root(const struct hw_pickle *pickle);

bool hw_pickle_is_text(const struct hw_pickle_value *value, const char *text);
/* A GLOBAL of that module (NULL: any) and name. */
bool hw_pickle_is_global(const struct hw_pickle_value *value, const char *module, const char *name);
/* A dict, or a collections.OrderedDict. */
bool hw_pickle_is_dict(const struct hw_pickle_value *value);
/* *out becomes the value of the key, or NULL. HW_EINVAL when it stands twice. */
int hw_pickle_find(const struct hw_pickle_value *dict, const char *key,
                   const struct hw_pickle_value **out, struct hw_err *err);

#endif
