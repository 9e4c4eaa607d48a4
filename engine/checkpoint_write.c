/* engine/checkpoint_write.c - a BDH model into a safetensors file, all or nothing. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/file_write.h"
#include "engine/halfs.h"
#include "engine/int8.h"
#include "engine/tensors.h"
#include "hatchway/buf.h"

#define MAX_HEAD_BYTES (16u << 10)
#define CHUNK_VALUES 16384u

static void
add_u32(cJSON *object, const char *key, uint32_t value)
{
    char text[16];

    snprintf(text, sizeof(text), "%u", value);
    cJSON_AddStringToObject(object, key, text);
}

static void
add_metadata(cJSON *json, const struct hw_bdh_model *model)
{
    const struct hw_bdh_config *c = &model->conf;
    struct hw_bdh_template tmpl = model->tmpl;
    struct hw_template_field fields[3];
    cJSON *metadata = cJSON_AddObjectToObject(json, "__metadata__");
    char number[32];

    add_u32(metadata, "n_layer", c->n_layer);
    add_u32(metadata, "n_embd", c->n_embd);
    add_u32(metadata, "n_head", c->n_head);
    add_u32(metadata, "mlp_internal_dim_multiplier", c->multiplier);
    add_u32(metadata, "vocab_size", c->vocab);
    snprintf(number, sizeof(number), "%g", (double)c->dropout);
    cJSON_AddStringToObject(metadata, "dropout", number);
    cJSON_AddStringToObject(metadata, "format", "pt");
    if (c->decay != 0.0f) {
        snprintf(number, sizeof(number), "%.9g", (double)c->decay);
        cJSON_AddStringToObject(metadata, HW_META_DECAY, number);
    }
    if (c->wide_phases)
        cJSON_AddStringToObject(metadata, HW_META_PHASES, "f64");
    if (model->trained_context > 0)
        add_u32(metadata, HW_META_CONTEXT, model->trained_context);
    hw_list_template(&tmpl, fields);
    for (int i = 0; i < 3; i++)
        if (fields[i].text[0] != '\0')
            cJSON_AddStringToObject(metadata, fields[i].key, fields[i].text);
}

/* What stands in the file, one behind the other. With int8 the floats come first, so that each is
 * aligned. */
struct part {
    const struct hw_tensor *tensor;
    enum { PART_F32, PART_BF16, PART_SCALES, PART_INT8 } what;
};

static size_t
list_parts(const struct hw_tensor tensors[HW_TENSORS], enum hw_bdh_dtype dtype,
           struct part parts[2 * HW_TENSORS])
{
    size_t count = 0;

    for (int i = 0; i < HW_TENSORS; i++) {
        bool whole = dtype == HW_BDH_DTYPE_F32 || tensors[i].stays_f32;
        parts[count++] = (struct part){&tensors[i], whole                        ? PART_F32
                                                    : dtype == HW_BDH_DTYPE_BF16 ? PART_BF16
                                                                                 : PART_SCALES};
    }
    for (int i = 0; i < HW_TENSORS; i++)
        if (dtype == HW_BDH_DTYPE_INT8 && !tensors[i].stays_f32)
            parts[count++] = (struct part){&tensors[i], PART_INT8};
    return count;
}

static uint64_t
part_bytes(const struct part *part)
{
    switch (part->what) {
    case PART_F32:
        return part->tensor->count * sizeof(float);
    case PART_BF16:
        return part->tensor->count * sizeof(uint16_t);
    case PART_SCALES:
        return hw_tensor_channels(part->tensor) * sizeof(float);
    default:
        return part->tensor->count;
    }
}

static void
add_part(cJSON *json, const struct part *part, uint64_t *offset)
{
    const struct hw_tensor *tensor = part->tensor;
    char scale_name[HW_SCALE_NAME_BYTES];

    hw_tensor_scale_name(tensor, scale_name);
    cJSON *entry =
        cJSON_AddObjectToObject(json, part->what == PART_SCALES ? scale_name : tensor->name);
    cJSON_AddStringToObject(entry, "dtype",
                            part->what == PART_BF16   ? "BF16"
                            : part->what == PART_INT8 ? "I8"
                                                      : "F32");
    cJSON *shape = cJSON_AddArrayToObject(entry, "shape");
    for (uint32_t i = 0; i < tensor->dim_count; i++) {
        bool one = part->what == PART_SCALES && i == tensor->channel_axis;
        cJSON_AddItemToArray(shape, cJSON_CreateNumber(one ? 1.0 : (double)tensor->dims[i]));
    }
    cJSON *offsets = cJSON_AddArrayToObject(entry, "data_offsets");
    cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)*offset));
    *offset += part_bytes(part);
    cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)*offset));
}

