/* router/api/utf8.h - one strict step through UTF-8, shared by the JSON scanner and the writers.
 *
 * Header only, since both call it for each character that is not ASCII. */
#ifndef HW_ROUTER_API_UTF8_H
#define HW_ROUTER_API_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Length of the character at p (p < end): 1 to 4; 0 when it is none: a stray or missing
 * continuation byte, an overlong form, a surrogate, or beyond U+10FFFF (Unicode 15, table 3-7). */
static inline size_t
hw_utf8_step(const char *p, const char *end)
{
    const unsigned char *b = (const unsigned char *)p;
    size_t left = (size_t)(end - p);

    if (b[0] < 0x80)
        return 1;
    if (b[0] < 0xc2 || b[0] > 0xf4)
        return 0;
    if (b[0] < 0xe0)
        return left >= 2 && (b[1] & 0xc0) == 0x80 ? 2 : 0;
    if (left < 3)
        return 0;
    unsigned char low = 0x80, high = 0xbf;
    if (b[0] == 0xe0)
        low = 0xa0;
    else if (b[0] == 0xed)
        high = 0x9f;
    else if (b[0] == 0xf0)
        low = 0x90;
    else if (b[0] == 0xf4)
        high = 0x8f;
    if (b[1] < low || b[1] > high || (b[2] & 0xc0) != 0x80)
        return 0;
    if (b[0] < 0xf0)
        return 3;
    return left >= 4 && (b[3] & 0xc0) == 0x80 ? 4 : 0;
}

/* Writes a code point that is no surrogate; out has room for 4 bytes. */
static inline size_t
hw_utf8_put(uint32_t code, char *out)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xe0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3f));
        out[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3f));
    out[2] = (char)(0x80 | (code >> 6 & 0x3f));
    out[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

/* The first byte from p on that a JSON string cannot hold as it is, or that is not ASCII: a quote,
 * a backslash, a control character, 0x80 and above. Eight bytes a step: bodies are mostly plain
 * text. */
static inline const char *
hw_plain_run(const char *p, const char *end)
{
    const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;

    while (end - p >= 8) {
        uint64_t word;
        memcpy(&word, p, sizeof(word));
        uint64_t quote = word ^ (ones * '"');
        uint64_t slash = word ^ (ones * '\\');
        /* Each term has the high bit of a byte set where that byte stops the run (or, through a
         * borrow, of a byte behind such a one: the loop below finds the first). */
        uint64_t stop = word | (word - ones * 0x20) | (quote - ones) | (slash - ones);
        if ((stop & highs) != 0)
            break;
        p += 8;
    }
    while (p < end) {
        unsigned char c = (unsigned char)*p;
        if (c < 0x20 || c == '"' || c == '\\' || c >= 0x80)
            break;
        p++;
    }
    return p;
}

#endif
