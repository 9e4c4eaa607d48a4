/* engine/checkpoint_tensors.c - the weights of a safetensors file, in whatever width they stand
 * there.
 *
 * F32, F16 and BF16 as they are; I8 with a scale a channel: value = scale * byte, where the tensor
 * NAME.scale (F32) has the shape of NAME but for the axis that a channel runs along, which is 1. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/checkpoint_parts.h"
#include "engine/file_read.h"
#include "engine/halfs.h"
#include "engine/tensors.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "weights are used as they lie in files");

#define CHUNK_VALUES 16384u

static const struct hw_safetensors_entry *
find_tensor(const struct hw_safetensors_head *head, const struct hw_tensor *tensor)
{
    const struct hw_safetensors_entry *entry = hw_safetensors_find(head, tensor->name);

    if (entry == NULL && tensor->other_name != NULL)
        entry = hw_safetensors_find(head, tensor->other_name);
    return entry;
}

static const struct hw_safetensors_entry *
find_scales(const struct hw_safetensors_head *head, const struct hw_tensor *tensor)
{
    char name[HW_SCALE_NAME_BYTES];

    hw_tensor_scale_name(tensor, name);
    return hw_safetensors_find(head, name);
}

static int
check_scales(const struct hw_safetensors_head *head, const struct hw_tensor *tensor,
             struct hw_err *err)
{
    const struct hw_safetensors_entry *scales = find_scales(head, tensor);

    if (tensor->stays_f32)
        return hw_err_set(err, HW_EINVAL, "tensor %s must be F32, F16 or BF16", tensor->name);
    if (scales == NULL)
        return hw_err_set(err, HW_EINVAL, "tensor %s is I8, but its scales (%s.scale) are missing",
                          tensor->name, tensor->name);
    bool same = scales->dtype == HW_SAFETENSORS_F32 && scales->dim_count == tensor->dim_count;
    for (uint32_t i = 0; same && i < tensor->dim_count; i++)
        same = scales->dims[i] == (i == tensor->channel_axis ? 1 : tensor->dims[i]);
    if (!same)
        return hw_err_set(err, HW_EINVAL,
                          "tensor %s.scale must be F32, and of the shape of %s with 1 for axis %u",
                          tensor->name, tensor->name, tensor->channel_axis);
    return 0;
}

static int
check_tensor(const struct hw_safetensors_head *head, const struct hw_safetensors_entry *entry,
             const struct hw_tensor *tensor, struct hw_err *err)
{
    if (entry->dtype == HW_SAFETENSORS_OTHER)
        return hw_err_set(err, HW_EINVAL, "tensor %s must be F32, F16, BF16 or I8", tensor->name);
    bool same = entry->dim_count == tensor->dim_count;
    for (uint32_t i = 0; same && i < tensor->dim_count; i++)
        same = entry->dims[i] == tensor->dims[i];
    if (!same)
        return hw_err_set(err, HW_EINVAL, "tensor %s has another shape than the configuration says",
                          tensor->name);
    return entry->dtype == HW_SAFETENSORS_I8 ? check_scales(head, tensor, err) : 0;
}

int
hw_checkpoint_check_tensors(const struct hw_safetensors_head *head,
                            const struct hw_bdh_config *conf, struct hw_err *err)
{
    const struct hw_bdh_model shape_only = {.conf = *conf};
    struct hw_tensor tensors[HW_TENSORS];

    hw_list_tensors(&shape_only, tensors);
    for (int i = 0; i < HW_TENSORS; i++) {
        const struct hw_safetensors_entry *entry = find_tensor(head, &tensors[i]);
        if (entry == NULL && tensors[i].optional)
            continue;
        if (entry == NULL)
            return hw_err_set(err, HW_EINVAL, "tensor %s is missing: not a BDH checkpoint",
                              tensors[i].name);
        int rc = check_tensor(head, entry, &tensors[i], err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int
read_halfs(int fd, uint64_t offset, bool is_bf16, float *values, size_t count, struct hw_err *err)
{
    uint16_t *chunk = malloc(CHUNK_VALUES * sizeof(*chunk));
    int rc = 0;

    if (chunk == NULL)
        return hw_err_set(err, HW_ENOMEM, "no memory to read with");
    for (size_t done = 0; done < count && rc == 0;) {
        size_t n = count - done < CHUNK_VALUES ? count - done : CHUNK_VALUES;
        rc = hw_file_read(fd, chunk, n * sizeof(*chunk), offset + done * sizeof(*chunk), err);
        for (size_t i = 0; rc == 0 && i < n; i++)
            values[done + i] = is_bf16 ? hw_f32_from_bf16(chunk[i]) : hw_f32_from_f16(chunk[i]);
        done += n;
    }
    free(chunk);
    return rc;
}

static int
read_bytes(int fd, uint64_t offset, uint64_t scales_offset, const struct hw_tensor *tensor,
           struct hw_err *err)
{
    size_t scale_count = hw_tensor_channels(tensor);
    int8_t *chunk = malloc(CHUNK_VALUES);
    float *scales = malloc(scale_count * sizeof(*scales));
    int rc;

    if (chunk == NULL || scales == NULL)
        rc = hw_err_set(err, HW_ENOMEM, "no memory to read with");
    else
        rc = hw_file_read(fd, scales, scale_count * sizeof(*scales), scales_offset, err);
    for (size_t done = 0; done < tensor->count && rc == 0;) {
        size_t n = tensor->count - done < CHUNK_VALUES ? tensor->count - done : CHUNK_VALUES;
        rc = hw_file_read(fd, chunk, n, offset + done, err);
        for (size_t i = 0; rc == 0 && i < n; i++)
            tensor->values[done + i] =
                scales[hw_tensor_channel(tensor, done + i)] * (float)chunk[i];
        done += n;
    }
    free(chunk);
    free(scales);
    return rc;
}

static int
read_tensor(int fd, uint64_t data_start, const struct hw_safetensors_head *head,
            const struct hw_tensor *tensor, struct hw_err *err)
{
    const struct hw_safetensors_entry *entry = find_tensor(head, tensor);
    int rc;

    if (entry == NULL)
        return 0;
    uint64_t offset = data_start + entry->begin;
    if (entry->dtype == HW_SAFETENSORS_F32)
        rc = hw_file_read(fd, tensor->values, tensor->count * sizeof(float), offset, err);
    else if (entry->dtype == HW_SAFETENSORS_I8)
        rc = read_bytes(fd, offset, data_start + find_scales(head, tensor)->begin, tensor, err);
    else
        rc = read_halfs(fd, offset, entry->dtype == HW_SAFETENSORS_BF16, tensor->values,
                        tensor->count, err);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < tensor->count; i++)
        if (!isfinite(tensor->values[i]))
            return hw_err_set(err, HW_EINVAL, "tensor %s holds a value that is no finite number",
                              tensor->name);
    return 0;
}

int
hw_checkpoint_read_tensors(int fd, uint64_t data_start, const struct hw_safetensors_head *head,
                           const struct hw_bdh_model *model, struct hw_err *err)
{
    struct hw_tensor tensors[HW_TENSORS];
    int rc = 0;

    hw_list_tensors(model, tensors);
    for (int i = 0; i < HW_TENSORS && rc == 0; i++)
        rc = read_tensor(fd, data_start, head, &tensors[i], err);
    return rc;
}
