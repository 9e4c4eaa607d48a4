/* Each thread takes a part of the batch through its own net with single-threaded BLAS and sums its
 * own gradient: two such threads beat one net with two-threaded products, because nothing is
 * synchronised inside a step. Then each thread adds up, clips and applies one slice of the
 * parameters.
 *
 *     caller: fill shards | gate | work on shard 0      | gate | ...
 *     thread: wait        | gate | work on its shard    | gate | wait
 *                                  gradient, gate, sum slice, gate, AdamW on slice
 *                                  (or Muon on every other matrix)
 */
#include "engine/trainer_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/train_rng.h"
#include "hatchway/assert.h"

/* ---- one thread's work ---- */

static double
run_shard(struct shard *shard, struct hw_train_params *grad)
{
    struct hw_trainer *trainer = shard->trainer;
    struct hw_train_batch batch = {.dropout = grad == NULL ? 0.0f : trainer->conf.shape.dropout};
    size_t first = 0, row = 0;
    double loss = 0.0;

    while (first < shard->sequences) {
        size_t rows = 0, count = 0;
        while (first + count < shard->sequences &&
               (count == 0 || rows + shard->lengths[first + count] <= trainer->conf.rows))
            rows += shard->lengths[first + count++];
        batch.tokens = shard->tokens + row;
        batch.targets = shard->targets + row;
        batch.weights = shard->weights + row;
        batch.lengths = shard->lengths + first;
        batch.rows = rows;
        batch.sequences = count;
        struct hw_train_rng rng = hw_train_rng_make(
            trainer->conf.seed ^ ((uint64_t)shard->index << 48), (trainer->step << 16) + first);
        batch.dropout_key = hw_train_rng_next(&rng);
        loss += hw_train_net_run(shard->net, &trainer->params, &batch, trainer->grad_scale, grad);
        first += count;
        row += rows;
    }
    return loss;
}

/* This thread's slice of the parameters from `begin` on, on cache lines. */
static void
slice(const struct shard *shard, size_t begin, size_t *first, size_t *count)
{
    size_t total = shard->trainer->params.count, threads = shard->trainer->conf.threads;
    size_t part = ((total - begin) / threads + 15) / 16 * 16;

    *first = begin + part * shard->index < total ? begin + part * shard->index : total;
    *count = *first + part < total ? part : total - *first;
}

static void
sum_slice(struct shard *shard)
{
    struct hw_trainer *trainer = shard->trainer;
    size_t first, count;
    double squares = 0.0;

    slice(shard, 0, &first, &count);
    float *sum = trainer->shards[0].grad.all + first;
    for (unsigned t = 1; t < trainer->conf.threads; t++)
        hw_ops_add(sum, trainer->shards[t].grad.all + first, count);
    /* Pieces summed in float first: the compiler may vectorise those. */
    for (size_t i = 0; i < count; i += 1024)
        squares += (double)hw_ops_squares(sum + i, count - i < 1024 ? count - i : 1024);
    shard->squares = squares;
}

static double
gradient_norm(const struct hw_trainer *trainer)
{
    double squares = 0.0;

    for (unsigned t = 0; t < trainer->conf.threads; t++)
        squares += trainer->shards[t].squares;
    return sqrt(squares);
}

/* Each head's encoder and encoder_v [D, N] and decoder [N, D] is a matrix of its own; they are
 * dealt to the threads in turn. */
static void
apply_muon(struct shard *shard)
{
    struct hw_trainer *trainer = shard->trainer;
    const struct hw_bdh_config *shape = &trainer->conf.shape;
    size_t matrix = (size_t)shape->n_neuron * shape->n_embd;
    struct hw_muon_step step = {
        .lr = trainer->adam.lr, .momentum = 0.95f, .decay = trainer->conf.weight_decay};

    for (size_t i = shard->index; i < 3 * (size_t)shape->n_head; i += trainer->conf.threads) {
        size_t at = i * matrix;
        hw_muon_step(shard->muon, at >= (size_t)(trainer->params.decoder - trainer->params.all),
                     &step, trainer->params.all + at, trainer->shards[0].grad.all + at,
                     trainer->m.all + at);
    }
}