/* u64 length and the JSON, padded so that the data begins on a multiple of 64 bytes. */
static int
make_head(const struct hw_bdh_model *model, const struct part *parts, size_t count,
          struct hw_buf *out)
{
    cJSON *json = cJSON_CreateObject();
    uint64_t offset = 0;

    add_metadata(json, model);
    for (size_t i = 0; i < count; i++)
        add_part(json, &parts[i], &offset);
    char *text = cJSON_PrintUnformatted(json);
    cJSON_Delete(json);
    if (text == NULL)
        return HW_ENOMEM;
    uint64_t padded = (strlen(text) + 8 + 63) / 64 * 64 - 8;
    hw_buf_append(out, &padded, sizeof(padded));
    hw_buf_puts(out, text);
    while (!out->failed && out->len < padded + 8)
        hw_buf_puts(out, " ");
    cJSON_free(text);
    return out->failed ? HW_ENOMEM : 0;
}

/* A scale a channel; the caller's. */
static float *
make_scales(const struct hw_tensor *tensor)
{
    size_t stride = hw_tensor_stride(tensor), count = hw_tensor_channels(tensor);
    size_t along = tensor->dims[tensor->channel_axis];
    float *scales = malloc(count * sizeof(*scales));

    for (size_t c = 0; scales != NULL && c < count; c++)
        scales[c] =
            hw_int8_scale(tensor->values + c / stride * stride * along + c % stride, along, stride);
    return scales;
}

static int
write_narrow(FILE *file, const struct part *part, const float *scales)
{
    static const size_t widths[] = {[PART_BF16] = sizeof(uint16_t), [PART_INT8] = 1};
    const struct hw_tensor *tensor = part->tensor;
    size_t width = widths[part->what];
    uint16_t *halfs = malloc(CHUNK_VALUES * sizeof(*halfs));
    int8_t *bytes = (int8_t *)halfs;
    int rc = halfs == NULL ? HW_ENOMEM : 0;

    for (size_t done = 0; done < tensor->count && rc == 0;) {
        size_t n = tensor->count - done < CHUNK_VALUES ? tensor->count - done : CHUNK_VALUES;
        for (size_t i = 0; i < n; i++) {
            float value = tensor->values[done + i];
            if (part->what == PART_BF16)
                halfs[i] = hw_bf16_from_f32(value);
            else
                bytes[i] = hw_int8_round(value, scales[hw_tensor_channel(tensor, done + i)]);
        }
        if (fwrite(halfs, width, n, file) != n)
            rc = HW_EIO;
        done += n;
    }
    free(halfs);
    return rc;
}

static int
write_part(FILE *file, const struct part *part)
{
    float *scales = NULL;
    int rc = 0;

    if (part->what == PART_SCALES || part->what == PART_INT8)
        if ((scales = make_scales(part->tensor)) == NULL)
            return HW_ENOMEM;
    if (part->what == PART_BF16 || part->what == PART_INT8) {
        rc = write_narrow(file, part, scales);
    } else {
        const float *values = scales != NULL ? scales : part->tensor->values;
        size_t count = part_bytes(part) / sizeof(float);
        if (fwrite(values, sizeof(float), count, file) != count)
            rc = HW_EIO;
    }
    free(scales);
    return rc;
}

struct job {
    const struct hw_bdh_model *model;
    enum hw_bdh_dtype dtype;
};

static int
write_job(FILE *file, const void *what)
{
    const struct job *job = what;
    struct hw_tensor tensors[HW_TENSORS];
    struct part parts[2 * HW_TENSORS];
    struct hw_buf head;

    hw_buf_init(&head, MAX_HEAD_BYTES);
    hw_list_tensors(job->model, tensors);
    size_t count = list_parts(tensors, job->dtype, parts);
    int rc = make_head(job->model, parts, count, &head);
    if (rc == 0 && fwrite(head.data, 1, head.len, file) != head.len)
        rc = HW_EIO;
    hw_buf_free(&head);
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = write_part(file, &parts[i]);
    return rc;
}

int
hw_bdh_model_save(const struct hw_bdh_model *model, const char *path, enum hw_bdh_dtype dtype,
                  struct hw_err *err)
{
    const struct job job = {.model = model, .dtype = dtype};

    return hw_file_write(path, write_job, &job, err);
}
