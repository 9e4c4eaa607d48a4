/* router/api/calls.c - see calls.h. What is walked was checked by the dialects' parsers. */
#include "router/api/calls.h"

#include "router/api/canonical.h"
#include "router/api/dialect.h"
#include "router/api/outgoing.h"

void
hw_calls_init(struct hw_calls *calls, const struct hw_query *query, size_t message)
{
    const struct hw_message *said = &query->messages[message];
    struct hw_json value = {HW_JSON_ARRAY, said->source, said->source_len};

    *calls = (struct hw_calls){.query = query, .message = message};
    if (!said->has_calls)
        return;
    if (query->dialect != &hw_dialect_anthropic)
        (void)hw_message_get(query, said, HW_MEMBER_TOOL_CALLS, &value);
    if (query->dialect == &hw_dialect_responses) /* items of the input, without its brackets */
        calls->iter = (struct hw_json_iter){.p = value.p, .end = value.p + value.len};
    else
        hw_json_iter_init(&calls->iter, &value);
}

/* Beside a name and arguments, as an item of Responses or a block of Anthropic's. */
static bool
read_flat(const struct hw_json *item, const char *type, const char *id, const char *arguments,
          struct hw_call *call)
{
    struct hw_json value;

    return hw_json_get(item, "type", &value) && hw_json_string_is(&value, type) &&
           hw_json_get(item, id, &call->id) && hw_json_get(item, "name", &call->name) &&
           hw_json_get(item, arguments, &call->arguments);
}

/* Within a function, as OpenAI and Ollama have them. */
static bool
read_nested(const struct hw_json *item, struct hw_call *call)
{
    struct hw_json function;

    if (!hw_json_get(item, "id", &call->id))
        call->id.p = NULL;
    if (!hw_json_get(item, "function", &function) || !hw_json_get(&function, "name", &call->name))
        return false;
    if (!hw_json_get(&function, "arguments", &call->arguments) ||
        call->arguments.type == HW_JSON_NULL)
        call->arguments.p = NULL;
    return true;
}

static bool
read_call(const struct hw_calls *calls, const struct hw_json *item, struct hw_call *call)
{
    const struct hw_dialect *dialect = calls->query->dialect;

    if (dialect == &hw_dialect_anthropic)
        return read_flat(item, "tool_use", "id", "input", call);
    if (dialect == &hw_dialect_responses)
        return read_flat(item, "function_call", "call_id", "arguments", call);
    bool found = read_nested(item, call);
    if (dialect == &hw_dialect_ollama &&
        (call->id.p == NULL || call->id.type != HW_JSON_STRING || call->id.len == 2)) {
        int len = snprintf(call->invented, sizeof(call->invented), "\"call_%zu_%zu\"",
                           calls->message, calls->at);
        call->id = (struct hw_json){HW_JSON_STRING, call->invented, (size_t)len};
    }
    return found;
}

bool
hw_calls_next(struct hw_calls *calls, struct hw_call *call)
{
    struct hw_json item;

    while (hw_json_next(&calls->iter, NULL, &item)) {
        bool found = read_call(calls, &item, call);
        calls->at++;
        if (found)
            return true;
    }
    return false;
}

/* A string of JSON stays as it is, an object becomes one. */
static void
put_string(struct hw_buf *text, const struct hw_json *arguments)
{
    if (arguments->p == NULL)
        hw_buf_puts(text, "\"{}\"");
    else if (arguments->type == HW_JSON_STRING)
        hw_put_raw(text, arguments);
    else
        hw_json_write_string(text, arguments->p, arguments->len);
}

void
hw_calls_put_openai(struct hw_buf *text, const struct hw_query *query, size_t message)
{
    struct hw_calls calls;
    struct hw_call call;
    bool first = true;

    hw_buf_puts(text, "[");
    hw_calls_init(&calls, query, message);
    for (; !text->failed && hw_calls_next(&calls, &call); first = false) {
        hw_buf_puts(text, first ? "{\"id\":" : ",{\"id\":");
        hw_put_raw(text, &call.id);
        hw_buf_puts(text, ",\"type\":\"function\",\"function\":{\"name\":");
        hw_put_raw(text, &call.name);
        hw_buf_puts(text, ",\"arguments\":");
        put_string(text, &call.arguments);
        hw_buf_puts(text, "}}");
    }
    hw_buf_puts(text, "]");
}

/* A string of JSON is decoded where it is needed, and taken back if it is no object. */
static bool
put_object(struct hw_buf *text, const struct hw_json *arguments)
{
    static const struct hw_json_limits limits = {.depth = 64, .nodes = 100000};
    size_t before = text->len;
    struct hw_json root;

    if (arguments->type == HW_JSON_OBJECT) {
        hw_put_raw(text, arguments);
        return true;
    }
    if (arguments->type == HW_JSON_STRING && hw_json_append_decoded(arguments, text) == 0) {
        const char *decoded = text->data + before;
        size_t len = text->len - before;
        if (hw_json_validate(decoded, len, &limits, &root, NULL) == 0 &&
            root.type == HW_JSON_OBJECT)
            return true;
        text->len = before;
    }
    return false;
}

bool
hw_calls_put_ollama(struct hw_buf *text, const struct hw_query *query, size_t message)
{
    struct hw_calls calls;
    struct hw_call call;
    bool first = true, good = true;

    hw_buf_puts(text, "[");
    hw_calls_init(&calls, query, message);
    for (; !text->failed && hw_calls_next(&calls, &call); first = false) {
        hw_buf_puts(text, first ? "{" : ",{");
        if (call.id.p != NULL) {
            hw_put_key(text, "id");
            hw_put_raw(text, &call.id);
        }
        hw_put_key(text, "function");
        hw_buf_puts(text, "{");
        hw_put_key(text, "name");
        hw_put_raw(text, &call.name);
        hw_put_key(text, "arguments");
        bool given = call.arguments.p != NULL && call.arguments.len > 2;
        if (!given || !put_object(text, &call.arguments)) {
            hw_buf_puts(text, "{}");
            good = good && !given;
        }
        hw_buf_puts(text, "}}");
    }
    hw_buf_puts(text, "]");
    return good;
}
