/* engine/checkpoint.c - a BDH model from a safetensors file, and what every kind of file shares.
 *
 * Nothing is allocated by what the header claims: the claimed shapes must first agree with the
 * configuration and with the bytes that are really in the file. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/checkpoint_parts.h"
#include "engine/file_read.h"
#include "engine/halfs.h"
#include "engine/model.h"
#include "engine/safetensors.h"
#include "engine/tensors.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "weights are used as they lie in files");

#define CHUNK_VALUES 16384u

/* --- loading --- */

static int
check_shape(const struct hw_safetensors_entry *entry, const struct hw_tensor *tensor,
            struct hw_err *err)
{
    if (entry->dtype == HW_SAFETENSORS_OTHER)
        return hw_err_set(err, HW_EINVAL, "tensor %s must be F32, F16 or BF16", tensor->name);
    bool same = entry->dim_count == tensor->dim_count;
    for (uint32_t i = 0; same && i < tensor->dim_count; i++)
        same = entry->dims[i] == tensor->dims[i];
    if (!same)
        return hw_err_set(err, HW_EINVAL, "tensor %s has another shape than the configuration says",
                          tensor->name);
    return 0;
}

static const struct hw_safetensors_entry *
find_tensor(const struct hw_safetensors_head *head, const struct hw_tensor *tensor)
{
    const struct hw_safetensors_entry *entry = hw_safetensors_find(head, tensor->name);

    if (entry == NULL && tensor->other_name != NULL)
        entry = hw_safetensors_find(head, tensor->other_name);
    return entry;
}

