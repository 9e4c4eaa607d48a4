/* config/tree.c - libyaml's events put together to a tree.
 *
 * Events rather than libyaml's documents: they are seen while they come, so depth and counts are
 * bounded before anything is built, and an alias is refused before it could refer to anything. */
#include "config/tree.h"

#include <string.h>
#include <yaml.h>

#include "config/diag.h"
#include "config/env.h"
#include "hatchway/err.h"

/* An open list or mapping. */
struct level {
    struct hw_node *node;
    struct hw_node *last; /* child appended last */
    const char *key;      /* mapping: its value comes next; NULL: a key comes next */
    uint32_t key_line, key_column;
};

struct builder {
    struct hw_conf_arena *arena;
    struct hw_diags *diags;
    struct level levels[HW_YAML_DEPTH_MAX];
    size_t depth; /* open levels */
    struct hw_node *root;
    size_t env_budget; /* bytes that ${NAME} may still add to this file */
};

static uint32_t
one_based(size_t n)
{
    return n < UINT32_MAX ? (uint32_t)n + 1 : UINT32_MAX;
}

/* Always returns HW_EINVAL, for those who stop at it. */
static int __attribute__((format(printf, 3, 4)))
report(struct builder *builder, yaml_mark_t mark, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    hw_diags_add(builder->diags, false, one_based(mark.line), one_based(mark.column), fmt, ap);
    va_end(ap);
    return HW_EINVAL;
}

static bool
is_null_word(const yaml_event_t *event)
{
    if (event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    const char *text = (const char *)event->data.scalar.value;
    return *text == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0;
}

/* Text of a scalar, or NULL after reporting. */
static const char *
scalar_text(struct builder *builder, const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;
    size_t len = event->data.scalar.length;
    if (memchr(text, '\0', len) != NULL) {
        report(builder, event->start_mark, "a NUL character cannot be used in a value");
        return NULL;
    }
    return hw_conf_arena_strndup(builder->arena, text, len);
}

static void
fill_scalar(struct builder *builder, const yaml_event_t *event, struct hw_node *node)
{
    node->kind = HW_NODE_BAD;
    if (is_null_word(event)) {
        node->kind = HW_NODE_NULL;
        return;
    }
    node->raw = scalar_text(builder, event);
    if (node->raw == NULL)
        return;
    struct hw_err err;
    if (hw_conf_env_expand(builder->arena, node->raw, &builder->env_budget, &node->text,
                           &node->from_env, &err) != 0) {
        report(builder, event->start_mark, "%s", err.msg);
        return;
    }
    node->kind = HW_NODE_SCALAR;
}

/* Puts a new node under the innermost open level (or makes it the root). NULL: too many. */
static struct hw_node *
append_node(struct builder *builder, const yaml_event_t *event)
{
    struct hw_node *node = hw_conf_arena_alloc(builder->arena, sizeof(*node));
    node->line = one_based(event->start_mark.line);
    node->column = one_based(event->start_mark.column);
    if (builder->depth == 0) {
        builder->root = node;
        return node;
    }
    struct level *level = &builder->levels[builder->depth - 1];
    if (level->node->kind == HW_NODE_MAP) {
        if (level->node->count >= HW_YAML_MAP_KEYS_MAX) {
            report(builder, event->start_mark, "more than %d keys in one mapping",
                   HW_YAML_MAP_KEYS_MAX);
            return NULL;
        }
        node->key = level->key;
        node->key_line = level->key_line;
        node->key_column = level->key_column;
        level->key = NULL;
    }
    if (level->last == NULL)
        level->node->first = node;
    else
        level->last->next = node;
    level->last = node;
    level->node->count++;
    return node;
}

static bool
wants_key(const struct builder *builder)
{
    if (builder->depth == 0)
        return false;
    const struct level *level = &builder->levels[builder->depth - 1];
    return level->node->kind == HW_NODE_MAP && level->key == NULL;
}

static int
take_key(struct builder *builder, const yaml_event_t *event)
{
    struct level *level = &builder->levels[builder->depth - 1];
    if (event->type != YAML_SCALAR_EVENT)
        return report(builder, event->start_mark, "a key must be a plain word, as in `listen:`");
    level->key = scalar_text(builder, event);
    if (level->key == NULL)
        return HW_EINVAL;
    level->key_line = one_based(event->start_mark.line);
    level->key_column = one_based(event->start_mark.column);
    return 0;
}

static int
open_level(struct builder *builder, const yaml_event_t *event, enum hw_node_kind kind)
{
    if (builder->depth == HW_YAML_DEPTH_MAX)
        return report(builder, event->start_mark, "nested more than %d levels deep",
                      HW_YAML_DEPTH_MAX);
    struct hw_node *node = append_node(builder, event);
    if (node == NULL)
        return HW_ELIMIT;
    node->kind = kind;
    builder->levels[builder->depth++] = (struct level){.node = node};
    return 0;
}

/* Anchors and tags change what a value means; neither has a use here. Reported, then ignored. */
static void
check_properties(struct builder *builder, const yaml_event_t *event, const yaml_char_t *anchor,
                 const yaml_char_t *tag)
{
    if (anchor != NULL)
        report(builder, event->start_mark,
               "anchors (&name) and aliases (*name) are not supported: write the value out");
    if (tag != NULL)
        report(builder, event->start_mark,
               "tags (!name) are not supported: write the value plainly, or in quotes");
}

static int
take_value(struct builder *builder, const yaml_event_t *event)
{
    if (event->type == YAML_SEQUENCE_START_EVENT) {
        check_properties(builder, event, event->data.sequence_start.anchor,
                         event->data.sequence_start.tag);
        return open_level(builder, event, HW_NODE_LIST);
    }
    if (event->type == YAML_MAPPING_START_EVENT) {
        check_properties(builder, event, event->data.mapping_start.anchor,
                         event->data.mapping_start.tag);
        return open_level(builder, event, HW_NODE_MAP);
    }
    struct hw_node *node = append_node(builder, event);
    if (node == NULL)
        return HW_ELIMIT;
    if (event->type == YAML_ALIAS_EVENT) {
        node->kind = HW_NODE_BAD;
        check_properties(builder, event, event->data.alias.anchor, NULL);
        return 0;
    }
    check_properties(builder, event, event->data.scalar.anchor, event->data.scalar.tag);
    fill_scalar(builder, event, node);
    return 0;
}

static int
take_event(struct builder *builder, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (builder->root != NULL)
            return report(builder, event->start_mark,
                          "a second document (---) begins here: a configuration is one document");
        return 0;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        builder->depth--;
        return 0;
    case YAML_SCALAR_EVENT:
    case YAML_ALIAS_EVENT:
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        return wants_key(builder) ? take_key(builder, event) : take_value(builder, event);
    default:
        return 0;
    }
}

