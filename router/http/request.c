/* router/http/request.c - llhttp between two sieves.
 *
 * The head's bytes are kept as they came in one block, and llhttp reads them there: a field is an
 * offset and a length, nothing is copied twice, and a head that arrives a byte at a time is no
 * special case. In front of llhttp a walk over the lines finds where the head ends and refuses what
 * llhttp's strict mode lets through (obs-fold, bare LF); behind it request_check.c refuses what two
 * parsers could read differently.
 *
 * The block may move while it grows, so that slices are made only when the head is complete. */
#include "router/http/request_private.h"

#define URL_MAX_BYTES ((size_t)8192)
#define SKIPPED_MAX_BYTES ((size_t)16)
#define BODY_LEAST_BYTES ((size_t)1024)
#define BODY_FIRST_BYTES ((size_t)16 * 1024)
#define BODY_KEPT_BYTES ((size_t)16 * 1024) /* a body this small is kept for the next request */
#define HEAD_KEPT_BYTES ((size_t)16 * 1024)
#define EXTENSION_MAX_BYTES ((uint64_t)4096)
#define CHUNK_FRAMING_BASE_BYTES ((uint64_t)16 * 1024)

struct hw_request_span {
    uint32_t name_at, name_len;
    uint32_t value_at, value_len;
};

static struct hw_request_reader *
reader_of(llhttp_t *parser)
{
    return parser->data;
}

static size_t
offset_of(const struct hw_request_reader *reader, const char *at)
{
    return (size_t)(at - reader->head.data);
}

static int
on_url(llhttp_t *parser, const char *at, size_t len)
{
    struct hw_request_reader *reader = reader_of(parser);
    if (reader->url_len == 0)
        reader->url_at = offset_of(reader, at);
    reader->url_len += len;
    if (reader->url_len > URL_MAX_BYTES)
        return hw_request_fail_limit(reader, 414, "the request target is longer", URL_MAX_BYTES,
                                     " bytes", "a fixed limit");
    return 0;
}

static int
count_trailer(struct hw_request_reader *reader, size_t len)
{
    reader->trailer_bytes += len;
    if (reader->trailer_bytes > reader->head.max)
        return hw_request_fail_limit(reader, 431, "the trailers are longer", reader->head.max,
                                     " bytes", "limits.header_bytes");
    return 0;
}

/* Room for one more field; both arrays grow together. */
static int
grow_fields(struct hw_request_reader *reader)
{
    size_t cap = reader->field_cap == 0 ? 16 : reader->field_cap * 2;
    void *spans = realloc(reader->spans, cap * sizeof(*reader->spans));
    if (spans == NULL)
        return HW_ENOMEM;
    reader->spans = spans;
    void *fields = realloc(reader->fields, cap * sizeof(*reader->fields));
    if (fields == NULL)
        return HW_ENOMEM;
    reader->fields = fields;
    reader->field_cap = cap;
    return 0;
}

static int
on_field(llhttp_t *parser, const char *at, size_t len)
{
    struct hw_request_reader *reader = reader_of(parser);
    if (reader->in_trailers)
        return count_trailer(reader, len);
    if (!reader->in_name) {
        if (reader->field_count == reader->max_fields)
            return hw_request_fail_limit(reader, 431, "there are more header fields",
                                         reader->max_fields, "", "limits.headers");
        if (reader->field_count == reader->field_cap && grow_fields(reader) != 0)
            return hw_request_fail(reader, 503, "out of memory");
        reader->spans[reader->field_count++] =
            (struct hw_request_span){.name_at = (uint32_t)offset_of(reader, at)};
        reader->in_name = true;
    }
    reader->spans[reader->field_count - 1].name_len += (uint32_t)len;
    return 0;
}

static int
on_field_complete(llhttp_t *parser)
{
    struct hw_request_reader *reader = reader_of(parser);
    reader->in_name = false;
    if (reader->in_trailers)
        return count_trailer(reader, 32); /* many empty ones cost as well */
    return 0;
}

static int
on_value(llhttp_t *parser, const char *at, size_t len)
{
    struct hw_request_reader *reader = reader_of(parser);
    if (reader->in_trailers)
        return count_trailer(reader, len);
    if (reader->field_count == 0)
        return hw_request_fail(reader, 400, "malformed header field");
    struct hw_request_span *span = &reader->spans[reader->field_count - 1];
    size_t begin = offset_of(reader, at);
    if (span->value_len == 0)
        span->value_at = (uint32_t)begin;
    span->value_len = (uint32_t)(begin + len) - span->value_at;
    return 0;
}

