/* router/api/reader_objects.c - an answer's objects as events: OpenAI's chunks and completions,
 * Ollama's lines, the ask service's answer, and errors in all their shapes.
 *
 * A backend's bytes are no more trusted than an agent's: each object is scanned strictly, and text
 * that needs no decoding is handed on where it lies. */
#include "router/api/reader.h"

#include <string.h>

#include "router/api/utf8.h"

#define MAX_SAID 400 /* bytes of a backend's own words in an error */

static const struct hw_json_limits limits = {.depth = 128, .nodes = 1000000};
/* Vectors are all nodes; max_bytes is the bound there. */
static const struct hw_json_limits vector_limits = {.depth = 128, .nodes = 8000000};

/* ---- errors ---- */

static void
fail_words(struct hw_reader *reader, int status, const char *text, size_t len)
{
    /* Cut between two characters; and what is no text at all is not repeated. */
    size_t at = 0;
    while (at < len && at < MAX_SAID) {
        size_t n = hw_utf8_step(text + at, text + len);
        if (n == 0 || text[at] == '\0')
            break;
        at += n;
    }
    bool text_only = at == len || at >= MAX_SAID;
    if (len == 0 || !text_only || *text == '<') {
        if (status != 0)
            hw_reader_fail(reader, status, "the backend answered with status %d", status);
        else
            hw_reader_fail(reader, 0, "the backend reported an error without words");
        return;
    }
    hw_reader_fail(reader, status, "%.*s", (int)at, text);
}

static void
fail_string(struct hw_reader *reader, int status, const struct hw_json *string)
{
    hw_buf_clear(&reader->text);
    hw_json_append_decoded(string, &reader->text);
    fail_words(reader, status, reader->text.data, reader->text.len);
}

/* "..." | {"message": "..."} | [{"msg": "..."}], the last as FastAPI says what it expected. */
static void
fail_said(struct hw_reader *reader, int status, const struct hw_json *said)
{
    struct hw_json inner = *said, message;

    if (said->type == HW_JSON_ARRAY) {
        struct hw_json_iter iter;
        hw_json_iter_init(&iter, said);
        if (!hw_json_next(&iter, NULL, &inner))
            inner = *said;
    }
    if (inner.type == HW_JSON_STRING)
        fail_string(reader, status, &inner);
    else if ((hw_json_get(&inner, "message", &message) || hw_json_get(&inner, "msg", &message)) &&
             message.type == HW_JSON_STRING)
        fail_string(reader, status, &message);
    else
        fail_words(reader, status, inner.p, inner.len);
}

void
hw_reader_take_error(struct hw_reader *reader, const char *text, size_t len)
{
    static const char *const names[] = {"error", "detail", "message"};
    struct hw_json root, said;

    if (len > 0 && hw_json_validate(text, len, &limits, &root, NULL) == 0)
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
            if (hw_json_get(&root, names[i], &said) && said.type != HW_JSON_NULL) {
                fail_said(reader, reader->status, &said);
                return;
            }
    fail_words(reader, reader->status, text, len);
}

/* ---- content ---- */

/* The characters of a string: where they lie, or decoded into buf. */
static bool
characters(const struct hw_json *string, struct hw_buf *buf, const char **text, size_t *len)
{
    *text = string->p + 1;
    *len = string->len - 2;
    if (memchr(*text, '\\', *len) == NULL)
        return true;
    hw_buf_clear(buf);
    if (hw_json_append_decoded(string, buf) != 0)
        return false;
    *text = buf->data;
    *len = buf->len;
    return true;
}

static void
emit_text(struct hw_reader *reader, enum hw_event_type type, const struct hw_json *string)
{
    struct hw_event event = {.type = type};

    if (string->p == NULL || string->type != HW_JSON_STRING || string->len <= 2)
        return;
    if (!characters(string, &reader->text, &event.text, &event.len)) {
        hw_reader_fail(reader, 0, "out of memory for a piece of the backend's answer");
        return;
    }
    hw_reader_emit(reader, &event);
}

static void
take_count(const struct hw_json *object, const char *name, uint64_t *out, bool *known)
{
    struct hw_json value;

    if (hw_json_get(object, name, &value) && hw_json_uint(&value, out))
        *known = true;
}

