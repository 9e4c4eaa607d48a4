/* One request as a protocol writes it: its segments joined, and what it could not carry. */
#ifndef HW_TESTS_PROTOCOL_HELP_H
#define HW_TESTS_PROTOCOL_HELP_H

#include "api_help.h"

struct help_request {
    int rc;
    struct hw_err err;
    size_t segment_count;
    char path[64];
    struct hw_buf body, dropped;
};

static inline void
help_write(struct help_request *r, const struct hw_protocol *protocol, const struct hw_query *query,
           const char *model)
{
    struct hw_outgoing out = {0};

    memset(r, 0, sizeof(*r));
    hw_buf_init(&out.text, (size_t)1 << 20);
    hw_buf_init(&out.dropped, 1024);
    hw_buf_init(&r->body, (size_t)1 << 20);
    r->rc = protocol->write_request(query, model, &out, &r->err);
    if (r->rc == 0) {
        snprintf(r->path, sizeof(r->path), "%s", out.path);
        r->segment_count = out.segment_count;
        for (size_t i = 0; i < out.segment_count; i++)
            hw_buf_append(&r->body, out.segments[i].p, out.segments[i].len);
    }
    hw_buf_puts(&out.dropped, "");
    r->dropped = out.dropped;
    hw_buf_free(&out.text);
}

static inline void
help_request_free(struct help_request *r)
{
    hw_buf_free(&r->body);
    hw_buf_free(&r->dropped);
}

/* Parses, writes, compares. */
static inline void
help_expect(const struct hw_dialect *dialect, const char *query, const struct hw_protocol *protocol,
            const char *model, const char *path, const char *body, const char *dropped)
{
    struct help_query h;
    struct help_request r;
    struct hw_json root;

    help_must_parse(&h, dialect, query);
    help_write(&r, protocol, &h.query, model);
    assert_int_equal(r.rc, 0);
    assert_string_equal(r.path, path);
    assert_string_equal(r.body.data, body);
    assert_string_equal(r.dropped.data, dropped);
    assert_int_equal(hw_json_validate(r.body.data, r.body.len, &help_limits, &root, NULL), 0);
    help_request_free(&r);
    help_free(&h);
}

#endif