static int
on_extension(llhttp_t *parser, const char *at, size_t len)
{
    (void)at;
    struct hw_request_reader *reader = reader_of(parser);
    reader->extension_bytes += len;
    if (reader->extension_bytes > EXTENSION_MAX_BYTES)
        return hw_request_fail(reader, 400, "the chunk extensions are too large");
    return 0;
}

static void
make_slices(struct hw_request_reader *reader)
{
    const char *base = reader->head.data;
    for (size_t i = 0; i < reader->field_count; i++) {
        const struct hw_request_span *span = &reader->spans[i];
        size_t len = span->value_len;
        const char *value = base + span->value_at;
        while (len > 0 && (value[len - 1] == ' ' || value[len - 1] == '\t'))
            len--;
        reader->fields[i] = (struct hw_http_received_field){
            .name = {base + span->name_at, span->name_len}, .value = {value, len}};
    }
    reader->request.head =
        (struct hw_http_head){.fields = reader->fields, .count = reader->field_count};
}

/* The URL as far as it was read; for errors also before the head is complete. */
static void
make_target(struct hw_request_reader *reader)
{
    if (reader->url_len == 0)
        return;
    const char *url = reader->head.data + reader->url_at;
    const char *mark = memchr(url, '?', reader->url_len);
    size_t path_len = mark == NULL ? reader->url_len : (size_t)(mark - url);
    reader->request.path = (struct hw_http_slice){url, path_len};
    if (mark != NULL)
        reader->request.query = (struct hw_http_slice){mark + 1, reader->url_len - path_len - 1};
}

static enum hw_http_method
method_of(const llhttp_t *parser)
{
    switch (parser->method) {
    case HTTP_GET:
        return HW_HTTP_GET;
    case HTTP_HEAD:
        return HW_HTTP_HEAD;
    case HTTP_POST:
        return HW_HTTP_POST;
    case HTTP_DELETE:
        return HW_HTTP_DELETE;
    case HTTP_OPTIONS:
        return HW_HTTP_OPTIONS;
    default:
        return HW_HTTP_OTHER;
    }
}

static int
on_head_complete(llhttp_t *parser)
{
    struct hw_request_reader *reader = reader_of(parser);
    reader->request.method = method_of(parser);
    reader->keep_alive = llhttp_should_keep_alive(parser) != 0;
    parser->upgrade = 0; /* an offer we do not take up: the request is answered as plain HTTP */
    make_target(reader);
    make_slices(reader);
    if (hw_request_check(reader) != 0)
        return HPE_USER;
    reader->state = HW_REQUEST_BODY;
    reader->in_trailers = true; /* whatever fields come now stand behind the body */
    return 0;
}

static int
on_chunk_header(llhttp_t *parser)
{
    struct hw_request_reader *reader = reader_of(parser);
    uint64_t have = reader->body == NULL ? 0 : reader->body->len;
    if (parser->content_length > reader->max_body - have)
        return hw_request_fail_body(reader);
    return 0;
}

/* Doubling from 16 KiB, never past what Content-Length promised: a claimed body costs memory only
 * as it arrives. */
static int
grow_body(struct hw_request_reader *reader, size_t more)
{
    struct hw_body *body = reader->body;
    if (body == NULL) {
        body = calloc(1, sizeof(*body));
        if (body == NULL)
            return HW_ENOMEM;
        body->refs = 1;
        reader->body = body;
    }
    size_t need = body->len + more + 1;
    if (need <= body->cap)
        return 0;
    size_t cap = body->cap < BODY_FIRST_BYTES / 2 ? BODY_FIRST_BYTES : body->cap * 2;
    uint64_t left = reader->parser.content_length; /* behind these `more` */
    if ((reader->parser.flags & F_CHUNKED) == 0 && cap > need + left)
        cap = need + (size_t)left;
    if (cap < need)
        cap = need;
    if (cap < BODY_LEAST_BYTES)
        cap = BODY_LEAST_BYTES;
    char *bytes = realloc(body->bytes, cap);
    if (bytes == NULL)
        return HW_ENOMEM;
    body->bytes = bytes;
    body->cap = cap;
    return 0;
}

static int
on_body(llhttp_t *parser, const char *at, size_t len)
{
    struct hw_request_reader *reader = reader_of(parser);
    size_t have = reader->body == NULL ? 0 : reader->body->len;
    if (len > reader->max_body - have)
        return hw_request_fail_body(reader);
    if (grow_body(reader, len) != 0)
        return hw_request_fail(reader, 503, "out of memory");
    struct hw_body *body = reader->body;
    memcpy(body->bytes + body->len, at, len);
    body->len += len;
    body->bytes[body->len] = '\0';
    return 0;
}

