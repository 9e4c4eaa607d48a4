/* router/api/reader_objects.c - an answer's objects as events: Ollama's lines, the ask service's
 * answer, and errors in all their shapes. OpenAI's are read in reader_openai.c.
 *
 * A backend's bytes are no more trusted than an agent's: each object is scanned strictly, and text
 * that needs no decoding is handed on where it lies. */
#include "router/api/reader.h"

#include <string.h>

#include "router/api/text.h"
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
void
hw_reader_fail_said(struct hw_reader *reader, int status, const struct hw_json *said)
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
                hw_reader_fail_said(reader, reader->status, &said);
                return;
            }
    fail_words(reader, reader->status, text, len);
}

/* ---- content ---- */

bool
hw_reader_characters(const struct hw_json *string, struct hw_buf *buf, const char **text,
                     size_t *len)
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

void
hw_reader_emit_text(struct hw_reader *reader, enum hw_event_type type, const struct hw_json *string)
{
    struct hw_event event = {.type = type};

    bool with_logprobs = type == HW_EVENT_TEXT && reader->logprobs.len > 0;

    if (string->p == NULL || string->type != HW_JSON_STRING || string->len <= 2)
        return;
    if (!hw_reader_characters(string, &reader->text, &event.text, &event.len)) {
        hw_reader_fail(reader, 0, "out of memory for a piece of the backend's answer");
        return;
    }
    if (with_logprobs) {
        event.logprobs = reader->logprobs.data;
        event.logprobs_len = reader->logprobs.len;
    }
    hw_reader_emit(reader, &event);
    if (with_logprobs)
        hw_buf_clear(&reader->logprobs);
}

void
hw_reader_note_logprobs(struct hw_reader *reader, const struct hw_json *entries)
{
    struct hw_buf *out = &reader->logprobs;
    struct hw_json_iter iter;
    struct hw_json entry, member;

    if (!reader->query->wants_logprobs || entries->type != HW_JSON_ARRAY)
        return;
    hw_json_iter_init(&iter, entries);
    while (hw_json_next(&iter, NULL, &entry)) {
        if (entry.type != HW_JSON_OBJECT || !hw_json_get(&entry, "token", &member))
            continue;
        if (out->len > 0)
            hw_buf_append(out, ",", 1);
        hw_buf_append(out, entry.p, entry.len - 1);
        if (!hw_json_get(&entry, "bytes", &member))
            hw_buf_puts(out, ",\"bytes\":null");
        if (!hw_json_get(&entry, "top_logprobs", &member))
            hw_buf_puts(out, ",\"top_logprobs\":[]");
        hw_buf_puts(out, "}");
    }
    if (out->failed)
        hw_reader_fail(reader, 0, "out of memory for the backend's log-probabilities");
}

/* Entries that no text came with: of a character that is not complete, or of the end. */
void
hw_reader_emit_logprobs(struct hw_reader *reader)
{
    struct hw_event event = {.type = HW_EVENT_TEXT,
                             .text = "",
                             .logprobs = reader->logprobs.data,
                             .logprobs_len = reader->logprobs.len};

    if (event.logprobs_len == 0)
        return;
    hw_reader_emit(reader, &event);
    hw_buf_clear(&reader->logprobs);
}

void
hw_reader_take_count(const struct hw_json *object, const char *name, uint64_t *out, bool *known)
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

void
hw_reader_note_finish(struct hw_reader *reader, const struct hw_json *reason)
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

/* ---- Ollama ---- */

static void
finish_ollama(struct hw_reader *reader, const struct hw_json *root, const struct hw_json *reason)
{
    hw_reader_take_count(root, "prompt_eval_count", &reader->usage.prompt_tokens,
                         &reader->usage.known);
    hw_reader_take_count(root, "eval_count", &reader->usage.output_tokens, &reader->usage.known);
    if (hw_json_string_is(reason, "load") || hw_json_string_is(reason, "unload")) {
        hw_reader_fail(reader, 0, "the backend loaded or unloaded the model and answered nothing");
        return;
    }
    hw_reader_note_finish(reader, reason);
    hw_reader_finish(reader);
}

/* /api/chat puts it into a message, /api/generate beside everything else. */
static void
take_ollama_text(struct hw_reader *reader, const struct hw_json *object, const char *content)
{
    struct hw_json part;

    if (hw_json_get(object, "thinking", &part))
        hw_reader_emit_text(reader, HW_EVENT_REASONING, &part);
    if (hw_json_get(object, content, &part)) {
        reader->saw_answer = true;
        hw_reader_emit_text(reader, HW_EVENT_TEXT, &part);
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
        } else if (hw_json_string_is(&key, "logprobs")) {
            hw_reader_note_logprobs(reader, &value);
        } else if (hw_json_string_is(&key, "error") && value.type != HW_JSON_NULL) {
            hw_reader_fail_said(reader, 0, &value);
            return;
        }
    }
    if (message.p != NULL && message.type == HW_JSON_OBJECT) {
        struct hw_json part;
        reader->saw_answer = true;
        take_ollama_text(reader, &message, "content");
        if (hw_json_get(&message, "tool_calls", &part))
            hw_reader_take_calls(reader, &part, true);
    } else {
        take_ollama_text(reader, root, "response");
    }
    hw_reader_emit_logprobs(reader);
    if (done && !reader->done)
        finish_ollama(reader, root, &reason);
}

/* ---- the ask service ---- */

/* The service may begin its answer with the question it was asked. */
static void
skip_echo(const struct hw_query *query, const char **text, size_t *len)
{
    const struct hw_message *asked = query->last_user;

    if (asked == NULL || asked->text_len == 0 || *len < asked->text_len)
        return;
    char *question = malloc(asked->text_len);
    if (question == NULL)
        return;
    hw_text_copy(asked, question);
    bool echoed = memcmp(*text, question, asked->text_len) == 0;
    free(question);
    if (!echoed)
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
            hw_reader_fail_said(reader, 0, &value);
        else
            hw_reader_fail(reader, 0, "the backend's answer has no \"answer\" in it");
        return;
    }
    if (!hw_reader_characters(&value, &reader->text, &event.text, &event.len)) {
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
            hw_reader_fail_said(reader, 0, &said);
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
    hw_reader_take_openai(reader, &root, whole);
}
