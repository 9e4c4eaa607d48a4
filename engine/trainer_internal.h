/* engine/trainer_internal.h - the trainer's layout, for trainer.c and trainer_save.c. */
#ifndef HW_ENGINE_TRAINER_INTERNAL_H
#define HW_ENGINE_TRAINER_INTERNAL_H

#include <pthread.h>

#include "engine/train_muon.h"
#include "engine/train_net.h"
#include "engine/train_ops.h"
#include "engine/trainer.h"

/* One thread's part of a batch. */
struct shard {
    struct hw_trainer *trainer;
    unsigned index;
    pthread_t thread; /* not used for shard 0: the caller's own thread works on that */
    struct hw_train_net *net;
    struct hw_train_params grad;
    struct hw_muon *muon; /* NULL when all goes by AdamW */
    uint8_t *tokens, *targets;
    float *weights;
    uint32_t *lengths;
    size_t rows, sequences;
    double loss;    /* weighted sum */
    double squares; /* of this thread's slice of the summed gradient */
};

enum job { JOB_STEP, JOB_LOSS, JOB_QUIT };

struct hw_trainer {
    struct hw_trainer_conf conf;
    struct hw_blas blas;
    struct hw_train_params params, m, v;
    float *freqs;
    uint64_t step; /* done */
    struct shard *shards;
    unsigned running; /* threads started, shard 0's included */
    struct hw_train_sequence scratch;
    pthread_barrier_t gate; /* before a job, inside it, and after it */
    enum job job;
    /* of the step under way */
    float grad_scale; /* 1 / total weight */
    struct hw_ops_adam adam;
};

#endif