/* A chunked body's last doubling may have left half of it empty. */
static void
trim_body(struct hw_body *body)
{
    if (body->cap <= BODY_KEPT_BYTES || body->cap <= body->len + body->len / 4)
        return;
    char *bytes = realloc(body->bytes, body->len + 1);
    if (bytes != NULL) {
        body->bytes = bytes;
        body->cap = body->len + 1;
    }
}

static int
on_complete(llhttp_t *parser)
{
    struct hw_request_reader *reader = reader_of(parser);
    if (reader->body != NULL && reader->body->len > 0) {
        trim_body(reader->body);
        reader->request.body = reader->body;
    }
    reader->state = HW_REQUEST_DONE;
    return HPE_PAUSED; /* what follows belongs to the next request */
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_field_complete = on_field_complete,
    .on_header_value = on_value,
    .on_headers_complete = on_head_complete,
    .on_chunk_header = on_chunk_header,
    .on_chunk_extension_name = on_extension,
    .on_chunk_extension_value = on_extension,
    .on_body = on_body,
    .on_message_complete = on_complete,
};

void
hw_request_init(struct hw_request_reader *reader)
{
    *reader = (struct hw_request_reader){.state = HW_REQUEST_DONE};
    llhttp_init(&reader->parser, HTTP_REQUEST, &settings);
    reader->parser.data = reader;
}

void
hw_request_free(struct hw_request_reader *reader)
{
    hw_body_unref(reader->body);
    hw_buf_free(&reader->head);
    free(reader->spans);
    free(reader->fields);
    reader->body = NULL;
    reader->spans = NULL;
    reader->fields = NULL;
}

void
hw_request_begin(struct hw_request_reader *reader, const struct hw_http_limits *limits)
{
    if (reader->body != NULL) {
        /* Kept for the next request unless somebody still reads it or it is large. */
        if (reader->body->refs > 1 || reader->body->cap > BODY_KEPT_BYTES) {
            hw_body_unref(reader->body);
            reader->body = NULL;
        } else {
            reader->body->len = 0;
        }
    }
    if (reader->head.cap > HEAD_KEPT_BYTES)
        hw_buf_free(&reader->head);
    hw_buf_clear(&reader->head);
    reader->head.max = limits->header_bytes;
    reader->max_body = limits->body;
    reader->max_fields = limits->headers;

    reader->state = HW_REQUEST_IDLE;
    reader->status = 0;
    reader->what = NULL;
    reader->keep_alive = reader->http10 = reader->expects_continue = false;
    reader->request.method = HW_HTTP_OTHER;
    reader->request.path = reader->request.query = (struct hw_http_slice){"", 0};
    reader->request.head = (struct hw_http_head){0};
    reader->request.body = NULL;
    reader->url_at = reader->url_len = reader->line_len = 0;
    reader->first_line = true;
    reader->head_ended = reader->after_cr = reader->in_name = reader->in_trailers = false;
    reader->skipped_bytes = reader->field_count = 0;
    reader->body_bytes = reader->extension_bytes = reader->trailer_bytes = 0;
    llhttp_reset(&reader->parser);
}

/* RFC 9112 2.2: empty lines in front of a request line are forgiven; some clients end a body with
 * one. Anything else that is no letter cannot begin a request. */
static size_t
skip_empty_lines(struct hw_request_reader *reader, const char *bytes, size_t len)
{
    size_t n = 0;
    while (n < len && (bytes[n] == '\r' || bytes[n] == '\n')) {
        if ((bytes[n] == '\n') != reader->after_cr || ++reader->skipped_bytes > SKIPPED_MAX_BYTES) {
            hw_request_fail(reader, 400, "malformed request line");
            return n;
        }
        reader->after_cr = bytes[n] == '\r';
        n++;
    }
    if (n == len)
        return n;
    if (reader->after_cr || bytes[n] < 'A' || bytes[n] > 'Z')
        hw_request_fail(reader, 400, "malformed request line");
    else
        reader->state = HW_REQUEST_HEAD;
    return n;
}

/* How many of the bytes belong to the head: up to and with the empty line, if it is among them, or
 * up to a line that is wrong, and *what says why. Keeps its place over calls in line_len,
 * first_line and after_cr. */
