/* router/api/reader_calls.c - calls of tools in a backend's answer: which call an object belongs
 * to, and ids for those that have none. */
#include "router/api/reader.h"

#include <string.h>

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
        if (!hw_reader_characters(&call->arguments, &reader->text, &event.text, &event.len)) {
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
        if (*event.id != '\0') {
            reader->call_ids[event.index] =
                hash_bytes(0xcbf29ce484222325u, event.id, strlen(event.id)) | 1;
        } else {
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

/* Some servers give every call of a stream the index 0: another id with a name is another call, and
 * what follows belongs to that one. */
static void
tell_calls_apart(struct hw_reader *reader, uint64_t key, const struct tool_call *call)
{
    const char *id;
    size_t len;

    if (call->name.p == NULL || call->name.type != HW_JSON_STRING || call->name.len <= 2 ||
        call->id.p == NULL || call->id.type != HW_JSON_STRING || call->id.len <= 2 ||
        !hw_reader_characters(&call->id, &reader->id, &id, &len))
        return;
    uint64_t hash = hash_bytes(0xcbf29ce484222325u, id, strnlen(id, len)) | 1;
    for (uint32_t i = 0; i < reader->call_count; i++)
        if (reader->call_keys[i] == key && reader->call_ids[i] != 0 && reader->call_ids[i] != hash)
            reader->call_keys[i] = UINT64_MAX - i; /* nobody's index any more */
}

void
hw_reader_take_calls(struct hw_reader *reader, const struct hw_json *calls, bool complete)
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
        if (!complete)
            tell_calls_apart(reader, key, &call);
        emit_tool_call(reader, key, &call);
    }
}
