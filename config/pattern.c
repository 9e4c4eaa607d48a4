/* config/pattern.c - see pattern.h. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "config/pattern.h"

#include <pcre2.h>
#include <stdlib.h>

#include "hatchway/assert.h"

/* About a millisecond of backtracking; what people write needs a few hundred steps. */
#define MATCH_LIMIT 20000
#define HEAP_LIMIT_KIB 1024

struct hw_pattern {
    struct hw_pattern *next;
    pcre2_code *code;
    pcre2_match_context *limits;
};

int
hw_pattern_compile(const char *text, struct hw_pattern **list, size_t *at, struct hw_err *err)
{
    int error;
    PCRE2_SIZE offset = 0;
    /* \C would look into the middle of a character; nothing else may reach outside of the text. */
    uint32_t options = PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C;
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, options, &error, &offset, NULL);

    if (code == NULL) {
        PCRE2_UCHAR what[128];
        *at = offset;
        if (pcre2_get_error_message(error, what, sizeof(what)) < 0)
            what[0] = '\0';
        return hw_err_set(err, HW_EINVAL, "%s", (const char *)what);
    }
    /* Without JIT (no executable memory to be had) the interpreter does the same, slower. */
    pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
    struct hw_pattern *pattern = hw_xcalloc(1, sizeof(*pattern));
    pattern->code = code;
    pattern->limits = pcre2_match_context_create(NULL);
    HW_ASSERT(pattern->limits != NULL);
    pcre2_set_match_limit(pattern->limits, MATCH_LIMIT);
    pcre2_set_heap_limit(pattern->limits, HEAP_LIMIT_KIB);
    pattern->next = *list;
    *list = pattern;
    return 0;
}

void
hw_patterns_free(struct hw_pattern **list)
{
    while (*list != NULL) {
        struct hw_pattern *pattern = *list;
        *list = pattern->next;
        pcre2_code_free(pattern->code);
        pcre2_match_context_free(pattern->limits);
        free(pattern);
    }
}

enum hw_pattern_result
hw_pattern_search(const struct hw_pattern *pattern, const char *text, size_t len)
{
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);

    if (data == NULL)
        return HW_PATTERN_GAVE_UP;
    int rc = pcre2_match(pattern->code, (PCRE2_SPTR)text, len, 0, 0, data, pattern->limits);
    pcre2_match_data_free(data);
    if (rc >= 0)
        return HW_PATTERN_YES;
    return rc == PCRE2_ERROR_NOMATCH ? HW_PATTERN_NO : HW_PATTERN_GAVE_UP;
}
