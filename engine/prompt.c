/* engine/prompt.c - a turn may come in pieces, so it is trimmed where it stands: leading white
 * space while its text is still empty, trailing when the next turn or the question closes it. */
#include "engine/prompt.h"

static bool
is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f';
}

const char *
hw_prompt_trim(const char *text, size_t *len)
{
    size_t n = *len;

    while (n > 0 && is_space(text[0])) {
        text++;
        n--;
    }
    while (n > 0 && is_space(text[n - 1]))
        n--;
    *len = n;
    return text;
}

void
hw_prompt_init(struct hw_prompt *prompt, const struct hw_bdh_template *tmpl, size_t max_bytes)
{
    *prompt = (struct hw_prompt){.tmpl = tmpl};
    hw_buf_init(&prompt->text, max_bytes);
}

void
hw_prompt_follow(struct hw_prompt *prompt, bool closed)
{
    prompt->any = true;
    prompt->role = closed ? HW_PROMPT_SYSTEM : HW_PROMPT_ASSISTANT; /* whose end adds nothing */
}

void
hw_prompt_free(struct hw_prompt *prompt)
{
    hw_buf_free(&prompt->text);
}

static bool
has_template(const struct hw_prompt *prompt)
{
    const struct hw_bdh_template *t = prompt->tmpl;

    return t->before_user[0] != '\0' || t->before_assistant[0] != '\0' ||
           t->after_assistant[0] != '\0';
}

static bool
is_trimmed(const struct hw_prompt *prompt)
{
    return has_template(prompt) &&
           (prompt->role == HW_PROMPT_USER || prompt->role == HW_PROMPT_ASSISTANT);
}

static void
close_turn(struct hw_prompt *prompt)
{
    struct hw_buf *text = &prompt->text;

    if (!prompt->any || !is_trimmed(prompt))
        return;
    while (text->len > prompt->turn_start && is_space(text->data[text->len - 1]))
        text->data[--text->len] = '\0';
    if (prompt->role == HW_PROMPT_ASSISTANT)
        hw_buf_puts(text, prompt->tmpl->after_assistant);
}

static void
open_turn(struct hw_prompt *prompt, enum hw_prompt_role role)
{
    prompt->turn_begin = prompt->text.len;
    if (has_template(prompt)) {
        if (role == HW_PROMPT_USER)
            hw_buf_puts(&prompt->text, prompt->tmpl->before_user);
        else if (role == HW_PROMPT_ASSISTANT)
            hw_buf_puts(&prompt->text, prompt->tmpl->before_assistant);
    } else if (prompt->any && role != HW_PROMPT_RAW) {
        hw_buf_puts(&prompt->text, "\n");
    }
    prompt->any = true;
    prompt->role = role;
    prompt->turn_start = prompt->text.len;
}

int
hw_prompt_turn(struct hw_prompt *prompt, enum hw_prompt_role role, bool more, const void *bytes,
               size_t len)
{
    const char *text = bytes;

    if (!more || !prompt->any || role != prompt->role) {
        close_turn(prompt);
        open_turn(prompt, role);
    }
    if (role == HW_PROMPT_SYSTEM && has_template(prompt))
        len = 0;
    if (is_trimmed(prompt) && prompt->text.len == prompt->turn_start)
        while (len > 0 && is_space(*text)) {
            text++;
            len--;
        }
    hw_buf_append(&prompt->text, text, len);
    return prompt->text.failed ? HW_ELIMIT : 0;
}

int
hw_prompt_ask(struct hw_prompt *prompt)
{
    close_turn(prompt);
    if (!prompt->any || prompt->role != HW_PROMPT_RAW)
        hw_buf_puts(&prompt->text, prompt->tmpl->before_assistant);
    return prompt->text.failed ? HW_ELIMIT : 0;
}

const char *
hw_prompt_end(const struct hw_prompt *prompt)
{
    return prompt->any && prompt->role == HW_PROMPT_RAW ? "" : prompt->tmpl->after_assistant;
}
