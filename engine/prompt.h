/* engine/prompt.h - turns of a conversation into the bytes that a model reads.
 *
 * With a template (struct hw_bdh_template), as trained:
 *   user turn        before_user, text
 *   assistant turn   before_assistant, text, after_assistant
 *   system turn      left out: the model never saw one
 *   the question     before_assistant goes last, and the answer ends at after_assistant
 * The text of a user or assistant turn is trimmed of ASCII white space at both ends, in training
 * data and prompts alike (hw_prompt_trim).
 *
 * Without one (a foreign checkpoint) the turns' texts, system turns too, are joined by "\n".
 *
 * A raw turn goes in as it is, under either. A prompt that ends with a raw turn is continued, not
 * answered: nothing goes last, and after_assistant does not end it. */
#ifndef HW_ENGINE_PROMPT_H
#define HW_ENGINE_PROMPT_H

#include <stdbool.h>

#include "engine/model.h"
#include "hatchway/buf.h"

enum hw_prompt_role { /* values as enum hw_frame_role */
                      HW_PROMPT_RAW = 0,
                      HW_PROMPT_SYSTEM,
                      HW_PROMPT_USER,
                      HW_PROMPT_ASSISTANT,
};

struct hw_prompt {
    const struct hw_bdh_template *tmpl;
    struct hw_buf text;
    bool any;                 /* a turn has begun */
    enum hw_prompt_role role; /* of the turn being written */
    size_t turn_start;        /* of its text, in text */
    size_t turn_begin;        /* of what the template puts before that */
};

/* tmpl must outlive the prompt. The caller frees (hw_prompt_free) or takes over `text`. */
void hw_prompt_init(struct hw_prompt *prompt, const struct hw_bdh_template *tmpl, size_t max_bytes);
/* Before the first turn: the prompt goes on behind an answer that the session has read; `closed`:
 * after_assistant too. */
void hw_prompt_follow(struct hw_prompt *prompt, bool closed);
void hw_prompt_free(struct hw_prompt *prompt);
/* Adds a turn, or with `more` a further piece of the turn before, if that was of the same role.
 * HW_ELIMIT when the prompt grows over its maximum. */
int hw_prompt_turn(struct hw_prompt *prompt, enum hw_prompt_role role, bool more, const void *bytes,
                   size_t len);
/* The prompt is complete. */
int hw_prompt_ask(struct hw_prompt *prompt);
/* What ends the answer beside the caller's stop strings; "" for nothing. After hw_prompt_ask. */
const char *hw_prompt_end(const struct hw_prompt *prompt);

/* Where the trimmed text begins; *len becomes its length. */
const char *hw_prompt_trim(const char *text, size_t *len);

#endif
