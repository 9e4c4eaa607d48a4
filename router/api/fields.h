/* router/api/fields.h - what the dialects' parsers share: a body is opened as an object, its
 * members are walked against a table, and each is taken or refused. The checks are in fields.c, the
 * rest in parse.c.
 *
 * Checks take a field's name for their message: "temperature must be a number from 0 to 2, got a
 * string". On an error their outputs are untouched. */
#ifndef HW_ROUTER_API_FIELDS_H
#define HW_ROUTER_API_FIELDS_H

#include "router/api/dialect.h"

#define HW_MAX_MODEL_BYTES 256

/* "a number": what a value is, for messages. */
const char *hw_json_kind(const struct hw_json *value);
/* "NAME must be WANTED, got KIND" */
int hw_field_wrong(const char *name, const char *wanted, const struct hw_json *value,
                   struct hw_err *err);
int hw_field_bool(const char *name, const struct hw_json *value, bool *out, struct hw_err *err);
int hw_field_number(const char *name, const struct hw_json *value, double min, double max,
                    double *out, struct hw_err *err);
int hw_field_uint(const char *name, const struct hw_json *value, uint32_t min, uint32_t max,
                  uint32_t *out, struct hw_err *err);
int hw_field_max_tokens(const char *name, const struct hw_json *value, struct hw_query *query,
                        struct hw_err *err);
/* A string or an array of at most `most` strings. */
int hw_field_stops(const char *name, const struct hw_json *value, size_t most,
                   struct hw_arena *arena, struct hw_query *query, struct hw_err *err);

/* Hands each member that stands in the table to its take, in the order of the text. A member that
 * is given twice is an error, null stands for "not given", unknown ones are skipped. */
struct hw_field_taker {
    const char *name;
    int (*take)(void *ctx, const struct hw_json *value);
};
int hw_fields_take(const struct hw_json *object, const struct hw_field_taker *table, size_t count,
                   void *ctx, struct hw_err *err);
/* The same, but null is handed out too. */
int hw_fields_take_nulls(const struct hw_json *object, const struct hw_field_taker *table,
                         size_t count, void *ctx, struct hw_err *err);

/* A body that is being read: the ctx of its members' takers. */
struct hw_parse {
    struct hw_arena *arena;
    struct hw_query *query;
    struct hw_err *err;
    struct hw_err unread; /* what err points to when nobody asked for it */
    /* Members that wait until all are read, for the dialects that have them. .p NULL: not given */
    struct hw_json messages, prompt, system, images;
    bool has_completion_tokens; /* max_completion_tokens is the newer word and wins */
    bool tools_off;
};
/* Fills *parse and starts *query anew. */
void hw_parse_init(struct hw_parse *parse, const struct hw_dialect *dialect, struct hw_body *body,
                   struct hw_arena *arena, struct hw_query *query, struct hw_err *err);
/* Reads the body, which must be an object, by the table. */
int hw_parse_object(struct hw_parse *parse, const struct hw_json_limits *limits,
                    const struct hw_field_taker *table, size_t count);
/* The same, and a model must be named. Tells whether the answer is determined. */
int hw_parse_body(struct hw_parse *parse, const struct hw_json_limits *limits,
                  const struct hw_field_taker *table, size_t count);

/* Takers of fields of one meaning, name and range in the dialects that have them; ctx is the
 * struct hw_parse. */
int hw_take_model(void *ctx, const struct hw_json *value);
int hw_take_stream(void *ctx, const struct hw_json *value);
int hw_take_stream_options(void *ctx, const struct hw_json *value);
int hw_take_max_tokens(void *ctx, const struct hw_json *value);
int hw_take_temperature(void *ctx, const struct hw_json *value);
int hw_take_top_p(void *ctx, const struct hw_json *value);
int hw_take_top_k(void *ctx, const struct hw_json *value);
int hw_take_min_p(void *ctx, const struct hw_json *value);
int hw_take_repetition_penalty(void *ctx, const struct hw_json *value);
int hw_take_repeat_penalty(void *ctx, const struct hw_json *value);
int hw_take_seed(void *ctx, const struct hw_json *value);
int hw_take_n(void *ctx, const struct hw_json *value);
/* A boolean, and how many beside the chosen one. */
int hw_take_logprobs(void *ctx, const struct hw_json *value);
int hw_take_top_logprobs(void *ctx, const struct hw_json *value);
int hw_take_stop(void *ctx, const struct hw_json *value);
int hw_take_presence_penalty(void *ctx, const struct hw_json *value);
int hw_take_frequency_penalty(void *ctx, const struct hw_json *value);
/* Of tools spelt as OpenAI's. */
int hw_take_tools(void *ctx, const struct hw_json *value);
/* Fields that ask for what a kept answer cannot hold, or for an effect beside the answer. */
int hw_take_unkept(void *ctx, const struct hw_json *value);

#endif