static void
report_syntax(struct builder *builder, const yaml_parser_t *parser, const char *yaml, size_t len)
{
    const char *problem = parser->problem != NULL ? parser->problem : "not readable";
    if (parser->error == YAML_READER_ERROR) {
        /* The reader knows only a byte offset. */
        yaml_mark_t mark = {0};
        size_t end = parser->problem_offset < len ? parser->problem_offset : len;
        for (size_t i = 0; i < end; i++) {
            mark.column = yaml[i] == '\n' ? 0 : mark.column + 1;
            mark.line += yaml[i] == '\n';
        }
        report(builder, mark, "this is not YAML: %s (is the file UTF-8 text?)", problem);
        return;
    }
    yaml_mark_t mark = parser->problem_mark;
    if (mark.index < len && yaml[mark.index] == '\t')
        report(builder, mark, "a tab cannot indent YAML: use spaces");
    else if (parser->context != NULL)
        report(builder, mark, "this is not YAML: %s, %s (begun on line %u)", problem,
               parser->context, one_based(parser->context_mark.line));
    else
        report(builder, mark, "this is not YAML: %s", problem);
}

struct hw_node *
hw_tree_parse(struct hw_conf_arena *arena, const char *yaml, size_t len, struct hw_diags *diags)
{
    struct builder builder = {.arena = arena, .diags = diags, .env_budget = HW_ENV_BYTES_MAX};
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) {
        report(&builder, (yaml_mark_t){0}, "out of memory");
        return NULL;
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)yaml, len);
    int rc = 0;
    bool done = false;
    while (rc == 0 && !done) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            report_syntax(&builder, &parser, yaml, len);
            rc = HW_EINVAL;
            break;
        }
        done = event.type == YAML_STREAM_END_EVENT;
        rc = take_event(&builder, &event);
        if (event.type == YAML_SCALAR_EVENT) /* it may be a secret */
            explicit_bzero(event.data.scalar.value, event.data.scalar.length);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    if (rc != 0)
        return NULL;
    if (builder.root == NULL || builder.root->kind == HW_NODE_NULL) {
        builder.root = hw_conf_arena_alloc(arena, sizeof(*builder.root));
        builder.root->kind = HW_NODE_MAP;
        builder.root->line = builder.root->column = 1;
    }
    return builder.root;
}

const struct hw_node *
hw_node_find(const struct hw_node *map, const char *key)
{
    if (map == NULL || map->kind != HW_NODE_MAP)
        return NULL;
    for (const struct hw_node *node = map->first; node != NULL; node = node->next)
        if (strcmp(node->key, key) == 0)
            return node;
    return NULL;
}

const struct hw_node *
hw_node_at(const struct hw_node *list, size_t i)
{
    const struct hw_node *node = list->first;
    while (i-- > 0)
        node = node->next;
    return node;
}
