/* engine/torch.c - a BDH model from PyTorch's .pt: a ZIP with one pickle and raw storages.
 *
 * The pickle is read as data (engine/pickle.h). Expected is {'config': BDHConfig or dict,
 * 'model_state_dict' or 'model': tensors by name}; a bare state dict goes with a config.json beside
 * it. Everything a tensor claims is checked against its storage, and the storage against the file,
 * before anything of that size is allocated: views may share a storage, but a tensor never has more
 * values than its storage holds, so no file grows into more than a fixed multiple of itself. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/checkpoint_parts.h"
#include "engine/file_read.h"
#include "engine/halfs.h"
#include "engine/pickle.h"
#include "engine/tensors.h"
#include "engine/zip.h"

enum dtype { DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_F64 };

/* A tensor as the pickle describes it, checked against its storage. */
struct view {
    enum dtype dtype;
    uint64_t element_bytes;
    uint64_t file_offset; /* of element `offset` of the storage */
    uint64_t span;        /* elements from there to the last one of the view */
    uint32_t dim_count;
    uint64_t dims[4], strides[4];
};

struct archive {
    int fd;
    struct hw_zip zip;
    char prefix[256]; /* "model/" */
    uint8_t *pickle_bytes;
    struct hw_pickle *pickle;
};

/* --- the archive --- */

static int
read_text_entry(const struct archive *a, const char *name, char *text, size_t size,
                struct hw_err *err)
{
    char path[512];

    snprintf(path, sizeof(path), "%s%s", a->prefix, name);
    const struct hw_zip_entry *entry = hw_zip_find(&a->zip, path);
    text[0] = '\0';
    if (entry == NULL || entry->bytes >= size)
        return 0;
    text[entry->bytes] = '\0';
    return hw_file_read(a->fd, text, (size_t)entry->bytes, entry->offset, err);
}

/* Everything lies in one folder, named by the stem the file was first saved under. */
static const struct hw_zip_entry *
find_pickle(struct archive *a)
{
    for (size_t i = 0; i < a->zip.entry_count; i++) {
        const char *name = a->zip.entries[i].name;
        const char *slash = strchr(name, '/');
        if (slash == NULL || strcmp(slash, "/data.pkl") != 0)
            continue;
        memcpy(a->prefix, name, (size_t)(slash - name) + 1);
        return &a->zip.entries[i];
    }
    return NULL;
}

static int
open_archive(struct archive *a, uint64_t file_bytes, struct hw_err *err)
{
    char byteorder[32];
    int rc = hw_zip_read(a->fd, file_bytes, &a->zip, err);
    if (rc != 0)
        return rc;
    const struct hw_zip_entry *entry = find_pickle(a);
    if (entry == NULL)
        return hw_err_set(err, HW_EINVAL, "a ZIP file, but without data.pkl: not from torch.save");
    if (entry->bytes > HW_PICKLE_MAX_BYTES)
        return hw_err_set(err, HW_ELIMIT, "data.pkl is over %u bytes", HW_PICKLE_MAX_BYTES);
    if ((rc = read_text_entry(a, "byteorder", byteorder, sizeof(byteorder), err)) != 0)
        return rc;
    if (byteorder[0] != '\0' && strcmp(byteorder, "little") != 0)
        return hw_err_set(err, HW_EINVAL, "its byte order is %s, not little", byteorder);
    a->pickle_bytes = malloc((size_t)entry->bytes + 1);
    if (a->pickle_bytes == NULL)
        return hw_err_set(err, HW_ENOMEM, "no memory for data.pkl");
    rc = hw_file_read(a->fd, a->pickle_bytes, (size_t)entry->bytes, entry->offset, err);
    if (rc == 0)
        rc = hw_pickle_parse(a->pickle_bytes, (size_t)entry->bytes, &a->pickle, err);
    if (rc != 0)
        hw_err_prefix(err, "data.pkl");
    return rc;
}

/* --- configuration --- */

static int
read_u32(const struct hw_pickle_value *dict, const char *key, uint32_t *out, struct hw_err *err)
{
    const struct hw_pickle_value *value;
    int rc = hw_pickle_find(dict, key, &value, err);

    if (rc != 0)
        return rc;
    if (value == NULL || value->kind != HW_PICKLE_INTEGER || value->integer < 0 ||
        value->integer > UINT32_MAX)
        return hw_err_set(err, HW_EINVAL, "config has no whole number %s", key);
    *out = (uint32_t)value->integer;
    return 0;
}

