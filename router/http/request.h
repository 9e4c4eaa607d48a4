/* router/http/request.h - the bytes of one request in, a struct hw_http_request out.
 *
 * Knows no socket and no clock, so that it can be fuzzed and cut at every byte. One reader serves a
 * connection for its life: hw_request_begin makes it ready for the next request and keeps the
 * storage of the last.
 *
 *   IDLE -> HEAD -> BODY -> DONE      from each but DONE -> FAILED (status, what)
 */
#ifndef HW_ROUTER_HTTP_REQUEST_H
#define HW_ROUTER_HTTP_REQUEST_H

#include <llhttp.h>

#include "hatchway/buf.h"
#include "router/http/server.h"

enum hw_request_state {
    HW_REQUEST_IDLE, /* no byte of it has come */
    HW_REQUEST_HEAD,
    HW_REQUEST_BODY,
    HW_REQUEST_DONE,
    HW_REQUEST_FAILED
};

struct hw_request_span; /* where a field stands in the head's block */

struct hw_request_reader {
    enum hw_request_state state;
    int status;       /* FAILED: what to answer */
    const char *what; /* FAILED: why; a constant, or what_text */
    char what_text[96];
    bool keep_alive;
    bool http10;
    bool expects_continue; /* Expect: 100-continue, and there is a body to come */
    /* Good when DONE; path and query also when FAILED, if they were read. peer, peer_is_loopback
     * and received_ns are the server's to fill. */
    struct hw_http_request request;

    /* The rest is request.c's own. */
    llhttp_t parser;
    uint64_t max_body;
    size_t max_fields;
    struct hw_buf head; /* the head's bytes as they came: all slices point into it */
    size_t url_at, url_len;
    size_t line_len; /* of the line that is being read, its LF not counted */
    bool first_line, head_ended, after_cr, in_name, in_trailers;
    size_t skipped_bytes; /* empty lines in front of the request */
    struct hw_request_span *spans;
    struct hw_http_received_field *fields;
    size_t field_count, field_cap;
    struct hw_body *body; /* being filled, or kept empty for the next request */
    uint64_t body_bytes;  /* taken from the wire, framing included */
    uint64_t extension_bytes, trailer_bytes;
};

void hw_request_init(struct hw_request_reader *reader);
void hw_request_free(struct hw_request_reader *reader);
/* Lets go of the last request and takes the limits for the next. */
void hw_request_begin(struct hw_request_reader *reader, const struct hw_http_limits *limits);
/* Takes up to len bytes and returns how many: all of them unless the request is DONE or FAILED. */
size_t hw_request_feed(struct hw_request_reader *reader, const char *bytes, size_t len);

#endif
