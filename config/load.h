/* config/load.h - YAML to snapshot, with mistakes named by file:line:column.
 *
 * Every mistake found is reported, not only the first; unknown keys and words come with the nearest
 * right one. ${NAME} in a value is replaced from the environment (an unset one is a mistake). */
#ifndef HW_CONFIG_LOAD_H
#define HW_CONFIG_LOAD_H

#include <stdbool.h>
#include <stddef.h>

#include "config/snapshot.h"
#include "hatchway/buf.h"
#include "hatchway/err.h"

struct hw_diag {
    bool warning;          /* false: an error, nothing was loaded */
    uint32_t line, column; /* from 1; 0: the file as a whole */
    char msg[400];
};

struct hw_diags {
    struct hw_diag *items;
    size_t count;
    size_t errors; /* how many are not warnings */
};

/* Reads and validates. Returns 0 and *out (one reference, the caller's) when there is no error;
 * warnings may be in diags all the same. Else HW_EINVAL / HW_EIO and *out untouched. */
int hw_config_load(const char *path, struct hw_snapshot **out, struct hw_diags *diags);
/* The same from memory; `path` names it in messages and resolves relative paths. For fuzzing. */
int hw_config_parse(const char *path, const char *yaml, size_t len, struct hw_snapshot **out,
                    struct hw_diags *diags);
/* The keys of a configuration as a JSON Schema, for editors. */
void hw_config_schema(struct hw_buf *out);
void hw_diags_free(struct hw_diags *diags);
/* "file:line:column: error|warning: msg" into out. */
void hw_diag_format(const struct hw_diag *diag, const char *path, char *out, size_t size);

/* The word among NULL-terminated `words` nearest to `text` (edit distance), or NULL if none is
 * near. */
const char *hw_nearest_word(const char *text, const char *const *words);

#endif
