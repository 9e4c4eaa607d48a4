/* engine/pickle.c - the stack machine.
 *
 * It runs in a loop over the bytes, never recursively. Nodes and values that it ever makes are
 * capped: with everything at its limit it holds some 20 MiB, an honest checkpoint some KiB. Nodes
 * may come to form cycles; so nothing here walks them but by the list of all nodes. */
#include "engine/pickle.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_MARKS = HW_PICKLE_MAX_DEPTH, MAX_NAME = 255, MAX_NODES = 1 << 16, MAX_VALUES = 1 << 18 };

struct values {
    struct hw_pickle_value *items;
    size_t count, room;
};

struct hw_pickle {
    const uint8_t *bytes;
    size_t len, at;
    struct values stack, memo;
    size_t marks[MAX_MARKS]; /* stack heights */
    size_t mark_count;
    struct hw_pickle_node *nodes;
    size_t node_count, value_count; /* ever made */
    struct hw_pickle_value root;
};

static int
grow(struct hw_pickle_value **items, size_t *room, size_t need, struct hw_err *err)
{
    if (need <= *room)
        return 0;
    size_t wider = *room < 8 ? 8 : *room * 2;
    while (wider < need)
        wider *= 2;
    struct hw_pickle_value *grown = realloc(*items, wider * sizeof(*grown));
    if (grown == NULL)
        return hw_err_set(err, HW_ENOMEM, "no memory for the pickle");
    memset(grown + *room, 0, (wider - *room) * sizeof(*grown));
    *items = grown;
    *room = wider;
    return 0;
}

static int
push(struct hw_pickle *p, struct hw_pickle_value value, struct hw_err *err)
{
    if (++p->value_count > MAX_VALUES)
        return hw_err_set(err, HW_ELIMIT, "makes more than %d values", MAX_VALUES);
    int rc = grow(&p->stack.items, &p->stack.room, p->stack.count + 1, err);
    if (rc == 0)
        p->stack.items[p->stack.count++] = value;
    return rc;
}

/* What lies above the last mark is not to be popped by an opcode that takes no mark. */
static size_t
floor_of(const struct hw_pickle *p)
{
    return p->mark_count > 0 ? p->marks[p->mark_count - 1] : 0;
}

static int
pop(struct hw_pickle *p, struct hw_pickle_value *out, struct hw_err *err)
{
    if (p->stack.count <= floor_of(p))
        return hw_err_set(err, HW_EINVAL, "takes a value from an empty stack");
    *out = p->stack.items[--p->stack.count];
    return 0;
}

static struct hw_pickle_value *
top(struct hw_pickle *p, struct hw_err *err)
{
    if (p->stack.count <= floor_of(p)) {
        hw_err_set(err, HW_EINVAL, "takes a value from an empty stack");
        return NULL;
    }
    return &p->stack.items[p->stack.count - 1];
}

static struct hw_pickle_node *
make_node(struct hw_pickle *p, struct hw_err *err)
{
    struct hw_pickle_node *node = NULL;

    if (++p->node_count > MAX_NODES)
        hw_err_set(err, HW_ELIMIT, "makes more than %d objects", MAX_NODES);
    else if ((node = calloc(1, sizeof(*node))) == NULL)
        hw_err_set(err, HW_ENOMEM, "no memory for the pickle");
    if (node == NULL)
        return NULL;
    node->depth = 1;
    node->next = p->nodes;
    p->nodes = node;
    return node;
}

static int
deepen(struct hw_pickle_node *node, const struct hw_pickle_value *child, struct hw_err *err)
{
    if (child->kind < HW_PICKLE_TUPLE || child->node->depth < node->depth)
        return 0;
    node->depth = child->node->depth + 1;
    if (node->depth > HW_PICKLE_MAX_DEPTH)
        return hw_err_set(err, HW_ELIMIT, "nests deeper than %u", HW_PICKLE_MAX_DEPTH);
    return 0;
}

static int
add_items(struct hw_pickle_node *node, const struct hw_pickle_value *items, size_t count,
          struct hw_err *err)
{
    int rc = grow(&node->items, &node->room, node->count + count, err);

    for (size_t i = 0; rc == 0 && i < count; i++) {
        node->items[node->count++] = items[i];
        rc = deepen(node, &items[i], err);
    }
    return rc;
}

