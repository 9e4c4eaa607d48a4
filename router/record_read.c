/* router/record_read.c - reading a record: strict where it matters, deaf to members that it does
 * not know, so that a newer gateway's log can be read. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "policies/features.h"
#include "router/api/fields.h"
#include "router/record_private.h"

static const struct hw_json_limits limits = {.depth = 8, .nodes = 4096};

struct reading {
    struct hw_arena *arena;
    struct hw_record *record;
    struct hw_err *err;
};

static int
read_text(const struct reading *reading, const char *name, const struct hw_json *value,
          size_t max_bytes, const char **out, size_t *len)
{
    if (value->type != HW_JSON_STRING)
        return hw_field_wrong(name, "a string", value, reading->err);
    int rc = hw_json_string(value, reading->arena, out, len, reading->err);
    if (rc != 0)
        hw_err_prefix(reading->err, "%s", name);
    else if (*len > max_bytes)
        rc = hw_err_set(reading->err, HW_EINVAL, "%s has %zu bytes, more than %zu", name, *len,
                        max_bytes);
    return rc;
}

static int
read_hex(const char *name, const struct hw_json *value, uint64_t *out, struct hw_err *err)
{
    char digits[17] = "";
    bool right = value->type == HW_JSON_STRING && value->len == 18;

    if (right) {
        memcpy(digits, value->p + 1, 16);
        right = strspn(digits, "0123456789abcdef") == 16;
    }
    if (!right)
        return hw_field_wrong(name, "a string of 16 hex digits", value, err);
    *out = strtoull(digits, NULL, 16);
    return 0;
}

static int
read_word(const struct reading *reading, const struct hw_record_field *field,
          const struct hw_json *value, unsigned *out)
{
    for (unsigned i = 0; value->type == HW_JSON_STRING && field->words[i] != NULL; i++)
        if (hw_json_string_is(value, field->words[i])) {
            *out = i;
            return 0;
        }
    return hw_err_set(reading->err, HW_EINVAL, "%s is no word that is known here", field->name);
}

static int
read_number(const struct hw_record_field *field, const struct hw_json *value, void *at,
            struct hw_err *err)
{
    uint64_t whole = 0;
    double number = 0;
    int rc = 0;

    switch (field->kind) {
    case HW_RECORD_U32:
        return hw_field_uint(field->name, value, 0, UINT32_MAX, at, err);
    case HW_RECORD_U64:
        if (!hw_json_uint(value, &whole))
            return hw_field_wrong(field->name, "a whole number", value, err);
        *(uint64_t *)at = whole;
        return 0;
    case HW_RECORD_STATUS: {
        uint32_t status = 0;
        rc = hw_field_uint(field->name, value, 0, 999, &status, err);
        *(int *)at = (int)status;
        return rc;
    }
    case HW_RECORD_MS:
        rc = hw_field_number(field->name, value, 0, 1e12, &number, err);
        *(uint64_t *)at = (uint64_t)(number * 1000 + 0.5);
        return rc;
    default: /* HW_RECORD_SHARE */
        rc = hw_field_number(field->name, value, 0, 1, &number, err);
        *(float *)at = (float)number;
        return rc;
    }
}

static int
read_field(const struct reading *reading, const struct hw_record_field *field,
           const struct hw_json *value)
{
    void *at = (char *)reading->record + field->offset;
    size_t len;

    switch (field->kind) {
    case HW_RECORD_TEXT:
        return read_text(reading, field->name, value, field->max_bytes, at, &len);
    case HW_RECORD_BOOL:
        return hw_field_bool(field->name, value, at, reading->err);
    case HW_RECORD_HEX:
        return read_hex(field->name, value, at, reading->err);
    case HW_RECORD_WORD:
        return read_word(reading, field, value, at);
    default:
        return read_number(field, value, at, reading->err);
    }
}

