/* router/api/answer.c - events added up, and the blob of a cache entry.
 *
 * The blob is little-endian: "HWA" and a version byte; created_s (8 bytes), finish (1), usage known
 * (1), prompt and output tokens (8 each); then strings, each behind its length in 4 bytes: backend,
 * model, text, reasoning; the number of tool calls (4) and of each id, name and arguments. Nothing
 * may follow. A Redis that others write to may hold anything, so decoding trusts no length. */
#include "router/api/answer.h"

#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"

static const uint8_t magic[4] = {'H', 'W', 'A', 1};

void
hw_answer_init(struct hw_answer *answer, size_t max_bytes)
{
    memset(answer, 0, sizeof(*answer));
    hw_buf_init(&answer->text, max_bytes);
    hw_buf_init(&answer->reasoning, max_bytes);
    hw_buf_init(&answer->logprobs, max_bytes);
}

void
hw_answer_free(struct hw_answer *answer)
{
    for (size_t i = 0; i < answer->tool_call_count; i++) {
        free(answer->tool_calls[i].id);
        free(answer->tool_calls[i].name);
        hw_buf_free(&answer->tool_calls[i].arguments);
    }
    free(answer->tool_calls);
    hw_buf_free(&answer->text);
    hw_buf_free(&answer->reasoning);
    hw_buf_free(&answer->logprobs);
    answer->tool_calls = NULL;
    answer->tool_call_count = 0;
}

/* max_bytes bounds everything together; text.max remembers it. */
static bool
has_room(const struct hw_answer *answer, size_t more)
{
    size_t used = answer->text.len + answer->reasoning.len + answer->logprobs.len;

    for (size_t i = 0; i < answer->tool_call_count; i++)
        used += answer->tool_calls[i].arguments.len + strlen(answer->tool_calls[i].id) +
                strlen(answer->tool_calls[i].name);
    return used <= answer->text.max && more <= answer->text.max - used;
}

static void
append(struct hw_answer *answer, struct hw_buf *buf, const char *text, size_t len)
{
    if (!has_room(answer, len) || hw_buf_append(buf, text, len) != 0)
        answer->overflowed = true;
}

/* The next tool call, without arguments; NULL: no room, no memory. */
static struct hw_tool_call *
add_tool_call(struct hw_answer *answer, const char *id, size_t id_len, const char *name,
              size_t name_len)
{
    if (answer->tool_call_count == HW_MAX_TOOL_CALLS || id_len > answer->text.max ||
        name_len > answer->text.max - id_len || !has_room(answer, id_len + name_len))
        return NULL;
    if (answer->tool_calls == NULL)
        answer->tool_calls = hw_xcalloc(HW_MAX_TOOL_CALLS, sizeof(*answer->tool_calls));
    char *own_id = strndup(id, id_len), *own_name = strndup(name, name_len);
    if (own_id == NULL || own_name == NULL) {
        free(own_id);
        free(own_name);
        return NULL;
    }
    struct hw_tool_call *call = &answer->tool_calls[answer->tool_call_count++];
    call->id = own_id;
    call->name = own_name;
    hw_buf_init(&call->arguments, answer->text.max);
    return call;
}

static void
add_tool_event(struct hw_answer *answer, const struct hw_event *event)
{
    const char *id = event->id != NULL ? event->id : "";
    const char *name = event->name != NULL ? event->name : "";

    /* Readers number calls without gaps; what does not fit that is not kept. */
    if (event->index > answer->tool_call_count ||
        (event->index == answer->tool_call_count &&
         add_tool_call(answer, id, strlen(id), name, strlen(name)) == NULL)) {
        answer->overflowed = true;
        return;
    }
    struct hw_tool_call *call = &answer->tool_calls[event->index];
    append(answer, &call->arguments, event->text, event->len);
    hw_scan_feed(&call->scan, event->text, event->len);
}

static void
add_logprobs(struct hw_answer *answer, const struct hw_event *event)
{
    if (answer->logprobs.len > 0)
        append(answer, &answer->logprobs, ",", 1);
    append(answer, &answer->logprobs, event->logprobs, event->logprobs_len);
}

void
hw_answer_add(struct hw_answer *answer, const struct hw_event *event)
{
    switch (event->type) {
    case HW_EVENT_TEXT:
        if (!answer->overflowed)
            append(answer, &answer->text, event->text, event->len);
        if (event->logprobs_len > 0 && !answer->overflowed)
            add_logprobs(answer, event);
        return;
    case HW_EVENT_REASONING:
        if (!answer->overflowed)
            append(answer, &answer->reasoning, event->text, event->len);
        return;
    case HW_EVENT_TOOL_CALL:
        if (!answer->overflowed)
            add_tool_event(answer, event);
        return;
    case HW_EVENT_FINISH:
        answer->finish = event->finish;
        answer->usage = event->usage;
        return;
    case HW_EVENT_ERROR:
        return; /* whoever asked is told; there is nothing to add */
    }
}

/* ---- the blob ---- */

