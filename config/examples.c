/* config/examples.c - `examples_file` of a role: sentences from JSONL beside those of the YAML.
 *
 * One file may serve all roles: a row with a label is for the role of that name, a row without is
 * for whoever names the file. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "config/jsonl.h"
#include "config/sections.h"
#include "hatchway/assert.h"

#define EXAMPLES_MAX 20000 /* of all roles: what a reload can learn from in passing */
#define EXAMPLE_BYTES 16384
#define TOTAL_BYTES (32u * 1024 * 1024)

struct gathered {
    char **items; /* room for EXAMPLES_MAX; in the snapshot's arena: only the texts */
    size_t count, max, bytes;
};

/* How many examples the roles have that were read so far, with the one being read. */
static size_t
examples_so_far(const struct hw_snapshot *snapshot)
{
    size_t count = 0;
    for (size_t i = 0; i <= snapshot->role_count; i++)
        count += snapshot->roles[i].examples.count;
    return count;
}

static int
gather_row(struct hw_load *load, const struct hw_jsonl_row *row, const char *path,
           struct gathered *gathered, struct hw_err *err)
{
    size_t len = strlen(row->text);
    if (strspn(row->text, " \t\r\n") == len)
        return 0;
    if (len > EXAMPLE_BYTES)
        return hw_err_set(err, HW_ELIMIT, "%s:%zu: an example has at most %d bytes, got %zu", path,
                          row->line, EXAMPLE_BYTES, len);
    if (gathered->count == gathered->max)
        return hw_err_set(err, HW_ELIMIT, "%s:%zu: all roles together have at most %d examples",
                          path, row->line, EXAMPLES_MAX);
    gathered->bytes += len;
    if (gathered->bytes > TOTAL_BYTES)
        return hw_err_set(err, HW_ELIMIT, "%s: more than %u bytes of examples", path, TOTAL_BYTES);
    gathered->items[gathered->count++] = hw_conf_arena_strndup(load->arena, row->text, len);
    return 0;
}

static int
gather(struct hw_load *load, const struct hw_conf_role *role, const char *path,
       struct gathered *gathered, struct hw_err *err)
{
    struct hw_jsonl *file = NULL;
    struct hw_jsonl_row row;
    struct stat info;
    /* A pipe or a device would make the load wait, or never end. */
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return hw_err_set(err, HW_EINVAL, "%s: this is no plain file", path);
    int rc = hw_jsonl_open(path, &file, err);
    while (rc == 0 && (rc = hw_jsonl_next(file, &row, err)) == 1) {
        rc = 0;
        if (row.label == NULL || strcmp(row.label, role->name) == 0)
            rc = gather_row(load, &row, path, gathered, err);
    }
    hw_jsonl_close(&file);
    if (rc == 0 && gathered->count == 0)
        return hw_err_set(err, HW_EINVAL, "%s: no row is for the role '%s'", path, role->name);
    return rc;
}

void
hw_set_examples_file(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
                     void *field)
{
    struct hw_conf_role *role = field;
    struct hw_conf_list *list = &role->examples;
    struct gathered gathered = {.count = 0};
    struct hw_err err = {{0}};
    char *path = NULL;
    hw_set_text(load, node, key, &path);
    if (path == NULL)
        return;
    size_t before = examples_so_far(load->snapshot);
    gathered.max = before < EXAMPLES_MAX ? EXAMPLES_MAX - before : 0;
    gathered.items = hw_xcalloc(gathered.max + 1, sizeof(char *));
    if (gather(load, role, hw_resolve_path(load, path), &gathered, &err) != 0) {
        hw_conf_report(load, node, "%s", err.msg);
    } else {
        char **items =
            hw_conf_arena_array(load->arena, list->count + gathered.count, sizeof(char *));
        if (list->count > 0)
            memcpy(items, list->items, list->count * sizeof(char *));
        memcpy(items + list->count, gathered.items, gathered.count * sizeof(char *));
        list->items = items;
        list->count += gathered.count;
    }
    free(gathered.items);
}