static int
push_node(struct hw_pickle *p, enum hw_pickle_kind kind, const struct hw_pickle_value *items,
          size_t count, struct hw_err *err)
{
    struct hw_pickle_node *node = make_node(p, err);
    int rc = node == NULL ? HW_ELIMIT : add_items(node, items, count, err);

    if (rc == 0)
        rc = push(p, (struct hw_pickle_value){.kind = kind, .node = node}, err);
    return rc;
}

/* The last `count` values become one tuple. */
static int
make_tuple(struct hw_pickle *p, size_t count, struct hw_err *err)
{
    if (p->stack.count - floor_of(p) < count)
        return hw_err_set(err, HW_EINVAL, "takes a value from an empty stack");
    p->stack.count -= count;
    /* push writes where the first item lies, after the node has its copy */
    return push_node(p, HW_PICKLE_TUPLE, p->stack.items + p->stack.count, count, err);
}

static int
pop_mark(struct hw_pickle *p, size_t *count, struct hw_err *err)
{
    if (p->mark_count == 0)
        return hw_err_set(err, HW_EINVAL, "looks for a mark that is not there");
    *count = p->stack.count - p->marks[--p->mark_count];
    return 0;
}

/* SETITEM(S), APPEND(S): the last `count` values go into the node below them. */
static int
put_items(struct hw_pickle *p, size_t count, bool pairs, struct hw_err *err)
{
    if (p->stack.count - floor_of(p) < count + 1)
        return hw_err_set(err, HW_EINVAL, "takes a value from an empty stack");
    if (pairs && count % 2 != 0)
        return hw_err_set(err, HW_EINVAL, "sets a key without a value");
    p->stack.count -= count;
    struct hw_pickle_value *into = &p->stack.items[p->stack.count - 1];
    if (into->kind != (pairs ? HW_PICKLE_DICT : HW_PICKLE_LIST) && into->kind != HW_PICKLE_CALL)
        return hw_err_set(err, HW_EINVAL, "puts items into what holds none");
    return add_items(into->node, p->stack.items + p->stack.count, count, err);
}

/* Modules and functions that no checkpoint calls: none of them would run here, but whoever loads
 * such a file elsewhere should know. */
static bool
is_attack(const struct hw_pickle_value *function)
{
    static const char *const modules[] = {
        "os",     "posix",  "nt",     "subprocess", "sys",      "importlib", "runpy",
        "pty",    "socket", "ctypes", "commands",   "platform", "shutil",    "webbrowser",
        "pickle", "timeit", "pdb",    "bdb",        "code",     "asyncio",   "torch.hub"};
    static const char *const functions[] = {"eval",  "exec",       "compile",    "open",
                                            "apply", "execfile",   "__import__", "getattr",
                                            "input", "breakpoint", "setattr"};

    if (function->kind != HW_PICKLE_GLOBAL)
        return false;
    for (size_t i = 0; i < sizeof(modules) / sizeof(modules[0]); i++)
        if (hw_pickle_is_text(&function->node->items[0], modules[i]))
            return true;
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++)
        if (hw_pickle_is_global(function, "builtins", functions[i]) ||
            hw_pickle_is_global(function, "__builtin__", functions[i]))
            return true;
    return false;
}

/* REDUCE and NEWOBJ: function and argument are written down. */
static int
make_call(struct hw_pickle *p, struct hw_err *err)
{
    struct hw_pickle_value function, argument;
    int rc;

    if ((rc = pop(p, &argument, err)) != 0 || (rc = pop(p, &function, err)) != 0)
        return rc;
    if (is_attack(&function))
        return hw_err_set(err, HW_EINVAL,
                          "wants to call %.*s.%.*s: not a checkpoint, but an attack",
                          (int)function.node->items[0].length, function.node->items[0].text,
                          (int)function.node->items[1].length, function.node->items[1].text);
    struct hw_pickle_node *node = make_node(p, err);
    if (node == NULL)
        return HW_ELIMIT;
    node->function = function;
    node->argument = argument;
    if ((rc = deepen(node, &function, err)) != 0 || (rc = deepen(node, &argument, err)) != 0)
        return rc;
    return push(p, (struct hw_pickle_value){.kind = HW_PICKLE_CALL, .node = node}, err);
}