static void
apply(struct shard *shard)
{
    struct hw_trainer *trainer = shard->trainer;
    struct hw_ops_adam adam = trainer->adam;
    double norm = gradient_norm(trainer);
    size_t first, count, begin = 0;

    if (shard->muon != NULL) {
        apply_muon(shard);
        begin = (size_t)(trainer->params.embed - trainer->params.all);
    }
    slice(shard, begin, &first, &count);
    adam.grad_scale = 1.0f;
    if (trainer->conf.clip > 0.0f && norm > (double)trainer->conf.clip)
        adam.grad_scale = (float)((double)trainer->conf.clip / norm);
    hw_ops_adam(trainer->params.all + first, trainer->shards[0].grad.all + first,
                trainer->m.all + first, trainer->v.all + first, count, &adam);
}

static void
work(struct shard *shard)
{
    struct hw_trainer *trainer = shard->trainer;

    if (trainer->job == JOB_LOSS) {
        shard->loss = run_shard(shard, NULL);
        return;
    }
    memset(shard->grad.all, 0, shard->grad.count * sizeof(float));
    shard->loss = run_shard(shard, &shard->grad);
    pthread_barrier_wait(&trainer->gate);
    sum_slice(shard);
    pthread_barrier_wait(&trainer->gate);
    apply(shard);
}

static void *
on_thread(void *arg)
{
    struct shard *shard = arg;

    for (;;) {
        pthread_barrier_wait(&shard->trainer->gate);
        if (shard->trainer->job == JOB_QUIT)
            return NULL;
        work(shard);
        pthread_barrier_wait(&shard->trainer->gate);
    }
}

static double
run_job(struct hw_trainer *trainer, enum job job)
{
    double loss = 0.0;

    trainer->job = job;
    pthread_barrier_wait(&trainer->gate);
    work(&trainer->shards[0]);
    pthread_barrier_wait(&trainer->gate);
    for (unsigned t = 0; t < trainer->conf.threads; t++)
        loss += trainer->shards[t].loss;
    return loss;
}

/* ---- life ---- */

static void
randomise(struct hw_trainer *trainer)
{
    struct hw_train_rng rng = hw_train_rng_make(trainer->conf.seed, UINT64_C(0x77656967687473));

    for (size_t i = 0; i < trainer->params.count; i++)
        trainer->params.all[i] = 0.02f * hw_train_rng_normal(&rng);
}

static int
create_shard(struct hw_trainer *trainer, unsigned index, struct hw_err *err)
{
    const struct hw_trainer_conf *conf = &trainer->conf;
    struct shard *shard = &trainer->shards[index];
    size_t rows = conf->batch * conf->block;

    shard->trainer = trainer;
    shard->index = index;
    shard->tokens = malloc(rows);
    shard->targets = malloc(rows);
    shard->weights = malloc(rows * sizeof(*shard->weights));
    shard->lengths = malloc(conf->batch * sizeof(*shard->lengths));
    if (shard->tokens == NULL || shard->targets == NULL || shard->weights == NULL ||
        shard->lengths == NULL)
        return hw_err_set(err, HW_ENOMEM, "no memory for a batch of %zu x %zu", conf->batch,
                          conf->block);
    int rc = hw_train_params_create(&conf->shape, &shard->grad, err);
    if (rc == 0 && conf->muon)
        rc = hw_muon_create(conf->shape.n_embd, conf->shape.n_neuron, &trainer->blas, &shard->muon,
                            err);
    if (rc != 0)
        return rc;
    return hw_train_net_create(&conf->shape, trainer->freqs, &trainer->blas, conf->rows,
                               conf->block, &shard->net, err);
}

