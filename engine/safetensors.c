/* engine/safetensors.c - a strict reader of the container's head.
 *
 * cJSON reads the syntax; it keeps duplicates, ends strings at \u0000 and takes any number, so all
 * of that is checked here. Every length is compared with the file's before anything is sized by
 * it. */
#include "engine/safetensors.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MAX_EXACT 9007199254740991.0 /* 2^53 - 1: beyond it a double skips integers */
#define MAX_METADATA 256

static bool
exact_integer(const cJSON *item, uint64_t *out)
{
    if (!cJSON_IsNumber(item))
        return false;
    double value = item->valuedouble;
    if (!(value >= 0.0 && value <= MAX_EXACT))
        return false;
    uint64_t integer = (uint64_t)value;
    if ((double)integer != value)
        return false;
    *out = integer;
    return true;
}

/* Bytes of one element; 0 for a dtype we do not know (then the sizes cannot be checked). */
static uint64_t
dtype_read(const char *text, enum hw_safetensors_dtype *dtype)
{
    static const struct {
        const char *name;
        enum hw_safetensors_dtype dtype;
        uint64_t bytes;
    } table[] = {
        {"F32", HW_SAFETENSORS_F32, 4},    {"F16", HW_SAFETENSORS_F16, 2},
        {"BF16", HW_SAFETENSORS_BF16, 2},  {"F64", HW_SAFETENSORS_OTHER, 8},
        {"I64", HW_SAFETENSORS_OTHER, 8},  {"U64", HW_SAFETENSORS_OTHER, 8},
        {"I32", HW_SAFETENSORS_OTHER, 4},  {"U32", HW_SAFETENSORS_OTHER, 4},
        {"I16", HW_SAFETENSORS_OTHER, 2},  {"U16", HW_SAFETENSORS_OTHER, 2},
        {"I8", HW_SAFETENSORS_I8, 1},      {"U8", HW_SAFETENSORS_OTHER, 1},
        {"BOOL", HW_SAFETENSORS_OTHER, 1},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (strcmp(table[i].name, text) == 0) {
            *dtype = table[i].dtype;
            return table[i].bytes;
        }
    *dtype = HW_SAFETENSORS_OTHER;
    return 0;
}

static int
read_shape(const cJSON *shape, uint64_t element_bytes, struct hw_safetensors_entry *entry,
           uint64_t *bytes, struct hw_err *err)
{
    const cJSON *dim;
    uint64_t total = element_bytes;

    if (!cJSON_IsArray(shape))
        return hw_err_set(err, HW_EINVAL, "shape is not an array");
    cJSON_ArrayForEach(dim, shape)
    {
        uint64_t value;
        if (entry->dim_count == HW_SAFETENSORS_MAX_DIMS)
            return hw_err_set(err, HW_ELIMIT, "more than %d dimensions", HW_SAFETENSORS_MAX_DIMS);
        if (!exact_integer(dim, &value))
            return hw_err_set(err, HW_EINVAL, "a dimension is not a whole number");
        if (__builtin_mul_overflow(total, value, &total))
            return hw_err_set(err, HW_EINVAL, "the shape's size overflows");
        entry->dims[entry->dim_count++] = value;
    }
    *bytes = total;
    return 0;
}

static int
read_entry(const cJSON *item, uint64_t data_bytes, struct hw_safetensors_entry *entry,
           struct hw_err *err)
{
    const cJSON *dtype = cJSON_GetObjectItemCaseSensitive(item, "dtype");
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(item, "shape");
    const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(item, "data_offsets");
    uint64_t bytes = 0;

    if (!cJSON_IsObject(item) || cJSON_GetArraySize(item) != 3)
        return hw_err_set(err, HW_EINVAL, "not an object of dtype, shape and data_offsets");
    if (!cJSON_IsString(dtype))
        return hw_err_set(err, HW_EINVAL, "dtype is not a string");
    uint64_t element_bytes = dtype_read(dtype->valuestring, &entry->dtype);
    int rc = read_shape(shape, element_bytes, entry, &bytes, err);
    if (rc != 0)
        return rc;
    if (!cJSON_IsArray(offsets) || cJSON_GetArraySize(offsets) != 2 ||
        !exact_integer(cJSON_GetArrayItem(offsets, 0), &entry->begin) ||
        !exact_integer(cJSON_GetArrayItem(offsets, 1), &entry->end))
        return hw_err_set(err, HW_EINVAL, "data_offsets is not a pair of whole numbers");
    if (entry->begin > entry->end || entry->end > data_bytes)
        return hw_err_set(err, HW_EINVAL,
                          "data_offsets [%llu, %llu] lie outside the file's %llu data bytes",
                          (unsigned long long)entry->begin, (unsigned long long)entry->end,
                          (unsigned long long)data_bytes);
    if (element_bytes != 0 && bytes != entry->end - entry->begin)
        return hw_err_set(err, HW_EINVAL, "shape and dtype say %llu bytes, data_offsets %llu",
                          (unsigned long long)bytes,
                          (unsigned long long)(entry->end - entry->begin));
    return 0;
}

static int
compare_begin(const void *a, const void *b)
{
    const struct hw_safetensors_entry *x = a, *y = b;

    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

/* The data is covered exactly: what no tensor names could smuggle anything, and two names for the
 * same bytes are how a small file claims to be a large model. */
static int
check_cover(struct hw_safetensors_head *head, uint64_t data_bytes, struct hw_err *err)
{
    uint64_t at = 0;

    qsort(head->entries, head->entry_count, sizeof(head->entries[0]), compare_begin);
    for (size_t i = 0; i < head->entry_count; i++) {
        const struct hw_safetensors_entry *entry = &head->entries[i];
        if (entry->begin != at)
            return hw_err_set(err, HW_EINVAL, "tensor %.80s %s", entry->name,
                              entry->begin < at ? "overlaps another" : "follows a hole");
        at = entry->end;
    }
    if (at != data_bytes)
        return hw_err_set(err, HW_EINVAL, "%llu bytes at the file's end belong to no tensor",
                          (unsigned long long)(data_bytes - at));
    return 0;
}

static int
check_metadata(const cJSON *metadata, struct hw_err *err)
{
    const cJSON *item;

    if (!cJSON_IsObject(metadata))
        return hw_err_set(err, HW_EINVAL, "__metadata__ is not an object");
    if (cJSON_GetArraySize(metadata) > MAX_METADATA)
        return hw_err_set(err, HW_ELIMIT, "__metadata__ has more than %d keys", MAX_METADATA);
    cJSON_ArrayForEach(item, metadata)
    {
        if (cJSON_GetObjectItemCaseSensitive(metadata, item->string) != item)
            return hw_err_set(err, HW_EINVAL, "__metadata__.%.80s stands twice", item->string);
        if (!cJSON_IsString(item))
            return hw_err_set(err, HW_EINVAL, "__metadata__.%.80s is not a string", item->string);
    }
    return 0;
}

static int
read_entries(struct hw_safetensors_head *head, uint64_t data_bytes, struct hw_err *err)
{
    const char *prefix = "_orig_mod.";
    const cJSON *item;
    int rc;

    cJSON_ArrayForEach(item, head->json)
    {
        const char *name = item->string;
        if (strcmp(name, "__metadata__") == 0) {
            if (head->metadata != NULL)
                return hw_err_set(err, HW_EINVAL, "__metadata__ stands twice");
            if ((rc = check_metadata(item, err)) != 0)
                return rc;
            head->metadata = item;
            continue;
        }
        if (strncmp(name, prefix, strlen(prefix)) == 0)
            name += strlen(prefix);
        if (hw_safetensors_find(head, name) != NULL)
            return hw_err_set(err, HW_EINVAL, "tensor %.80s stands twice", name);
        if (head->entry_count == HW_SAFETENSORS_MAX_TENSORS)
            return hw_err_set(err, HW_ELIMIT, "more than %d tensors", HW_SAFETENSORS_MAX_TENSORS);
        struct hw_safetensors_entry *entry = &head->entries[head->entry_count];
        entry->name = name;
        if ((rc = read_entry(item, data_bytes, entry, err)) != 0) {
            hw_err_prefix(err, "tensor %.80s", name);
            return rc;
        }
        head->entry_count++;
    }
    return check_cover(head, data_bytes, err);
}

int
hw_safetensors_head_parse(const char *text, size_t len, uint64_t data_bytes,
                          struct hw_safetensors_head **out, struct hw_err *err)
{
    /* A NUL, raw or escaped, would make cJSON show us another name than the file has. */
    if (memchr(text, '\0', len) != NULL || memmem(text, len, "\\u0000", 6) != NULL)
        return hw_err_set(err, HW_EINVAL, "the header holds a NUL");
    if (len == 0 || text[0] != '{')
        return hw_err_set(err, HW_EINVAL, "the header is not a JSON object");
    struct hw_safetensors_head *head = calloc(1, sizeof(*head));
    char *copy = strndup(text, len); /* cJSON wants the NUL that the file does not have */
    int rc = HW_ENOMEM;
    if (head == NULL || copy == NULL) {
        hw_err_set(err, rc, "no memory for the header");
        goto out;
    }
    head->json = cJSON_ParseWithLengthOpts(copy, len + 1, NULL, true);
    if (head->json == NULL) {
        rc = hw_err_set(err, HW_EINVAL, "the header is not valid JSON");
        goto out;
    }
    rc = read_entries(head, data_bytes, err);
out:
    free(copy);
    if (rc != 0)
        hw_safetensors_head_destroy(&head);
    else
        *out = head;
    return rc;
}

void
hw_safetensors_head_destroy(struct hw_safetensors_head **head)
{
    if (*head == NULL)
        return;
    cJSON_Delete((*head)->json);
    free(*head);
    *head = NULL;
}

const struct hw_safetensors_entry *
hw_safetensors_find(const struct hw_safetensors_head *head, const char *name)
{
    for (size_t i = 0; i < head->entry_count; i++)
        if (strcmp(head->entries[i].name, name) == 0)
            return &head->entries[i];
    return NULL;
}
