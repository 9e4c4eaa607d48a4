/* router/api/lost.c - names what a translation leaves behind: members of the agent's body that the
 * writer of a protocol does not carry, at its top and within its messages.
 *
 * It walks the body as it was sent, since what nobody reads stands nowhere else. Members without a
 * meaning for the answer (cache_control) are left out without a word. */
#include <string.h>

#include "router/api/dialect.h"
#include "router/api/outgoing.h"

static bool
is_plain_word(const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              (c != '\0' && strchr("_-.[] ", c) != NULL)))
            return false;
    }
    return len > 0 && len <= 64;
}

static bool
is_named(const struct hw_buf *list, const char *name, size_t len)
{
    const char *at = list->data, *end = list->data + list->len;

    while (at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        size_t n = (size_t)((comma != NULL ? comma : end) - at);
        if (n == len && memcmp(at, name, n) == 0)
            return true;
        at = comma != NULL ? comma + 2 : end;
    }
    return false;
}

void
hw_outgoing_drop(struct hw_outgoing *out, const char *name, size_t len)
{
    static const char more[] = "...";
    struct hw_buf *list = &out->dropped;
    size_t end = sizeof(more) + 1; /* room for a last ", ..." is kept free */

    if (!is_plain_word(name, len)) {
        name = more;
        len = sizeof(more) - 1;
    }
    if (is_named(list, name, len))
        return;
    if (list->max < end || list->len + len + 2 > list->max - end) {
        name = more;
        len = sizeof(more) - 1;
        if (is_named(list, name, len))
            return;
    }
    if (list->len > 0)
        hw_buf_append(list, ", ", 2);
    hw_buf_append(list, name, len);
}

void
hw_outgoing_drop_at(struct hw_outgoing *out, const struct hw_query *query, size_t i,
                    const char *what)
{
    bool items = query->dialect == &hw_dialect_responses;
    char name[64];
    int n = snprintf(name, sizeof(name), "%s[%u].%s", items ? "input" : "messages",
                     query->messages[i].at, what);

    hw_outgoing_drop(out, name, (size_t)n);
}

static bool
is_listed(const struct hw_json *key, const char *const *names)
{
    for (size_t i = 0; names[i] != NULL; i++)
        if (hw_json_string_is(key, names[i]))
            return true;
    return false;
}

/* Set to null, or to the false that it is anyway: nothing is lost. */
static bool
is_unset(const struct hw_json *key, const struct hw_json *value)
{
    static const char *const false_anyway[] = {"logprobs", "echo",       "store",    "raw",
                                               "stream",   "think",      "is_error", "numa",
                                               "low_vram", "vocab_only", NULL};
    bool set;

    return value->type == HW_JSON_NULL ||
           (hw_json_bool(value, &set) && !set && is_listed(key, false_anyway));
}

/* prefix: "" or where the members stand, with a point behind. */
static void
drop_members(struct hw_outgoing *out, const struct hw_json *object, const char *prefix,
             const char *const *carried)
{
    struct hw_json_iter iter;
    struct hw_json key, value;
    char name[96];

    if (object->type != HW_JSON_OBJECT)
        return;
    hw_json_iter_init(&iter, object);
    while (hw_json_next(&iter, &key, &value)) {
        if (is_unset(&key, &value) || is_listed(&key, carried))
            continue;
        size_t shown = key.len - 2 < sizeof(name) ? key.len - 2 : sizeof(name) - 1;
        int n = snprintf(name, sizeof(name), "%s%.*s", prefix, (int)shown, key.p + 1);
        hw_outgoing_drop(out, name, (size_t)n < sizeof(name) ? (size_t)n : sizeof(name) - 1);
    }
}

/* ---- messages ---- */

/* Members that parsing reads of a message, and of each element of an array in it. */
struct shape {
    const char *const *message;
    const char *array;
    const char *const *element;
};

static const char *const openai_message[] = {
    "role", "content", "tool_calls", "tool_call_id", "reasoning_content", "reasoning", NULL};
static const char *const openai_part[] = {"type",        "text", "refusal",       "image_url",
                                          "input_audio", "file", "cache_control", NULL};
static const char *const ollama_message[] = {"role",         "content",   "images",   "tool_calls",
                                             "tool_call_id", "tool_name", "thinking", NULL};
