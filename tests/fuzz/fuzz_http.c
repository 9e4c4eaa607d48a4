/* Fuzzes the request reader: the first byte seeds where the rest is cut; every piece lies in memory
 * of its own, so that a step outside of it is seen. What comes out must not depend on the cuts. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"
#include "router/http/request.h"

#define MAX_REQUESTS 16

static const struct hw_http_limits limits = {.body = 4096, .header_bytes = 2048, .headers = 16};

struct summary {
    int ends[MAX_REQUESTS]; /* status, or 0 for a whole request */
    size_t bodies[MAX_REQUESTS], fields[MAX_REQUESTS], paths[MAX_REQUESTS];
    size_t count;
};

/* Touches all that a handler may look at. */
static void
note(struct summary *summary, const struct hw_request_reader *reader)
{
    const struct hw_http_request *request = &reader->request;
    size_t i = summary->count++;
    size_t sum = 0;

    for (size_t k = 0; k < request->path.len; k++)
        sum += (unsigned char)request->path.p[k];
    for (size_t k = 0; k < request->query.len; k++)
        sum += (unsigned char)request->query.p[k];
    summary->ends[i] = reader->state == HW_REQUEST_FAILED ? reader->status : 0;
    if (reader->state == HW_REQUEST_FAILED) {
        HW_ASSERT(reader->status >= 400 && reader->status <= 505 && reader->what != NULL);
        return;
    }
    for (size_t k = 0; k < request->head.count; k++) {
        const struct hw_http_received_field *field = &request->head.fields[k];
        HW_ASSERT(field->name.len > 0);
        HW_ASSERT(memchr(field->value.p, '\n', field->value.len) == NULL);
        HW_ASSERT(memchr(field->value.p, '\0', field->value.len) == NULL);
        sum += field->name.len + field->value.len;
    }
    HW_ASSERT(request->path.len > 0 && (request->path.p[0] == '/' || request->path.p[0] == '*'));
    HW_ASSERT(reader->http10 || hw_http_head_find(&request->head, "host") != NULL);
    HW_ASSERT(request->body == NULL || request->body->len <= limits.body);
    summary->bodies[i] = request->body == NULL ? 0 : request->body->len;
    summary->fields[i] = request->head.count;
    summary->paths[i] = sum;
}

static void
run(const uint8_t *data, size_t size, uint32_t seed, struct summary *summary)
{
    struct hw_request_reader reader;
    size_t at = 0;

    *summary = (struct summary){0};
    hw_request_init(&reader);
    hw_request_begin(&reader, &limits);
    while (at < size && summary->count < MAX_REQUESTS) {
        seed = seed * 1664525 + 1013904223;
        size_t len = seed == 0 ? size - at : 1 + (seed >> 16) % ((seed >> 8 & 7) == 0 ? 4000 : 40);
        if (len > size - at)
            len = size - at;
        char *piece = malloc(len);
        HW_ASSERT(piece != NULL);
        memcpy(piece, data + at, len);
        size_t used = hw_request_feed(&reader, piece, len);
        free(piece);
        HW_ASSERT(used <= len);
        HW_ASSERT(used == len || reader.state >= HW_REQUEST_DONE);
        at += used;
        if (reader.state < HW_REQUEST_DONE)
            continue;
        note(summary, &reader);
        if (reader.state == HW_REQUEST_FAILED)
            break;
        hw_request_begin(&reader, &limits);
    }
    hw_request_free(&reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct summary cut, bytewise;
    if (size < 1)
        return 0;
    run(data + 1, size - 1, data[0], &cut);
    run(data + 1, size - 1, (uint32_t)data[0] * 77 + 5, &bytewise);
    /* An error may be seen a little earlier or later, with another status; whole requests may not
     * differ, nor may one be taken here and refused there. */
    HW_ASSERT(cut.count == bytewise.count);
    for (size_t i = 0; i < cut.count; i++) {
        HW_ASSERT((cut.ends[i] == 0) == (bytewise.ends[i] == 0));
        HW_ASSERT(cut.bodies[i] == bytewise.bodies[i] && cut.fields[i] == bytewise.fields[i]);
        HW_ASSERT(cut.ends[i] != 0 || cut.paths[i] == bytewise.paths[i]);
    }
    return 0;
}
