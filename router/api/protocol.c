/* router/api/protocol.c - the protocols by kind, and what their request writers share. */
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
is_plain_word(const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              (c != '\0' && strchr("_-.[] ", c) != NULL)))
            return false;
    }
    return len > 0 && len <= 64;
}

void
hw_outgoing_drop(struct hw_outgoing *out, const char *name, size_t len)
{
    struct hw_buf *list = &out->dropped;

    if (!is_plain_word(name, len)) {
        name = "...";
        len = 3;
    }
    /* Its own bound is met before an append can fail halfway. */
    if (list->len + len + 2 > list->max)
        return;
    if (list->len > 0)
        hw_buf_append(list, ", ", 2);
    hw_buf_append(list, name, len);
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

static bool
is_listed(const struct hw_json *key, const char *const *names)
{
    for (size_t i = 0; names[i] != NULL; i++)
        if (hw_json_string_is(key, names[i]))
            return true;
    return false;
}

/* prefix: "" or where the members stand, with a point behind. */
static void
drop_members(struct hw_outgoing *out, const struct hw_json *object, const char *prefix,
             const char *const *carried)
{
    struct hw_json_iter iter;
    struct hw_json key, value;
    char name[96];
    bool set;

    hw_json_iter_init(&iter, object);
    while (hw_json_next(&iter, &key, &value)) {
        if (value.type == HW_JSON_NULL || (hw_json_bool(&value, &set) && !set))
            continue;
        if (is_listed(&key, carried))
            continue;
        size_t shown = key.len - 2 < sizeof(name) ? key.len - 2 : sizeof(name) - 1;
        int n = snprintf(name, sizeof(name), "%s%.*s", prefix, (int)shown, key.p + 1);
        hw_outgoing_drop(out, name, (size_t)n < sizeof(name) ? (size_t)n : sizeof(name) - 1);
    }
}

void
hw_outgoing_drop_others(struct hw_outgoing *out, const struct hw_query *query,
                        const char *const *carried)
{
    const struct hw_json root = hw_query_root(query);

    for (size_t i = 0; i < query->lost_count; i++)
        hw_outgoing_drop(out, query->lost[i], strlen(query->lost[i]));
    drop_members(out, &root, "", carried);
}

void
hw_outgoing_drop_options(struct hw_outgoing *out, const struct hw_query *query,
                         const char *const *carried)
{
    const struct hw_json root = hw_query_root(query);
    struct hw_json options;

    if ((query->dialect == &hw_dialect_ollama || query->dialect == &hw_dialect_ollama_generate) &&
        hw_json_get(&root, "options", &options) && options.type == HW_JSON_OBJECT)
        drop_members(out, &options, "options.", carried);
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
hw_put_content(struct hw_buf *buf, const struct hw_message *message)
{
    if (message->content.p != NULL && message->content.type == HW_JSON_STRING)
        hw_put_raw(buf, &message->content);
    else
        hw_json_write_string(buf, message->text, message->text_len);
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
