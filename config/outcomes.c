/* config/outcomes.c - the `difficulty` section: recorded outcomes, from JSONL. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "config/jsonl.h"
#include "config/sections.h"
#include "hatchway/assert.h"

#define OUTCOMES_MIN 50
#define OUTCOMES_MAX 20000 /* what a reload can learn from in passing */
#define TEXT_BYTES 16384
#define TOTAL_BYTES (32u * 1024 * 1024)

static int
add_row(struct hw_load *load, const struct hw_jsonl_row *row, const char *path,
        struct hw_conf_outcome *outcomes, size_t *count, size_t *bytes, struct hw_err *err)
{
    size_t len = strlen(row->text);

    if (!row->has_outcome)
        return hw_err_set(err, HW_EINVAL,
                          "%s:%zu: a row says how well each model answered: \"weak\" and "
                          "\"strong\", 0 to 1",
                          path, row->line);
    if (len > TEXT_BYTES)
        return hw_err_set(err, HW_ELIMIT, "%s:%zu: a text has at most %d bytes, got %zu", path,
                          row->line, TEXT_BYTES, len);
    *bytes += len;
    if (*count == OUTCOMES_MAX || *bytes > TOTAL_BYTES)
        return hw_err_set(err, HW_ELIMIT, "%s:%zu: at most %d rows and %u bytes of text", path,
                          row->line, OUTCOMES_MAX, TOTAL_BYTES);
    outcomes[(*count)++] =
        (struct hw_conf_outcome){.text = hw_conf_arena_strndup(load->arena, row->text, len),
                                 .weak = (float)row->weak,
                                 .strong = (float)row->strong};
    return 0;
}

static int
read_rows(struct hw_load *load, const char *path, struct hw_conf_outcome *outcomes, size_t *count,
          struct hw_err *err)
{
    struct hw_jsonl *file = NULL;
    struct hw_jsonl_row row;
    struct stat info;
    size_t bytes = 0;
    /* A pipe or a device would make the load wait, or never end. */
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return hw_err_set(err, HW_EINVAL, "%s: this is no plain file", path);
    int rc = hw_jsonl_open(path, &file, err);
    while (rc == 0 && (rc = hw_jsonl_next(file, &row, err)) == 1)
        rc = add_row(load, &row, path, outcomes, count, &bytes, err);
    hw_jsonl_close(&file);
    if (rc == 0 && *count < OUTCOMES_MIN)
        return hw_err_set(err, HW_EINVAL, "%s: difficulty is learned from %d rows on, got %zu",
                          path, OUTCOMES_MIN, *count);
    return rc;
}

static void
set_outcomes_file(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
                  void *field)
{
    struct hw_conf_difficulty *difficulty = field;
    struct hw_err err = {{0}};
    size_t count = 0;
    char *path = NULL;
    hw_set_text(load, node, key, &path);
    if (path == NULL)
        return;
    struct hw_conf_outcome *rows = hw_xcalloc(OUTCOMES_MAX, sizeof(*rows));
    if (read_rows(load, hw_resolve_path(load, path), rows, &count, &err) != 0) {
        hw_conf_report(load, node, "%s", err.msg);
    } else {
        difficulty->outcomes = hw_conf_arena_array(load->arena, count, sizeof(*rows));
        memcpy(difficulty->outcomes, rows, count * sizeof(*rows));
        difficulty->outcome_count = count;
    }
    free(rows);
}

const struct hw_key hw_keys_difficulty[] = {
    {"examples_file", set_outcomes_file, .offset = 0, .max = 1024, .required = true,
     .shape = HW_SHAPE_SCALAR},
    {"strong_share", hw_set_percent, HW_FIELD(hw_conf_difficulty, strong_share), .fallback = "20%",
     .max = 100, .shape = HW_SHAPE_SCALAR, .pattern = HW_PERCENT_PATTERN},
    {.name = NULL},
};
