/* router/api/text.c - see text.h. The strings were validated: nothing here doubts them. */
#include "router/api/text.h"

#include <string.h>

#include "router/api/utf8.h"

/* ---- one string ---- */

int
hw_text_measure(const struct hw_json *string, size_t *len, struct hw_err *err)
{
    const char *p = string->p + 1, *end = string->p + string->len - 1;
    size_t sum = (size_t)(end - p);

    while ((p = memchr(p, '\\', (size_t)(end - p))) != NULL) {
        char unit[4];
        if (p[1] == 'u' && memcmp(p + 2, "0000", 4) == 0)
            return hw_err_set(err, HW_EINVAL, "must not contain \\u0000");
        const char *at = p;
        size_t n = hw_json_decode_escape(&p, unit);
        sum = sum - (size_t)(p - at) + n;
    }
    *len = sum;
    return 0;
}

/* Whole characters of a run without escapes, at most room. */
static size_t
fit_run(const char *p, size_t len, size_t room)
{
    if (len <= room)
        return len;
    while (room > 0 && ((unsigned char)p[room] & 0xc0) == 0x80)
        room--;
    return room;
}

static size_t
decode_head(const struct hw_json *string, char *out, size_t room)
{
    const char *p = string->p + 1, *end = string->p + string->len - 1;
    size_t used = 0;

    while (p < end) {
        const char *slash = memchr(p, '\\', (size_t)(end - p));
        size_t run = (size_t)((slash != NULL ? slash : end) - p);
        size_t fit = fit_run(p, run, room - used);
        memcpy(out + used, p, fit);
        used += fit;
        if (fit < run || slash == NULL)
            return used;
        char unit[4];
        p = slash;
        size_t n = hw_json_decode_escape(&p, unit);
        if (n > room - used)
            return used;
        memcpy(out + used, unit, n);
        used += n;
    }
    return used;
}

/* Leaves out the characters that `skip` bytes of decoded text begin with. */
static size_t
decode_from(const struct hw_json *string, size_t skip, char *out)
{
    const char *p = string->p + 1, *end = string->p + string->len - 1;
    size_t used = 0;

    while (p < end) {
        const char *slash = memchr(p, '\\', (size_t)(end - p));
        size_t run = (size_t)((slash != NULL ? slash : end) - p);
        size_t left_out = skip < run ? skip : run;
        while (left_out < run && ((unsigned char)p[left_out] & 0xc0) == 0x80)
            left_out++;
        skip = left_out < skip ? skip - left_out : 0;
        memcpy(out + used, p + left_out, run - left_out);
        used += run - left_out;
        if (slash == NULL)
            return used;
        char unit[4];
        p = slash;
        size_t n = hw_json_decode_escape(&p, unit);
        if (skip == 0) {
            memcpy(out + used, unit, n);
            used += n;
        } else {
            skip = skip > n ? skip - n : 0;
        }
    }
    return used;
}

/* ---- a message ---- */

struct pieces {
    struct hw_json_iter iter;
    struct hw_json source;
    enum hw_source_kind kind;
    bool begun;
};

static void
pieces_init(struct pieces *pieces, const struct hw_message *message)
{
    bool string = message->kind == HW_SOURCE_STRING;

    *pieces = (struct pieces){
        .source = {string ? HW_JSON_STRING : HW_JSON_ARRAY, message->source, message->source_len},
        .kind = message->kind};
    if (!string)
        hw_json_iter_init(&pieces->iter, &pieces->source);
}

bool
hw_text_of_part(const struct hw_json *part, enum hw_source_kind kind, struct hw_json *string)
{
    static const char *const words[] = {"input_text", "output_text", "summary_text",
                                        "reasoning_text"};
    struct hw_json type;

    if (!hw_json_get(part, "type", &type))
        return false;
    if (hw_json_string_is(&type, "text"))
        return hw_json_get(part, "text", string);
    /* Anthropic has no refusals among its blocks: its parser does not measure them. */
    if (kind != HW_SOURCE_BLOCKS && hw_json_string_is(&type, "refusal"))
        return hw_json_get(part, "refusal", string);
    for (size_t i = 0; kind == HW_SOURCE_ITEM_PARTS && i < sizeof(words) / sizeof(words[0]); i++)
        if (hw_json_string_is(&type, words[i]))
            return hw_json_get(part, "text", string);
    return false;
}

/* Each string with text in it. */
static bool
pieces_next(struct pieces *pieces, struct hw_json *string)
{
    struct hw_json part;

    switch (pieces->kind) {
    case HW_SOURCE_NONE:
    case HW_SOURCE_TEXT:
        return false;
    case HW_SOURCE_STRING:
        *string = pieces->source;
        bool first = !pieces->begun;
        pieces->begun = true;
        return first;
    case HW_SOURCE_LINES:
        return hw_json_next(&pieces->iter, NULL, string);
    case HW_SOURCE_PARTS:
    case HW_SOURCE_BLOCKS:
    case HW_SOURCE_ITEM_PARTS:
        break;
    }
    while (hw_json_next(&pieces->iter, NULL, &part))
        if (hw_text_of_part(&part, pieces->kind, string))
            return true;
    return false;
}