static int
build(struct hw_pickle *p, struct hw_err *err)
{
    struct hw_pickle_value state;
    int rc = pop(p, &state, err);
    struct hw_pickle_value *object = rc == 0 ? top(p, err) : NULL;

    if (object == NULL)
        return HW_EINVAL;
    if (object->kind != HW_PICKLE_CALL)
        return hw_err_set(err, HW_EINVAL, "sets the state of what has none");
    object->node->state = state;
    return deepen(object->node, &state, err);
}

static int
make_persistent(struct hw_pickle *p, struct hw_err *err)
{
    struct hw_pickle_value id;
    int rc = pop(p, &id, err);
    struct hw_pickle_node *node = rc == 0 ? make_node(p, err) : NULL;

    if (node == NULL)
        return rc != 0 ? rc : HW_ELIMIT;
    node->argument = id;
    if ((rc = deepen(node, &id, err)) != 0)
        return rc;
    return push(p, (struct hw_pickle_value){.kind = HW_PICKLE_PERSISTENT, .node = node}, err);
}

static int
memo_put(struct hw_pickle *p, size_t index, struct hw_err *err)
{
    struct hw_pickle_value *value = top(p, err);

    if (value == NULL)
        return HW_EINVAL;
    if (index >= HW_PICKLE_MAX_MEMO)
        return hw_err_set(err, HW_ELIMIT, "has more than %u memo entries", HW_PICKLE_MAX_MEMO);
    int rc = grow(&p->memo.items, &p->memo.room, index + 1, err);
    if (rc == 0)
        p->memo.items[index] = *value;
    return rc;
}

static int
memo_get(struct hw_pickle *p, size_t index, struct hw_err *err)
{
    if (index >= p->memo.room || p->memo.items[index].kind == HW_PICKLE_UNSET)
        return hw_err_set(err, HW_EINVAL, "reads memo entry %zu, which is not set", index);
    return push(p, p->memo.items[index], err);
}

static int
take(struct hw_pickle *p, size_t len, const uint8_t **out, struct hw_err *err)
{
    if (len > p->len - p->at)
        return hw_err_set(err, HW_EINVAL, "ends inside an opcode");
    *out = p->bytes + p->at;
    p->at += len;
    return 0;
}

/* A little-endian argument of `size` bytes. */
static int
take_number(struct hw_pickle *p, size_t size, uint64_t *out, struct hw_err *err)
{
    const uint8_t *bytes = NULL;
    int rc = take(p, size, &bytes, err);

    *out = 0;
    if (rc == 0)
        memcpy(out, bytes, size);
    return rc;
}

static int
push_integer(struct hw_pickle *p, size_t size, bool is_signed, struct hw_err *err)
{
    uint64_t bits;
    int rc = take_number(p, size, &bits, err);

    if (rc != 0)
        return rc;
    if (is_signed && size > 0 && size < 8 && (bits >> (size * 8 - 1) & 1) != 0)
        bits |= UINT64_MAX << (size * 8);
    return push(p, (struct hw_pickle_value){.kind = HW_PICKLE_INTEGER, .integer = (int64_t)bits},
                err);
}

static int
push_long(struct hw_pickle *p, struct hw_err *err)
{
    uint64_t size;
    int rc = take_number(p, 1, &size, err);

    if (rc != 0)
        return rc;
    if (size > 8)
        return hw_err_set(err, HW_ELIMIT, "holds an integer of %d bytes", (int)size);
    return push_integer(p, (size_t)size, true, err);
}

static int
push_float(struct hw_pickle *p, struct hw_err *err)
{
    uint64_t bits;
    double number;
    int rc = take_number(p, 8, &bits, err);

    if (rc != 0)
        return rc;
    bits = __builtin_bswap64(bits); /* the one big-endian argument */
    memcpy(&number, &bits, sizeof(number));
    return push(p, (struct hw_pickle_value){.kind = HW_PICKLE_FLOAT, .number = number}, err);
}

static int
push_string(struct hw_pickle *p, struct hw_err *err)
{
    const uint8_t *text = NULL;
    uint64_t len;
    int rc;

    if ((rc = take_number(p, 4, &len, err)) != 0 || (rc = take(p, (size_t)len, &text, err)) != 0)
        return rc;
    return push(p,
                (struct hw_pickle_value){
                    .kind = HW_PICKLE_STRING, .length = (uint32_t)len, .text = (const char *)text},
                err);
}

