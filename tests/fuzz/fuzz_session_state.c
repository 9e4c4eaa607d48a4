/* A saved session, as it is and with a checksum that fits: an error that says what is wrong, or a
 * state from which a session can go on. */
#include <sodium.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/snapshot.h"
#include "hatchway/assert.h"

#define CHECKSUM_BYTES 32u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The model that the seeds are of: its digest is zeros, for it was never a file. */
static struct hw_bdh_engine *
make_engine(enum hw_bdh_precision precision)
{
    const struct hw_bdh_config conf = {
        .n_layer = 2, .n_embd = 4, .n_head = 2, .multiplier = 4, .vocab = 16};
    struct hw_bdh_model *model = NULL;
    struct hw_bdh_engine *engine = NULL;

    HW_ASSERT(hw_bdh_model_create(&conf, &model, NULL) == 0);
    size_t count = (size_t)model->conf.n_head * model->conf.n_embd * model->conf.n_neuron;
    for (size_t i = 0; i < count; i++) {
        model->encoder[i] = (float)(i * 7 % 11) - 5.0f;
        model->encoder_v[i] = (float)(i * 5 % 13) - 6.0f;
        model->decoder[i] = (float)(i * 3 % 7) - 3.0f;
    }
    for (size_t i = 0; i < 64; i++) {
        model->embed[i] = (float)(i * 11 % 17) - 8.0f;
        model->lm_head[i] = (float)(i * 13 % 19) - 9.0f;
    }
    HW_ASSERT(hw_bdh_engine_create_as(model, precision, &engine, NULL) == 0);
    hw_bdh_model_destroy(&model);
    return engine;
}

/* As an answer that goes on does, and one that is set aside at once. */
static void
take_waiting(const struct hw_textout_waiting *waiting)
{
    struct hw_textout_waiting again;
    struct hw_textout out;
    struct hw_buf text;

    hw_textout_init(&out);
    hw_buf_init(&text, 1000);
    HW_ASSERT(waiting->len <= HW_TEXTOUT_MAX_WAITING && hw_textout_add_stop(&out, "stop"));
    for (uint32_t i = 0; i < waiting->len; i++)
        if (hw_textout_byte(&out, waiting->bytes[i], &text))
            break;
    hw_textout_set_aside(&out, &again);
    HW_ASSERT(again.len <= strlen("stop") - 1 + 3);
    hw_buf_free(&text);
}

static void
go_on(const struct hw_bdh_engine *engine, const struct hw_bdh_saved *saved)
{
    const struct hw_sampler_conf conf = {.temperature = 1.0f, .repetition_penalty = 1.2f};
    struct hw_bdh_session *session = NULL;
    struct hw_sampler *sampler = NULL;
    float logits[16];

    HW_ASSERT(hw_bdh_session_create(engine, &session, NULL) == 0);
    HW_ASSERT(hw_sampler_create(16, &conf, &sampler, NULL) == 0);
    HW_ASSERT(hw_bdh_session_restore(session, saved->snapshot, NULL) == 0);
    hw_sampler_restore(sampler, &saved->generator);
    take_waiting(&saved->waiting);
    uint32_t token = hw_sampler_pick(sampler, saved->logits);
    for (int i = 0; i < 20; i++) {
        hw_sampler_note(sampler, token);
        hw_bdh_session_step(session, token, logits);
        token = hw_sampler_pick(sampler, logits);
        HW_ASSERT(token < 16);
    }
    hw_sampler_destroy(&sampler);
    hw_bdh_session_destroy(&session);
}

static void
read_bytes(const struct hw_bdh_engine *engine, const uint8_t *data, size_t size)
{
    struct hw_bdh_saved saved = {0};
    struct hw_err err = {{0}};
    char path[64];

    int fd = memfd_create("state", MFD_CLOEXEC);
    HW_ASSERT(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int rc = hw_bdh_saved_read(engine, path, &saved, &err);
    HW_ASSERT((rc == 0) == (saved.snapshot != NULL) && (rc == 0 || err.msg[0] != '\0'));
    if (rc == 0)
        go_on(engine, &saved);
    hw_bdh_saved_free(&saved);
    close(fd);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct hw_bdh_engine *engines[2];
    uint8_t *mended = malloc(size + 1);

    HW_ASSERT(mended != NULL);
    memcpy(mended, data, size);
    if (size >= CHECKSUM_BYTES)
        crypto_generichash(mended + size - CHECKSUM_BYTES, CHECKSUM_BYTES, mended,
                           size - CHECKSUM_BYTES, NULL, 0);
    for (int i = 0; i < 2; i++) {
        if (engines[i] == NULL)
            engines[i] = make_engine(i == 0 ? HW_BDH_F32 : HW_BDH_FAST);
        read_bytes(engines[i], data, size);
        read_bytes(engines[i], mended, size);
    }
    free(mended);
    return 0;
}