/* What stands in the table; the rest is the caller's. A member that is given twice: the first. */
static int
read_fields(const struct reading *reading, const struct hw_json *object,
            const struct hw_record_object *table)
{
    struct hw_json value;
    int rc = 0;

    for (size_t i = 0; i < table->count && rc == 0; i++)
        if (hw_json_get(object, table->fields[i].name, &value) && value.type != HW_JSON_NULL)
            rc = read_field(reading, &table->fields[i], &value);
    return rc;
}

/* --- what no table holds --- */

static int
read_time(const struct reading *reading, const struct hw_json *value)
{
    struct tm tm = {0};
    char text[32] = "";
    const char *end = NULL;
    unsigned ms = 0;

    if (value->type == HW_JSON_STRING && value->len - 2 < sizeof(text)) {
        memcpy(text, value->p + 1, value->len - 2);
        end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    }
    if (end != NULL && end[0] == '.' && strspn(end + 1, "0123456789") == 3) {
        ms = (unsigned)strtoul(end + 1, NULL, 10);
        end += 4;
    }
    time_t seconds = end != NULL && strcmp(end, "Z") == 0 ? timegm(&tm) : -1;
    if (seconds < 0)
        return hw_field_wrong("time", "a time such as 2026-11-21T09:00:00.123Z", value,
                              reading->err);
    reading->record->time_ms = (uint64_t)seconds * 1000 + ms;
    return 0;
}

static int
read_headers(const struct reading *reading, const struct hw_json *object)
{
    struct hw_record *record = reading->record;
    struct hw_json_iter iter;
    struct hw_json key, value;

    if (object->type != HW_JSON_OBJECT)
        return hw_field_wrong("headers", "an object", object, reading->err);
    hw_json_iter_init(&iter, object);
    while (hw_json_next(&iter, &key, &value)) {
        struct hw_record_header *header = &record->headers[record->header_count];
        size_t len;
        if (record->header_count == HW_RECORD_HEADERS_MAX)
            return hw_err_set(reading->err, HW_EINVAL, "more than %d headers",
                              HW_RECORD_HEADERS_MAX);
        int rc = read_text(reading, "headers", &key, 64, &header->name, &len);
        if (rc == 0 && value.type != HW_JSON_NULL)
            rc = read_text(reading, "headers", &value, 3 * HW_RECORD_HEADER_MAX, &header->value,
                           &header->len);
        if (rc != 0)
            return rc;
        record->header_count++;
    }
    return 0;
}

static int
decode_buckets(const struct reading *reading, const struct hw_json *value)
{
    struct hw_record *record = reading->record;
    size_t max = HW_FEATURES_MAX * sizeof(uint16_t), bytes = 0, previous = 0;
    uint16_t *buckets = hw_arena_alloc(reading->arena, max);

    if (buckets == NULL)
        return hw_err_set(reading->err, HW_ENOMEM, "no memory for its features");
    if (value->type != HW_JSON_STRING ||
        sodium_base642bin((unsigned char *)buckets, max, value->p + 1, value->len - 2, NULL, &bytes,
                          NULL, sodium_base64_VARIANT_ORIGINAL) != 0 ||
        bytes % sizeof(uint16_t) != 0)
        return hw_err_set(reading->err, HW_EINVAL, "features.buckets is no base64 of buckets");
    for (size_t i = 0; i < bytes / sizeof(uint16_t); i++) {
        if (i > 0 && buckets[i] <= previous)
            return hw_err_set(reading->err, HW_EINVAL, "features.buckets are not in their order");
        previous = buckets[i];
    }
    record->features = buckets;
    record->feature_count = bytes / sizeof(uint16_t);
    return 0;
}

/* Features of another version, or of another width, are as good as none: they are not told. */
static int
read_features(const struct reading *reading, const struct hw_json *object)
{
    struct hw_json value;
    uint64_t version = 0, bits = 0;

    if (object->type != HW_JSON_OBJECT)
        return hw_field_wrong("features", "an object", object, reading->err);
    if (hw_json_get(object, "version", &value))
        hw_json_uint(&value, &version);
    if (hw_json_get(object, "bits", &value))
        hw_json_uint(&value, &bits);
    if (version != HW_FEATURES_VERSION || bits != HW_FEATURE_BITS_MAX ||
        !hw_json_get(object, "buckets", &value))
        return 0;
    return decode_buckets(reading, &value);
}

