/* router/api/write.h - small change of the answers' writers.
 *
 * An event of a stream is put together by appends: no format string is walked on that way. Whoever
 * calls checks out->failed once. */
#ifndef HW_ROUTER_API_WRITE_H
#define HW_ROUTER_API_WRITE_H

#include <string.h>

#include "router/api/answer.h"
#include "router/api/json.h"

static inline void
hw_write(struct hw_buf *out, const char *text)
{
    hw_buf_append(out, text, strlen(text));
}

static inline void
hw_write_u64(struct hw_buf *out, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    hw_buf_append(out, digits + at, sizeof(digits) - at);
}

static inline void
hw_write_string(struct hw_buf *out, const char *text)
{
    hw_json_write_string(out, text, strlen(text));
}

/* A tool's arguments as an object: what models wrote is a string that should hold one. */
static inline void
hw_write_arguments(struct hw_buf *out, const struct hw_buf *arguments)
{
    static const struct hw_json_limits limits = {.depth = 64, .nodes = 100000};
    struct hw_json root;

    if (arguments->len > 0 &&
        hw_json_validate(arguments->data, arguments->len, &limits, &root, NULL) == 0 &&
        root.type == HW_JSON_OBJECT) {
        hw_buf_append(out, root.p, root.len);
    } else if (arguments->len == 0) {
        hw_write(out, "{}");
    } else { /* not lost, though no tool will have a parameter of that name */
        hw_write(out, "{\"arguments\":");
        hw_json_write_string(out, arguments->data, arguments->len);
        hw_write(out, "}");
    }
}

/* A stream's last event: the dialect's error object behind what begins an event. */
static inline void
hw_write_error_event(struct hw_buf *out, const char *begin, const struct hw_event *event,
                     void (*write_error)(int status, const char *message, const char *param,
                                         struct hw_buf *out))
{
    char message[1024];
    size_t len = event->len < sizeof(message) ? event->len : sizeof(message) - 1;

    if (len > 0)
        memcpy(message, event->text, len);
    message[len] = '\0';
    hw_write(out, begin);
    write_error(event->status >= 400 ? event->status : 502, message, NULL, out);
    hw_write(out, "\n\n");
}

#endif