static int
create_parts(struct hw_trainer *trainer, const struct hw_bdh_model *init, struct hw_err *err)
{
    struct hw_trainer_conf *conf = &trainer->conf;
    struct hw_bdh_model *blank = NULL;
    int rc;

    if ((rc = hw_train_params_create(&conf->shape, &trainer->params, err)) != 0 ||
        (rc = hw_train_params_create(&conf->shape, &trainer->m, err)) != 0 ||
        (rc = hw_train_params_create(&conf->shape, &trainer->v, err)) != 0)
        return rc;
    if (init == NULL && (rc = hw_bdh_model_create(&conf->shape, &blank, err)) != 0)
        return rc;
    const struct hw_bdh_model *model = init == NULL ? blank : init;
    trainer->freqs = hw_xcalloc(conf->shape.n_neuron, sizeof(float));
    memcpy(trainer->freqs, model->freqs, conf->shape.n_neuron * sizeof(float));
    if (init == NULL)
        randomise(trainer);
    else
        hw_train_params_from_model(&trainer->params, init);
    hw_bdh_model_destroy(&blank);
    trainer->scratch.tokens = hw_xcalloc(conf->block + 1, 1);
    trainer->scratch.targets = hw_xcalloc(conf->block + 1, 1);
    trainer->scratch.weights = hw_xcalloc(conf->block + 1, sizeof(float));
    trainer->shards = hw_xcalloc(conf->threads, sizeof(*trainer->shards));
    for (unsigned t = 0; t < conf->threads; t++)
        if ((rc = create_shard(trainer, t, err)) != 0)
            return rc;
    return 0;
}

int
hw_trainer_create(const struct hw_trainer_conf *conf, const struct hw_bdh_model *init,
                  struct hw_trainer **out, struct hw_err *err)
{
    struct hw_trainer *trainer = hw_xcalloc(1, sizeof(*trainer));

    trainer->conf = *conf;
    if (trainer->conf.rows < conf->block)
        trainer->conf.rows = conf->block;
    hw_blas_open(conf->plain_blas, &trainer->blas);
    int rc = create_parts(trainer, init, err);
    if (rc != 0) {
        hw_trainer_destroy(&trainer);
        return rc;
    }
    HW_ASSERT(pthread_barrier_init(&trainer->gate, NULL, conf->threads) == 0);
    /* With a thread missing nobody would pass the gate, so there is no going on without one. */
    trainer->running = 1;
    for (; trainer->running < conf->threads; trainer->running++)
        HW_ASSERT(pthread_create(&trainer->shards[trainer->running].thread, NULL, on_thread,
                                 &trainer->shards[trainer->running]) == 0);
    *out = trainer;
    return 0;
}

static void
destroy_shard(struct shard *shard)
{
    hw_train_net_destroy(&shard->net);
    hw_train_params_destroy(&shard->grad);
    hw_muon_destroy(&shard->muon);
    free(shard->tokens);
    free(shard->targets);
    free(shard->weights);
    free(shard->lengths);
}

void
hw_trainer_destroy(struct hw_trainer **trainer)
{
    struct hw_trainer *old = *trainer;

    if (old == NULL)
        return;
    if (old->running > 0) {
        old->job = JOB_QUIT;
        pthread_barrier_wait(&old->gate);
        for (unsigned t = 1; t < old->running; t++)
            pthread_join(old->shards[t].thread, NULL);
        pthread_barrier_destroy(&old->gate);
    }
    for (unsigned t = 0; old->shards != NULL && t < old->conf.threads; t++)
        destroy_shard(&old->shards[t]);
    free(old->shards);
    free(old->scratch.tokens);
    free(old->scratch.targets);
    free(old->scratch.weights);
    free(old->freqs);
    hw_train_params_destroy(&old->params);
    hw_train_params_destroy(&old->m);
    hw_train_params_destroy(&old->v);
    free(old);
    *trainer = NULL;
}

const char *
hw_trainer_blas(const struct hw_trainer *trainer)
{
    return trainer->blas.name;
}

/* ---- batches ---- */

static void
clear_shards(struct hw_trainer *trainer)
{
    for (unsigned t = 0; t < trainer->conf.threads; t++)
        trainer->shards[t].rows = trainer->shards[t].sequences = 0;
}

