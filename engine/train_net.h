/* engine/train_net.h - BDH's loss and its gradient, by hand, over a batch of sequences.
 *
 * The parallel form (docs/engine.md): within a sequence every position attends to all before it at
 * once. Sequences of any lengths lie one behind the other as rows of the matrices, so that nothing
 * is padded; only the attention runs sequence by sequence.
 *
 * One net is one thread's workspace. Parameters are shared and only read here; each thread sums
 * into gradients of its own. */
#ifndef HW_ENGINE_TRAIN_NET_H
#define HW_ENGINE_TRAIN_NET_H

#include <stddef.h>
#include <stdint.h>

#include "engine/blas.h"
#include "engine/model.h"

/* All trainable values in one array; the pointers lead into it, shapes as in struct hw_bdh_model.
 */
struct hw_train_params {
    float *all;
    size_t count;
    float *encoder, *encoder_v, *decoder, *embed, *lm_head;
};

/* Zeroed. On 0 the caller owns it. */
int hw_train_params_create(const struct hw_bdh_config *conf, struct hw_train_params *out,
                           struct hw_err *err);
void hw_train_params_destroy(struct hw_train_params *params); /* NULL members are fine */
void hw_train_params_from_model(struct hw_train_params *params, const struct hw_bdh_model *model);
void hw_train_params_to_model(const struct hw_train_params *params, struct hw_bdh_model *model);

struct hw_train_batch {
    const uint8_t *tokens;   /* [rows], sequences one behind the other */
    const uint8_t *targets;  /* [rows]: the byte that follows */
    const float *weights;    /* [rows]: what each target counts in the loss; 0 is skipped */
    const uint32_t *lengths; /* [sequences], rows of each; their sum is rows */
    size_t rows, sequences;
    float dropout;        /* 0: off */
    uint64_t dropout_key; /* the same key drops the same neurons */
};

struct hw_train_net;

/* Room for batches of up to max_rows rows in sequences of up to max_len. freqs [N] is copied. blas
 * must outlive the net. */
int hw_train_net_create(const struct hw_bdh_config *conf, const float *freqs,
                        const struct hw_blas *blas, size_t max_rows, size_t max_len,
                        struct hw_train_net **out, struct hw_err *err);
void hw_train_net_destroy(struct hw_train_net **net); /* NULL-safe, nulls it */

/* The sum of weight * cross entropy (nats) over the rows. With grad, also adds scale times its
 * gradient. */
double hw_train_net_run(struct hw_train_net *net, const struct hw_train_params *params,
                        const struct hw_train_batch *batch, float scale,
                        struct hw_train_params *grad);

#endif
