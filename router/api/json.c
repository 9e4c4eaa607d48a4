/* router/api/json.c - the strict scanner.
 *
 * One validating pass over the whole text, without recursion (the open containers are one bit
 * each) and without allocation. What it let through is then walked by cursors that skip rather
 * than check: a string's end is found by memchr, so that looking at a field behind an 8 MiB prompt
 * costs a memory scan and no more. */
#include "router/api/json.h"

#include <string.h>

#include "router/api/utf8.h"

#define MAX_DEPTH 1024 /* whatever the limits say: the bits of scan.objects */

struct scan {
    const char *start, *p, *end;
    uint64_t objects[MAX_DEPTH / 64]; /* a bit each open container: an object, not an array */
    uint32_t depth, max_depth;
    uint32_t nodes, max_nodes;
    struct hw_err *err;
};

static int
bad(struct scan *scan, const char *what)
{
    return hw_err_set(scan->err, HW_EINVAL, "invalid JSON at byte %zu: %s",
                      (size_t)(scan->p - scan->start), what);
}

static bool
is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const char *
skip_space(const char *p, const char *end)
{
    while (p < end && is_space(*p))
        p++;
    return p;
}

static int
hex_value(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Four hex digits at p, or -1. */
static int32_t
hex4(const char *p, const char *end)
{
    if (end - p < 4)
        return -1;
    int32_t value = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex_value(p[i]);
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

static bool
is_short_escape(char c)
{
    switch (c) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return true;
    default:
        return false;
    }
}

/* At a backslash. */
static int
scan_escape(struct scan *scan)
{
    const char *p = scan->p + 1;

    if (p == scan->end)
        return bad(scan, "the text ends in an escape");
    if (*p != 'u') {
        if (!is_short_escape(*p))
            return bad(scan, "no such escape");
        scan->p = p + 1;
        return 0;
    }
    int32_t code = hex4(p + 1, scan->end);
    if (code < 0)
        return bad(scan, "\\u needs four hex digits");
    p += 5;
    if (code >= 0xdc00 && code <= 0xdfff)
        return bad(scan, "a low surrogate without its high one");
    if (code >= 0xd800 && code <= 0xdbff) {
        int32_t low = -1;
        if (scan->end - p >= 6 && p[0] == '\\' && p[1] == 'u')
            low = hex4(p + 2, scan->end);
        if (low < 0xdc00 || low > 0xdfff)
            return bad(scan, "a high surrogate without its low one");
        p += 6;
    }
    scan->p = p;
    return 0;
}

/* At the opening quote. */
static int
scan_string(struct scan *scan)
{
    scan->p++;
    for (;;) {
        scan->p = hw_plain_run(scan->p, scan->end);
        if (scan->p == scan->end)
            return bad(scan, "the text ends within a string");
        unsigned char c = (unsigned char)*scan->p;
        if (c == '"') {
            scan->p++;
            return 0;
        }
        if (c == '\\') {
            int rc = scan_escape(scan);
            if (rc != 0)
                return rc;
        } else if (c < 0x20) {
            return bad(scan, "a control character in a string must be escaped");
        } else {
            /* Text beyond ASCII comes in runs: stay with it. */
            do {
                size_t n = hw_utf8_step(scan->p, scan->end);
                if (n == 0)
                    return bad(scan, "a string is not UTF-8");
                scan->p += n;
            } while (scan->p < scan->end && (unsigned char)*scan->p >= 0x80);
        }
    }
}

static bool
skip_digits(struct scan *scan)
{
    const char *from = scan->p;

    while (scan->p < scan->end && is_digit(*scan->p))
        scan->p++;
    return scan->p > from;
}

static int
scan_number(struct scan *scan)
{
    if (*scan->p == '-')
        scan->p++;
    if (scan->p < scan->end && *scan->p == '0') {
        scan->p++;
        if (scan->p < scan->end && is_digit(*scan->p))
            return bad(scan, "a number must not begin with 0");
    } else if (!skip_digits(scan)) {
        return bad(scan, "a number needs a digit here");
    }
    if (scan->p < scan->end && *scan->p == '.') {
        scan->p++;
        if (!skip_digits(scan))
            return bad(scan, "a number needs a digit here");
    }
    if (scan->p < scan->end && (*scan->p == 'e' || *scan->p == 'E')) {
        scan->p++;
        if (scan->p < scan->end && (*scan->p == '+' || *scan->p == '-'))
            scan->p++;
        if (!skip_digits(scan))
            return bad(scan, "a number needs a digit here");
    }
    return 0;
}

static int
scan_word(struct scan *scan, const char *word)
{
    size_t len = strlen(word);

    if ((size_t)(scan->end - scan->p) < len || memcmp(scan->p, word, len) != 0)
        return bad(scan, "expected a value");
    scan->p += len;
    return 0;
}

/* A member's name and its colon. */
static int
scan_key(struct scan *scan)
{
    scan->p = skip_space(scan->p, scan->end);
    if (scan->p == scan->end)
        return bad(scan, "the text ends within an object");
    if (*scan->p != '"')
        return bad(scan, "expected a member's name in double quotes");
    int rc = scan_string(scan);
    if (rc != 0)
        return rc;
    scan->p = skip_space(scan->p, scan->end);
    if (scan->p == scan->end)
        return bad(scan, "the text ends within an object");
    if (*scan->p != ':')
        return bad(scan, "expected a colon");
    scan->p++;
    return 0;
}

/* At an opening bracket. Takes an object's first name too, or at once the closing bracket; then
 * *open says false. */
static int
scan_open(struct scan *scan, bool object, bool *open)
{
    if (scan->depth >= scan->max_depth)
        return hw_err_set(scan->err, HW_ELIMIT,
                          "JSON at byte %zu is nested deeper than %u levels (limits.json_depth)",
                          (size_t)(scan->p - scan->start), scan->max_depth);
    scan->p = skip_space(scan->p + 1, scan->end);
    if (scan->p < scan->end && *scan->p == (object ? '}' : ']')) {
        scan->p++;
        *open = false;
        return 0;
    }
    uint64_t bit = (uint64_t)1 << (scan->depth % 64);
    if (object)
        scan->objects[scan->depth / 64] |= bit;
    else
        scan->objects[scan->depth / 64] &= ~bit;
    scan->depth++;
    *open = true;
    return object ? scan_key(scan) : 0;
}

/* A scalar, or the beginning of a container. */
static int
scan_value(struct scan *scan, bool *open)
{
    *open = false;
    scan->p = skip_space(scan->p, scan->end);
    if (scan->p == scan->end)
        return bad(scan, "the text ends where a value should be");
    if (++scan->nodes > scan->max_nodes)
        return hw_err_set(scan->err, HW_ELIMIT,
                          "JSON holds more than %u values (limits.json_nodes)", scan->max_nodes);
    switch (*scan->p) {
    case '"':
        return scan_string(scan);
    case '{':
        return scan_open(scan, true, open);
    case '[':
        return scan_open(scan, false, open);
    case 't':
        return scan_word(scan, "true");
    case 'f':
        return scan_word(scan, "false");
    case 'n':
        return scan_word(scan, "null");
    default:
        if (*scan->p == '-' || is_digit(*scan->p))
            return scan_number(scan);
        return bad(scan, "expected a value");
    }
}

/* Behind a value: closes the containers that end here, then takes a comma (and, in an object, the
 * next name). *more says false when the root is complete. */
static int
scan_behind(struct scan *scan, bool *more)
{
    while (scan->depth > 0) {
        uint32_t top = scan->depth - 1;
        bool object = (scan->objects[top / 64] >> (top % 64) & 1) != 0;
        scan->p = skip_space(scan->p, scan->end);
        if (scan->p == scan->end)
            return bad(scan,
                       object ? "the text ends within an object" : "the text ends within an array");
        if (*scan->p == ',') {
            scan->p++;
            *more = true;
            return object ? scan_key(scan) : 0;
        }
        if (*scan->p != (object ? '}' : ']'))
            return bad(scan, object ? "expected a comma or }" : "expected a comma or ]");
        scan->p++;
        scan->depth--;
    }
    *more = false;
    return 0;
}

static enum hw_json_type
type_of(char first)
{
    switch (first) {
    case '"':
        return HW_JSON_STRING;
    case '{':
        return HW_JSON_OBJECT;
    case '[':
        return HW_JSON_ARRAY;
    case 't':
    case 'f':
        return HW_JSON_BOOL;
    case 'n':
        return HW_JSON_NULL;
    default:
        return HW_JSON_NUMBER;
    }
}

int
hw_json_validate(const char *text, size_t len, const struct hw_json_limits *limits,
                 struct hw_json *root, struct hw_err *err)
{
    if (len == 0)
        text = ""; /* an empty body may have no bytes at all */
    struct scan scan = {
        .start = text,
        .end = text + len,
        .max_depth = limits->depth < MAX_DEPTH ? limits->depth : MAX_DEPTH,
        .max_nodes = limits->nodes,
        .err = err,
    };

    scan.p = skip_space(text, scan.end);
    const char *begin = scan.p;
    for (bool more = true; more;) {
        bool open;
        int rc = scan_value(&scan, &open);
        if (rc == 0 && !open)
            rc = scan_behind(&scan, &more);
        if (rc != 0)
            return rc;
    }
    const char *behind = scan.p;
    scan.p = skip_space(scan.p, scan.end);
    if (scan.p != scan.end)
        return bad(&scan, "something stands behind the value");
    *root = (struct hw_json){type_of(*begin), begin, (size_t)(behind - begin)};
    return 0;
}

/* ---- walking what was validated ---- */

/* Behind the string that begins at p. Each run of backslashes is counted once, so this is linear.
 */
static const char *
skip_string(const char *p, const char *end)
{
    const char *from = p + 1;

    for (const char *q = from; q < end; q++) {
        q = memchr(q, '"', (size_t)(end - q));
        if (q == NULL)
            return end;
        const char *back = q;
        while (back > from && back[-1] == '\\')
            back--;
        if ((q - back) % 2 == 0)
            return q + 1;
    }
    return end;
}

static const char *
skip_value(const char *p, const char *end)
{
    size_t depth = 0;

    while (p < end) {
        switch (*p) {
        case '"':
            p = skip_string(p, end);
            break;
        case '{':
        case '[':
            depth++;
            p++;
            break;
        case '}':
        case ']':
            if (depth == 0)
                return p;
            depth--;
            p++;
            break;
        case ',':
        case ' ':
        case '\t':
        case '\r':
        case '\n':
            if (depth == 0)
                return p;
            p++;
            continue;
        default:
            p++;
            continue;
        }
        if (depth == 0)
            return p;
    }
    return end;
}

void
hw_json_iter_init(struct hw_json_iter *iter, const struct hw_json *container)
{
    bool walkable = container->type == HW_JSON_OBJECT || container->type == HW_JSON_ARRAY;

    iter->object = container->type == HW_JSON_OBJECT;
    iter->p = container->p;
    iter->end = container->p;
    if (walkable && container->len >= 2) {
        iter->p = container->p + 1;
        iter->end = container->p + container->len - 1;
    }
}

bool
hw_json_next(struct hw_json_iter *iter, struct hw_json *key, struct hw_json *value)
{
    const char *p = skip_space(iter->p, iter->end);

    if (p < iter->end && *p == ',')
        p = skip_space(p + 1, iter->end);
    if (p >= iter->end)
        return false;
    if (iter->object) {
        const char *behind = skip_string(p, iter->end);
        if (key != NULL)
            *key = (struct hw_json){HW_JSON_STRING, p, (size_t)(behind - p)};
        p = skip_space(behind, iter->end);
        if (p < iter->end && *p == ':')
            p = skip_space(p + 1, iter->end);
        if (p >= iter->end)
            return false;
    }
    const char *behind = skip_value(p, iter->end);
    *value = (struct hw_json){type_of(*p), p, (size_t)(behind - p)};
    iter->p = behind;
    return true;
}

bool
hw_json_get(const struct hw_json *object, const char *key, struct hw_json *value)
{
    struct hw_json_iter iter;
    struct hw_json name, found;

    if (object->type != HW_JSON_OBJECT)
        return false;
    hw_json_iter_init(&iter, object);
    while (hw_json_next(&iter, &name, &found))
        if (hw_json_string_is(&name, key)) {
            *value = found;
            return true;
        }
    return false;
}
