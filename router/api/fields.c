/* router/api/fields.c - see fields.h. */
#include "router/api/fields.h"

#include <string.h>

#include "hatchway/assert.h"

const char *
hw_json_kind(const struct hw_json *value)
{
    static const char *const kinds[] = {
        [HW_JSON_NULL] = "null",       [HW_JSON_BOOL] = "a boolean", [HW_JSON_NUMBER] = "a number",
        [HW_JSON_STRING] = "a string", [HW_JSON_ARRAY] = "an array", [HW_JSON_OBJECT] = "an object",
    };
    return kinds[value->type];
}

int
hw_field_wrong(const char *name, const char *wanted, const struct hw_json *value,
               struct hw_err *err)
{
    /* A short number is worth repeating: "got 3" says more than "got a number". */
    if (value->type == HW_JSON_NUMBER && value->len <= 20)
        return hw_err_set(err, HW_EINVAL, "%s must be %s, got %.*s", name, wanted, (int)value->len,
                          value->p);
    return hw_err_set(err, HW_EINVAL, "%s must be %s, got %s", name, wanted, hw_json_kind(value));
}

int
hw_field_bool(const char *name, const struct hw_json *value, bool *out, struct hw_err *err)
{
    if (!hw_json_bool(value, out))
        return hw_field_wrong(name, "true or false", value, err);
    return 0;
}

int
hw_field_number(const char *name, const struct hw_json *value, double min, double max, double *out,
                struct hw_err *err)
{
    double number;

    if (!hw_json_number(value, &number) || number < min || number > max) {
        char wanted[80];
        snprintf(wanted, sizeof(wanted), "a number from %g to %g", min, max);
        return hw_field_wrong(name, wanted, value, err);
    }
    *out = number;
    return 0;
}

int
hw_field_uint(const char *name, const struct hw_json *value, uint32_t min, uint32_t max,
              uint32_t *out, struct hw_err *err)
{
    uint64_t number;

    if (!hw_json_uint(value, &number) || number < min || number > max) {
        char wanted[80];
        snprintf(wanted, sizeof(wanted), "a whole number from %u to %u", min, max);
        return hw_field_wrong(name, wanted, value, err);
    }
    *out = (uint32_t)number;
    return 0;
}

int
hw_field_max_tokens(const char *name, const struct hw_json *value, struct hw_query *query,
                    struct hw_err *err)
{
    int rc = hw_field_uint(name, value, 1, UINT32_MAX, &query->max_tokens, err);

    if (rc == 0)
        query->has_max_tokens = true;
    return rc;
}

static int
take_one_stop(const char *name, const struct hw_json *value, struct hw_arena *arena,
              struct hw_query *query, struct hw_err *err)
{
    size_t i = query->stop_count;

    if (value->type != HW_JSON_STRING)
        return hw_field_wrong(name, "a string", value, err);
    int rc = hw_json_string(value, arena, &query->stops[i], &query->stop_lens[i], err);
    if (rc != 0) {
        hw_err_prefix(err, "%s", name);
        return rc;
    }
    if (query->stop_lens[i] == 0)
        return hw_err_set(err, HW_EINVAL, "%s must not be empty", name);
    query->stop_count++;
    return 0;
}

int
hw_field_stops(const char *name, const struct hw_json *value, size_t most, struct hw_arena *arena,
               struct hw_query *query, struct hw_err *err)
{
    struct hw_json_iter iter;
    struct hw_json item;

    HW_ASSERT(most <= HW_MAX_STOPS);
    if (value->type == HW_JSON_STRING)
        return take_one_stop(name, value, arena, query, err);
    if (value->type != HW_JSON_ARRAY)
        return hw_field_wrong(name, "a string or an array of strings", value, err);
    hw_json_iter_init(&iter, value);
    while (hw_json_next(&iter, NULL, &item)) {
        char each[48];
        if (query->stop_count == most)
            return hw_err_set(err, HW_EINVAL, "%s must hold at most %zu strings", name, most);
        snprintf(each, sizeof(each), "%s[%zu]", name, query->stop_count);
        int rc = take_one_stop(each, &item, arena, query, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}
