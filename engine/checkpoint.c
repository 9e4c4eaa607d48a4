/* engine/checkpoint.c - a BDH model from a safetensors file, and what every kind of file shares.
 *
 * Nothing is allocated by what the header claims: the claimed shapes must first agree with the
 * configuration and with the bytes that are really in the file. */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/checkpoint_parts.h"
#include "engine/file_read.h"
#include "engine/model.h"
#include "engine/safetensors.h"
#include "engine/tensors.h"

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
        rc = hw_checkpoint_check_tensors(*head, conf, err);
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
    uint64_t data_start = 0;

    int rc = open_safetensors(fd, file_bytes, path, &head, &conf, &data_start, err);
    if (rc != 0)
        return rc;
    if ((rc = hw_bdh_model_create(&conf, &model, err)) != 0 ||
        (rc = hw_checkpoint_template(head->metadata, &model->tmpl, err)) != 0 ||
        (rc = hw_checkpoint_trained_context(head->metadata, &model->trained_context, err)) != 0)
        goto out;
    rc = hw_checkpoint_read_tensors(fd, data_start, head, model, err);
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