static int
read_config(const struct hw_pickle_value *config, struct hw_bdh_config *conf, struct hw_err *err)
{
    const struct hw_pickle_value *dropout;
    int rc;

    if (config->kind == HW_PICKLE_CALL &&
        hw_pickle_is_global(&config->node->function, NULL, "BDHConfig"))
        config = &config->node->state;
    if (!hw_pickle_is_dict(config))
        return hw_err_set(err, HW_EINVAL, "config is neither a BDHConfig nor a dict");
    if ((rc = read_u32(config, "n_layer", &conf->n_layer, err)) != 0 ||
        (rc = read_u32(config, "n_embd", &conf->n_embd, err)) != 0 ||
        (rc = read_u32(config, "n_head", &conf->n_head, err)) != 0 ||
        (rc = read_u32(config, "mlp_internal_dim_multiplier", &conf->multiplier, err)) != 0 ||
        (rc = read_u32(config, "vocab_size", &conf->vocab, err)) != 0 ||
        (rc = hw_pickle_find(config, "dropout", &dropout, err)) != 0)
        return rc;
    conf->dropout = 0.1f;
    if (dropout != NULL && dropout->kind == HW_PICKLE_FLOAT)
        conf->dropout = (float)dropout->number;
    else if (dropout != NULL && dropout->kind == HW_PICKLE_INTEGER)
        conf->dropout = (float)dropout->integer;
    return hw_bdh_config_check(conf, err);
}

/* --- tensors --- */

/* The name's tensor in the state dict, with or without the prefix of a compiled module. */
static int
find_named(const struct hw_pickle_value *state, const char *name,
           const struct hw_pickle_value **out, struct hw_err *err)
{
    const struct hw_pickle_value *compiled;
    char prefixed[64];
    int rc;

    snprintf(prefixed, sizeof(prefixed), "_orig_mod.%s", name);
    if ((rc = hw_pickle_find(state, name, out, err)) != 0 ||
        (rc = hw_pickle_find(state, prefixed, &compiled, err)) != 0)
        return rc;
    if (*out != NULL && compiled != NULL)
        return hw_err_set(err, HW_EINVAL, "key %s stands twice", name);
    if (*out == NULL)
        *out = compiled;
    return 0;
}

static int
find_tensor(const struct hw_pickle_value *state, const struct hw_tensor *tensor,
            const struct hw_pickle_value **out, struct hw_err *err)
{
    int rc = find_named(state, tensor->name, out, err);

    if (rc == 0 && *out == NULL && tensor->other_name != NULL)
        rc = find_named(state, tensor->other_name, out, err);
    return rc;
}

static const struct hw_pickle_value *
items_of(const struct hw_pickle_value *value, size_t least)
{
    if (value->kind != HW_PICKLE_TUPLE || value->node->count < least)
        return NULL;
    return value->node->items;
}

