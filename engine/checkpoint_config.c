/* engine/checkpoint_config.c - what a file says about the model in it, beside the weights: the
 * configuration (metadata, or config.json), and what only Hatchway's own files say. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/checkpoint_parts.h"
#include "engine/tensors.h"

#define MAX_CONFIG_JSON_BYTES (64u << 10)

static bool
read_number(const cJSON *object, const char *key, double *out)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

    if (cJSON_IsNumber(item)) {
        *out = item->valuedouble;
        return true;
    }
    if (!cJSON_IsString(item) || item->valuestring[0] == '\0')
        return false;
    char *end;
    *out = strtod(item->valuestring, &end);
    return *end == '\0';
}

static int
read_u32(const cJSON *object, const char *key, uint32_t *out, struct hw_err *err)
{
    double value;

    if (!read_number(object, key, &value))
        return hw_err_set(err, HW_EINVAL, "the configuration has no number %s", key);
    if (!(value >= 0.0 && value <= (double)UINT32_MAX) || value != floor(value))
        return hw_err_set(err, HW_EINVAL, "%s must be a whole number, got %g", key, value);
    *out = (uint32_t)value;
    return 0;
}

int
hw_checkpoint_config(const cJSON *object, struct hw_bdh_config *conf, struct hw_err *err)
{
    double dropout = 0.1;
    int rc;

    if ((rc = read_u32(object, "n_layer", &conf->n_layer, err)) != 0 ||
        (rc = read_u32(object, "n_embd", &conf->n_embd, err)) != 0 ||
        (rc = read_u32(object, "n_head", &conf->n_head, err)) != 0 ||
        (rc = read_u32(object, "mlp_internal_dim_multiplier", &conf->multiplier, err)) != 0 ||
        (rc = read_u32(object, "vocab_size", &conf->vocab, err)) != 0)
        return rc;
    read_number(object, "dropout", &dropout);
    conf->dropout = (float)dropout;
    return hw_bdh_config_check(conf, err);
}

int
hw_checkpoint_config_beside(const char *path, struct hw_bdh_config *conf, struct hw_err *err)
{
    const char *slash = strrchr(path, '/');
    int dir_len = slash == NULL ? 0 : (int)(slash - path) + 1;
    char beside[PATH_MAX];
    int n = snprintf(beside, sizeof(beside), "%.*sconfig.json", dir_len, path);
    if (n < 0 || (size_t)n >= sizeof(beside))
        return hw_err_set(err, HW_EINVAL, "the path is too long");

    FILE *file = fopen(beside, "rbe");
    if (file == NULL)
        return hw_err_set(err, HW_EINVAL,
                          "no configuration: neither n_layer, n_embd, ... in its metadata nor a "
                          "config.json beside it");
    char *text = malloc(MAX_CONFIG_JSON_BYTES + 1);
    int rc = HW_ENOMEM;
    if (text == NULL) {
        hw_err_set(err, rc, "no memory for config.json");
    } else {
        size_t len = fread(text, 1, MAX_CONFIG_JSON_BYTES, file);
        text[len] = '\0';
        cJSON *json = cJSON_ParseWithOpts(text, NULL, true);
        if (cJSON_IsObject(json))
            rc = hw_checkpoint_config(json, conf, err);
        else
            rc = hw_err_set(err, HW_EINVAL, "not a JSON object");
        cJSON_Delete(json);
        if (rc != 0)
            hw_err_prefix(err, "config.json");
    }
    free(text);
    fclose(file);
    return rc;
}

/* --- what only our own files say --- */

/* Absent: *out stays. Present, it must be a number: what is misread would be misused in silence. */
static int
read_own_number(const cJSON *metadata, const char *key, double *out, struct hw_err *err)
{
    if (cJSON_GetObjectItemCaseSensitive(metadata, key) == NULL || read_number(metadata, key, out))
        return 0;
    return hw_err_set(err, HW_EINVAL, "%s must be a number", key);
}

int
hw_checkpoint_own_config(const cJSON *metadata, struct hw_bdh_config *conf, struct hw_err *err)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(metadata, HW_META_PHASES);
    const char *phases = cJSON_IsString(item) ? item->valuestring : "f32";
    double decay = 0.0;
    int rc = read_own_number(metadata, HW_META_DECAY, &decay, err);

    if (rc != 0)
        return rc;
    if (strcmp(phases, "f64") != 0 && strcmp(phases, "f32") != 0)
        return hw_err_set(err, HW_EINVAL, "%s must be f32 or f64", HW_META_PHASES);
    conf->decay = (float)decay;
    conf->wide_phases = strcmp(phases, "f64") == 0;
    return hw_bdh_config_check(conf, err);
}

int
hw_checkpoint_trained_context(const cJSON *metadata, uint32_t *out, struct hw_err *err)
{
    *out = 0;
    if (cJSON_GetObjectItemCaseSensitive(metadata, HW_META_CONTEXT) == NULL)
        return 0;
    return read_u32(metadata, HW_META_CONTEXT, out, err);
}

int
hw_checkpoint_template(const cJSON *metadata, struct hw_bdh_template *tmpl, struct hw_err *err)
{
    struct hw_template_field fields[3];

    hw_list_template(tmpl, fields);
    for (int i = 0; i < 3; i++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(metadata, fields[i].key);
        if (item == NULL)
            continue;
        size_t len = strlen(item->valuestring);
        if (len >= fields[i].size)
            return hw_err_set(err, HW_ELIMIT, "%s must be under %zu bytes", fields[i].key,
                              fields[i].size);
        memcpy(fields[i].text, item->valuestring, len + 1);
    }
    return 0;
}