void
hw_reader_finish(struct hw_reader *reader)
{
    if (!reader->saw_answer) {
        hw_reader_fail(reader, 0, "the backend ended its answer without a word");
        return;
    }
    struct hw_event event = {
        .type = HW_EVENT_FINISH, .finish = reader->finish, .usage = reader->usage};
    /* Backends say "stop" although they called tools, and "tool_calls" although they did not. */
    if (event.finish == HW_FINISH_STOP && reader->call_count > 0)
        event.finish = HW_FINISH_TOOL_CALLS;
    else if (event.finish == HW_FINISH_TOOL_CALLS && reader->call_count == 0)
        event.finish = HW_FINISH_STOP;
    hw_reader_emit(reader, &event);
}

static void
note_finish(struct hw_reader *reader, const struct hw_json *reason)
{
    static const struct {
        const char *word;
        enum hw_finish finish;
    } words[] = {{"stop", HW_FINISH_STOP},
                 {"length", HW_FINISH_LENGTH},
                 {"tool_calls", HW_FINISH_TOOL_CALLS},
                 {"function_call", HW_FINISH_TOOL_CALLS},
                 {"content_filter", HW_FINISH_FILTER}};

    if (reason->p == NULL || reason->type != HW_JSON_STRING)
        return;
    reader->finish_seen = true;
    reader->finish = HW_FINISH_STOP;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (hw_json_string_is(reason, words[i].word))
            reader->finish = words[i].finish;
}

/* ---- tool calls ---- */

/* FNV-1a: only so that ids which we have to invent differ between calls. */
static uint64_t
hash_bytes(uint64_t hash, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * 0x100000001b3u;
    return hash;
}

/* A C string for an event: a NUL behind, none within. */
static const char *
c_string(const struct hw_json *string, struct hw_buf *buf)
{
    hw_buf_clear(buf);
    if (string->p == NULL || string->type != HW_JSON_STRING ||
        hw_json_append_decoded(string, buf) != 0 || buf->data == NULL)
        return "";
    return buf->data;
}

struct tool_call {
    struct hw_json id, name, arguments;
};

static void
emit_tool_call(struct hw_reader *reader, uint64_t key, const struct tool_call *call)
{
    struct hw_event event = {.type = HW_EVENT_TOOL_CALL, .text = ""};

    while (event.index < reader->call_count && reader->call_keys[event.index] != key)
        event.index++;
    if (event.index == HW_MAX_TOOL_CALLS) {
        hw_reader_fail(reader, 0, "the backend called more than %d tools", HW_MAX_TOOL_CALLS);
        return;
    }
    if (call->arguments.p != NULL && call->arguments.type == HW_JSON_STRING) {
        if (!characters(&call->arguments, &reader->text, &event.text, &event.len)) {
            hw_reader_fail(reader, 0, "out of memory for a tool call of the backend's");
            return;
        }
    } else if (call->arguments.p != NULL && call->arguments.type != HW_JSON_NULL) {
        event.text = call->arguments.p; /* Ollama's: an object, whose source text is the string */
        event.len = call->arguments.len;
    }
    if (event.index == reader->call_count) {
        reader->call_keys[reader->call_count++] = key;
        event.name = c_string(&call->name, &reader->name);
        event.id = c_string(&call->id, &reader->id);
        if (*event.id == '\0') {
            uint64_t hash = hash_bytes(0xcbf29ce484222325u, event.name, strlen(event.name));
            hash = hash_bytes(hash, event.text, event.len);
            hw_buf_clear(&reader->id);
            hw_buf_printf(&reader->id, "call_%016llx_%u", (unsigned long long)hash, event.index);
            event.id = reader->id.data != NULL ? reader->id.data : "";
        }
    }
    hw_reader_emit(reader, &event);
}

static void
read_tool_call(const struct hw_json *value, struct tool_call *call)
{
    struct hw_json function;

    memset(call, 0, sizeof(*call));
    hw_json_get(value, "id", &call->id);
    if (hw_json_get(value, "function", &function)) {
        hw_json_get(&function, "name", &call->name);
        hw_json_get(&function, "arguments", &call->arguments);
    }
}

/* complete: each element is a call of its own; otherwise it continues the call of its index. */
static void
take_tool_calls(struct hw_reader *reader, const struct hw_json *calls, bool complete)
{
    struct hw_json_iter iter;
    struct hw_json item, index;
    struct tool_call call;

    if (calls->p == NULL || calls->type != HW_JSON_ARRAY)
        return;
    hw_json_iter_init(&iter, calls);
    while (!reader->done && hw_json_next(&iter, NULL, &item)) {
        uint64_t key = reader->call_count;
        read_tool_call(&item, &call);
        if (!complete && !(hw_json_get(&item, "index", &index) && hw_json_uint(&index, &key)) &&
            call.id.p == NULL && reader->call_count > 0)
            key = reader->call_keys[reader->call_count - 1]; /* more of the last one */
        emit_tool_call(reader, key, &call);
    }
}

