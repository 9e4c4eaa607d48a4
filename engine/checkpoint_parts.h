/* engine/checkpoint_parts.h - private to checkpoint*.c and torch.c: the two kinds of files. */
#ifndef HW_ENGINE_CHECKPOINT_PARTS_H
#define HW_ENGINE_CHECKPOINT_PARTS_H

#include <cjson/cJSON.h>

#include "engine/model.h"
#include "engine/safetensors.h"

/* checkpoint_config.c. From metadata; checked. */
int hw_checkpoint_config(const cJSON *object, struct hw_bdh_config *conf, struct hw_err *err);
/* From config.json in the folder of path; checked. */
int hw_checkpoint_config_beside(const char *path, struct hw_bdh_config *conf, struct hw_err *err);
/* Adds decay and phases, under keys of our own (whatever a foreign file calls decay is another
 * thing); checked. */
int hw_checkpoint_own_config(const cJSON *metadata, struct hw_bdh_config *conf, struct hw_err *err);
/* 0: the file does not say. */
int hw_checkpoint_trained_context(const cJSON *metadata, uint32_t *out, struct hw_err *err);
int hw_checkpoint_template(const cJSON *metadata, struct hw_bdh_template *tmpl, struct hw_err *err);

/* checkpoint_tensors.c. Before any weight is allocated: every tensor stands in the file in the
 * configured shape. */
int hw_checkpoint_check_tensors(const struct hw_safetensors_head *head,
                                const struct hw_bdh_config *conf, struct hw_err *err);
/* Fills the weights of a model of that configuration. */
int hw_checkpoint_read_tensors(int fd, uint64_t data_start, const struct hw_safetensors_head *head,
                               const struct hw_bdh_model *model, struct hw_err *err);

/* torch.c: all but name and digest. On 0 the caller owns *out. */
int hw_torch_load(int fd, uint64_t file_bytes, const char *path, struct hw_bdh_model **out,
                  struct hw_err *err);

#endif
