/* engine/checkpoint_write.c - a BDH model into a safetensors file, all or nothing. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/file_write.h"
#include "engine/halfs.h"
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

static bool
narrows(const struct hw_tensor *tensor, bool bf16)
{
    return bf16 && !tensor->stays_f32;
}

static void
add_tensor(cJSON *json, const struct hw_tensor *tensor, bool bf16, uint64_t *offset)
{
    cJSON *entry = cJSON_AddObjectToObject(json, tensor->name);
    uint64_t bytes = tensor->count * (narrows(tensor, bf16) ? sizeof(uint16_t) : sizeof(float));

    cJSON_AddStringToObject(entry, "dtype", narrows(tensor, bf16) ? "BF16" : "F32");
    cJSON *shape = cJSON_AddArrayToObject(entry, "shape");
    for (uint32_t i = 0; i < tensor->dim_count; i++)
        cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)tensor->dims[i]));
    cJSON *offsets = cJSON_AddArrayToObject(entry, "data_offsets");
    cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)*offset));
    *offset += bytes;
    cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)*offset));
}

/* u64 length and the JSON, padded so that the data begins on a multiple of 64 bytes. */
static int
make_head(const struct hw_bdh_model *model, const struct hw_tensor tensors[HW_TENSORS], bool bf16,
          struct hw_buf *out)
{
    cJSON *json = cJSON_CreateObject();
    uint64_t offset = 0;

    add_metadata(json, model);
    for (int i = 0; i < HW_TENSORS; i++)
        add_tensor(json, &tensors[i], bf16, &offset);
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

static int
write_tensor(FILE *file, const struct hw_tensor *tensor, bool bf16)
{
    if (!narrows(tensor, bf16))
        return fwrite(tensor->values, sizeof(float), tensor->count, file) == tensor->count ? 0
                                                                                           : HW_EIO;
    uint16_t *chunk = malloc(CHUNK_VALUES * sizeof(*chunk));
    if (chunk == NULL)
        return HW_ENOMEM;
    int rc = 0;
    for (size_t done = 0; done < tensor->count && rc == 0;) {
        size_t n = tensor->count - done < CHUNK_VALUES ? tensor->count - done : CHUNK_VALUES;
        for (size_t i = 0; i < n; i++)
            chunk[i] = hw_bf16_from_f32(tensor->values[done + i]);
        if (fwrite(chunk, sizeof(*chunk), n, file) != n)
            rc = HW_EIO;
        done += n;
    }
    free(chunk);
    return rc;
}

static int
write_model(FILE *file, const struct hw_bdh_model *model, bool bf16)
{
    struct hw_tensor tensors[HW_TENSORS];
    struct hw_buf head;

    hw_buf_init(&head, MAX_HEAD_BYTES);
    hw_list_tensors(model, tensors);
    int rc = make_head(model, tensors, bf16, &head);
    if (rc == 0 && fwrite(head.data, 1, head.len, file) != head.len)
        rc = HW_EIO;
    hw_buf_free(&head);
    for (int i = 0; i < HW_TENSORS && rc == 0; i++)
        rc = write_tensor(file, &tensors[i], bf16);
    return rc;
}

struct job {
    const struct hw_bdh_model *model;
    bool bf16;
};

static int
write_job(FILE *file, const void *what)
{
    const struct job *job = what;

    return write_model(file, job->model, job->bf16);
}

int
hw_bdh_model_save(const struct hw_bdh_model *model, const char *path, bool bf16, struct hw_err *err)
{
    const struct job job = {.model = model, .bf16 = bf16};

    return hw_file_write(path, write_job, &job, err);
}