/* "module\nname\n" */
static int
push_global(struct hw_pickle *p, struct hw_err *err)
{
    struct hw_pickle_value names[2];

    for (int i = 0; i < 2; i++) {
        const uint8_t *text = p->bytes + p->at;
        const uint8_t *end = memchr(text, '\n', p->len - p->at);
        if (end == NULL)
            return hw_err_set(err, HW_EINVAL, "ends inside an opcode");
        if (end - text > MAX_NAME)
            return hw_err_set(err, HW_ELIMIT, "holds a name of more than %d bytes", MAX_NAME);
        names[i] = (struct hw_pickle_value){
            .kind = HW_PICKLE_STRING, .length = (uint32_t)(end - text), .text = (const char *)text};
        p->at += (size_t)(end - text) + 1;
    }
    return push_node(p, HW_PICKLE_GLOBAL, names, 2, err);
}

static int
push_mark(struct hw_pickle *p, struct hw_err *err)
{
    if (p->mark_count == MAX_MARKS)
        return hw_err_set(err, HW_ELIMIT, "nests deeper than %d", MAX_MARKS);
    p->marks[p->mark_count++] = p->stack.count;
    return 0;
}

static int
push_bool(struct hw_pickle *p, bool value, struct hw_err *err)
{
    return push(p, (struct hw_pickle_value){.kind = HW_PICKLE_BOOL, .integer = value}, err);
}

/* Opcodes that make or change what is on the stack. */
static int
run_opcode(struct hw_pickle *p, uint8_t opcode, struct hw_err *err)
{
    uint64_t number = 0;
    size_t count = 0;
    int rc;

    switch (opcode) {
    case '(': /* MARK */
        return push_mark(p, err);
    case '}': /* EMPTY_DICT */
        return push_node(p, HW_PICKLE_DICT, NULL, 0, err);
    case ']': /* EMPTY_LIST */
        return push_node(p, HW_PICKLE_LIST, NULL, 0, err);
    case ')': /* EMPTY_TUPLE */
        return push_node(p, HW_PICKLE_TUPLE, NULL, 0, err);
    case 't': /* TUPLE */
        return (rc = pop_mark(p, &count, err)) != 0 ? rc : make_tuple(p, count, err);
    case 0x85: /* TUPLE1, 2, 3 */
    case 0x86:
    case 0x87:
        return make_tuple(p, (size_t)opcode - 0x84, err);
    case 's': /* SETITEM */
        return put_items(p, 2, true, err);
    case 'u': /* SETITEMS */
        return (rc = pop_mark(p, &count, err)) != 0 ? rc : put_items(p, count, true, err);
    case 'a': /* APPEND */
        return put_items(p, 1, false, err);
    case 'e': /* APPENDS */
        return (rc = pop_mark(p, &count, err)) != 0 ? rc : put_items(p, count, false, err);
    case 'c': /* GLOBAL */
        return push_global(p, err);
    case 'R':  /* REDUCE */
    case 0x81: /* NEWOBJ */
        return make_call(p, err);
    case 'b': /* BUILD */
        return build(p, err);
    case 'Q': /* BINPERSID */
        return make_persistent(p, err);
    case 'q': /* BINPUT, LONG_BINPUT */
    case 'r':
        rc = take_number(p, opcode == 'q' ? 1 : 4, &number, err);
        return rc != 0 ? rc : memo_put(p, (size_t)number, err);
    case 'h': /* BINGET, LONG_BINGET */
    case 'j':
        rc = take_number(p, opcode == 'h' ? 1 : 4, &number, err);
        return rc != 0 ? rc : memo_get(p, (size_t)number, err);
    default:
        return hw_err_set(err, HW_EINVAL, "has opcode 0x%02x, which no checkpoint needs", opcode);
    }
}