static bool
read_dtype(const struct hw_pickle_value *type, struct view *view)
{
    static const struct {
        const char *name;
        enum dtype dtype;
        uint64_t bytes;
    } table[] = {
        {"FloatStorage", DTYPE_F32, 4},
        {"HalfStorage", DTYPE_F16, 2},
        {"BFloat16Storage", DTYPE_BF16, 2},
        {"DoubleStorage", DTYPE_F64, 8},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (hw_pickle_is_global(type, "torch", table[i].name)) {
            view->dtype = table[i].dtype;
            view->element_bytes = table[i].bytes;
            return true;
        }
    return false;
}

/* ('storage', class, key, location, numel): its elements, and where in the file they lie. */
static int
read_storage(const struct archive *a, const struct hw_pickle_value *value, struct view *view,
             uint64_t *numel, struct hw_err *err)
{
    const struct hw_pickle_value *id =
        value->kind == HW_PICKLE_PERSISTENT ? items_of(&value->node->argument, 5) : NULL;
    char path[512];

    if (id == NULL || !hw_pickle_is_text(&id[0], "storage") || id[2].kind != HW_PICKLE_STRING ||
        id[2].length > 64 || id[4].kind != HW_PICKLE_INTEGER || id[4].integer < 0)
        return hw_err_set(err, HW_EINVAL, "its storage is not described as PyTorch does");
    if (!read_dtype(&id[1], view))
        return hw_err_set(err, HW_EINVAL, "it must be of floats, halfs, bfloat16s or doubles");
    snprintf(path, sizeof(path), "%sdata/%.*s", a->prefix, (int)id[2].length, id[2].text);
    const struct hw_zip_entry *entry = hw_zip_find(&a->zip, path);
    if (entry == NULL)
        return hw_err_set(err, HW_EINVAL, "its storage %s is missing", path);
    *numel = (uint64_t)id[4].integer;
    if (entry->bytes % view->element_bytes != 0 || entry->bytes / view->element_bytes != *numel)
        return hw_err_set(err, HW_EINVAL, "its storage has %llu bytes for %llu elements",
                          (unsigned long long)entry->bytes, (unsigned long long)*numel);
    view->file_offset = entry->offset;
    return 0;
}

static bool
read_sizes(const struct hw_pickle_value *tuple, uint64_t sizes[4], uint32_t *count)
{
    if (tuple->kind != HW_PICKLE_TUPLE || tuple->node->count > 4)
        return false;
    *count = (uint32_t)tuple->node->count;
    for (uint32_t i = 0; i < *count; i++) {
        const struct hw_pickle_value *item = &tuple->node->items[i];
        if (item->kind != HW_PICKLE_INTEGER || item->integer < 0)
            return false;
        sizes[i] = (uint64_t)item->integer;
    }
    return true;
}

/* The last element of the view lies inside its storage, and the view is no larger than that. */
static int
check_bounds(struct view *view, uint64_t offset, uint64_t numel, struct hw_err *err)
{
    uint64_t last = 0, count = 1, step;

    for (uint32_t i = 0; i < view->dim_count; i++) {
        if (view->dims[i] == 0)
            return hw_err_set(err, HW_EINVAL, "one of its dimensions is 0");
        if (__builtin_mul_overflow(view->dims[i] - 1, view->strides[i], &step) ||
            __builtin_add_overflow(last, step, &last) ||
            __builtin_mul_overflow(count, view->dims[i], &count))
            return hw_err_set(err, HW_EINVAL, "its shape and strides overflow");
    }
    if (offset >= numel || last >= numel - offset || count > numel)
        return hw_err_set(err, HW_EINVAL, "it reaches past its storage of %llu elements",
                          (unsigned long long)numel);
    view->file_offset += offset * view->element_bytes;
    view->span = last + 1;
    return 0;
}

/* _rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks), perhaps wrapped as
 * _rebuild_parameter(tensor, ...). */
static int
read_view(const struct archive *a, const struct hw_pickle_value *value, struct view *view,
          struct hw_err *err)
{
    const struct hw_pickle_value *args;
    uint32_t stride_count = 0;
    uint64_t numel = 0;
    int rc;

    if (value->kind == HW_PICKLE_CALL &&
        hw_pickle_is_global(&value->node->function, "torch._utils", "_rebuild_parameter") &&
        (args = items_of(&value->node->argument, 1)) != NULL)
        value = args;
    if (value->kind != HW_PICKLE_CALL ||
        !hw_pickle_is_global(&value->node->function, "torch._utils", "_rebuild_tensor_v2") ||
        (args = items_of(&value->node->argument, 4)) == NULL)
        return hw_err_set(err, HW_EINVAL, "it is not a tensor as torch.save writes them");
    if ((rc = read_storage(a, &args[0], view, &numel, err)) != 0)
        return rc;
    if (args[1].kind != HW_PICKLE_INTEGER || args[1].integer < 0 ||
        !read_sizes(&args[2], view->dims, &view->dim_count) ||
        !read_sizes(&args[3], view->strides, &stride_count) || stride_count != view->dim_count)
        return hw_err_set(err, HW_EINVAL, "its offset, shape or strides make no sense");
    return check_bounds(view, (uint64_t)args[1].integer, numel, err);
}

static int
check_shape(const struct view *view, const struct hw_tensor *tensor, struct hw_err *err)
{
    bool same = view->dim_count == tensor->dim_count;

    for (uint32_t i = 0; same && i < view->dim_count; i++)
        same = view->dims[i] == tensor->dims[i];
    if (!same)
        return hw_err_set(err, HW_EINVAL, "it has another shape than the configuration says");
    return 0;
}

static float
value_at(const struct view *view, const uint8_t *bytes, uint64_t index)
{
    const uint8_t *at = bytes + index * view->element_bytes;
    uint16_t half;
    double wide;
    float value;

    switch (view->dtype) {
    case DTYPE_F16:
    case DTYPE_BF16:
        memcpy(&half, at, sizeof(half));
        return view->dtype == DTYPE_F16 ? hw_f32_from_f16(half) : hw_f32_from_bf16(half);
    case DTYPE_F64:
        memcpy(&wide, at, sizeof(wide));
        return fabs(wide) > 3.4e38 ? INFINITY : (float)wide; /* refused with the other infinities */
    case DTYPE_F32:
        break;
    }
    memcpy(&value, at, sizeof(value));
    return value;
}

static int
gather(const struct view *view, const uint8_t *bytes, const struct hw_tensor *tensor,
       struct hw_err *err)
{
    uint64_t dims[4] = {1, 1, 1, 1}, strides[4] = {0}, at[4];
    size_t out = 0;

    memcpy(dims + 4 - view->dim_count, view->dims, view->dim_count * sizeof(dims[0]));
    memcpy(strides + 4 - view->dim_count, view->strides, view->dim_count * sizeof(dims[0]));
    for (at[0] = 0; at[0] < dims[0]; at[0]++)
        for (at[1] = 0; at[1] < dims[1]; at[1]++)
            for (at[2] = 0; at[2] < dims[2]; at[2]++) {
                uint64_t row = at[0] * strides[0] + at[1] * strides[1] + at[2] * strides[2];
                for (at[3] = 0; at[3] < dims[3]; at[3]++) {
                    float value = value_at(view, bytes, row + at[3] * strides[3]);
                    if (!isfinite(value))
                        return hw_err_set(err, HW_EINVAL,
                                          "it holds a value that is no finite number");
                    tensor->values[out++] = value;
                }
            }
    return 0;
}

static int
read_values(const struct archive *a, const struct view *view, const struct hw_tensor *tensor,
            struct hw_err *err)
{
    size_t len = (size_t)(view->span * view->element_bytes);
    uint8_t *bytes = malloc(len);

    if (bytes == NULL)
        return hw_err_set(err, HW_ENOMEM, "no memory to read it with");
    int rc = hw_file_read(a->fd, bytes, len, view->file_offset, err);
    if (rc == 0)
        rc = gather(view, bytes, tensor, err);
    free(bytes);
    return rc;
}

/* Finds and checks every tensor before the model is allocated; views[i].span 0: left out. */
static int
read_views(const struct archive *a, const struct hw_pickle_value *state,
           const struct hw_bdh_config *conf, struct view views[HW_TENSORS], struct hw_err *err)
{
    const struct hw_bdh_model shape_only = {.conf = *conf};
    struct hw_tensor tensors[HW_TENSORS];

    hw_list_tensors(&shape_only, tensors);
    for (int i = 0; i < HW_TENSORS; i++) {
        const struct hw_pickle_value *value;
        int rc = find_tensor(state, &tensors[i], &value, err);
        if (rc != 0)
            return rc;
        if (value == NULL && tensors[i].optional)
            continue;
        if (value == NULL)
            return hw_err_set(err, HW_EINVAL, "tensor %s is missing: not a BDH checkpoint",
                              tensors[i].name);
        if ((rc = read_view(a, value, &views[i], err)) != 0 ||
            (rc = check_shape(&views[i], &tensors[i], err)) != 0) {
            hw_err_prefix(err, "tensor %s", tensors[i].name);
            return rc;
        }
    }
    return 0;
}

/* Where configuration and tensors stand; *config NULL: in a config.json beside the file. */
static int
find_parts(const struct archive *a, const struct hw_pickle_value **config,
           const struct hw_pickle_value **state, struct hw_err *err)
{
    const struct hw_pickle_value *root = hw_pickle_root(a->pickle), *model;
    int rc;

    if (!hw_pickle_is_dict(root))
        return hw_err_set(err, HW_EINVAL,
                          "it holds no dict of config and model_state_dict: a whole module was "
                          "saved, or something else");
    if ((rc = hw_pickle_find(root, "config", config, err)) != 0 ||
        (rc = hw_pickle_find(root, "model_state_dict", state, err)) != 0 ||
        (rc = hw_pickle_find(root, "model", &model, err)) != 0)
        return rc;
    if (*state == NULL)
        *state = model != NULL ? model : root;
    if (!hw_pickle_is_dict(*state))
        return hw_err_set(err, HW_EINVAL, "model_state_dict is no dict of tensors");
    return 0;
}

static int
load(const struct archive *a, const char *path, struct hw_bdh_model **out, struct hw_err *err)
{
    const struct hw_pickle_value *config, *state;
    struct hw_bdh_config conf = {0};
    struct hw_tensor tensors[HW_TENSORS];
    struct view views[HW_TENSORS] = {0};
    int rc;

    if ((rc = find_parts(a, &config, &state, err)) != 0)
        return rc;
    rc = config != NULL ? read_config(config, &conf, err)
                        : hw_checkpoint_config_beside(path, &conf, err);
    if (rc != 0 || (rc = read_views(a, state, &conf, views, err)) != 0 ||
        (rc = hw_bdh_model_create(&conf, out, err)) != 0)
        return rc;
    hw_list_tensors(*out, tensors);
    for (int i = 0; i < HW_TENSORS; i++) {
        if (views[i].span == 0)
            continue;
        if ((rc = read_values(a, &views[i], &tensors[i], err)) != 0) {
            hw_err_prefix(err, "tensor %s", tensors[i].name);
            hw_bdh_model_destroy(out);
            return rc;
        }
    }
    return 0;
}

int
hw_torch_load(int fd, uint64_t file_bytes, const char *path, struct hw_bdh_model **out,
              struct hw_err *err)
{
    struct archive a = {.fd = fd};
    struct hw_bdh_model *model = NULL;
    int rc = open_archive(&a, file_bytes, err);

    if (rc == 0)
        rc = load(&a, path, &model, err);
    hw_pickle_destroy(&a.pickle);
    free(a.pickle_bytes);
    hw_zip_free(&a.zip);
    if (rc == 0)
        *out = model;
    return rc;
}
