/* engine/safetensors.h - the container's head, apart from what a BDH model makes of it.
 *
 * A file is: u64 header length, JSON header, raw data. The header maps each tensor's name to dtype,
 * shape and [begin, end) in the data; "__metadata__" maps strings to strings. The parser accepts
 * what the published format allows and nothing else: no overlap, no holes, no duplicate names. */
#ifndef HW_ENGINE_SAFETENSORS_H
#define HW_ENGINE_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include <cjson/cJSON.h>

#include "hatchway/err.h"

#define HW_SAFETENSORS_MAX_HEAD_BYTES (256u << 10)
#define HW_SAFETENSORS_MAX_TENSORS 512
#define HW_SAFETENSORS_MAX_DIMS 8

enum hw_safetensors_dtype {
    HW_SAFETENSORS_OTHER = 0, /* legal in the file, not usable as weights */
    HW_SAFETENSORS_F32,
    HW_SAFETENSORS_F16,
    HW_SAFETENSORS_BF16,
    HW_SAFETENSORS_I8, /* with scales beside it */
};

struct hw_safetensors_entry {
    const char *name; /* owned by the head; "_orig_mod." of a compiled module is stripped */
    enum hw_safetensors_dtype dtype;
    uint32_t dim_count;
    uint64_t dims[HW_SAFETENSORS_MAX_DIMS];
    uint64_t begin, end; /* bytes, from the data's start */
};

struct hw_safetensors_head {
    cJSON *json;           /* owner of every name and of the metadata */
    const cJSON *metadata; /* NULL when the file has none */
    size_t entry_count;
    struct hw_safetensors_entry entries[HW_SAFETENSORS_MAX_TENSORS];
};

/* text is the JSON header; data_bytes what lies behind it. On 0 the caller owns *head. */
int hw_safetensors_head_parse(const char *text, size_t len, uint64_t data_bytes,
                              struct hw_safetensors_head **head, struct hw_err *err);
void hw_safetensors_head_destroy(struct hw_safetensors_head **head); /* NULL-safe, nulls it */
/* NULL when there is none of that name. */
const struct hw_safetensors_entry *hw_safetensors_find(const struct hw_safetensors_head *head,
                                                       const char *name);

#endif
