/* engine/model.h - a BDH checkpoint in memory: shapes, weights, and how a prompt is written.
 *
 * Shapes follow the published state dict (docs/engine.md): H = n_head, D = n_embd, N neurons a
 * head, V = vocab. The same tensors serve every layer. All weights f32, row-major, little-endian.
 */
#ifndef HW_ENGINE_MODEL_H
#define HW_ENGINE_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hatchway/err.h"

struct hw_bdh_config {
    uint32_t n_layer;
    uint32_t n_embd;     /* D */
    uint32_t n_head;     /* H */
    uint32_t multiplier; /* mlp_internal_dim_multiplier */
    uint32_t vocab;      /* V; 256 = bytes */
    float dropout;       /* training only */
    float decay;         /* what the state keeps of itself, a token; 0: all of it */
    bool wide_phases;    /* RoPE's phase in double: exact also at positions beyond 100,000 */
    uint32_t n_neuron;   /* N = multiplier * D / H, even; derived by hw_bdh_config_check */
};

/* How questions were written when the model was trained, so that they are asked the same way. Kept
 * in the safetensors metadata (hatchway.before_user, ...); all empty for a foreign checkpoint:
 * then the text goes in as it is. NUL-terminated. */
struct hw_bdh_template {
    char before_user[32];      /* e.g. "Q: " */
    char before_assistant[32]; /* e.g. "\nA: " */
    char after_assistant[32];  /* e.g. "\n": also the stop string */
};

struct hw_bdh_model {
    struct hw_bdh_config conf;
    struct hw_bdh_template tmpl;
    float *encoder;   /* [H, D, N] */
    float *encoder_v; /* [H, D, N] */
    float *decoder;   /* [H * N, D], head-major rows */
    float *embed;     /* [V, D] */
    float *lm_head;   /* [D, V] */
    float *freqs;     /* [N], turns per position; the checkpoint's own when it has them */
    uint8_t
        digest[32]; /* BLAKE2b over configuration, template and tensors; names the model in keys */
    char name[64];  /* the file's stem */
    uint32_t trained_context; /* tokens of the longest sequence in training; 0: not known */
};

/* Validates (limits on every size, N even) and fills n_neuron. */
int hw_bdh_config_check(struct hw_bdh_config *conf, struct hw_err *err);
/* 3*H*N*D + 2*V*D */
size_t hw_bdh_param_count(const struct hw_bdh_config *conf);
/* n_layer*H*N*D values of f32: one session's state, in bytes. */
size_t hw_bdh_state_bytes(const struct hw_bdh_config *conf);

/* Zeroed weights, freqs computed from the formula. On 0 the caller owns *out. */
int hw_bdh_model_create(const struct hw_bdh_config *conf, struct hw_bdh_model **out,
                        struct hw_err *err);
/* Reads safetensors (F32, BF16, F16 or I8 tensors), configuration from its metadata or from
 * config.json beside it; or PyTorch's .pt (engine/torch.c). A hostile file gets an error naming
 * what is wrong with it. */
int hw_bdh_model_load(const char *path, struct hw_bdh_model **out, struct hw_err *err);
/* What a file's head says of the model in it; the weights of a safetensors file are not read. */
struct hw_bdh_facts {
    struct hw_bdh_config conf;
    size_t parameters;
    uint32_t trained_context; /* as in struct hw_bdh_model */
};
int hw_bdh_model_facts(const char *path, struct hw_bdh_facts *out, struct hw_err *err);
/* The same from an open file, which is left open; path names the model and says where its
 * config.json would be. */
int hw_bdh_model_load_fd(int fd, const char *path, struct hw_bdh_model **out, struct hw_err *err);
/* How weights stand in a file. BF16: rounded to nearest even. INT8: bytes with a scale a neuron, or
 * a row of embedding and output (docs/engine.md). freqs stay f32. */
enum hw_bdh_dtype { HW_BDH_DTYPE_F32, HW_BDH_DTYPE_BF16, HW_BDH_DTYPE_INT8, HW_BDH_DTYPES };
/* Writes safetensors atomically (temporary file, fsync, rename). */
int hw_bdh_model_save(const struct hw_bdh_model *model, const char *path, enum hw_bdh_dtype dtype,
                      struct hw_err *err);
void hw_bdh_model_destroy(struct hw_bdh_model **model); /* NULL-safe, nulls it */

#endif
