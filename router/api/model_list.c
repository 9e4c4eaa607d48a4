/* router/api/model_list.c - see model_list.h. */
#include "router/api/model_list.h"

#include <string.h>

#include "router/api/json.h"

static const struct hw_json_limits limits = {.depth = 16, .nodes = 200000};

/* Copies a member that is plain text and fits; else out is "". */
static void
copy_text(const struct hw_json *object, const char *name, char *out, size_t size)
{
    struct hw_json value;

    *out = '\0';
    if (object->type != HW_JSON_OBJECT || !hw_json_get(object, name, &value) ||
        value.type != HW_JSON_STRING || value.len > size + 1)
        return;
    size_t len = hw_json_decode(&value, out);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)out[i] < ' ' || out[i] == 0x7f)
            len = 0;
    out[len] = '\0';
}

static void
copy_count(const struct hw_json *object, const char *name, uint64_t *out)
{
    struct hw_json value;

    if (!hw_json_get(object, name, &value) || !hw_json_uint(&value, out))
        *out = 0;
}

/* False: it has no usable name, or is none. */
static bool
read_model(enum hw_kind kind, const struct hw_json *item, struct hw_found_model *model)
{
    struct hw_json details;
    char owner[40];

    memset(model, 0, sizeof(*model));
    if (item->type != HW_JSON_OBJECT)
        return false;
    if (kind == HW_KIND_OPENAI) {
        copy_text(item, "id", model->name, sizeof(model->name));
        copy_text(item, "owned_by", owner, sizeof(owner));
        return model->name[0] != '\0' && strcmp(owner, "hatchway") != 0;
    }
    copy_text(item, "name", model->name, sizeof(model->name));
    if (model->name[0] == '\0')
        copy_text(item, "model", model->name, sizeof(model->name));
    copy_text(item, "digest", model->digest, sizeof(model->digest));
    copy_text(item, "modified_at", model->modified, sizeof(model->modified));
    copy_count(item, "size", &model->size);
    if (hw_json_get(item, "details", &details)) {
        copy_text(&details, "family", model->family, sizeof(model->family));
        copy_text(&details, "parameter_size", model->parameter_size, sizeof(model->parameter_size));
        copy_text(&details, "quantization_level", model->quantization, sizeof(model->quantization));
        copy_text(&details, "format", model->format, sizeof(model->format));
    }
    return model->name[0] != '\0';
}

static int
open_list(const char *text, size_t len, const char *member, struct hw_json *list,
          struct hw_err *err)
{
    struct hw_json root;
    int rc = hw_json_validate(text, len, &limits, &root, err);

    if (rc != 0)
        return rc;
    if (root.type != HW_JSON_OBJECT || !hw_json_get(&root, member, list))
        return hw_err_set(err, HW_EINVAL, "the list of models has no \"%s\"", member);
    if (list->type == HW_JSON_NULL) /* Ollama's Go: an empty one */
        *list = (struct hw_json){HW_JSON_ARRAY, "[]", 2};
    if (list->type != HW_JSON_ARRAY)
        return hw_err_set(err, HW_EINVAL, "the list of models is no list");
    return 0;
}

int
hw_model_list_read(enum hw_kind kind, const char *text, size_t len, struct hw_found **out,
                   struct hw_err *err)
{
    struct hw_json list, item;
    struct hw_json_iter iter;
    size_t most = 0, count = 0;

    int rc = open_list(text, len, kind == HW_KIND_OPENAI ? "data" : "models", &list, err);
    if (rc != 0)
        return rc;
    hw_json_iter_init(&iter, &list);
    while (most < HW_MAX_FOUND_MODELS && hw_json_next(&iter, NULL, &item))
        most++;
    struct hw_found *found = hw_found_create(most);
    hw_json_iter_init(&iter, &list);
    while (count < most && hw_json_next(&iter, NULL, &item))
        if (read_model(kind, &item, &found->models[count]))
            count++;
    found->count = count;
    *out = found;
    return 0;
}

int
hw_model_list_read_loaded(const char *text, size_t len, struct hw_found *found, struct hw_err *err)
{
    struct hw_json list, item;
    struct hw_json_iter iter;
    char name[HW_MAX_FOUND_NAME + 1];

    int rc = open_list(text, len, "models", &list, err);
    if (rc != 0)
        return rc;
    hw_json_iter_init(&iter, &list);
    for (size_t n = 0; n < HW_MAX_FOUND_MODELS && hw_json_next(&iter, NULL, &item); n++) {
        uint64_t context;
        if (item.type != HW_JSON_OBJECT)
            continue;
        copy_text(&item, "name", name, sizeof(name));
        if (name[0] == '\0')
            copy_text(&item, "model", name, sizeof(name));
        for (size_t i = 0; i < found->count; i++) {
            struct hw_found_model *model = &found->models[i];
            if (name[0] == '\0' || !hw_same_model_name(model->name, name))
                continue;
            model->loaded = true;
            copy_text(&item, "expires_at", model->expires, sizeof(model->expires));
            copy_count(&item, "size_vram", &model->size_vram);
            copy_count(&item, "context_length", &context);
            model->context = context < UINT32_MAX ? (uint32_t)context : 0;
        }
    }
    found->loaded_known = true;
    return 0;
}