/* ---- OpenAI ---- */

static void
take_delta(struct hw_reader *reader, const struct hw_json *delta, bool complete)
{
    struct hw_json content = {.p = NULL}, reasoning = {.p = NULL}, refusal = {.p = NULL},
                   calls = {.p = NULL};
    struct hw_json_iter iter;
    struct hw_json key, value;

    if (delta->p == NULL || delta->type != HW_JSON_OBJECT)
        return;
    hw_json_iter_init(&iter, delta);
    while (hw_json_next(&iter, &key, &value)) {
        if (value.type == HW_JSON_NULL)
            continue;
        if (hw_json_string_is(&key, "content"))
            content = value;
        else if (hw_json_string_is(&key, "reasoning_content") ||
                 hw_json_string_is(&key, "reasoning"))
            reasoning = value;
        else if (hw_json_string_is(&key, "refusal"))
            refusal = value;
        else if (hw_json_string_is(&key, "tool_calls"))
            calls = value;
    }
    emit_text(reader, HW_EVENT_REASONING, &reasoning);
    emit_text(reader, HW_EVENT_TEXT, &content);
    emit_text(reader, HW_EVENT_TEXT, &refusal);
    take_tool_calls(reader, &calls, complete);
}

static void
take_choice(struct hw_reader *reader, const struct hw_json *choice)
{
    struct hw_json delta = {.p = NULL}, reason = {.p = NULL}, text = {.p = NULL};
    struct hw_json_iter iter;
    struct hw_json key, value;
    uint64_t index = 0;
    bool complete = false; /* a message rather than a delta, also where a stream was asked for */

    if (choice->type != HW_JSON_OBJECT)
        return;
    hw_json_iter_init(&iter, choice);
    while (hw_json_next(&iter, &key, &value)) {
        if (hw_json_string_is(&key, "delta")) {
            delta = value;
        } else if (hw_json_string_is(&key, "message")) {
            delta = value;
            complete = true;
        }
        if (hw_json_string_is(&key, "finish_reason"))
            reason = value;
        else if (hw_json_string_is(&key, "text")) /* of /v1/completions */
            text = value;
        else if (hw_json_string_is(&key, "index") && !hw_json_uint(&value, &index))
            index = 0;
    }
    if (index != 0)
        return; /* a canonical answer is one answer */
    reader->saw_answer = true;
    take_delta(reader, &delta, complete);
    emit_text(reader, HW_EVENT_TEXT, &text);
    note_finish(reader, &reason);
}

static void
take_openai(struct hw_reader *reader, const struct hw_json *root, bool whole)
{
    struct hw_json_iter iter;
    struct hw_json key, value, choices = {.p = NULL};

    hw_json_iter_init(&iter, root);
    while (hw_json_next(&iter, &key, &value)) {
        if (value.type == HW_JSON_NULL)
            continue;
        if (hw_json_string_is(&key, "choices")) {
            choices = value;
        } else if (hw_json_string_is(&key, "usage")) {
            take_count(&value, "prompt_tokens", &reader->usage.prompt_tokens, &reader->usage.known);
            take_count(&value, "completion_tokens", &reader->usage.output_tokens,
                       &reader->usage.known);
        } else if (hw_json_string_is(&key, "error")) {
            fail_said(reader, 0, &value);
            return;
        }
    }
    if (choices.p != NULL && choices.type == HW_JSON_ARRAY) {
        hw_json_iter_init(&iter, &choices);
        while (!reader->done && hw_json_next(&iter, NULL, &value))
            take_choice(reader, &value);
    }
    if (whole && !reader->done)
        hw_reader_finish(reader);
}

/* ---- Ollama ---- */

static void
finish_ollama(struct hw_reader *reader, const struct hw_json *root, const struct hw_json *reason)
{
    take_count(root, "prompt_eval_count", &reader->usage.prompt_tokens, &reader->usage.known);
    take_count(root, "eval_count", &reader->usage.output_tokens, &reader->usage.known);
    if (hw_json_string_is(reason, "load") || hw_json_string_is(reason, "unload")) {
        hw_reader_fail(reader, 0, "the backend loaded or unloaded the model and answered nothing");
        return;
    }
    note_finish(reader, reason);
    hw_reader_finish(reader);
}