static const char *const call[] = {"id", "type", "function", "index", NULL};
static const char *const anthropic_message[] = {"role", "content", NULL};
static const char *const anthropic_block[] = {
    "type",    "text",          "source",   "id",    "name",     "input", "tool_use_id",
    "content", "cache_control", "is_error", "title", "thinking", "data",  "signature",
    NULL};

static const struct shape openai_shapes[] = {{openai_message, "content", openai_part},
                                             {NULL, "tool_calls", call}};
static const struct shape ollama_shapes[] = {{ollama_message, "tool_calls", call}};
static const struct shape anthropic_shapes[] = {{anthropic_message, "content", anthropic_block}};

static void
drop_of_array(struct hw_outgoing *out, const struct hw_json *array, size_t message,
              const struct shape *shape)
{
    struct hw_json_iter iter;
    struct hw_json element;
    char prefix[64];

    if (array->type != HW_JSON_ARRAY)
        return;
    hw_json_iter_init(&iter, array);
    for (size_t i = 0; hw_json_next(&iter, NULL, &element); i++) {
        snprintf(prefix, sizeof(prefix), "messages[%zu].%s[%zu].", message, shape->array, i);
        drop_members(out, &element, prefix, shape->element);
    }
}

static void
drop_of_messages(struct hw_outgoing *out, const struct hw_json *messages,
                 const struct shape *shapes, size_t count)
{
    struct hw_json_iter iter;
    struct hw_json message, array;
    char prefix[48];

    hw_json_iter_init(&iter, messages);
    for (size_t i = 0; hw_json_next(&iter, NULL, &message); i++)
        for (size_t j = 0; j < count; j++) {
            snprintf(prefix, sizeof(prefix), "messages[%zu].", i);
            if (shapes[j].message != NULL)
                drop_members(out, &message, prefix, shapes[j].message);
            if (hw_json_get(&message, shapes[j].array, &array))
                drop_of_array(out, &array, i, &shapes[j]);
        }
}

static void
drop_nested(struct hw_outgoing *out, const struct hw_query *query, const struct hw_json *root)
{
    struct hw_json messages;

    if (!hw_json_get(root, "messages", &messages) || messages.type != HW_JSON_ARRAY)
        return;
    if (query->dialect == &hw_dialect_openai)
        drop_of_messages(out, &messages, openai_shapes, 2);
    else if (query->dialect == &hw_dialect_ollama)
        drop_of_messages(out, &messages, ollama_shapes, 1);
    else if (query->dialect == &hw_dialect_anthropic)
        drop_of_messages(out, &messages, anthropic_shapes, 1);
}

void
hw_outgoing_drop_others(struct hw_outgoing *out, const struct hw_query *query,
                        const char *const *carried)
{
    const struct hw_json root = hw_query_root(query);

    for (size_t i = 0; i < query->lost_count; i++)
        hw_outgoing_drop(out, query->lost[i], strlen(query->lost[i]));
    drop_members(out, &root, "", carried);
    drop_nested(out, query, &root);
}

void
hw_outgoing_drop_parts(struct hw_outgoing *out, const struct hw_query *query)
{
    static const char *const known[] = {"text", "refusal", "image_url", NULL};
    struct hw_json_iter iter;
    struct hw_json part, type;

    for (size_t i = 0; i < query->message_count; i++) {
        const struct hw_message *message = &query->messages[i];
        const struct hw_json content = {HW_JSON_ARRAY, message->source, message->source_len};
        if (message->kind != HW_SOURCE_PARTS)
            continue;
        hw_json_iter_init(&iter, &content);
        while (hw_json_next(&iter, NULL, &part))
            if (hw_json_get(&part, "type", &type) && !is_listed(&type, known)) {
                hw_outgoing_drop_at(out, query, i, "content");
                break;
            }
    }
}

void
hw_outgoing_drop_options(struct hw_outgoing *out, const struct hw_query *query,
                         const char *const *carried)
{
    const struct hw_json root = hw_query_root(query);
    struct hw_json options;

    if ((query->dialect == &hw_dialect_ollama || query->dialect == &hw_dialect_ollama_generate) &&
        hw_json_get(&root, "options", &options) && options.type == HW_JSON_OBJECT)
        drop_members(out, &options, "options.", carried);
}
