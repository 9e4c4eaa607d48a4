/* router/record.h - one query in the decision log: what routing looked at, what it decided, what
 * came of it. Written by the gateway, read by replay and by learning; docs/decision-log.md is the
 * format.
 *
 * Pure: bytes in, bytes out. A log may have been edited, cut or made up, so everything read is
 * checked. A text that is not known is NULL; what must be told apart from "not there" has a flag.
 */
#ifndef HW_ROUTER_RECORD_H
#define HW_ROUTER_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "hatchway/buf.h"
#include "hatchway/err.h"
#include "policies/classify.h"
#include "router/arena.h"

#define HW_RECORD_VERSION 1
/* Longer lines are neither written nor read. */
#define HW_RECORD_LINE_MAX ((size_t)256 * 1024)
#define HW_RECORD_HEADER_MAX 1024 /* bytes of a header's value; a longer one is not told */
#define HW_RECORD_HEADERS_MAX 64
#define HW_RECORD_CANDIDATES_MAX 16

struct hw_record_header {
    const char *name;
    const char *value; /* NULL: the query did not have it */
    size_t len;
};

struct hw_record_candidate {
    const char *backend;
    double expected_ms;
};

enum hw_record_lane_from { HW_LANE_FROM_NOBODY, HW_LANE_FROM_AGENT, HW_LANE_FROM_HEADER };
extern const char *const hw_record_lane_from_names[];

struct hw_record {
    uint64_t time_ms; /* since 1970: the query's first byte */
    const char *request_id;
    bool agent_hidden; /* somebody asked, and the log does not tell who */
    const char *agent; /* NULL: hidden, or nobody needs a key */
    const char *dialect, *path;

    /* What routing looked at. */
    const char *model;      /* as asked */
    const char *asked_role; /* by `model` or header; NULL: none */
    const char *role;       /* NULL: none of the policy's */
    enum hw_role_source role_source;
    float confidence;
    enum hw_lane lane; /* before a route changed it */
    enum hw_record_lane_from lane_from;
    uint64_t prompt_bytes;
    uint32_t prompt_tokens, max_tokens; /* the first as estimated */
    bool tools, images, json, stream, embeds;
    bool keepable, deterministic; /* for what `cache` of a route keeps */
    bool no_cache;                /* the agent forbade it */
    struct hw_record_header headers[HW_RECORD_HEADERS_MAX];
    size_t header_count;
    uint64_t conversation; /* 0: not told */
    /* The text, with what is left out in the middle left out: text_len bytes of text_bytes. */
    const char *text; /* NULL: not told */
    size_t text_len;
    uint64_t text_bytes;
    const uint16_t *features; /* sorted; NULL: not told */
    size_t feature_count;
    /* What the policy's roles were when this was classified: without the text a replay may keep the
     * role as long as they are the same. */
    uint64_t keywords_digest, learned_digest;

    /* What was decided. */
    const char *route;                                               /* NULL: none matched */
    struct hw_record_candidate candidates[HW_RECORD_CANDIDATES_MAX]; /* in their order */
    size_t candidate_count;
    const char *backend; /* who answered, or was tried last; of a hit: who had answered */
    const char *answered_model;
    bool fallback;
    const char *cache;  /* "hit", ... */
    const char *shadow; /* whom a copy was sent to; NULL: nobody */

    /* What came of it. */
    int status; /* 499: the agent left */
    uint32_t attempts;
    uint64_t duration_us;
    uint64_t first_token_us; /* from the query's first byte; 0: none came */
    uint64_t ttft_us;        /* of the last attempt, from sending; 0: none came */
    uint64_t decode_us;      /* first to last piece; 0: it came at once */
    uint64_t output_bytes;
    bool usage_known;
    uint64_t reported_prompt_tokens, output_tokens;
    const char *finish; /* "stop", ...; NULL: it did not */
};

/* Appends the line with its '\n'. An error: it is too long, or there is no memory. */
int hw_record_write(const struct hw_record *record, struct hw_buf *out);
/* One line, without its '\n'. Strings of *record live in arena. HW_EINVAL: what is wrong with it.
 */
int hw_record_read(const char *line, size_t len, struct hw_arena *arena, struct hw_record *record,
                   struct hw_err *err);

#endif
