/* config/env.c - ${NAME} in a value. */
#include "config/env.h"

#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 128

static bool
is_name_byte(char c, bool first)
{
    if ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_')
        return true;
    return !first && c >= '0' && c <= '9';
}

/* text stands behind "${". The variable's value, and *end behind the brace. */
static int
find_variable(const char *text, const char **value, const char **end, struct hw_err *err)
{
    char name[NAME_MAX_BYTES];
    size_t len = 0;
    while (len < sizeof(name) - 1 && is_name_byte(text[len], len == 0)) {
        name[len] = text[len];
        len++;
    }
    name[len] = '\0';
    if (len == 0 || text[len] != '}')
        return hw_err_set(err, HW_EINVAL,
                          "expected ${NAME} with letters, digits and _ (write $${ for a plain ${)");
    *value = getenv(name);
    if (*value == NULL)
        return hw_err_set(err, HW_EINVAL,
                          "${%.64s} is not set in the environment: export it before starting",
                          name);
    *end = text + len + 1;
    return 0;
}

struct expansion {
    size_t len;
    size_t added; /* of len, what came from the environment */
    bool from_env;
};

/* The expanded bytes into out, unless that is NULL. */
static int
walk(const char *text, char *out, struct expansion *done, struct hw_err *err)
{
    *done = (struct expansion){0};
    while (*text != '\0') {
        const char *piece = text, *end = text + 1;
        size_t piece_len = 1;
        if (strncmp(text, "$${", 3) == 0) {
            piece = text + 1;
            piece_len = 2;
            end = text + 3;
        } else if (strncmp(text, "${", 2) == 0) {
            int rc = find_variable(text + 2, &piece, &end, err);
            if (rc != 0)
                return rc;
            piece_len = strlen(piece);
            done->added += piece_len;
            done->from_env = true;
        }
        if (out != NULL)
            memcpy(out + done->len, piece, piece_len);
        done->len += piece_len;
        text = end;
    }
    return 0;
}

int
hw_conf_env_expand(struct hw_conf_arena *arena, const char *text, size_t *budget, const char **out,
                   bool *from_env, struct hw_err *err)
{
    struct expansion done;
    *from_env = false;
    if (strstr(text, "${") == NULL) {
        *out = text;
        return 0;
    }
    int rc = walk(text, NULL, &done, err);
    if (rc != 0)
        return rc;
    if (done.added > *budget)
        return hw_err_set(err, HW_ELIMIT, "the environment adds more than %d bytes to this file",
                          HW_ENV_BYTES_MAX);
    *budget -= done.added;
    /* Written in place rather than grown: no copy of a secret stays behind in freed memory. */
    char *expanded = hw_conf_arena_alloc(arena, done.len + 1);
    walk(text, expanded, &done, NULL);
    *out = expanded;
    *from_env = done.from_env;
    return 0;
}
