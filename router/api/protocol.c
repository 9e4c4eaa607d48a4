/* router/api/protocol.c - the protocols by kind, and what their request writers share (what they
 * name as lost: lost.c). */
#include "router/api/protocol.h"

#include <string.h>

#include "router/api/dialect.h"
#include "router/api/outgoing.h"

const struct hw_protocol *
hw_protocol_of(enum hw_kind kind)
{
    switch (kind) {
    case HW_KIND_BDH:
        return &hw_protocol_bdh;
    case HW_KIND_OLLAMA:
        return &hw_protocol_ollama;
    case HW_KIND_OPENAI:
    case HW_KIND_COUNT:
        break;
    }
    return &hw_protocol_openai;
}

bool
hw_protocol_speaks(const struct hw_protocol *protocol, const struct hw_dialect *dialect)
{
    for (const struct hw_dialect *const *spoken = protocol->dialects; *spoken != NULL; spoken++)
        if (*spoken == dialect)
            return true;
    return false;
}

static bool
wants_several(const struct hw_query *query)
{
    const struct hw_json root = hw_query_root(query);
    struct hw_json n;
    uint64_t count;

    return hw_json_get(&root, "n", &n) && hw_json_uint(&n, &count) && count > 1;
}

bool
hw_protocol_false_stop(const struct hw_query *query, const char *bytes, size_t len, size_t *at)
{
    /* Within a string its quotes would be escaped, so only the member itself is found. */
    static const char name[] = "\"finish_reason\"";
    const char *p = bytes, *end = bytes + len;
    size_t word = strlen(HW_FALSE_STOP);

    if (query->dialect != &hw_dialect_openai)
        return false;
    while ((p = memmem(p, (size_t)(end - p), name, sizeof(name) - 1)) != NULL) {
        p += sizeof(name) - 1;
        while (p < end && strchr(" \t\r\n:", *p) != NULL && *p != '\0')
            p++;
        if ((size_t)(end - p) < word || memcmp(p, HW_FALSE_STOP, word) != 0)
            continue;
        *at = (size_t)(p - bytes);
        return !wants_several(query); /* which of the answers called? */
    }
    return false;
}

struct hw_json
hw_query_root(const struct hw_query *query)
{
    const char *p = query->body->bytes, *end = p + query->body->len;

    /* Validated when it was parsed: an object within white space. */
    while (p < end && *p != '{')
        p++;
    while (end > p && end[-1] != '}')
        end--;
    return (struct hw_json){HW_JSON_OBJECT, p, (size_t)(end - p)};
}

int
hw_outgoing_pass(const struct hw_query *query, const char *model, struct hw_outgoing *out,
                 struct hw_err *err)
{
    const struct hw_body *body = query->body;

    out->path = query->dialect->path;
    if (model == NULL || strcmp(model, query->model) == 0) {
        out->segments[0].p = body->bytes;
        out->segments[0].len = body->len;
        out->segment_count = 1;
        return 0;
    }
    if (hw_json_write_string(&out->text, model, strlen(model)) != 0)
        return hw_err_set(err, HW_ENOMEM, "out of memory for a model's name");
    size_t behind = query->model_at + query->model_len;
    out->segments[0].p = body->bytes;
    out->segments[0].len = query->model_at;
    out->segments[1].p = out->text.data;
    out->segments[1].len = out->text.len;
    out->segments[2].p = body->bytes + behind;
    out->segments[2].len = body->len - behind;
    out->segment_count = 3;
    return 0;
}

void
hw_put_key(struct hw_buf *buf, const char *name)
{
    if (buf->len > 0 && buf->data[buf->len - 1] != '{')
        hw_buf_append(buf, ",", 1);
    hw_json_write_string(buf, name, strlen(name));
    hw_buf_append(buf, ":", 1);
}

void
hw_put_raw(struct hw_buf *buf, const struct hw_json *value)
{
    hw_buf_append(buf, value->p, value->len);
}

void
hw_put_number(struct hw_buf *buf, const struct hw_json *raw, double value)
{
    if (raw->p != NULL)
        hw_put_raw(buf, raw);
    else
        hw_buf_printf(buf, "%.17g", value);
}

int
hw_outgoing_done(struct hw_outgoing *out, const char *path, struct hw_err *err)
{
    if (out->text.failed)
        return hw_err_set(err, HW_ELIMIT, "the translated query is longer than %zu bytes",
                          out->text.max);
    out->path = path;
    out->segments[0].p = out->text.data;
    out->segments[0].len = out->text.len;
    out->segment_count = 1;
    return 0;
}