/* Before any weight is allocated: every tensor stands in the file in the configured shape. */
static int
check_tensors(const struct hw_safetensors_head *head, const struct hw_bdh_config *conf,
              struct hw_err *err)
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
        int rc = check_shape(entry, &tensors[i], err);
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
read_tensor(int fd, uint64_t data_start, const struct hw_safetensors_entry *entry,
            const struct hw_tensor *tensor, struct hw_err *err)
{
    uint64_t offset = data_start + entry->begin;
    int rc;

    if (entry->dtype == HW_SAFETENSORS_F32)
        rc = hw_file_read(fd, tensor->values, tensor->count * sizeof(float), offset, err);
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

/* Names the model by what decides its answers: an equal digest means equal answers. */
static void
compute_digest(struct hw_bdh_model *model)
{
    const struct hw_bdh_config *c = &model->conf;
    const uint32_t shape[] = {c->n_layer, c->n_embd, c->n_head, c->n_neuron, c->vocab};
    struct hw_tensor tensors[HW_TENSORS];
    crypto_generichash_state state;

    hw_list_tensors(model, tensors);
    crypto_generichash_init(&state, NULL, 0, sizeof(model->digest));
    crypto_generichash_update(&state, (const unsigned char *)shape, sizeof(shape));
    if (c->decay != 0.0f || c->wide_phases) {
        const float own[] = {c->decay, c->wide_phases ? 1.0f : 0.0f};
        crypto_generichash_update(&state, (const unsigned char *)own, sizeof(own));
    }
    crypto_generichash_update(&state, (const unsigned char *)&model->tmpl, sizeof(model->tmpl));
    for (int i = 0; i < HW_TENSORS; i++)
        crypto_generichash_update(&state, (const unsigned char *)tensors[i].values,
                                  tensors[i].count * sizeof(float));
    crypto_generichash_final(&state, model->digest, sizeof(model->digest));
}

/* The stem goes into logs, JSON and frames: bytes outside plain ASCII become '_'. */
static void
name_by_stem(struct hw_bdh_model *model, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *stem = slash == NULL ? path : slash + 1;
    const char *dot = strrchr(stem, '.');
    size_t len = dot == NULL || dot == stem ? strlen(stem) : (size_t)(dot - stem);

    if (len >= sizeof(model->name))
        len = sizeof(model->name) - 1;
    for (size_t i = 0; i < len; i++) {
        char c = stem[i];
        model->name[i] = c > ' ' && c < 0x7f && c != '"' && c != '\\' ? c : '_';
    }
    model->name[len] = '\0';
}

static int
load_head(int fd, uint64_t file_bytes, struct hw_safetensors_head **head, uint64_t *data_start,
          struct hw_err *err)
{
    uint64_t head_bytes;
    int rc;

    if ((rc = hw_file_read(fd, &head_bytes, sizeof(head_bytes), 0, err)) != 0)
        return rc;
    if (head_bytes > HW_SAFETENSORS_MAX_HEAD_BYTES)
        return hw_err_set(err, HW_EINVAL, "not a safetensors file, or its header is over %u bytes",
                          HW_SAFETENSORS_MAX_HEAD_BYTES);
    if (head_bytes > file_bytes - 8)
        return hw_err_set(err, HW_EINVAL, "the header's length passes the file's end");
    char *text = malloc(head_bytes + 1);
    if (text == NULL)
        return hw_err_set(err, HW_ENOMEM, "no memory for the header");
    rc = hw_file_read(fd, text, head_bytes, 8, err);
    if (rc == 0)
        rc = hw_safetensors_head_parse(text, head_bytes, file_bytes - 8 - head_bytes, head, err);
    free(text);
    *data_start = 8 + head_bytes;
    return rc;
}

/* The head and the configuration, with every tensor in its place: on 0 the caller owns *head. */
static int
open_safetensors(int fd, uint64_t file_bytes, const char *path, struct hw_safetensors_head **head,
                 struct hw_bdh_config *conf, uint64_t *data_start, struct hw_err *err)
{
    int rc = load_head(fd, file_bytes, head, data_start, err);
    if (rc != 0)
        return rc;
    if (cJSON_GetObjectItemCaseSensitive((*head)->metadata, "n_layer") != NULL)
        rc = hw_checkpoint_config((*head)->metadata, conf, err);
    else
        rc = hw_checkpoint_config_beside(path, conf, err);
    if (rc == 0)
        rc = hw_checkpoint_own_config((*head)->metadata, conf, err);
    if (rc == 0)
        rc = check_tensors(*head, conf, err);
    if (rc != 0)
        hw_safetensors_head_destroy(head);
    return rc;
}

static int
load_safetensors(int fd, uint64_t file_bytes, const char *path, struct hw_bdh_model **out,
                 struct hw_err *err)
{
    struct hw_safetensors_head *head = NULL;
    struct hw_bdh_model *model = NULL;
    struct hw_bdh_config conf = {0};
    struct hw_tensor tensors[HW_TENSORS];
    uint64_t data_start = 0;

    int rc = open_safetensors(fd, file_bytes, path, &head, &conf, &data_start, err);
    if (rc != 0)
        return rc;
    if ((rc = hw_bdh_model_create(&conf, &model, err)) != 0 ||
        (rc = hw_checkpoint_template(head->metadata, &model->tmpl, err)) != 0 ||
        (rc = hw_checkpoint_trained_context(head->metadata, &model->trained_context, err)) != 0)
        goto out;
    hw_list_tensors(model, tensors);
    for (int i = 0; i < HW_TENSORS; i++) {
        const struct hw_safetensors_entry *entry = find_tensor(head, &tensors[i]);
        if (entry != NULL && (rc = read_tensor(fd, data_start, entry, &tensors[i], err)) != 0)
            goto out;
    }
out:
    hw_safetensors_head_destroy(&head);
    if (rc != 0)
        hw_bdh_model_destroy(&model);
    else
        *out = model;
    return rc;
}

/* What a file is, its first bytes say, not its name. */
static int
look_at_start(int fd, uint64_t *file_bytes, bool *is_torch, struct hw_err *err)
{
    struct stat st;
    uint8_t start[4];
    int rc;

    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return hw_err_set(err, HW_EINVAL, "not a regular file");
    *file_bytes = (uint64_t)st.st_size;
    if (*file_bytes < 10)
        return hw_err_set(err, HW_EINVAL, "not a safetensors or PyTorch file: too short");
    if ((rc = hw_file_read(fd, start, sizeof(start), 0, err)) != 0)
        return rc;
    if (start[0] == 0x80 && start[1] >= 2 && start[1] <= 5)
        return hw_err_set(err, HW_EINVAL,
                          "a bare pickle, as PyTorch before 1.6 wrote them: save it again with a "
                          "newer torch.save, or as safetensors");
    *is_torch = memcmp(start, "PK\3\4", sizeof(start)) == 0;
    return 0;
}

static int
load_model(int fd, const char *path, struct hw_bdh_model **out, struct hw_err *err)
{
    uint64_t file_bytes;
    bool is_torch;

    int rc = look_at_start(fd, &file_bytes, &is_torch, err);
    if (rc == 0)
        rc = is_torch ? hw_torch_load(fd, file_bytes, path, out, err)
                      : load_safetensors(fd, file_bytes, path, out, err);
    if (rc != 0)
        return rc;
    name_by_stem(*out, path);
    compute_digest(*out);
    return 0;
}

/* A PyTorch file tells its shapes only as it is read. */
static int
read_facts(int fd, const char *path, struct hw_bdh_facts *out, struct hw_err *err)
{
    struct hw_safetensors_head *head = NULL;
    struct hw_bdh_model *model = NULL;
    struct hw_bdh_config conf = {0};
    uint64_t file_bytes, data_start;
    uint32_t context = 0;
    bool is_torch;

    int rc = look_at_start(fd, &file_bytes, &is_torch, err);
    if (rc == 0 && is_torch) {
        rc = hw_torch_load(fd, file_bytes, path, &model, err);
        if (rc == 0)
            conf = model->conf;
    } else if (rc == 0) {
        rc = open_safetensors(fd, file_bytes, path, &head, &conf, &data_start, err);
    }
    if (rc == 0 && head != NULL)
        rc = hw_checkpoint_trained_context(head->metadata, &context, err);
    if (rc == 0)
        *out = (struct hw_bdh_facts){
            .conf = conf, .parameters = hw_bdh_param_count(&conf), .trained_context = context};
    hw_safetensors_head_destroy(&head);
    hw_bdh_model_destroy(&model);
    return rc;
}

/* A FIFO must not hold us up. */
static int
open_file(const char *path, int *fd, struct hw_err *err)
{
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0)
        return hw_err_set(err, errno == ENOENT ? HW_ENOTFOUND : HW_EIO, "cannot open: %s",
                          strerror(errno));
    return sodium_init() < 0 ? hw_err_set(err, HW_EIO, "libsodium does not start") : 0;
}

int
hw_bdh_model_load_fd(int fd, const char *path, struct hw_bdh_model **out, struct hw_err *err)
{
    int rc = sodium_init() < 0 ? hw_err_set(err, HW_EIO, "libsodium does not start")
                               : load_model(fd, path, out, err);

    if (rc != 0)
        hw_err_prefix(err, "%s", path);
    return rc;
}

int
hw_bdh_model_load(const char *path, struct hw_bdh_model **out, struct hw_err *err)
{
    int fd;
    int rc = open_file(path, &fd, err);

    if (rc == 0)
        rc = load_model(fd, path, out, err);
    if (fd >= 0)
        close(fd);
    if (rc != 0)
        hw_err_prefix(err, "%s", path);
    return rc;
}

int
hw_bdh_model_facts(const char *path, struct hw_bdh_facts *out, struct hw_err *err)
{
    int fd;
    int rc = open_file(path, &fd, err);

    if (rc == 0)
        rc = read_facts(fd, path, out, err);
    if (fd >= 0)
        close(fd);
    if (rc != 0)
        hw_err_prefix(err, "%s", path);
    return rc;
}