/* /api/chat puts it into a message, /api/generate beside everything else. */
static void
take_ollama_text(struct hw_reader *reader, const struct hw_json *object, const char *content)
{
    struct hw_json part;

    if (hw_json_get(object, "thinking", &part))
        emit_text(reader, HW_EVENT_REASONING, &part);
    if (hw_json_get(object, content, &part)) {
        reader->saw_answer = true;
        emit_text(reader, HW_EVENT_TEXT, &part);
    }
}

static void
take_ollama(struct hw_reader *reader, const struct hw_json *root)
{
    struct hw_json message = {.p = NULL}, reason = {.type = HW_JSON_NULL};
    struct hw_json_iter iter;
    struct hw_json key, value;
    bool done = false;

    hw_json_iter_init(&iter, root);
    while (hw_json_next(&iter, &key, &value)) {
        if (hw_json_string_is(&key, "message")) {
            message = value;
        } else if (hw_json_string_is(&key, "done")) {
            hw_json_bool(&value, &done);
        } else if (hw_json_string_is(&key, "done_reason")) {
            reason = value;
        } else if (hw_json_string_is(&key, "error") && value.type != HW_JSON_NULL) {
            fail_said(reader, 0, &value);
            return;
        }
    }
    if (message.p != NULL && message.type == HW_JSON_OBJECT) {
        struct hw_json part;
        reader->saw_answer = true;
        take_ollama_text(reader, &message, "content");
        if (hw_json_get(&message, "tool_calls", &part))
            take_tool_calls(reader, &part, true);
    } else {
        take_ollama_text(reader, root, "response");
    }
    if (done && !reader->done)
        finish_ollama(reader, root, &reason);
}

/* ---- the ask service ---- */

/* The service may begin its answer with the question it was asked. */
static void
skip_echo(const struct hw_query *query, const char **text, size_t *len)
{
    const struct hw_message *asked = query->last_user;

    if (asked == NULL || asked->text_len == 0 || *len < asked->text_len ||
        memcmp(*text, asked->text, asked->text_len) != 0)
        return;
    *text += asked->text_len;
    *len -= asked->text_len;
    while (*len > 0 && **text != '\0' && strchr(" \t\r\n", **text) != NULL) {
        (*text)++;
        (*len)--;
    }
}

static void
take_bdh(struct hw_reader *reader, const struct hw_json *root)
{
    struct hw_event event = {.type = HW_EVENT_TEXT};
    struct hw_json value;

    if (!hw_json_get(root, "answer", &value) || value.type != HW_JSON_STRING) {
        if ((hw_json_get(root, "error", &value) || hw_json_get(root, "detail", &value)) &&
            value.type != HW_JSON_NULL)
            fail_said(reader, 0, &value);
        else
            hw_reader_fail(reader, 0, "the backend's answer has no \"answer\" in it");
        return;
    }
    if (!characters(&value, &reader->text, &event.text, &event.len)) {
        hw_reader_fail(reader, 0, "out of memory for the backend's answer");
        return;
    }
    skip_echo(reader->query, &event.text, &event.len);
    if (event.len > 0)
        hw_reader_emit(reader, &event);
    reader->saw_answer = true;
    hw_reader_finish(reader);
}

void
hw_reader_take_object(struct hw_reader *reader, const char *text, size_t len, bool whole)
{
    struct hw_json root;
    struct hw_err err;

    const struct hw_json_limits *bounds = reader->query->embeds ? &vector_limits : &limits;

    if (hw_json_validate(text, len, bounds, &root, &err) != 0) {
        if (reader->ending && reader->framing != HW_FRAMING_WHOLE)
            hw_reader_fail(reader, 0, "the backend ended its stream early");
        else
            hw_reader_fail(reader, 0, "the backend sent %s", err.msg);
        return;
    }
    if (root.type != HW_JSON_OBJECT) {
        hw_reader_fail(reader, 0, "the backend sent JSON that is no object");
        return;
    }
    if (reader->query->embeds) {
        struct hw_json said;
        if (hw_json_get(&root, "error", &said) && said.type != HW_JSON_NULL)
            fail_said(reader, 0, &said);
        else
            hw_reader_take_embeddings(reader, &root);
        return;
    }
    switch (reader->kind) {
    case HW_KIND_OLLAMA:
        take_ollama(reader, &root);
        return;
    case HW_KIND_BDH:
        take_bdh(reader, &root);
        return;
    case HW_KIND_OPENAI:
    case HW_KIND_COUNT:
        break;
    }
    take_openai(reader, &root, whole);
}
