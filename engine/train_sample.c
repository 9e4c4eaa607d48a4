#include "engine/train_sample.h"

#include "engine/generate.h"

int
hw_train_sample(const struct hw_bdh_model *model, const struct hw_buf *prompt, uint32_t max_tokens,
                struct hw_buf *out, struct hw_err *err)
{
    struct hw_generation_conf conf = {.max_tokens = max_tokens};
    struct hw_bdh_engine *engine = NULL;
    struct hw_bdh_session *session = NULL;
    struct hw_generation *generation = NULL;

    if (model->tmpl.after_assistant[0] != '\0')
        conf.stops[conf.stop_count++] = model->tmpl.after_assistant;
    int rc = hw_bdh_engine_create(model, &engine, err);
    if (rc == 0)
        rc = hw_bdh_session_create(engine, &session, err);
    if (rc == 0)
        rc = hw_generation_create(session, &model->conf, &conf, prompt->data, prompt->len,
                                  &generation, err);
    if (rc == 0) {
        hw_generation_prefill(generation, prompt->len);
        while (hw_generation_state(generation) == HW_GENERATION_DECODE)
            hw_generation_decode(generation, out);
    }
    hw_generation_destroy(&generation);
    hw_bdh_session_destroy(&session);
    hw_bdh_engine_destroy(&engine);
    return rc;
}