static int
read_candidates(const struct reading *reading, const struct hw_json *list)
{
    struct hw_record *record = reading->record;
    struct hw_json_iter iter;
    struct hw_json item, value;
    size_t len;

    if (list->type != HW_JSON_ARRAY)
        return hw_field_wrong("candidates", "an array", list, reading->err);
    hw_json_iter_init(&iter, list);
    while (hw_json_next(&iter, NULL, &item) && record->candidate_count < HW_RECORD_CANDIDATES_MAX) {
        struct hw_record_candidate *candidate = &record->candidates[record->candidate_count];
        if (!hw_json_get(&item, "backend", &value))
            return hw_err_set(reading->err, HW_EINVAL, "a candidate has no backend");
        int rc = read_text(reading, "backend", &value, 64, &candidate->backend, &len);
        if (rc == 0 && hw_json_get(&item, "expected_ms", &value))
            rc = hw_field_number("expected_ms", &value, 0, 1e15, &candidate->expected_ms,
                                 reading->err);
        if (rc != 0)
            return rc;
        record->candidate_count++;
    }
    return 0;
}

static int
read_traits(const struct reading *reading, const struct hw_json *traits)
{
    struct hw_record *record = reading->record;
    struct hw_json value;
    int rc = read_fields(reading, traits, &hw_record_traits);

    if (rc == 0 && hw_json_get(traits, "headers", &value))
        rc = read_headers(reading, &value);
    if (rc == 0 && hw_json_get(traits, "text", &value) && value.type != HW_JSON_NULL)
        rc = read_text(reading, "text", &value, HW_RECORD_LINE_MAX, &record->text,
                       &record->text_len);
    if (rc == 0 && hw_json_get(traits, "features", &value) && value.type != HW_JSON_NULL)
        rc = read_features(reading, &value);
    return rc;
}

static int
want_object(const struct hw_json *root, const char *name, struct hw_json *out, struct hw_err *err)
{
    if (!hw_json_get(root, name, out) || out->type != HW_JSON_OBJECT)
        return hw_err_set(err, HW_EINVAL, "it has no %s", name);
    return 0;
}

int
hw_record_read(const char *line, size_t len, struct hw_arena *arena, struct hw_record *record,
               struct hw_err *err)
{
    struct reading reading = {arena, record, err};
    struct hw_json root, traits, decision, outcome, value;
    uint64_t version = 0;

    *record = (struct hw_record){.lane = HW_LANE_INTERACTIVE};
    int rc = hw_json_validate(line, len, &limits, &root, err);
    if (rc != 0)
        return rc;
    if (!hw_json_get(&root, "v", &value) || !hw_json_uint(&value, &version) ||
        version != HW_RECORD_VERSION)
        return hw_err_set(err, HW_EINVAL,
                          "this is no line of a decision log of version %d (it lacks \"v\":%d)",
                          HW_RECORD_VERSION, HW_RECORD_VERSION);
    if ((rc = want_object(&root, "traits", &traits, err)) != 0 ||
        (rc = want_object(&root, "decision", &decision, err)) != 0 ||
        (rc = want_object(&root, "outcome", &outcome, err)) != 0)
        return rc;
    if (!hw_json_get(&root, "time", &value))
        return hw_err_set(err, HW_EINVAL, "it has no time");
    rc = read_time(&reading, &value);
    if (rc == 0)
        rc = read_fields(&reading, &root, &hw_record_top);
    if (rc == 0)
        rc = read_traits(&reading, &traits);
    if (rc == 0)
        rc = read_fields(&reading, &decision, &hw_record_decision);
    if (rc == 0 && hw_json_get(&decision, "candidates", &value))
        rc = read_candidates(&reading, &value);
    if (rc == 0)
        rc = read_fields(&reading, &outcome, &hw_record_outcome);
    if (rc == 0 && (record->dialect == NULL || *record->dialect == '\0'))
        rc = hw_err_set(err, HW_EINVAL, "it has no dialect");
    return rc;
}
