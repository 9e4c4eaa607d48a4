/* policies/classify.h - what kind of query is this?
 *
 * Pure. A classifier is compiled once from a snapshot and then only read, by any thread.
 * A role's keywords come first (whole words, ASCII case-insensitive, several words in a row
 * allowed): they are what the policy's author said. A query without any is read by a classifier
 * that was learned from the roles' examples, and may be none of them (policies/learn.h). */
#ifndef HW_POLICIES_CLASSIFY_H
#define HW_POLICIES_CLASSIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/snapshot.h"
#include "hatchway/err.h"

enum hw_role_source {
    HW_ROLE_NONE,
    HW_ROLE_BY_MODEL,
    HW_ROLE_BY_HEADER,
    HW_ROLE_BY_KEYWORD,
    HW_ROLE_BY_LEARNED
};

/* What a replay of a decision log may not know of a query. */
#define HW_UNKNOWN_TEXT 1u
#define HW_UNKNOWN_ROLE 2u
#define HW_UNKNOWN_AGENT 4u
#define HW_UNKNOWN_HEADER 8u
#define HW_UNKNOWN_MODEL 16u /* a backend may have been found to have it */
/* What traits->header answers of a header that may have been there or not; for replays. */
extern const char hw_header_unknown[];

/* What routing looks at. Filled by the router from the query; hw_classify fills the last block. */
struct hw_traits {
    const char *dialect; /* "openai", ... */
    const char *model;   /* as asked; NULL or "auto": the policy decides */
    const char *agent;   /* NULL: no keys configured */
    const char *text;    /* last user message, UTF-8, NUL-terminated */
    size_t text_len;
    uint64_t prompt_bytes;  /* all of the prompt */
    uint32_t prompt_tokens; /* estimate; where its model is known, as that counts */
    bool tokens_told;       /* somebody said how many: it is no estimate */
    uint32_t max_tokens;    /* 0: not asked */
    bool wants_tools, wants_images, wants_json, stream;
    bool embeds;      /* vectors are wanted, not words */
    const char *path; /* of the request; NULL: none */
    /* The value of a header by its name in lower case (not NUL-terminated), or NULL; may be NULL
     * itself when there are none. */
    const char *(*header)(void *ctx, const char *name, size_t *len);
    void *header_ctx;
    int64_t now_s; /* seconds since 1970, for conditions by the clock */
    bool has_lane; /* from header or agent */
    enum hw_lane lane;
    int asked_role;   /* from `model` or x-hatchway-role; -1 */
    uint32_t unknown; /* HW_UNKNOWN_*; 0 in the gateway, which knows everything */

    int role; /* index into snapshot->roles; -1: none */
    enum hw_role_source role_source;
    float confidence;         /* 0..1 */
    char matched_keyword[48]; /* the one that weighed most; "" */
    float difficulty; /* 0..1: the share of queries that are easier; below 0: nothing is known */
    bool difficult;   /* it is among those that the policy sends to the strong model */
};

struct hw_classifier;

int hw_classifier_create(const struct hw_snapshot *snapshot, struct hw_classifier **out,
                         struct hw_err *err);
void hw_classifier_destroy(struct hw_classifier **classifier);
/* What it learned its roles from (policies/learn.h), of the snapshot that it was created from:
 * their names are the labels. On 0 the caller owns *out. */
struct hw_examples;
int hw_classifier_examples(const struct hw_classifier *classifier,
                           const struct hw_snapshot *snapshot, struct hw_examples **out,
                           struct hw_err *err);
void hw_classify(const struct hw_classifier *classifier, struct hw_traits *traits);
/* The same for a text without any keyword that is known by its n-grams alone: buckets of
 * HW_FEATURE_BITS_MAX bits in ascending order (policies/features.h). */
void hw_classify_buckets(const struct hw_classifier *classifier, const uint16_t *buckets,
                         size_t count, struct hw_traits *traits);
/* A text's buckets, of HW_FEATURE_BITS_MAX bits; out has room for HW_FEATURES_MAX. */
size_t hw_classify_features(const struct hw_classifier *classifier, const char *text, size_t len,
                            uint16_t *out);
/* For a role that was learned: its heaviest words in this text, heaviest first ("spread, gold"),
 * or "". Costs a classification a word: for `hatchway route`. */
void hw_classify_explain(const struct hw_classifier *classifier, const struct hw_traits *traits,
                         char *words, size_t size);
/* What speaks for a role in a text. */
struct hw_role_score {
    int role;
    float keywords; /* weight of its keywords; 0: none is there */
    bool learned; /* it was learned, and this is its score: about 1 for a plain case, -1 for none */
    float score;
};
/* Of all roles, those that weigh most first; scores has room for role_count. Both kinds, though
 * keywords decide alone where there are any. */
void hw_classify_scores(const struct hw_classifier *classifier, const struct hw_traits *traits,
                        struct hw_role_score *scores);
/* Whole-word, case-insensitive search of one keyword or phrase. */
bool hw_text_has_keyword(const char *text, size_t len, const char *keyword);

/* Tokens of a prompt estimated from its UTF-8 bytes (a transformer's; a BDH token is a byte),
 * before what backends report corrects it (policies/tokens.h). */
uint32_t hw_estimate_tokens(uint64_t bytes);

#endif