/* Opcodes that only push a constant; the rest goes on. */
static int
run_constant(struct hw_pickle *p, uint8_t opcode, struct hw_err *err)
{
    switch (opcode) {
    case 'K': /* BININT1 */
        return push_integer(p, 1, false, err);
    case 'M': /* BININT2 */
        return push_integer(p, 2, false, err);
    case 'J': /* BININT */
        return push_integer(p, 4, true, err);
    case 0x8a: /* LONG1 */
        return push_long(p, err);
    case 'G': /* BINFLOAT */
        return push_float(p, err);
    case 'X': /* BINUNICODE */
        return push_string(p, err);
    case 'N': /* NONE */
        return push(p, (struct hw_pickle_value){.kind = HW_PICKLE_NONE}, err);
    case 0x88: /* NEWTRUE, NEWFALSE */
    case 0x89:
        return push_bool(p, opcode == 0x88, err);
    default:
        return run_opcode(p, opcode, err);
    }
}

static int
run(struct hw_pickle *p, struct hw_err *err)
{
    if (p->len < 2 || p->bytes[0] != 0x80 || p->bytes[1] < 2 || p->bytes[1] > 3)
        return hw_err_set(err, HW_EINVAL, "is not of protocol 2, which torch.save writes");
    p->at = 2;
    while (p->at < p->len) {
        size_t opcode_at = p->at;
        uint8_t opcode = p->bytes[p->at++];
        int rc;
        if (opcode == '.') { /* STOP */
            if (p->stack.count != 1 || p->mark_count != 0)
                return hw_err_set(err, HW_EINVAL, "does not end with one value");
            return pop(p, &p->root, err);
        }
        if ((rc = run_constant(p, opcode, err)) != 0) {
            hw_err_prefix(err, "at byte %zu", opcode_at);
            return rc;
        }
    }
    return hw_err_set(err, HW_EINVAL, "ends without STOP");
}

int
hw_pickle_parse(const uint8_t *bytes, size_t len, struct hw_pickle **out, struct hw_err *err)
{
    if (len > HW_PICKLE_MAX_BYTES)
        return hw_err_set(err, HW_ELIMIT, "is over %u bytes", HW_PICKLE_MAX_BYTES);
    struct hw_pickle *p = calloc(1, sizeof(*p));
    if (p == NULL)
        return hw_err_set(err, HW_ENOMEM, "no memory for the pickle");
    p->bytes = bytes;
    p->len = len;
    int rc = grow(&p->stack.items, &p->stack.room, 64, err); /* never NULL from here on */
    if (rc == 0)
        rc = run(p, err);
    if (rc != 0)
        hw_pickle_destroy(&p);
    else
        *out = p;
    return rc;
}

void
hw_pickle_destroy(struct hw_pickle **pickle)
{
    struct hw_pickle *p = *pickle;
    struct hw_pickle_node *next;

    if (p == NULL)
        return;
    for (struct hw_pickle_node *node = p->nodes; node != NULL; node = next) {
        next = node->next;
        free(node->items);
        free(node);
    }
    free(p->stack.items);
    free(p->memo.items);
    free(p);
    *pickle = NULL;
}

const struct hw_pickle_value *
hw_pickle_root(const struct hw_pickle *pickle)
{
    return &pickle->root;
}

bool
hw_pickle_is_text(const struct hw_pickle_value *value, const char *text)
{
    return value->kind == HW_PICKLE_STRING && value->length == strlen(text) &&
           memcmp(value->text, text, value->length) == 0;
}

bool
hw_pickle_is_global(const struct hw_pickle_value *value, const char *module, const char *name)
{
    return value->kind == HW_PICKLE_GLOBAL &&
           (module == NULL || hw_pickle_is_text(&value->node->items[0], module)) &&
           hw_pickle_is_text(&value->node->items[1], name);
}

bool
hw_pickle_is_dict(const struct hw_pickle_value *value)
{
    return value->kind == HW_PICKLE_DICT ||
           (value->kind == HW_PICKLE_CALL &&
            hw_pickle_is_global(&value->node->function, "collections", "OrderedDict"));
}

int
hw_pickle_find(const struct hw_pickle_value *dict, const char *key,
               const struct hw_pickle_value **out, struct hw_err *err)
{
    const struct hw_pickle_node *node = dict->node;

    *out = NULL;
    for (size_t i = 0; i + 1 < node->count; i += 2) {
        if (!hw_pickle_is_text(&node->items[i], key))
            continue;
        if (*out != NULL)
            return hw_err_set(err, HW_EINVAL, "key %s stands twice", key);
        *out = &node->items[i + 1];
    }
    return 0;
}