/* Anthropic's blocks are lines, OpenAI's parts follow on each other. */
static bool
is_joined_by_lines(const struct hw_message *message)
{
    return message->kind == HW_SOURCE_BLOCKS || message->kind == HW_SOURCE_LINES;
}

size_t
hw_text_head(const struct hw_message *message, char *out, size_t room)
{
    struct pieces pieces;
    struct hw_json string;
    size_t used = 0;

    if (message->kind == HW_SOURCE_TEXT) {
        used = fit_run(message->source, message->source_len, room);
        memcpy(out, message->source, used);
        return used;
    }
    pieces_init(&pieces, message);
    while (pieces_next(&pieces, &string)) {
        size_t len = 0;
        if (used > 0 && used < room && is_joined_by_lines(message))
            out[used++] = '\n';
        (void)hw_text_measure(&string, &len, NULL);
        size_t n = decode_head(&string, out + used, room - used);
        used += n;
        if (n < len)
            break; /* the next piece might fit, but would not follow on this one */
    }
    return used;
}

size_t
hw_text_tail(const struct hw_message *message, char *out, size_t room)
{
    size_t skip = message->text_len > room ? message->text_len - room : 0;
    struct pieces pieces;
    struct hw_json string;
    size_t used = 0, seen = 0;

    if (message->kind == HW_SOURCE_TEXT) {
        while (skip < message->text_len && ((unsigned char)message->source[skip] & 0xc0) == 0x80)
            skip++;
        memcpy(out, message->source + skip, message->text_len - skip);
        return message->text_len - skip;
    }
    pieces_init(&pieces, message);
    while (pieces_next(&pieces, &string)) {
        size_t len = 0;
        if (seen > 0 && is_joined_by_lines(message)) {
            if (seen >= skip)
                out[used++] = '\n';
            seen++;
        }
        (void)hw_text_measure(&string, &len, NULL);
        if (seen + len > skip)
            used += decode_from(&string, skip > seen ? skip - seen : 0, out + used);
        seen += len;
    }
    return used;
}

void
hw_text_copy(const struct hw_message *message, char *out)
{
    hw_text_tail(message, out, message->text_len);
}

void
hw_text_excerpt(const struct hw_message *message, struct hw_arena *arena, const char **text,
                size_t *len)
{
    size_t room = HW_TEXT_HEAD + HW_TEXT_TAIL;

    *text = message->text_len > 0 ? message->source : "";
    *len = message->text_len;
    if (*len == 0 || (message->kind == HW_SOURCE_TEXT && *len <= room))
        return;
    char *copy = hw_arena_alloc(arena, (*len < room ? *len : room) + 1);
    *text = copy != NULL ? copy : "";
    if (copy == NULL) {
        *len = 0;
    } else if (*len <= room) {
        hw_text_copy(message, copy);
    } else {
        *len = hw_text_head(message, copy, HW_TEXT_HEAD);
        *len += hw_text_tail(message, copy + *len, HW_TEXT_TAIL);
    }
}

void
hw_text_put(struct hw_buf *buf, const struct hw_message *message)
{
    struct pieces pieces;
    struct hw_json string;

    if (message->kind == HW_SOURCE_STRING) {
        hw_buf_append(buf, message->source, message->source_len);
        return;
    }
    if (message->kind == HW_SOURCE_TEXT) {
        hw_json_write_string(buf, message->source, message->source_len);
        return;
    }
    hw_buf_append(buf, "\"", 1);
    pieces_init(&pieces, message);
    for (size_t seen = 0; pieces_next(&pieces, &string); seen += string.len - 2) {
        if (seen > 0 && is_joined_by_lines(message))
            hw_buf_append(buf, "\\n", 2);
        hw_buf_append(buf, string.p + 1, string.len - 2);
    }
    hw_buf_append(buf, "\"", 1);
}

int
hw_text_set(struct hw_message *message, const struct hw_json *string, struct hw_err *err)
{
    size_t len;
    int rc = hw_text_measure(string, &len, err);

    if (rc != 0)
        return rc;
    message->kind = HW_SOURCE_STRING;
    message->source = string->p;
    message->source_len = (uint32_t)string->len;
    message->text_len = (uint32_t)len;
    return 0;
}

void
hw_text_set_parts(struct hw_message *message, enum hw_source_kind kind, const struct hw_json *array)
{
    message->kind = kind;
    message->source = array->p;
    message->source_len = (uint32_t)array->len;
}
