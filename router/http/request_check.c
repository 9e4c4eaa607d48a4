/* router/http/request_check.c - what a complete head must satisfy beyond llhttp's grammar.
 *
 * Two parsers that read the same bytes differently are how requests are smuggled past a gateway. So
 * whatever leaves room for that is refused, not interpreted: a second Host or Content-Length, a
 * Content-Length that is not plainly a number, Transfer-Encoding beside it, targets that are no
 * path. */
#include "router/http/request_private.h"

#include <inttypes.h>
#include <stdio.h>

int
hw_request_fail(struct hw_request_reader *reader, int status, const char *what)
{
    if (reader->state != HW_REQUEST_FAILED) {
        reader->state = HW_REQUEST_FAILED;
        reader->status = status;
        reader->what = what;
    }
    return HPE_USER;
}

int
hw_request_fail_limit(struct hw_request_reader *reader, int status, const char *what,
                      uint64_t limit, const char *unit, const char *key)
{
    if (reader->state != HW_REQUEST_FAILED)
        snprintf(reader->what_text, sizeof(reader->what_text), "%s than %" PRIu64 "%s (%s)", what,
                 limit, unit, key);
    return hw_request_fail(reader, status, reader->what_text);
}

int
hw_request_fail_body(struct hw_request_reader *reader)
{
    return hw_request_fail_limit(reader, 413, "the body is longer", reader->max_body, " bytes",
                                 "limits.body");
}

static bool
slice_equals(struct hw_http_slice slice, const char *lower)
{
    return hw_http_slice_is(&slice, lower);
}

static int
check_target(struct hw_request_reader *reader)
{
    const char *url = reader->head.data + reader->url_at;
    bool asterisk = reader->url_len == 1 && url[0] == '*';
    if (reader->url_len == 0 || (url[0] != '/' && !asterisk) ||
        (asterisk && reader->request.method != HW_HTTP_OPTIONS))
        return hw_request_fail(reader, 400, "the request target must be a path");
    if (reader->url_at < 2 || url[-2] == ' ')
        return hw_request_fail(reader, 400,
                               "malformed request line"); /* llhttp skips any number of spaces */
    for (size_t i = 0; i < reader->url_len; i++) {
        unsigned char c = (unsigned char)url[i];
        if (c <= 0x20 || c == 0x7f || c == '#')
            return hw_request_fail(reader, 400,
                                   "the request target holds a byte that is not allowed");
    }
    return 0;
}

/* llhttp takes "GET / RTSP/1.0" and "SOURCE / ICE/1.0" for requests as well. */
static int
check_version(struct hw_request_reader *reader)
{
    const char *behind = reader->head.data + reader->url_at + reader->url_len;
    size_t left = reader->head.len - reader->url_at - reader->url_len;
    if (left < 7 || memcmp(behind, " HTTP/1", 7) != 0)
        return hw_request_fail(reader, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    reader->http10 = reader->parser.http_minor == 0;
    return 0;
}

static bool
is_length(struct hw_http_slice value)
{
    if (value.len == 0 || value.len > 19)
        return false;
    for (size_t i = 0; i < value.len; i++)
        if (value.p[i] < '0' || value.p[i] > '9')
            return false;
    return true;
}

static bool
is_host(struct hw_http_slice value)
{
    for (size_t i = 0; i < value.len; i++)
        if (strchr(" \t,/@?#\\", value.p[i]) != NULL)
            return false;
    return true;
}

struct seen {
    int hosts, lengths, encodings, expectations;
    bool chunked, bad_host, bad_length, bad_expectation;
};

static void
look_at_field(const struct hw_http_received_field *field, struct seen *seen)
{
    struct hw_http_slice name = field->name, value = field->value;
    if (name.len == 4 && slice_equals(name, "host")) {
        seen->hosts++;
        seen->bad_host |= !is_host(value);
    } else if (name.len == 14 && slice_equals(name, "content-length")) {
        seen->lengths++;
        seen->bad_length |= !is_length(value);
    } else if (name.len == 17 && slice_equals(name, "transfer-encoding")) {
        seen->encodings++;
        seen->chunked = slice_equals(value, "chunked");
    } else if (name.len == 6 && slice_equals(name, "expect")) {
        seen->expectations++;
        seen->bad_expectation |= !slice_equals(value, "100-continue");
    }
}

static int
check_fields(struct hw_request_reader *reader)
{
    struct seen seen = {0};
    for (size_t i = 0; i < reader->field_count; i++)
        look_at_field(&reader->fields[i], &seen);

    if (seen.hosts > 1 || seen.bad_host || (seen.hosts == 0 && !reader->http10))
        return hw_request_fail(reader, 400,
                               "there must be exactly one Host field, with one name in it");
    if (seen.lengths > 1 || seen.bad_length)
        return hw_request_fail(reader, 400, "Content-Length must be one decimal number, sent once");
    if (seen.encodings > 0 && (seen.lengths > 0 || reader->http10))
        return hw_request_fail(
            reader, 400, "Transfer-Encoding goes neither with Content-Length nor with HTTP/1.0");
    if (seen.encodings > 1)
        return hw_request_fail(reader, 400, "Transfer-Encoding was sent more than once");
    if (seen.encodings == 1 && !seen.chunked)
        return hw_request_fail(reader, 501, "the only Transfer-Encoding known here is chunked");
    if (seen.bad_expectation)
        return hw_request_fail(reader, 417, "the only Expect known here is 100-continue");
    if (seen.lengths > 0 && reader->parser.content_length > reader->max_body)
        return hw_request_fail_body(reader);

    bool body = seen.chunked || reader->parser.content_length > 0;
    reader->expects_continue = seen.expectations > 0 && body && !reader->http10;
    return 0;
}

int
hw_request_check(struct hw_request_reader *reader)
{
    if (check_version(reader) != 0 || check_target(reader) != 0)
        return HPE_USER;
    return check_fields(reader);
}
