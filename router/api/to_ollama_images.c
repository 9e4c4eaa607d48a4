/* router/api/to_ollama_images.c - a message's images as Ollama has them: bare base64, beside the
 * content.
 *
 * An image may be most of a query of megabytes, so its base64 is copied as it stands, escapes and
 * all, and never decoded on the way. Nothing is fetched on an agent's word. */
#include <string.h>
#include <strings.h>

#include "router/api/outgoing.h"

/* Behind the head that the string begins with, as it stands in the body; NULL: it does not. */
static const char *
skip_head(const struct hw_json *string, const char *head)
{
    const char *p = string->p + 1, *end = string->p + string->len - 1;

    for (; *head != '\0'; head++) {
        char unit[4];
        size_t n = 1;
        if (p == end)
            return NULL;
        if (*p == '\\')
            n = hw_json_decode_escape(&p, unit);
        else
            unit[0] = *p++;
        if (n != 1 || strncasecmp(unit, head, 1) != 0)
            return NULL;
    }
    return p < end ? p : NULL;
}

static const char *const types[] = {"image/png", "image/jpeg", "image/jpg", "image/webp"};
#define TYPES (sizeof(types) / sizeof(types[0]))

/* Where the base64 of a data: URL with an image that Ollama reads begins; NULL for all else. */
static const char *
find_data(const struct hw_json *url)
{
    for (size_t i = 0; i < TYPES; i++) {
        char head[32];
        snprintf(head, sizeof(head), "data:%s;base64,", types[i]);
        const char *data = skip_head(url, head);
        if (data != NULL)
            return data;
    }
    return NULL;
}

static bool
is_readable(const struct hw_json *media_type)
{
    for (size_t i = 0; i < TYPES; i++)
        if (hw_json_string_is(media_type, types[i]))
            return true;
    return false;
}

/* What a part or an Anthropic block holds: false: no image. *data is NULL for one that
 * cannot be carried, else begins its base64, and *string ends it. */
static bool
find_image(const struct hw_json *part, struct hw_json *string, const char **data)
{
    struct hw_json type, image, media;

    *data = NULL;
    if (!hw_json_get(part, "type", &type))
        return false;
    if (hw_json_string_is(&type, "image_url")) {
        if (hw_json_get(part, "image_url", &image) && hw_json_get(&image, "url", string))
            *data = find_data(string);
        return true;
    }
    if (hw_json_string_is(&type, "input_image")) {
        if (!hw_json_get(part, "image_url", string) || string->type != HW_JSON_STRING)
            return false; /* a file of OpenAI's */
        *data = find_data(string);
        return true;
    }
    if (!hw_json_string_is(&type, "image"))
        return false;
    if (hw_json_get(part, "source", &image) && hw_json_get(&image, "media_type", &media) &&
        is_readable(&media) && hw_json_get(&image, "data", string))
        *data = string->p + 1;
    return true;
}

static bool
is_text(const struct hw_json *part)
{
    struct hw_json type;

    return !hw_json_get(part, "type", &type) || hw_json_string_is(&type, "text") ||
           hw_json_string_is(&type, "refusal");
}

void
hw_outgoing_put_images(struct hw_outgoing *out, const struct hw_query *query, size_t at)
{
    const struct hw_message *message = &query->messages[at];
    struct hw_json content = {HW_JSON_ARRAY, message->source, message->source_len};
    bool named = message->kind != HW_SOURCE_PARTS; /* what else there is, by its parser */
    struct hw_buf *text = &out->text;
    struct hw_json_iter iter;
    struct hw_json part, string;
    const char *data;
    bool any = false;

    hw_json_iter_init(&iter, &content);
    while (hw_json_next(&iter, NULL, &part)) {
        if (!find_image(&part, &string, &data)) {
            if (!named && !is_text(&part))
                hw_outgoing_drop_at(out, query, at, "content");
            continue;
        }
        if (data == NULL) {
            hw_outgoing_drop_at(out, query, at, "image_url");
            continue;
        }
        hw_buf_puts(text, any ? ",\"" : ",\"images\":[\"");
        hw_buf_append(text, data, (size_t)(string.p + string.len - data)); /* its quote, too */
        any = true;
    }
    if (any)
        hw_buf_puts(text, "]");
}