static void
put_u32(struct hw_buf *out, uint32_t value)
{
    uint8_t bytes[4];

    for (int i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
    hw_buf_append(out, bytes, sizeof(bytes));
}

static void
put_u64(struct hw_buf *out, uint64_t value)
{
    put_u32(out, (uint32_t)value);
    put_u32(out, (uint32_t)(value >> 32));
}

static void
put_bytes(struct hw_buf *out, const char *bytes, size_t len)
{
    if (len > UINT32_MAX) {
        out->failed = true;
        return;
    }
    put_u32(out, (uint32_t)len);
    hw_buf_append(out, bytes, len);
}

static void
put_text(struct hw_buf *out, const char *text)
{
    put_bytes(out, text, strlen(text));
}

int
hw_answer_encode(const struct hw_answer *answer, const struct hw_kept *kept, struct hw_buf *out)
{
    uint8_t flags[2] = {(uint8_t)answer->finish, answer->usage.known};

    if (answer->overflowed)
        return HW_ELIMIT;
    hw_buf_append(out, magic, sizeof(magic));
    put_u64(out, kept->created_s);
    hw_buf_append(out, flags, sizeof(flags));
    put_u64(out, answer->usage.prompt_tokens);
    put_u64(out, answer->usage.output_tokens);
    put_text(out, kept->backend);
    put_text(out, kept->model);
    put_bytes(out, answer->text.data, answer->text.len);
    put_bytes(out, answer->reasoning.data, answer->reasoning.len);
    put_u32(out, (uint32_t)answer->tool_call_count);
    for (size_t i = 0; i < answer->tool_call_count; i++) {
        put_text(out, answer->tool_calls[i].id);
        put_text(out, answer->tool_calls[i].name);
        put_bytes(out, answer->tool_calls[i].arguments.data, answer->tool_calls[i].arguments.len);
    }
    return out->failed ? HW_ELIMIT : 0;
}

/* Takes from the front; after a read beyond the end `bad` stays and every read gives 0. */
struct cursor {
    const uint8_t *p;
    size_t left;
    bool bad;
};

static const uint8_t *
take(struct cursor *cursor, size_t len)
{
    if (cursor->bad || len > cursor->left) {
        cursor->bad = true;
        return NULL;
    }
    const uint8_t *p = cursor->p;
    cursor->p += len;
    cursor->left -= len;
    return p;
}

static uint64_t
take_uint(struct cursor *cursor, size_t bytes)
{
    const uint8_t *p = take(cursor, bytes);
    uint64_t value = 0;

    for (size_t i = 0; p != NULL && i < bytes; i++)
        value |= (uint64_t)p[i] << (8 * i);
    return value;
}

static const char *
take_bytes(struct cursor *cursor, size_t *len)
{
    *len = (size_t)take_uint(cursor, 4);
    const uint8_t *p = take(cursor, *len);
    if (p == NULL)
        *len = 0;
    return (const char *)p;
}

/* A name for a C string: no NUL within, room for one behind. */
static void
take_name(struct cursor *cursor, char *out, size_t size)
{
    size_t len;
    const char *p = take_bytes(cursor, &len);

    if (p == NULL || len >= size || memchr(p, '\0', len) != NULL) {
        cursor->bad = true;
        return;
    }
    memcpy(out, p, len);
    out[len] = '\0';
}

static void
take_content(struct cursor *cursor, struct hw_answer *answer, struct hw_buf *buf)
{
    size_t len;
    const char *p = take_bytes(cursor, &len);

    if (p != NULL)
        append(answer, buf, p, len);
}

static void
take_tool_call(struct cursor *cursor, struct hw_answer *answer)
{
    size_t id_len, name_len;
    const char *id = take_bytes(cursor, &id_len);
    const char *name = take_bytes(cursor, &name_len);

    if (id == NULL || name == NULL || memchr(id, '\0', id_len) != NULL ||
        memchr(name, '\0', name_len) != NULL) {
        cursor->bad = true;
        return;
    }
    struct hw_tool_call *call = add_tool_call(answer, id, id_len, name, name_len);
    if (call == NULL)
        answer->overflowed = true;
    else
        take_content(cursor, answer, &call->arguments);
}

int
hw_answer_decode(const uint8_t *bytes, size_t len, size_t max_bytes, struct hw_kept *kept,
                 struct hw_answer *answer, struct hw_err *err)
{
    struct cursor cursor = {.p = bytes, .left = len};

    hw_answer_init(answer, max_bytes);
    memset(kept, 0, sizeof(*kept));
    const uint8_t *head = take(&cursor, sizeof(magic));
    if (head == NULL || memcmp(head, magic, sizeof(magic)) != 0)
        return hw_err_set(err, HW_EINVAL, "no kept answer of this version");
    kept->created_s = take_uint(&cursor, 8);
    uint64_t finish = take_uint(&cursor, 1), known = take_uint(&cursor, 1);
    answer->usage.prompt_tokens = take_uint(&cursor, 8);
    answer->usage.output_tokens = take_uint(&cursor, 8);
    take_name(&cursor, kept->backend, sizeof(kept->backend));
    take_name(&cursor, kept->model, sizeof(kept->model));
    take_content(&cursor, answer, &answer->text);
    take_content(&cursor, answer, &answer->reasoning);
    uint64_t calls = take_uint(&cursor, 4);
    if (calls > HW_MAX_TOOL_CALLS)
        cursor.bad = true;
    for (uint64_t i = 0; i < calls && !cursor.bad && !answer->overflowed; i++)
        take_tool_call(&cursor, answer);
    bool too_big = answer->overflowed;
    if (too_big || cursor.bad || cursor.left != 0 || finish > HW_FINISH_FILTER || known > 1) {
        hw_answer_free(answer);
        if (too_big)
            return hw_err_set(err, HW_ELIMIT, "a kept answer of more than %zu bytes", max_bytes);
        return hw_err_set(err, HW_EINVAL, "a damaged kept answer of %zu bytes", len);
    }
    answer->finish = (enum hw_finish)finish;
    answer->usage.known = known == 1;
    return 0;
}
