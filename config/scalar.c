/* config/scalar.c - the small languages of values. */
#include "config/scalar.h"

#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit durations[] = {{"ms", 1},      {"s", 1000},     {"m", 60000},
                                        {"h", 3600000}, {"d", 86400000}, {NULL, 0}};
static const struct unit sizes[] = {{"", 1},
                                    {"B", 1},
                                    {"KiB", 1024},
                                    {"MiB", 1024 * 1024},
                                    {"GiB", 1024 * 1024 * 1024},
                                    {"KB", 1000},
                                    {"MB", 1000 * 1000},
                                    {"GB", 1000 * 1000 * 1000},
                                    {NULL, 0}};

/* Digits at *text, which moves behind them. */
static bool
take_digits(const char **text, uint64_t *out)
{
    const char *at = *text;
    uint64_t n = 0;
    if (*at < '0' || *at > '9')
        return false;
    for (; *at >= '0' && *at <= '9'; at++)
        if (__builtin_mul_overflow(n, 10u, &n) ||
            __builtin_add_overflow(n, (uint64_t)(*at - '0'), &n))
            return false;
    *text = at;
    *out = n;
    return true;
}

bool
hw_scalar_uint(const char *text, uint64_t *out)
{
    uint64_t n;
    if (!take_digits(&text, &n) || *text != '\0')
        return false;
    *out = n;
    return true;
}

bool
hw_scalar_int(const char *text, int *out)
{
    bool negative = *text == '-';
    uint64_t n;
    if (!hw_scalar_uint(text + negative, &n) || n > INT_MAX)
        return false;
    *out = negative ? -(int)n : (int)n;
    return true;
}

bool
hw_scalar_decimal(const char *text, double *out)
{
    double n = 0, scale = 1;
    size_t whole = strspn(text, "0123456789");
    size_t behind = text[whole] == '.' ? strspn(text + whole + 1, "0123456789") : 0;
    if (whole == 0 || whole > 9 || behind > 9 || (text[whole] == '.' && behind == 0) ||
        text[whole + (behind > 0 ? behind + 1 : 0)] != '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (*text == '.')
            continue;
        n = n * 10 + (*text - '0');
    }
    while (behind-- > 0)
        scale *= 10;
    *out = n / scale;
    return true;
}

bool
hw_scalar_bool(const char *text, bool *out)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", NULL};
    int i = hw_scalar_word(text, words);
    if (i < 0)
        return false;
    *out = i % 2 == 1;
    return true;
}

static bool
with_unit(const char *text, const struct unit *units, uint64_t *out)
{
    uint64_t n;
    if (!take_digits(&text, &n))
        return false;
    while (*text == ' ')
        text++;
    for (; units->name != NULL; units++)
        if (strcasecmp(text, units->name) == 0)
            return !__builtin_mul_overflow(n, units->factor, out);
    return false;
}

bool
hw_scalar_duration(const char *text, uint64_t *out_ms)
{
    uint64_t ms;
    if (strcmp(text, "0") == 0)
        ms = 0;
    else if (!with_unit(text, durations, &ms))
        return false;
    *out_ms = ms;
    return true;
}

bool
hw_scalar_percent(const char *text, double *out)
{
    char *end;
    size_t digits = strspn(text, "0123456789.");
    if (digits == 0 || digits > 8 || !isdigit((unsigned char)*text) ||
        strcmp(text + digits, "%") != 0)
        return false;
    double percent = strtod(text, &end);
    if (end != text + digits || percent > 100)
        return false;
    *out = percent / 100;
    return true;
}

bool
hw_scalar_size(const char *text, uint64_t *out_bytes)
{
    uint64_t bytes;
    if (!with_unit(text, sizes, &bytes))
        return false;
    *out_bytes = bytes;
    return true;
}

bool
hw_scalar_range(const char *text, struct hw_conf_range *out)
{
    struct hw_conf_range range = {.present = true, .min = 0, .max = UINT64_MAX};
    char op = *text == '<' || *text == '>' ? *text++ : '\0';
    bool inclusive = op != '\0' && *text == '=';
    uint64_t n;
    text += inclusive;
    while (op != '\0' && *text == ' ')
        text++;
    if (!take_digits(&text, &n))
        return false;
    if (op == '>') {
        if (!inclusive && n == UINT64_MAX)
            return false;
        range.min = inclusive ? n : n + 1;
    } else if (op == '<') {
        if (!inclusive && n == 0)
            return false;
        range.max = inclusive ? n : n - 1;
    } else {
        range.min = range.max = n;
        if (strncmp(text, "..", 2) == 0) {
            text += 2;
            if (!take_digits(&text, &range.max) || range.max < range.min)
                return false;
        }
    }
    if (*text != '\0')
        return false;
    *out = range;
    return true;
}

static int
hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* h, hh, or hh:mm; up to 24:00. */
static const char *
read_minute(const char *at, uint32_t *out)
{
    uint32_t hour = 0, minute = 0;
    size_t digits = strspn(at, "0123456789");
    if (digits < 1 || digits > 2)
        return NULL;
    while (digits-- > 0)
        hour = hour * 10 + (uint32_t)(*at++ - '0');
    if (*at == ':') {
        at++;
        if (strspn(at, "0123456789") != 2)
            return NULL;
        minute = (uint32_t)(at[0] - '0') * 10 + (uint32_t)(at[1] - '0');
        at += 2;
    }
    *out = hour * 60 + minute;
    return hour > 24 || minute > 59 || *out > 24 * 60 ? NULL : at;
}

bool
hw_scalar_hours(const char *text, uint16_t *begin, uint16_t *end)
{
    uint32_t from, to;
    const char *at = read_minute(text, &from);
    if (at == NULL || *at != '-')
        return false;
    at = read_minute(at + 1, &to);
    if (at == NULL || *at != '\0' || from == to || from == 24 * 60)
        return false;
    *begin = (uint16_t)from;
    *end = (uint16_t)(to % (24 * 60));
    return true;
}

bool
hw_scalar_sha256(const char *text, uint8_t out[32])
{
    static const char prefix[] = "sha256:";
    if (strncmp(text, prefix, sizeof(prefix) - 1) != 0)
        return false;
    text += sizeof(prefix) - 1;
    if (strlen(text) != 64 || strspn(text, "0123456789abcdefABCDEF") != 64)
        return false;
    for (size_t i = 0; i < 32; i++)
        out[i] = (uint8_t)(hex_digit(text[2 * i]) * 16 + hex_digit(text[2 * i + 1]));
    return true;
}

bool
hw_scalar_is_name(const char *text)
{
    size_t len = strlen(text);
    return len >= 1 && len <= 64 &&
           strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:/-") ==
               len;
}

int
hw_scalar_word(const char *text, const char *const *words)
{
    for (int i = 0; words[i] != NULL; i++)
        if (strcmp(text, words[i]) == 0)
            return i;
    return -1;
}

uint64_t
hw_conf_digest_bytes(uint64_t digest, const void *bytes, size_t len)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < len; i++)
        digest = (digest ^ at[i]) * 0x100000001b3u;
    return digest;
}

uint64_t
hw_conf_digest_text(uint64_t digest, const char *text)
{
    digest = hw_conf_digest_number(digest, text == NULL);
    return text == NULL ? digest : hw_conf_digest_bytes(digest, text, strlen(text) + 1);
}

uint64_t
hw_conf_digest_number(uint64_t digest, uint64_t number)
{
    return hw_conf_digest_bytes(digest, &number, sizeof(number));
}