/* To the shard with the fewest rows; returns the weight added. */
static double
deal(struct hw_trainer *trainer, const struct hw_train_sequence *sequence)
{
    struct shard *shard = &trainer->shards[0];
    double weight = 0.0;

    for (unsigned t = 1; t < trainer->conf.threads; t++)
        if (trainer->shards[t].rows < shard->rows)
            shard = &trainer->shards[t];
    memcpy(shard->tokens + shard->rows, sequence->tokens, sequence->rows);
    memcpy(shard->targets + shard->rows, sequence->targets, sequence->rows);
    memcpy(shard->weights + shard->rows, sequence->weights, sequence->rows * sizeof(float));
    shard->lengths[shard->sequences++] = (uint32_t)sequence->rows;
    shard->rows += sequence->rows;
    for (size_t i = 0; i < sequence->rows; i++)
        weight += (double)sequence->weights[i];
    return weight;
}

double
hw_trainer_progress(const struct hw_trainer *trainer, double elapsed_s)
{
    double by_steps = (double)trainer->step / (double)trainer->conf.steps;
    double limit = trainer->conf.time_limit_s;

    return limit > 0.0 && elapsed_s / limit > by_steps ? elapsed_s / limit : by_steps;
}

uint64_t
hw_trainer_steps_done(const struct hw_trainer *trainer)
{
    return trainer->step;
}

/* Linear to the peak over the warm-up's steps, then a cosine over the whole run to min_lr. */
static float
learning_rate(const struct hw_trainer *trainer, double elapsed_s)
{
    const struct hw_trainer_conf *conf = &trainer->conf;
    double progress = fmin(hw_trainer_progress(trainer, elapsed_s), 1.0);
    double lr = (double)conf->min_lr +
                0.5 * (double)(conf->lr - conf->min_lr) * (1.0 + cos(progress * 3.14159265358979));

    if (trainer->step < conf->warmup)
        lr *= (double)(trainer->step + 1) / (double)conf->warmup;
    return (float)lr;
}

void
hw_trainer_step(struct hw_trainer *trainer, struct hw_train_data *data, double elapsed_s,
                struct hw_train_report *report)
{
    const struct hw_trainer_conf *conf = &trainer->conf;
    double weight = 0.0, t = (double)trainer->step + 1.0;
    size_t tokens = 0;

    clear_shards(trainer);
    for (size_t i = 0; i < conf->batch; i++) {
        hw_train_data_draw(data, trainer->step * conf->batch + i, &trainer->scratch);
        weight += deal(trainer, &trainer->scratch);
        tokens += trainer->scratch.rows;
    }
    trainer->grad_scale = weight > 0.0 ? (float)(1.0 / weight) : 0.0f;
    trainer->adam = (struct hw_ops_adam){.lr = learning_rate(trainer, elapsed_s),
                                         .beta1 = conf->beta1,
                                         .beta2 = conf->beta2,
                                         .eps = 1e-8f,
                                         .decay = conf->weight_decay,
                                         .correct1 = (float)(1.0 - pow((double)conf->beta1, t)),
                                         .correct2 = (float)(1.0 - pow((double)conf->beta2, t))};
    double loss = run_job(trainer, JOB_STEP);
    *report = (struct hw_train_report){.loss = weight > 0.0 ? loss / weight : 0.0,
                                       .grad_norm = gradient_norm(trainer),
                                       .lr = trainer->adam.lr,
                                       .tokens = tokens};
    trainer->step++;
}

double
hw_trainer_validate(struct hw_trainer *trainer, const struct hw_train_data *data, size_t limit)
{
    size_t all = hw_train_data_validations(data), count = all < limit ? all : limit;
    double loss = 0.0, weight = 0.0;

    for (size_t done = 0; done < count;) {
        clear_shards(trainer);
        for (size_t i = 0; i < trainer->conf.batch && done < count; i++, done++) {
            hw_train_data_validation(data, done * all / count, &trainer->scratch);
            weight += deal(trainer, &trainer->scratch);
        }
        loss += run_job(trainer, JOB_LOSS);
    }
    return weight > 0.0 ? loss / weight : (double)NAN;
}

void
hw_trainer_export(const struct hw_trainer *trainer, struct hw_bdh_model *model)
{
    hw_train_params_to_model(&trainer->params, model);
    memcpy(model->freqs, trainer->freqs, trainer->conf.shape.n_neuron * sizeof(float));
}