static size_t
scan_lines(struct hw_request_reader *reader, const char *bytes, size_t len, const char **what)
{
    size_t at = 0;
    while (at < len) {
        if (reader->line_len == 0 && !reader->first_line && strchr(" \t:", bytes[at]) != NULL) {
            *what = bytes[at] == ':' ? "a header field has no name"
                                     : "a header field is folded over two lines";
            return at;
        }
        const char *lf = memchr(bytes + at, '\n', len - at);
        if (lf == NULL) {
            reader->line_len += len - at;
            reader->after_cr = bytes[len - 1] == '\r';
            return len;
        }
        size_t end = (size_t)(lf - bytes);
        if (!(end > at ? bytes[end - 1] == '\r' : reader->after_cr)) {
            *what = "a line ends without CR";
            return end;
        }
        size_t line_len = reader->line_len + (end - at);
        reader->line_len = 0;
        reader->first_line = reader->after_cr = false;
        at = end + 1;
        if (line_len == 1) { /* only its CR: the head ends here */
            reader->head_ended = true;
            return at;
        }
    }
    return len;
}

static void
fail_as_llhttp(struct hw_request_reader *reader)
{
    switch (llhttp_get_errno(&reader->parser)) {
    case HPE_INVALID_VERSION:
    case HPE_PAUSED_H2_UPGRADE:
        hw_request_fail(reader, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
        break;
    case HPE_INVALID_METHOD:
        hw_request_fail(reader, 400, "unknown method");
        break;
    case HPE_INVALID_URL:
        hw_request_fail(reader, 400, "malformed request target");
        break;
    case HPE_INVALID_CONSTANT:
        hw_request_fail(reader, 400, "malformed request line");
        break;
    case HPE_INVALID_CHUNK_SIZE:
        hw_request_fail(reader, 400, "malformed chunk");
        break;
    default:
        hw_request_fail(reader, 400,
                        reader->in_trailers ? "malformed body" : "malformed header field");
    }
}

static void
feed_head(struct hw_request_reader *reader, const char *bytes, size_t len)
{
    bool over = len > reader->head.max - reader->head.len;
    if (over)
        len = reader->head.max - reader->head.len;
    size_t at = reader->head.len;
    if (hw_buf_append(&reader->head, bytes, len) != 0) {
        hw_request_fail(reader, 503, "out of memory");
        return;
    }
    if (llhttp_execute(&reader->parser, reader->head.data + at, len) != HPE_OK &&
        reader->state != HW_REQUEST_DONE)
        fail_as_llhttp(reader);
    if (over && reader->state == HW_REQUEST_HEAD) {
        if (memchr(reader->head.data, '\n', reader->head.len) == NULL)
            hw_request_fail_limit(reader, 414, "the request line is longer", reader->head.max,
                                  " bytes", "limits.header_bytes");
        else
            hw_request_fail_limit(reader, 431, "the header is longer", reader->head.max, " bytes",
                                  "limits.header_bytes");
    }
}

/* What chunked framing may cost on top of the body: tiny chunks are slow, not wrong; megabytes of
 * zeroes in front of a size are. */
static bool
framing_is_absurd(const struct hw_request_reader *reader)
{
    uint64_t len = reader->body == NULL ? 0 : reader->body->len;
    return (reader->parser.flags & F_CHUNKED) != 0 &&
           reader->body_bytes > CHUNK_FRAMING_BASE_BYTES + reader->head.max + 16 * len;
}

static size_t
feed_body(struct hw_request_reader *reader, const char *bytes, size_t len)
{
    size_t used = len;
    if (llhttp_execute(&reader->parser, bytes, len) != HPE_OK) {
        if (reader->state == HW_REQUEST_DONE)
            used = (size_t)(llhttp_get_error_pos(&reader->parser) - bytes);
        else
            fail_as_llhttp(reader);
    }
    reader->body_bytes += used;
    if (reader->state == HW_REQUEST_BODY && framing_is_absurd(reader))
        hw_request_fail(reader, 400, "the chunks are mostly framing");
    return used;
}

size_t
hw_request_feed(struct hw_request_reader *reader, const char *bytes, size_t len)
{
    size_t used = 0;
    if (reader->state == HW_REQUEST_IDLE)
        used = skip_empty_lines(reader, bytes, len);
    if (reader->state == HW_REQUEST_HEAD && used < len) {
        const char *what = NULL;
        size_t n = scan_lines(reader, bytes + used, len - used, &what);
        if (n > 0)
            feed_head(reader, bytes + used, n);
        if (what != NULL)
            hw_request_fail(reader, 400, what);
        if (reader->head_ended && reader->state == HW_REQUEST_HEAD)
            hw_request_fail(reader, 505,
                            "only HTTP/1.0 and HTTP/1.1 are spoken here"); /* h2's preface */
        if (reader->state == HW_REQUEST_FAILED)
            make_target(reader); /* the error's shape goes by the path */
        used += n;
    }
    if (reader->state == HW_REQUEST_BODY && used < len)
        used += feed_body(reader, bytes + used, len - used);
    return used;
}
