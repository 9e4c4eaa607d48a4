/* Any bytes as a backend's list of models: a named mistake, or names that are text. The first byte
 * chooses the kind. */
#include "hatchway/assert.h"
#include "router/api/model_list.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hw_found *found = NULL;
    struct hw_err err = {{0}};

    if (size < 1)
        return 0;
    const char *text = (const char *)data + 1;
    enum hw_kind kind = (data[0] & 1) != 0 ? HW_KIND_OLLAMA : HW_KIND_OPENAI;
    if (hw_model_list_read(kind, text, size - 1, &found, &err) != 0) {
        HW_ASSERT(found == NULL && err.msg[0] != '\0');
        return 0;
    }
    HW_ASSERT(found->count <= HW_MAX_FOUND_MODELS);
    for (size_t i = 0; i < found->count; i++) {
        const struct hw_found_model *model = &found->models[i];
        HW_ASSERT(model->name[0] != '\0' && strlen(model->name) <= HW_MAX_FOUND_NAME);
        HW_ASSERT(hw_found_by_name(found, model->name) != NULL);
    }
    hw_model_list_read_loaded(text, size - 1, found, &err);
    hw_found_unref(found);
    return 0;
}
