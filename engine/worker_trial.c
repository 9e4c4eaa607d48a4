/* engine/worker_trial.c - a checkpoint that loads may still be the wrong one: it answers a question
 * first. */
#include <string.h>

#include "engine/worker_parts.h"

enum { TRIAL_TOKENS = 256 };

static int
answer(struct worker *w, struct hw_bdh_session *session, struct hw_prompt *prompt,
       struct hw_buf *text, struct hw_err *err)
{
    struct hw_generation_conf conf = {.max_tokens = TRIAL_TOKENS};
    struct hw_generation *generation = NULL;

    if (hw_prompt_end(prompt)[0] != '\0')
        conf.stops[conf.stop_count++] = hw_prompt_end(prompt);
    int rc = hw_generation_create(session, &w->model->conf, &conf, prompt->text.data,
                                  prompt->text.len, &generation, err);
    if (rc != 0)
        return rc;
    hw_generation_prefill(generation, prompt->text.len);
    while (hw_generation_state(generation) == HW_GENERATION_DECODE)
        hw_generation_decode(generation, text);
    hw_generation_destroy(&generation);
    return hw_buf_append(text, "", 1);
}

int
worker_try(struct worker *w, struct hw_bdh_session *session, struct hw_err *err)
{
    const char *ask = w->conf.trial_ask, *expect = w->conf.trial_expect;
    struct hw_prompt prompt;
    struct hw_buf text;

    if (ask == NULL)
        return 0;
    hw_prompt_init(&prompt, &w->model->tmpl, WORKER_MAX_PROMPT_BYTES);
    hw_buf_init(&text, 8 * TRIAL_TOKENS);
    int rc = hw_prompt_turn(&prompt, HW_PROMPT_USER, false, ask, strlen(ask));
    if (rc == 0)
        rc = hw_prompt_ask(&prompt);
    if (rc == 0)
        rc = answer(w, session, &prompt, &text, err);
    if (rc == 0 && text.len == 1)
        rc = hw_err_set(err, HW_EINVAL, "%s: no answer to the trial question \"%.100s\"",
                        w->conf.model_path, ask);
    else if (rc == 0 && expect != NULL && strstr(text.data, expect) == NULL)
        rc = hw_err_set(err, HW_EINVAL,
                        "%s: the answer to the trial question \"%.60s\" is \"%.80s\", which does "
                        "not say \"%.60s\"",
                        w->conf.model_path, ask, text.data, expect);
    hw_prompt_free(&prompt);
    hw_buf_free(&text);
    return rc;
}
