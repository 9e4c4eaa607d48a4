/* router/api/json_text.c - JSON's scalars: decoding them, and writing strings.
 *
 * Apart from the scanner (json.c), since nothing here has to doubt the text: it was validated. */
#include "router/api/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "router/api/utf8.h"

#define MAX_NUMBER 128

static uint32_t
hex4(const char *p)
{
    uint32_t value = 0;

    for (int i = 0; i < 4; i++) {
        unsigned char c = (unsigned char)p[i];
        value = value * 16 + (c <= '9' ? (uint32_t)c - '0' : ((uint32_t)c | 0x20) - 'a' + 10);
    }
    return value;
}

size_t
hw_json_decode_escape(const char **p, char *out)
{
    const char *at = *p;

    *p = at + 2;
    switch (at[1]) {
    case 'b':
        out[0] = '\b';
        return 1;
    case 'f':
        out[0] = '\f';
        return 1;
    case 'n':
        out[0] = '\n';
        return 1;
    case 'r':
        out[0] = '\r';
        return 1;
    case 't':
        out[0] = '\t';
        return 1;
    case 'u':
        break;
    default:
        out[0] = at[1];
        return 1;
    }
    uint32_t code = hex4(at + 2);
    *p = at + 6;
    if (code >= 0xd800 && code <= 0xdbff) {
        code = 0x10000 + ((code - 0xd800) << 10) + (hex4(at + 8) - 0xdc00);
        *p = at + 12;
    }
    return hw_utf8_put(code, out);
}

size_t
hw_json_decode(const struct hw_json *string, char *out)
{
    const char *p = string->p + 1, *end = string->p + string->len - 1;
    char *to = out;

    while (p < end) {
        const char *slash = memchr(p, '\\', (size_t)(end - p));
        size_t run = (size_t)((slash != NULL ? slash : end) - p);
        memcpy(to, p, run);
        to += run;
        p += run;
        if (slash != NULL)
            to += hw_json_decode_escape(&p, to);
    }
    return (size_t)(to - out);
}

int
hw_json_append_decoded(const struct hw_json *string, struct hw_buf *out)
{
    /* An escape is never shorter than what it stands for. */
    int rc = hw_buf_reserve(out, string->len);
    if (rc != 0)
        return rc;
    out->len += hw_json_decode(string, out->data + out->len);
    out->data[out->len] = '\0';
    return 0;
}

bool
hw_json_string_is(const struct hw_json *string, const char *text)
{
    size_t len = strlen(text);

    if (string->type != HW_JSON_STRING || string->len < len + 2)
        return false;
    const char *p = string->p + 1, *end = string->p + string->len - 1;
    size_t at = 0;
    /* Nearly every comparison is of a name with another one: decided by the first byte, or by its
     * length, since only what is written with escapes may be longer than it reads. */
    if (len > 0 && *p != text[0] && *p != '\\')
        return false;
    if (string->len > len + 2 && memchr(p, '\\', (size_t)(end - p)) == NULL)
        return false;
    while (p < end) {
        char unit[4];
        size_t n = 1;
        if (*p == '\\')
            n = hw_json_decode_escape(&p, unit);
        else
            unit[0] = *p++;
        if (n > len - at)
            return false;
        for (size_t i = 0; i < n; i++)
            if (unit[i] != text[at + i])
                return false;
        at += n;
    }
    return at == len;
}

int
hw_json_string(const struct hw_json *string, struct hw_arena *arena, const char **out, size_t *len,
               struct hw_err *err)
{
    if (string->type != HW_JSON_STRING)
        return hw_err_set(err, HW_EINVAL, "must be a string");
    size_t inside = string->len - 2;
    bool escaped = memchr(string->p + 1, '\\', inside) != NULL;
    char *text;
    size_t n = inside;
    if (!escaped) {
        text = hw_arena_copy(arena, string->p + 1, inside);
    } else {
        text = hw_arena_alloc(arena, inside + 1);
        if (text != NULL)
            n = hw_json_decode(string, text);
    }
    if (text == NULL)
        return hw_err_set(err, HW_ELIMIT, "takes more memory than one query may have");
    if (escaped && memchr(text, '\0', n) != NULL)
        return hw_err_set(err, HW_EINVAL, "must not contain \\u0000");
    *out = text;
    *len = n;
    return 0;
}

bool
hw_json_bool(const struct hw_json *value, bool *out)
{
    if (value->type != HW_JSON_BOOL)
        return false;
    *out = *value->p == 't';
    return true;
}

bool
hw_json_number(const struct hw_json *value, double *out)
{
    /* A copy, since strtod wants a NUL and the text may end with the number. */
    char text[MAX_NUMBER];

    if (value->type != HW_JSON_NUMBER || value->len >= sizeof(text))
        return false;
    memcpy(text, value->p, value->len);
    text[value->len] = '\0';
    double number = strtod(text, NULL);
    if (!isfinite(number))
        return false;
    *out = number;
    return true;
}

bool
hw_json_uint(const struct hw_json *value, uint64_t *out)
{
    uint64_t whole = 0;
    size_t i = 0;

    if (value->type != HW_JSON_NUMBER)
        return false;
    for (; i < value->len && value->p[i] >= '0' && value->p[i] <= '9'; i++) {
        uint64_t digit = (uint64_t)(value->p[i] - '0');
        if (whole > (UINT64_MAX - digit) / 10)
            return false;
        whole = whole * 10 + digit;
    }
    if (i == value->len) {
        *out = whole;
        return true;
    }
    /* 1.0, 1e3: exact as long as a double counts in ones. */
    double number;
    if (!hw_json_number(value, &number) || number < 0.0 || number > 9007199254740992.0 ||
        number != floor(number))
        return false;
    *out = (uint64_t)number;
    return true;
}

/* ---- writing ---- */

static int
write_control(struct hw_buf *out, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    char escape[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
    const char *name = NULL;

    switch (c) {
    case '\n':
        name = "\\n";
        break;
    case '\r':
        name = "\\r";
        break;
    case '\t':
        name = "\\t";
        break;
    case '\b':
        name = "\\b";
        break;
    case '\f':
        name = "\\f";
        break;
    default:
        return hw_buf_append(out, escape, sizeof(escape));
    }
    return hw_buf_append(out, name, 2);
}

int
hw_json_write_escaped(struct hw_buf *out, const char *text, size_t len)
{
    if (len == 0)
        return 0; /* text may be NULL */
    const char *p = text, *end = text + len;
    while (p < end) {
        /* As much as can stand as it is: plain bytes and whole characters. */
        const char *run = p;
        size_t n = 1;
        while ((p = hw_plain_run(p, end)) < end && (unsigned char)*p >= 0x80) {
            n = hw_utf8_step(p, end);
            if (n == 0)
                break;
            p += n;
        }
        int rc = hw_buf_append(out, run, (size_t)(p - run));
        if (rc != 0 || p == end)
            return rc;
        unsigned char c = (unsigned char)*p++;
        if (c >= 0x80)
            rc = hw_buf_append(out, "\xef\xbf\xbd", 3);
        else if (c == '"')
            rc = hw_buf_append(out, "\\\"", 2);
        else if (c == '\\')
            rc = hw_buf_append(out, "\\\\", 2);
        else
            rc = write_control(out, c);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int
hw_json_write_string(struct hw_buf *out, const char *text, size_t len)
{
    int rc = hw_buf_append(out, "\"", 1);

    if (rc == 0)
        rc = hw_json_write_escaped(out, text, len);
    return rc == 0 ? hw_buf_append(out, "\"", 1) : rc;
}
