/* config/env.c - ${NAME} in a value. */
#include "config/env.h"

#include <stdlib.h>
#include <string.h>

#include "hatchway/buf.h"

#define NAME_MAX_BYTES 128

static bool
is_name_byte(char c, bool first)
{
    if ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_')
        return true;
    return !first && c >= '0' && c <= '9';
}

/* text stands behind "${". Appends the variable and sets *end behind the brace. */
static int
expand_one(const char *text, struct hw_buf *out, size_t *budget, const char **end,
           struct hw_err *err)
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
    const char *value = getenv(name);
    if (value == NULL)
        return hw_err_set(err, HW_EINVAL,
                          "${%.64s} is not set in the environment: export it before starting",
                          name);
    size_t value_len = strlen(value);
    if (value_len > *budget)
        return hw_err_set(err, HW_ELIMIT, "${%.64s}: the environment adds more than %d bytes", name,
                          HW_ENV_BYTES_MAX);
    *budget -= value_len;
    *end = text + len + 1;
    return hw_buf_append(out, value, value_len);
}

int
hw_env_expand(struct hw_conf_arena *arena, const char *text, size_t *budget, const char **out,
              bool *from_env, struct hw_err *err)
{
    *from_env = false;
    if (strstr(text, "${") == NULL) {
        *out = text;
        return 0;
    }
    struct hw_buf buf;
    hw_buf_init(&buf, strlen(text) + *budget);
    int rc = 0;
    while (*text != '\0' && rc == 0) {
        if (strncmp(text, "$${", 3) == 0) {
            rc = hw_buf_puts(&buf, "${");
            text += 3;
        } else if (strncmp(text, "${", 2) == 0) {
            rc = expand_one(text + 2, &buf, budget, &text, err);
            *from_env = true;
        } else {
            rc = hw_buf_append(&buf, text++, 1);
        }
    }
    if (rc == 0)
        *out = hw_conf_arena_strndup(arena, buf.len > 0 ? buf.data : "", buf.len);
    if (buf.data != NULL)
        explicit_bzero(buf.data, buf.cap);
    hw_buf_free(&buf);
    return rc;
}
