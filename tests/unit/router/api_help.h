/* What the tests of router/api share: a body of exactly its size, and a reader's events as text. */
#ifndef HW_TESTS_API_HELP_H
#define HW_TESTS_API_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "router/api/dialect.h"
#include "router/api/protocol.h"
#include "router/api/text.h"
#include "router/arena.h"

static const struct hw_json_limits help_limits = {.depth = 64, .nodes = 200000};

/* One query with its memory. */
struct help_query {
    struct hw_body *body;
    struct hw_arena arena;
    struct hw_query query;
    struct hw_err err;
    int rc;
};

static inline struct hw_body *
help_body(const char *bytes, size_t len)
{
    struct hw_body *body = calloc(1, sizeof(*body));

    assert_non_null(body);
    body->refs = 1;
    body->bytes = malloc(len + 1);
    assert_non_null(body->bytes);
    memcpy(body->bytes, bytes, len);
    body->bytes[len] = '\0';
    body->len = len;
    body->cap = len + 1;
    return body;
}

static inline void
help_parse_bytes(struct help_query *h, const struct hw_dialect *dialect, const char *bytes,
                 size_t len)
{
    memset(h, 0, sizeof(*h));
    hw_arena_init(&h->arena, (size_t)16 << 20);
    h->body = help_body(bytes, len);
    h->rc = dialect->parse(h->body, &help_limits, &h->arena, &h->query, &h->err);
}

static inline void
help_parse(struct help_query *h, const struct hw_dialect *dialect, const char *text)
{
    help_parse_bytes(h, dialect, text, strlen(text));
}

static inline void
help_free(struct help_query *h)
{
    hw_body_unref(h->body);
    hw_arena_free(&h->arena);
}

/* All text of a message. */
static inline const char *
help_text(struct help_query *h, const struct hw_message *message)
{
    const char *text;
    size_t len;

    hw_text_excerpt(message, &h->arena, &text, &len);
    return text;
}

static inline void
help_must_parse(struct help_query *h, const struct hw_dialect *dialect, const char *text)
{
    help_parse(h, dialect, text);
    if (h->rc != 0)
        fail_msg("%s: %s", text, h->err.msg);
}

/* ---- events as text: T(...) R(...) C0[id name](...) F(stop 3 5) E(status: ...) ---- */

static inline void
help_record(void *ctx, const struct hw_event *event)
{
    static const char *const finishes[] = {"stop", "length", "tool_calls", "filter"};
    struct hw_buf *out = ctx;

    switch (event->type) {
    case HW_EVENT_TEXT:
    case HW_EVENT_REASONING:
        hw_buf_printf(out, "%c(%.*s)", event->type == HW_EVENT_TEXT ? 'T' : 'R', (int)event->len,
                      event->text);
        break;
    case HW_EVENT_TOOL_CALL:
        hw_buf_printf(out, "C%u", event->index);
        if (event->id != NULL)
            hw_buf_printf(out, "[%s %s]", event->id, event->name);
        hw_buf_printf(out, "(%.*s)", (int)event->len, event->text);
        break;
    case HW_EVENT_FINISH:
        hw_buf_printf(out, "F(%s", finishes[event->finish]);
        if (event->usage.known)
            hw_buf_printf(out, " %llu %llu", (unsigned long long)event->usage.prompt_tokens,
                          (unsigned long long)event->usage.output_tokens);
        hw_buf_puts(out, ")");
        break;
    case HW_EVENT_ERROR:
        hw_buf_printf(out, "E(%d: %.*s)", event->status, (int)event->len, event->text);
        break;
    }
}

/* Feeds `bytes` in two pieces, each in a block of its own size; the transcript goes to out. */
static inline void
help_read_split(const struct hw_protocol *protocol, const struct hw_query *query, int status,
                const char *type, const char *bytes, size_t len, size_t split, size_t max_bytes,
                struct hw_buf *out)
{
    struct hw_reader *reader =
        hw_reader_create(protocol, query, status, type, strlen(type), max_bytes);
    size_t sizes[2] = {split, len - split};

    for (int i = 0; i < 2; i++) {
        char *piece = malloc(sizes[i] + 1);
        assert_non_null(piece);
        char *exact = piece + 1; /* its end is the block's end */
        memcpy(exact, bytes + (i == 0 ? 0 : split), sizes[i]);
        hw_reader_feed(reader, exact, sizes[i], help_record, out);
        free(piece);
    }
    hw_reader_end(reader, help_record, out);
    hw_reader_destroy(&reader);
    assert_null(reader);
}

#endif
