/* router/api/embeddings_vectors.c - vectors as lines of numbers and as base64. */
#include "router/api/embeddings.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool
hw_vector_next(const char **text, const char *end, const char **line, size_t *len)
{
    if (*text == NULL || *text >= end)
        return false;
    const char *stop = memchr(*text, '\n', (size_t)(end - *text));
    *line = *text;
    *len = (size_t)((stop != NULL ? stop : end) - *text);
    *text = stop != NULL ? stop + 1 : end;
    return true;
}

bool
hw_vector_from_array(const struct hw_json *array, struct hw_buf *out)
{
    struct hw_json_iter iter;
    struct hw_json item;
    double number;
    bool any = false;

    if (array->type != HW_JSON_ARRAY)
        return false;
    hw_json_iter_init(&iter, array);
    while (hw_json_next(&iter, NULL, &item)) {
        if (!hw_json_number(&item, &number))
            return false;
        hw_buf_append(out, any ? "," : "[", 1);
        hw_put_raw(out, &item);
        any = true;
    }
    if (any)
        hw_buf_append(out, "]", 1);
    return any && !out->failed;
}

/* ---- base64 ---- */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int
digit_of(char c)
{
    const char *at = c != '\0' ? strchr(alphabet, c) : NULL;
    return at != NULL ? (int)(at - alphabet) : -1;
}

/* Four bytes, least significant first. */
static bool
put_float(struct hw_buf *out, const uint8_t *bytes, bool first)
{
    uint32_t bits = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
                    (uint32_t)bytes[3] << 24;
    float value;

    memcpy(&value, &bits, sizeof(value));
    if (!isfinite(value))
        return false;
    hw_buf_printf(out, first ? "[%.9g" : ",%.9g", (double)value);
    return true;
}

bool
hw_vector_from_base64(const struct hw_json *string, struct hw_buf *out)
{
    const char *p = string->p + 1, *end = string->p + string->len - 1;
    uint32_t word = 0;
    uint8_t bytes[4];
    int bits = 0, held = 0;
    bool first = true;

    if (string->type != HW_JSON_STRING)
        return false;
    while (end > p && end[-1] == '=')
        end--;
    for (; p < end; p++) {
        if (*p == '\\' && p + 1 < end && p[1] == '/') /* as some encoders write the slash */
            p++;
        int digit = digit_of(*p);
        if (digit < 0)
            return false;
        word = word << 6 | (uint32_t)digit;
        bits += 6;
        if (bits < 8)
            continue;
        bits -= 8;
        bytes[held++] = (uint8_t)(word >> bits);
        if (held < 4)
            continue;
        held = 0;
        if (!put_float(out, bytes, first))
            return false;
        first = false;
    }
    hw_buf_append(out, "]", 1);
    return !first && held == 0 && !out->failed;
}

struct encoder {
    struct hw_buf *out;
    uint32_t word;
    int bytes;
};

static void
encode_byte(struct encoder *encoder, uint8_t byte)
{
    encoder->word = encoder->word << 8 | byte;
    if (++encoder->bytes < 3)
        return;
    char four[4];
    for (int i = 0; i < 4; i++)
        four[i] = alphabet[encoder->word >> (18 - 6 * i) & 63];
    hw_buf_append(encoder->out, four, 4);
    encoder->word = 0;
    encoder->bytes = 0;
}

static void
encode_end(struct encoder *encoder)
{
    char four[4] = {'=', '=', '=', '='};

    if (encoder->bytes == 0)
        return;
    uint32_t word = encoder->word << (8 * (3 - encoder->bytes));
    for (int i = 0; i <= encoder->bytes; i++)
        four[i] = alphabet[word >> (18 - 6 * i) & 63];
    hw_buf_append(encoder->out, four, 4);
}

void
hw_vector_write_base64(struct hw_buf *out, const char *line, size_t len)
{
    struct encoder encoder = {.out = out};
    const struct hw_json array = {HW_JSON_ARRAY, line, len};
    struct hw_json_iter iter;
    struct hw_json item;
    double number;

    hw_buf_append(out, "\"", 1);
    hw_json_iter_init(&iter, &array);
    while (hw_json_next(&iter, NULL, &item)) {
        if (!hw_json_number(&item, &number))
            number = 0; /* lines hold numbers only */
        float value = (float)number;
        uint32_t bits;
        memcpy(&bits, &value, sizeof(bits));
        for (int i = 0; i < 4; i++)
            encode_byte(&encoder, (uint8_t)(bits >> (8 * i)));
    }
    encode_end(&encoder);
    hw_buf_append(out, "\"", 1);
}
