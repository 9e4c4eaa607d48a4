/* engine/checkpoint_parts.h - private to checkpoint.c and torch.c: the two kinds of files. */
#ifndef HW_ENGINE_CHECKPOINT_PARTS_H
#define HW_ENGINE_CHECKPOINT_PARTS_H

#include "engine/model.h"

/* checkpoint.c: from config.json in the folder of path; checked. */
int hw_checkpoint_config_beside(const char *path, struct hw_bdh_config *conf, struct hw_err *err);

/* torch.c: all but name and digest. On 0 the caller owns *out. */
int hw_torch_load(int fd, uint64_t file_bytes, const char *path, struct hw_bdh_model **out,
                  struct hw_err *err);

#endif
