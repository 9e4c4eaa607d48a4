/* A checkpoint file: an error that names what is wrong, or a model that can take a step. */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/forward.h"
#include "hatchway/assert.h"

#define MAX_STATE_BYTES ((size_t)4 << 20) /* larger ones only cost the fuzzer time */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
take_steps(const struct hw_bdh_model *model)
{
    struct hw_bdh_engine *engine = NULL;
    struct hw_bdh_session *session = NULL;
    float *logits = calloc(model->conf.vocab, sizeof(float));

    if (logits != NULL && hw_bdh_engine_create(model, &engine, NULL) == 0 &&
        hw_bdh_session_create(engine, &session, NULL) == 0)
        for (uint32_t token = 0; token < 3; token++)
            hw_bdh_session_step(session, token, token == 1 ? NULL : logits);
    hw_bdh_session_destroy(&session);
    hw_bdh_engine_destroy(&engine);
    free(logits);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hw_bdh_model *model = NULL;
    struct hw_err err = {{0}};
    char path[64];

    int fd = memfd_create("checkpoint", MFD_CLOEXEC);
    HW_ASSERT(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int rc = hw_bdh_model_load(path, &model, &err);
    HW_ASSERT((rc == 0) == (model != NULL) && (rc == 0 || err.msg[0] != '\0'));
    if (model != NULL && hw_bdh_state_bytes(&model->conf) <= MAX_STATE_BYTES)
        take_steps(model);
    hw_bdh_model_destroy(&model);
    close(fd);
    return 0;
}
