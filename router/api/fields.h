/* router/api/fields.h - checks that the dialects' parsers share.
 *
 * Each takes a field's name for its message: "temperature must be a number from 0 to 2, got a
 * string". On an error the outputs are untouched. */
#ifndef HW_ROUTER_API_FIELDS_H
#define HW_ROUTER_API_FIELDS_H

#include "router/api/query.h"

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

/* Hands each member that stands in the table to its take, in the order of the text. A member that
 * is given twice is an error, null stands for "not given", unknown ones are skipped. */
struct hw_field_taker {
    const char *name;
    int (*take)(void *ctx, const struct hw_json *value);
};
int hw_fields_take(const struct hw_json *object, const struct hw_field_taker *table, size_t count,
                   void *ctx, struct hw_err *err);

/* Fields of one meaning in every dialect that has them. */
int hw_field_model(const struct hw_json *value, struct hw_arena *arena, struct hw_query *query,
                   struct hw_err *err);
int hw_field_max_tokens(const char *name, const struct hw_json *value, struct hw_query *query,
                        struct hw_err *err);
int hw_field_temperature(const struct hw_json *value, struct hw_query *query, struct hw_err *err);
int hw_field_top_p(const struct hw_json *value, struct hw_query *query, struct hw_err *err);
int hw_field_top_k(const struct hw_json *value, struct hw_query *query, struct hw_err *err);
/* A string or an array of at most `most` strings. */
int hw_field_stops(const char *name, const struct hw_json *value, size_t most,
                   struct hw_arena *arena, struct hw_query *query, struct hw_err *err);
int hw_field_seed(const struct hw_json *value, struct hw_query *query, struct hw_err *err);

#endif
